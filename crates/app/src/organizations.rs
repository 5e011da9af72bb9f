//! Organisations: the unit of billing and of user management.

use hexabase_backends::bell::Topic;
use hexabase_backends::store::organizations::{self, Organization};
use hexabase_backends::store::workspaces::{self, Workspace};
use hexabase_backends::store::{MAX_PAGE, invitations, users};
use hexabase_core::ids::{OrganizationId, UserId};
use hexabase_core::names::DisplayName;
use hexabase_core::roles::OrganizationRole;
use serde_json::{Value, json};

use crate::authz::{self, AccountAction, OrganizationAction};
use crate::context::{App, Change, OpContext};
use crate::error::{Error, Result};

/// Most organisations one person may make, so that nobody fills the database.
const MAX_CREATED: usize = 20;
/// How many workspaces a refusal names.
const NAMED: usize = 5;

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
        return Err(Error::LimitReached(format!(
            "one person administers at most {MAX_CREATED} organizations, which nobody can raise; hand one over to another admin, or \
             delete one"
        )));
    }
    organizations::insert(&tx, &organization, &ctx.user).await?;
    app.change(&tx, ctx, created(&organization))?;
    tx.commit().await?;
    Ok((organization, OrganizationRole::Admin))
}

/// What the audit log says of a new organisation.
pub(crate) fn created(organization: &Organization) -> Change<'_> {
    let after = json!({ "name": organization.name.as_str() });
    change(&organization.id, "organization.created", None, Some(after))
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

/// Gives an organisation another name.
pub async fn rename(
    app: &App,
    ctx: &OpContext,
    id: &OrganizationId,
    name: &str,
) -> Result<(Organization, OrganizationRole)> {
    let name: DisplayName = name.parse()?;
    let tx = app.store.begin().await?;
    let scope = authz::organization_locked(&tx, ctx, id, OrganizationAction::ManageOrganization).await?;
    let old = organizations::get(&tx, &scope).await?.ok_or(Error::NotFound("organization"))?;
    if old.name == name {
        return Ok((old, scope.role()));
    }
    organizations::rename(&tx, &scope, &name).await?;
    let said = |name: &DisplayName| Some(json!({ "name": name.as_str() }));
    app.change(&tx, ctx, change(id, "organization.renamed", said(&old.name), said(&name)))?;
    tx.commit().await?;
    app.bell.ring(topic(id));
    Ok((Organization { name, ..old }, scope.role()))
}

/// Deletes an organisation that has no workspaces. Its people and pending invitations leave with it; whoever administered it can
/// still read its audit log.
pub async fn delete(app: &App, ctx: &OpContext, id: &OrganizationId) -> Result<()> {
    let tx = app.store.begin().await?;
    let scope = authz::organization_locked(&tx, ctx, id, OrganizationAction::ManageOrganization).await?;
    let row = organizations::get(&tx, &scope).await?.ok_or(Error::NotFound("organization"))?;
    if row.personal_of.is_some() {
        return Err(personal("be deleted"));
    }
    // Locked: no workspace can come while this goes on.
    let living = workspaces::list(&tx, &scope, None, MAX_PAGE).await?;
    if !living.is_empty() {
        return Err(Error::conflict("organization_not_empty", in_the_way(&living)));
    }
    invitations::revoke_all(&tx, &scope, ctx.now).await?;
    let left = organizations::delete(&tx, &scope, ctx.now).await?;
    let members: Vec<Value> = left.iter().map(|(user, role)| json!({ "user": user, "role": role })).collect();
    let before = Some(json!({ "name": row.name.as_str(), "members": members }));
    app.change(&tx, ctx, change(id, "organization.deleted", before, None))?;
    tx.commit().await?;
    app.bell.ring(topic(id));
    tracing::info!(organization.id = %id, "organization deleted");
    Ok(())
}

fn in_the_way(living: &[Workspace]) -> String {
    let named = living.iter().take(NAMED);
    let mut names: Vec<String> = named.map(|workspace| format!("{} ({})", workspace.name, workspace.phase)).collect();
    if living.len() > NAMED {
        names.push(format!("and {} more", living.len() - NAMED));
    }
    let are = if living.len() == 1 { "workspace is" } else { "workspaces are" };
    format!("{} {are} still there: {}; delete them and wait until they are gone", living.len(), names.join(", "))
}

/// Hands an organisation over: the other becomes an admin, the caller a member, in one step.
pub async fn transfer(
    app: &App,
    ctx: &OpContext,
    id: &OrganizationId,
    to: &UserId,
) -> Result<(Organization, OrganizationRole)> {
    let tx = app.store.begin().await?;
    let scope = authz::organization_locked(&tx, ctx, id, OrganizationAction::ManageOrganization).await?;
    authz::account(ctx, AccountAction::ManageCredentials)?;
    let row = organizations::get(&tx, &scope).await?.ok_or(Error::NotFound("organization"))?;
    if row.personal_of.is_some() {
        return Err(personal("be handed over"));
    }
    if *to == ctx.user {
        return Err(Error::invalid("user", "you administer the organization already; name somebody else"));
    }
    let Some(role) = organizations::member_role(&tx, &scope, to).await? else {
        return Err(Error::invalid("user", "this person does not belong to the organization; invite them first"));
    };
    if users::get(&tx, to).await?.is_none_or(|user| user.service_of.is_some()) {
        return Err(Error::invalid("user", "this is a service account; hand the organization over to a person"));
    }
    organizations::set_member_role(&tx, &scope, to, OrganizationRole::Admin).await?;
    organizations::set_member_role(&tx, &scope, &ctx.user, OrganizationRole::Member).await?;
    let before = Some(json!({ "admin": ctx.user, "role_of_receiver": role }));
    app.change(&tx, ctx, change(id, "organization.transferred", before, Some(json!({ "admin": to }))))?;
    tx.commit().await?;
    app.bell.ring(topic(id));
    tracing::info!(organization.id = %id, user.id = %to, "organization handed over");
    Ok((row, OrganizationRole::Member))
}

/// The refusal of what would part a personal organisation from its person.
pub(crate) fn personal(what: &str) -> Error {
    Error::conflict("personal_organization", format!("the personal organization of a person cannot {what}"))
}

/// What the bell rings for, with the organisation's id, when it or its people changed.
const TOPIC: &str = "organizations";

pub(crate) fn topic(id: &OrganizationId) -> Topic {
    Topic { kind: TOPIC.to_owned(), subject: id.to_string() }
}

fn change<'a>(id: &'a OrganizationId, action: &'a str, before: Option<Value>, after: Option<Value>) -> Change<'a> {
    Change { organization: Some(id), workspace: None, action, subject: id.as_str(), before, after }
}
