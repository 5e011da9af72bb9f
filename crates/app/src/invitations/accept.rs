//! Accepting an invitation.

use hexabase_backends::store::invitations::{self, Invitation};
use hexabase_backends::store::organizations::{self, Organization, OrganizationScope};
use hexabase_backends::store::users::{self, User};
use hexabase_backends::store::{Db, Digest, Tx, groups, workspaces};
use hexabase_core::ids::GroupId;
use hexabase_core::invitations::{InvitationState, InvitedTo, Language};
use hexabase_core::names::DisplayName;
use hexabase_core::roles::OrganizationRole;
use hexabase_core::time::Timestamp;
use serde_json::json;

use super::{InvitedWorkspace, Known, change, over};
use crate::authz::{self, AccountAction};
use crate::context::{App, OpContext};
use crate::error::{Error, Result};
use crate::members::{self, let_in, put_into};
use crate::plans::plan_of;

/// What the holder of a token may accept.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Name of the organisation.
    pub organization: DisplayName,
    /// Name of whoever vouches for the invitation.
    pub inviter: DisplayName,
    /// What the person will be able to do in the organisation.
    pub role: OrganizationRole,
    /// The workspaces it opens.
    pub workspaces: Vec<InvitedWorkspace>,
    /// From when on it can no longer be accepted.
    pub expires_at: Timestamp,
    /// The language the inviter chose.
    pub language: Language,
}

/// What was accepted.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The organisation.
    pub organization: Organization,
    /// What the person may do in it now.
    pub role: OrganizationRole,
    /// The workspaces that were opened.
    pub workspaces: Vec<InvitedWorkspace>,
    /// The language the inviter chose.
    pub language: Language,
}

/// What the token offers to the caller.
///
/// # Errors
/// As for [`accept`].
pub async fn offer(app: &App, ctx: &OpContext, token: &str) -> Result<Offer> {
    let row = invitations::find_by_token(&app.store, &Digest::of(token)).await?.ok_or_else(no_such)?;
    let scope = vouched(&app.store, ctx, &row).await?;
    let organization = organizations::get(&app.store, &scope).await?.ok_or_else(no_such)?;
    let inviter = users::get(&app.store, scope.user()).await?.ok_or_else(no_such)?;
    Ok(Offer {
        organization: organization.name,
        inviter: inviter.display_name,
        role: row.role,
        workspaces: Known::new(&app.store, scope.user()).of(&row).await?,
        expires_at: row.expires_at,
        language: row.language,
    })
}

/// Makes the caller a member of the organisation and of the groups that the invitation names. Whoever is a member already
/// keeps the higher role, and gets the groups.
///
/// # Errors
/// [`Error::NotFound`] for a token that is none, or no longer; [`Error::Forbidden`] for somebody whose verified address is
/// not the invited one; a conflict `invitation_over` when it was accepted or taken back, came too late, or nobody vouches
/// for it any more; [`Error::LimitReached`]. Whatever is refused, nothing was changed.
pub async fn accept(app: &App, ctx: &OpContext, token: &str) -> Result<Accepted> {
    authz::account(ctx, AccountAction::Change)?;
    let hash = Digest::of(token);
    let tx = app.store.begin().await?;
    let row = invitations::find_by_token(&tx, &hash).await?.ok_or_else(no_such)?;
    let scope = vouched(&tx, ctx, &row).await?;
    if row.role == OrganizationRole::Admin {
        authz::account(ctx, AccountAction::ManageCredentials)?;
    }
    // Organisation, invitation, workspaces: everybody locks in this order. What was true before is looked at again.
    organizations::lock(&tx, &scope).await?;
    let row = invitations::lock_by_token(&tx, &hash).await?.ok_or_else(no_such)?;
    let scope = vouched(&tx, ctx, &row).await?;
    let role = join(&tx, &scope, ctx, &row).await?;
    let mut opened = Vec::new();
    for place in &row.invited_to {
        opened.extend(open(&tx, &scope, ctx, place).await?);
    }
    invitations::accept(&tx, &row.id, &ctx.user, ctx.now).await?;
    let ids: Vec<_> = opened.iter().map(|workspace| &workspace.id).collect();
    let after = json!({ "user": ctx.user, "role": role, "workspaces": ids });
    change(app, ctx, &tx, &row, "invitation.accepted", (None, Some(after)))?;
    let organization = organizations::get(&tx, &scope).await?.ok_or_else(no_such)?;
    tx.commit().await?;
    app.bell.ring(crate::organizations::topic(&row.organization_id));
    for workspace in &opened {
        app.bell.ring(members::topic(&workspace.id));
    }
    tracing::info!(invitation.id = %row.id, user.id = %ctx.user, workspaces = opened.len(), "invitation accepted");
    Ok(Accepted { organization, role, workspaces: opened, language: row.language })
}

fn no_such() -> Error {
    Error::NotFound("invitation; a newer mail may hold a newer link")
}

/// The scope of whoever vouches for the invitation, if the caller may accept it.
async fn vouched(db: &impl Db, ctx: &OpContext, row: &Invitation) -> Result<OrganizationScope> {
    let user = users::get(db, &ctx.user).await?.ok_or_else(no_such)?;
    is_invited(&user, row)?;
    match row.state(ctx.now) {
        InvitationState::Pending => {}
        InvitationState::Accepted => return Err(over("this invitation was accepted already; it is good once")),
        InvitationState::Revoked => return Err(over("this invitation was taken back")),
        InvitationState::Expired => {
            return Err(over("this invitation has expired; ask whoever invited you to send it again"));
        }
    }
    let scope = organizations::scope_for(db, &row.invited_by, &row.organization_id).await?;
    scope.filter(|scope| scope.role() == OrganizationRole::Admin).ok_or_else(|| {
        over("whoever invited you no longer administers the organization; ask one of its admins to send it again")
    })
}

/// The address is the person's if an identity provider has verified it, and only then.
fn is_invited(user: &User, row: &Invitation) -> Result<()> {
    let masked = row.address.masked();
    match user.email.as_deref() {
        Some(email) if row.address.is(email) && user.email_verified => Ok(()),
        Some(email) if row.address.is(email) => Err(Error::Forbidden(format!(
            "your identity provider has not verified that {masked} is your address; verify it there and sign in again"
        ))),
        _ => Err(Error::Forbidden(format!(
            "this invitation is for {masked}; sign in with the account that has this address"
        ))),
    }
}

async fn join(tx: &Tx, scope: &OrganizationScope, ctx: &OpContext, row: &Invitation) -> Result<OrganizationRole> {
    match organizations::member_role(tx, scope, &ctx.user).await? {
        None => {
            organizations::add_member(tx, scope, &ctx.user, row.role, ctx.now).await?;
            Ok(row.role)
        }
        Some(present) => {
            let role = present.or_higher(row.role);
            // Also for whoever belongs to it through a workspace only: from now on on their own account.
            organizations::set_member_role(tx, scope, &ctx.user, role).await?;
            Ok(role)
        }
    }
}

/// Opens one workspace, unless it or every group that was meant is gone: what is no longer there is not given.
async fn open(
    tx: &Tx,
    scope: &OrganizationScope,
    ctx: &OpContext,
    place: &InvitedTo,
) -> Result<Option<InvitedWorkspace>> {
    let Some(workspace) = workspaces::scope_for(tx, scope.user(), &place.workspace).await? else { return Ok(None) };
    let plan = match plan_of(tx, &workspace).await {
        Err(Error::Conflict { .. }) => return Ok(None),
        plan => plan?,
    };
    let mut nodes = groups::nodes(tx, &workspace).await?;
    nodes.retain(|node| place.groups.contains(&node.id));
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    let row = workspaces::get(tx, &workspace).await?;
    let Some(row) = row.filter(|_| !nodes.is_empty()) else { return Ok(None) };
    let ids: Vec<GroupId> = nodes.iter().map(|node| node.id.clone()).collect();
    let limit = |error, what: &str| match error {
        Error::LimitReached(why) => Error::LimitReached(format!("the workspace {} {what}: {why}", row.name)),
        error => error,
    };
    let_in(tx, &workspace, &plan, &ctx.user, ctx.now).await.map_err(|error| limit(error, "is full"))?;
    put_into(tx, &workspace, &ctx.user, &ids)
        .await
        .map_err(|error| limit(error, "cannot take you into these groups"))?;
    let groups = nodes.into_iter().map(|node| node.name).collect();
    Ok(Some(InvitedWorkspace { id: row.id, name: row.name, groups }))
}
