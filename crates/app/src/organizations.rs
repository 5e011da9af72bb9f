//! Organisations: the unit of billing and of user management.

use hexabase_backends::store::organizations::{self, Organization, OrganizationMember};
use hexabase_backends::store::{MAX_PAGE, users};
use hexabase_core::ids::OrganizationId;
use hexabase_core::names::DisplayName;
use hexabase_core::roles::OrganizationRole;

use crate::authz::{self, AccountAction, OrganizationAction};
use crate::context::{App, Change, OpContext};
use crate::error::{Error, Result};

/// Most organisations one person may make, so that nobody fills the database.
const MAX_CREATED: usize = 20;

/// Makes an organisation with the caller as its admin.
pub async fn create(app: &App, ctx: &OpContext, name: &str) -> Result<(Organization, OrganizationRole)> {
    authz::account(ctx, AccountAction::Change)?;
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
    if users::get(&tx, &ctx.user).await?.is_some_and(|user| user.service_of.is_some()) {
        let sentence = "a service account belongs to its organization and makes no other one; a person may";
        return Err(Error::Forbidden(sentence.to_owned()));
    }
    let mine = organizations::list_for_user(&tx, &ctx.user, None, MAX_PAGE).await?;
    if mine.iter().filter(|(_, role)| *role == OrganizationRole::Admin).count() >= MAX_CREATED {
        return Err(Error::LimitReached(format!("one person administers at most {MAX_CREATED} organizations")));
    }
    organizations::insert(&tx, &organization, &ctx.user).await?;
    app.change(&tx, ctx, created(&organization))?;
    tx.commit().await?;
    Ok((organization, OrganizationRole::Admin))
}

/// What the audit log says of a new organisation.
pub(crate) fn created(organization: &Organization) -> Change<'_> {
    Change {
        organization: Some(&organization.id),
        workspace: None,
        action: "organization.created",
        subject: organization.id.as_str(),
        before: None,
        after: Some(serde_json::json!({ "name": organization.name.as_str() })),
    }
}

/// The caller's organisations with the caller's role, oldest first; none for a token that is good for one workspace only.
pub async fn list(app: &App, ctx: &OpContext) -> Result<Vec<(Organization, OrganizationRole)>> {
    if ctx.credential.scope().is_some_and(|scope| scope.workspace.is_some()) {
        return Ok(Vec::new());
    }
    Ok(organizations::list_for_user(&app.store, &ctx.user, None, MAX_PAGE).await?)
}

/// One organisation with the caller's role.
pub async fn get(app: &App, ctx: &OpContext, id: &OrganizationId) -> Result<(Organization, OrganizationRole)> {
    let scope = authz::organization(&app.store, ctx, id, OrganizationAction::View).await?;
    let organization = organizations::get(&app.store, &scope).await?.ok_or(Error::NotFound("organization"))?;
    Ok((organization, scope.role()))
}

/// The people of an organisation. Addresses are told to its admins only.
pub async fn members(app: &App, ctx: &OpContext, id: &OrganizationId) -> Result<Vec<OrganizationMember>> {
    let scope = authz::organization(&app.store, ctx, id, OrganizationAction::View).await?;
    let mut members = organizations::list_members(&app.store, &scope, None, MAX_PAGE).await?;
    if scope.role() != OrganizationRole::Admin {
        for member in members.iter_mut().filter(|member| member.user.id != ctx.user) {
            member.user.email = None;
        }
    }
    Ok(members)
}
