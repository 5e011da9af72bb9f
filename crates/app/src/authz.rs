//! Who may do what: the one place that decides.

use hexabase_backends::store::Db;
use hexabase_backends::store::groups as group_rows;
use hexabase_backends::store::organizations::{self, OrganizationScope};
use hexabase_backends::store::workspaces::{self, WorkspaceScope};
use hexabase_core::groups::{WS_ADMINS, effective_groups};
use hexabase_core::ids::{OrganizationId, UserId, WorkspaceId};
use hexabase_core::roles::OrganizationRole;

use crate::error::{Error, Result};

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
}

/// The organisation, if `user` may do `action` there.
///
/// # Errors
/// [`Error::NotFound`] for strangers, exactly as for an id that does not exist; [`Error::Forbidden`] for those who may see
/// it but not do that.
pub async fn organization(
    db: &impl Db,
    user: &UserId,
    organization: &OrganizationId,
    action: OrganizationAction,
) -> Result<OrganizationScope> {
    let scope = organizations::scope_for(db, user, organization).await?.ok_or(Error::NotFound("organization"))?;
    match (action, scope.role()) {
        (OrganizationAction::View, _) | (_, OrganizationRole::Admin) => Ok(scope),
        (OrganizationAction::CreateWorkspace, OrganizationRole::Member) => Err(Error::Forbidden(
            "only an admin of the organization may create workspaces; ask one of its admins".to_owned(),
        )),
    }
}

/// The workspace, if `user` may do `action` with it.
///
/// Admins of its organisation and members of its group `WSAdmins` may do everything; other members may look.
///
/// # Errors
/// As for [`organization`].
pub async fn workspace(
    db: &impl Db,
    user: &UserId,
    workspace: &WorkspaceId,
    action: WorkspaceAction,
) -> Result<WorkspaceScope> {
    let scope = workspaces::scope_for(db, user, workspace).await?.ok_or(Error::NotFound("workspace"))?;
    if action == WorkspaceAction::View || scope.organization_role() == Some(OrganizationRole::Admin) {
        return Ok(scope);
    }
    let nodes = group_rows::nodes(db, &scope).await?;
    let direct = group_rows::direct(db, &scope, user).await?;
    if effective_groups(&nodes, &direct).iter().any(|group| group.as_str() == WS_ADMINS) {
        return Ok(scope);
    }
    let what = match action {
        WorkspaceAction::View => "see this workspace",
        WorkspaceAction::Delete => "delete this workspace",
        WorkspaceAction::ManageMembers => "change who has access to this workspace",
        WorkspaceAction::ManageProjects => "make or delete projects here",
    };
    Err(Error::Forbidden(format!(
        "you may not {what}; members of the group {WS_ADMINS} and admins of the organization may"
    )))
}
