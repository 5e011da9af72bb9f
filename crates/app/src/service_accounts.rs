//! Service accounts: programs of an organisation, with tokens of their own. What they may do hangs on no person; a token of
//! theirs ends when whoever made it leaves the organisation, since that person may have kept it.

use hexabase_backends::store::api_tokens::{self, ApiToken};
use hexabase_backends::store::organizations::{self, OrganizationScope};
use hexabase_backends::store::service_accounts::{self, ServiceAccount};
use hexabase_backends::store::users::{self, User};
use hexabase_backends::store::{Db, MAX_PAGE, Tx};
use hexabase_core::ids::{ApiTokenId, OrganizationId, UserId};
use hexabase_core::names::DisplayName;
use hexabase_core::roles::OrganizationRole;
use serde_json::{Value, json};

use crate::authz::{self, AccountAction, OrganizationAction, WorkspaceAction};
use crate::context::{App, Change, OpContext};
use crate::error::{Error, Result};
use crate::organization_members::{LeftBehind, left_behind};
use crate::tokens::{self, NewToken, TokenRequest};

/// Most service accounts of an organisation, so that nobody fills the database.
const MOST: u64 = 50;

/// Makes a service account, as a member of the organisation with this role.
///
/// # Errors
/// [`Error::Forbidden`] also for a caller with a token that wants an admin.
pub async fn create(
    app: &App,
    ctx: &OpContext,
    organization: &OrganizationId,
    name: &str,
    role: OrganizationRole,
) -> Result<ServiceAccount> {
    let name: DisplayName = name.parse()?;
    let tx = app.store.begin().await?;
    let scope = authz::organization_locked(&tx, ctx, organization, OrganizationAction::ManageServiceAccounts).await?;
    if role == OrganizationRole::Admin {
        authz::account(ctx, AccountAction::ManageCredentials)?;
    }
    if service_accounts::count(&tx, &scope).await? >= MOST {
        return Err(Error::LimitReached(format!(
            "an organization has at most {MOST} service accounts, which nobody can raise; delete one first"
        )));
    }
    let user = User {
        id: app.new_id()?,
        display_name: name,
        email: None,
        email_verified: false,
        created_at: ctx.now,
        service_of: Some(organization.clone()),
    };
    users::insert(&tx, &user).await?;
    organizations::add_member(&tx, &scope, &user.id, role, ctx.now).await?;
    let after = json!({ "name": user.display_name.as_str(), "role": role });
    change(app, ctx, &tx, &scope, "service_account.created", user.id.as_str(), (None, Some(after)))?;
    tx.commit().await?;
    tracing::info!(user.id = %user.id, organization.id = %organization, "service account made");
    Ok(ServiceAccount { user, role: Some(role) })
}

fn change(
    app: &App,
    ctx: &OpContext,
    tx: &Tx,
    scope: &OrganizationScope,
    action: &str,
    subject: &str,
    (before, after): (Option<Value>, Option<Value>),
) -> Result<()> {
    let change = Change { organization: Some(scope.id()), workspace: None, action, subject, before, after };
    // Every member hears the feed; service accounts are for admins to see.
    app.change_without_details(tx, ctx, change)
}

/// The organisation's service accounts, oldest first.
pub async fn list(app: &App, ctx: &OpContext, organization: &OrganizationId) -> Result<Vec<ServiceAccount>> {
    let scope = authz::organization(&app.store, ctx, organization, OrganizationAction::ViewServiceAccounts).await?;
    Ok(service_accounts::list(&app.store, &scope).await?)
}

/// One service account.
pub async fn get(app: &App, ctx: &OpContext, organization: &OrganizationId, id: &UserId) -> Result<ServiceAccount> {
    let scope = authz::organization(&app.store, ctx, organization, OrganizationAction::ViewServiceAccounts).await?;
    find(&app.store, &scope, id).await
}

async fn find(db: &impl Db, scope: &OrganizationScope, id: &UserId) -> Result<ServiceAccount> {
    service_accounts::get(db, scope, id).await?.ok_or(Error::NotFound("service account"))
}

/// Removes a service account with its tokens and memberships: refused from the next request on. Those of Kubernetes' own
/// ServiceAccounts do not end with it: in which workspaces it was given some.
pub async fn delete(app: &App, ctx: &OpContext, organization: &OrganizationId, id: &UserId) -> Result<Vec<LeftBehind>> {
    let tx = app.store.begin().await?;
    let scope = authz::organization_locked(&tx, ctx, organization, OrganizationAction::EndServiceAccounts).await?;
    let account = find(&tx, &scope, id).await?;
    let living = api_tokens::list_for_user(&tx, id, ctx.now, MAX_PAGE).await?;
    if !service_accounts::remove(&tx, &scope, id, ctx.now).await? {
        return Err(Error::NotFound("service account"));
    }
    let left = left_behind(&tx, &scope, id).await?;
    let before = json!({
        "name": account.user.display_name.as_str(), "role": account.role,
        "tokens": living.iter().map(|token| token.id.as_str()).collect::<Vec<_>>(),
    });
    change(app, ctx, &tx, &scope, "service_account.deleted", id.as_str(), (Some(before), None))?;
    tx.commit().await?;
    living.iter().for_each(|token| tokens::announce_end(app, &token.id));
    tracing::info!(user.id = %id, organization.id = %organization, "service account deleted");
    Ok(left)
}

/// Makes a token that acts as the service account.
///
/// # Errors
/// As for [`tokens::create`].
pub async fn create_token(
    app: &App,
    ctx: &OpContext,
    organization: &OrganizationId,
    id: &UserId,
    request: &TokenRequest,
) -> Result<NewToken> {
    let tx = app.store.begin().await?;
    // Whoever is taken out of the organisation at this moment leaves no token behind.
    let scope = authz::organization_locked(&tx, ctx, organization, OrganizationAction::ManageServiceAccounts).await?;
    authz::account(ctx, AccountAction::ManageCredentials)?;
    users::lock(&tx, id).await?;
    find(&tx, &scope, id).await?;
    if let Some(workspace) = &request.workspace {
        let of = authz::workspace(&tx, ctx, workspace, WorkspaceAction::View).await?;
        if of.organization() != organization {
            return Err(Error::NotFound("workspace"));
        }
    }
    let made = tokens::mint(app, ctx, &tx, id, request).await?;
    let after = told(&made.row);
    change(app, ctx, &tx, &scope, "token.created", made.row.id.as_str(), (None, Some(after)))?;
    tx.commit().await?;
    tracing::info!(user.id = %id, token.id = %made.row.id, "token made");
    Ok(made)
}

/// What the audit log says of a service account's token.
fn told(row: &ApiToken) -> Value {
    let mut told = tokens::told(row);
    told["service_account"] = json!(row.user_id);
    told
}

/// A service account's living tokens, oldest first.
pub async fn list_tokens(
    app: &App,
    ctx: &OpContext,
    organization: &OrganizationId,
    id: &UserId,
) -> Result<Vec<ApiToken>> {
    get(app, ctx, organization, id).await?;
    Ok(api_tokens::list_for_user(&app.store, id, ctx.now, MAX_PAGE).await?)
}

/// Revokes a token of a service account: refused from the next request on.
pub async fn revoke_token(
    app: &App,
    ctx: &OpContext,
    organization: &OrganizationId,
    id: &UserId,
    token: &ApiTokenId,
) -> Result<()> {
    let tx = app.store.begin().await?;
    let scope = authz::organization(&tx, ctx, organization, OrganizationAction::EndServiceAccounts).await?;
    find(&tx, &scope, id).await?;
    let row = api_tokens::revoke(&tx, id, token, ctx.now).await?.ok_or(Error::NotFound("token"))?;
    change(app, ctx, &tx, &scope, "token.revoked", token.as_str(), (Some(told(&row)), None))?;
    tx.commit().await?;
    tokens::announce_end(app, token);
    Ok(())
}
