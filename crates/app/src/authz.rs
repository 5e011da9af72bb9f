//! Who may do what: the one place that decides.
//!
//! Two questions, in this order: may the *person* do it, by organisation role and group; and is the *credential* good for
//! it. A token that was made for one workspace or for reading never does more, whatever its owner may do.

use hexabase_backends::store::groups as group_rows;
use hexabase_backends::store::organizations::{self, OrganizationScope};
use hexabase_backends::store::workspaces::{self, WorkspaceScope};
use hexabase_backends::store::{Db, Tx};
use hexabase_core::groups::WS_ADMINS;
use hexabase_core::ids::{OrganizationId, WorkspaceId};
use hexabase_core::roles::OrganizationRole;
use hexabase_core::tokens::TokenAccess;

use crate::context::{Credential, OpContext};
use crate::error::{Error, Result};

/// What a person can do with their own account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountAction {
    /// See it.
    View,
    /// Change it, or make an organisation.
    Change,
    /// Make and end sessions, tokens and identities; a token may not make tokens.
    ManageCredentials,
}

/// What can be done in an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrganizationAction {
    /// See it and its people.
    View,
    /// Make a workspace, which costs money.
    CreateWorkspace,
}

/// What can be done with a workspace through the API. Rights inside it, by kubectl, come from its groups alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkspaceAction {
    /// See it, its projects, groups and people.
    View,
    /// Delete it.
    Delete,
    /// Give and take access.
    ManageMembers,
    /// Make and delete projects.
    ManageProjects,
    /// Make, change and remove custom roles. Every member may try: whether the person's own rights suffice for the role is
    /// Kubernetes' to say.
    MakeRoles,
}

/// Refuses what the credential is not good for in the caller's own account.
///
/// # Errors
/// [`Error::Forbidden`] with what would be needed.
pub fn account(ctx: &OpContext, action: AccountAction) -> Result<()> {
    let Credential::Token { scope, .. } = &ctx.credential else { return Ok(()) };
    if action == AccountAction::ManageCredentials {
        return Err(Error::Forbidden(
            "a token cannot manage sessions, tokens or identities; sign in for that".to_owned(),
        ));
    }
    if scope.workspace.is_some() && action != AccountAction::View {
        return Err(bound());
    }
    may_write(ctx, action != AccountAction::View)
}

/// The organisation, if the caller may do `action` there.
///
/// # Errors
/// [`Error::NotFound`] for strangers, exactly as for an id that does not exist; [`Error::Forbidden`] for those who may see
/// it but not do that.
pub async fn organization(
    db: &impl Db,
    ctx: &OpContext,
    organization: &OrganizationId,
    action: OrganizationAction,
) -> Result<OrganizationScope> {
    let found = organizations::scope_for(db, &ctx.user, organization).await?;
    let scope = found.ok_or(Error::NotFound("organization"))?;
    if ctx.credential.scope().is_some_and(|scope| scope.workspace.is_some()) {
        return Err(bound());
    }
    may_write(ctx, action != OrganizationAction::View)?;
    let what = match (action, scope.role()) {
        (OrganizationAction::View, _) | (_, OrganizationRole::Admin) => return Ok(scope),
        (OrganizationAction::CreateWorkspace, OrganizationRole::Member) => "create workspaces",
    };
    Err(Error::Forbidden(format!("only an admin of the organization may {what}; ask one of its admins")))
}

/// The workspace, if the caller may do `action` with it.
///
/// Admins of its organisation and members of its group `WSAdmins` may do everything; other members may look.
///
/// # Errors
/// As for [`organization`].
pub async fn workspace(
    db: &impl Db,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    action: WorkspaceAction,
) -> Result<WorkspaceScope> {
    let only = ctx.credential.scope().and_then(|scope| scope.workspace.as_ref());
    if only.is_some_and(|only| only != workspace) {
        return Err(Error::NotFound("workspace"));
    }
    let scope = workspaces::scope_for(db, &ctx.user, workspace).await?.ok_or(Error::NotFound("workspace"))?;
    may_write(ctx, action != WorkspaceAction::View)?;
    let open = matches!(action, WorkspaceAction::View | WorkspaceAction::MakeRoles);
    if open || scope.organization_role() == Some(OrganizationRole::Admin) {
        return Ok(scope);
    }
    if group_rows::effective(db, &scope, &ctx.user).await?.iter().any(|group| group.as_str() == WS_ADMINS) {
        return Ok(scope);
    }
    let what = match action {
        WorkspaceAction::View => "see this workspace",
        WorkspaceAction::MakeRoles => "make roles here",
        WorkspaceAction::Delete => "delete this workspace",
        WorkspaceAction::ManageMembers => "change who has access to this workspace",
        WorkspaceAction::ManageProjects => "make or delete projects here",
    };
    Err(Error::Forbidden(format!(
        "you may not {what}; members of the group {WS_ADMINS} and admins of the organization may"
    )))
}

/// As [`workspace`], with the workspace locked first: its groups, people, roles and projects stay as they are until `tx`
/// ends, and the caller's right is judged by that. Refused when the workspace is leaving.
///
/// # Errors
/// As for [`organization`]; [`Error::Conflict`] when the workspace is being deleted.
pub async fn workspace_locked(
    tx: &Tx,
    ctx: &OpContext,
    id: &WorkspaceId,
    action: WorkspaceAction,
) -> Result<WorkspaceScope> {
    // Strangers lock nothing.
    let scope = workspace(tx, ctx, id, WorkspaceAction::View).await?;
    let row = workspaces::lock(tx, &scope).await?.ok_or(Error::NotFound("workspace"))?;
    let scope = workspace(tx, ctx, id, action).await?;
    if row.desired == workspaces::Desired::Absent {
        return Err(Error::conflict("workspace_deleted", "the workspace is being deleted"));
    }
    Ok(scope)
}

fn bound() -> Error {
    Error::Forbidden("this token is good for one workspace only; use another one, or sign in".to_owned())
}

fn may_write(ctx: &OpContext, writes: bool) -> Result<()> {
    if writes && ctx.credential.scope().is_some_and(|scope| scope.access == TokenAccess::Read) {
        return Err(Error::Forbidden("this token may only read; use one with the access write".to_owned()));
    }
    Ok(())
}
