//! Organisations: the unit of billing and of user management.

use hexabase_backends::store::organizations::{self, Organization, OrganizationMember};
use hexabase_backends::store::{MAX_PAGE, users};
use hexabase_core::ids::{OrganizationId, UserId};
use hexabase_core::names::DisplayName;
use hexabase_core::roles::OrganizationRole;

use crate::authz::{self, OrganizationAction};
use crate::context::{App, OpContext};
use crate::error::{Error, Result};

/// Most organisations one person may make, so that nobody fills the database.
const MAX_CREATED: usize = 20;

/// Makes an organisation with the caller as its admin.
pub async fn create(app: &App, ctx: &OpContext, name: &str) -> Result<(Organization, OrganizationRole)> {
    let name: DisplayName = name.parse()?;
    let organization = Organization {
        id: app.new_id()?,
        name,
        display_name: None,
        personal_of: None,
        created_at: ctx.now,
        deleted_at: None,
    };
    let tx = app.store.begin().await?;
    users::lock(&tx, &ctx.user).await?;
    let mine = organizations::list_for_user(&tx, &ctx.user, None, MAX_PAGE).await?;
    if mine.iter().filter(|(_, role)| *role == OrganizationRole::Admin).count() >= MAX_CREATED {
        return Err(Error::LimitReached(format!("one person administers at most {MAX_CREATED} organizations")));
    }
    organizations::insert(&tx, &organization, &ctx.user).await?;
    tx.commit().await?;
    Ok((organization, OrganizationRole::Admin))
}

/// The caller's organisations with the caller's role, oldest first.
pub async fn list(app: &App, user: &UserId) -> Result<Vec<(Organization, OrganizationRole)>> {
    Ok(organizations::list_for_user(&app.store, user, None, MAX_PAGE).await?)
}

/// One organisation with the caller's role.
pub async fn get(app: &App, user: &UserId, id: &OrganizationId) -> Result<(Organization, OrganizationRole)> {
    let scope = authz::organization(&app.store, user, id, OrganizationAction::View).await?;
    let organization = organizations::get(&app.store, &scope).await?.ok_or(Error::NotFound("organization"))?;
    Ok((organization, scope.role()))
}

/// The people of an organisation. Addresses are told to its admins only.
pub async fn members(app: &App, user: &UserId, id: &OrganizationId) -> Result<Vec<OrganizationMember>> {
    let scope = authz::organization(&app.store, user, id, OrganizationAction::View).await?;
    let mut members = organizations::list_members(&app.store, &scope, None, MAX_PAGE).await?;
    if scope.role() != OrganizationRole::Admin {
        for member in members.iter_mut().filter(|member| member.user.id != *user) {
            member.user.email = None;
        }
    }
    Ok(members)
}
