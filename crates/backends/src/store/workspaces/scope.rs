//! Proof that a person may know of a workspace.

use hexabase_core::ids::{BreakGlassId, OrganizationId, UserId, WorkspaceId};
use hexabase_core::names::WorkspaceName;
use hexabase_core::roles::OrganizationRole;
use hexabase_core::time::Timestamp;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::TABLE;
use crate::entities::workspaces::{workspace, workspace_member};
use crate::store::StoreError;
use crate::store::db::Db;
use crate::store::organizations::{self, OrganizationScope};

/// Proof that a person is a member of a workspace, or an admin of its organisation; the key to that workspace's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceScope {
    organization: OrganizationId,
    workspace: WorkspaceId,
    user: UserId,
    organization_role: Option<OrganizationRole>,
    is_member: bool,
    break_glass: Option<BreakGlassId>,
}

impl WorkspaceScope {
    /// The organisation that owns the workspace.
    pub fn organization(&self) -> &OrganizationId {
        &self.organization
    }

    /// The workspace.
    pub fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }

    /// The person.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// What the person may do in the organisation; `None` when no member of it.
    pub fn organization_role(&self) -> Option<OrganizationRole> {
        self.organization_role
    }

    /// Whether the person is a member of the workspace; an admin of the organisation need not be.
    pub fn is_member(&self) -> bool {
        self.is_member
    }

    /// The break-glass by which the person, who is no admin of the organisation, is treated as one.
    pub fn break_glass(&self) -> Option<&BreakGlassId> {
        self.break_glass.as_ref()
    }

    /// For the workspace that was made in this transaction, whose maker belongs to the organisation.
    pub(super) fn of_maker(scope: &OrganizationScope, workspace: WorkspaceId) -> Self {
        Self {
            organization: scope.id().clone(),
            workspace,
            user: scope.user().clone(),
            organization_role: Some(scope.role()),
            is_member: false,
            break_glass: scope.break_glass().cloned(),
        }
    }
}

/// The scope of `user` in the workspace with this id, deleted or not; `None` for a stranger, and when there is none.
pub async fn scope_for(
    db: &impl Db,
    user: &UserId,
    workspace: &WorkspaceId,
) -> Result<Option<WorkspaceScope>, StoreError> {
    let found = workspace::Entity::find_by_id(workspace.as_str()).one(db.conn()).await?;
    scope_of(db, user, found).await
}

/// The scope of `user` as an admin by break-glass of the organisation that owns the workspace, while that lasts.
pub async fn scope_by_break_glass(
    db: &impl Db,
    user: &UserId,
    workspace: &WorkspaceId,
    now: Timestamp,
) -> Result<Option<WorkspaceScope>, StoreError> {
    let Some(model) = workspace::Entity::find_by_id(workspace.as_str()).one(db.conn()).await? else { return Ok(None) };
    let organization: OrganizationId = TABLE.parse("organization_id", &model.organization_id)?;
    let by = organizations::scope_by_break_glass(db, user, &organization, now).await?;
    let is_member = is_member(db, user, &model).await?;
    Ok(by.map(|by| WorkspaceScope { is_member, ..WorkspaceScope::of_maker(&by, workspace.clone()) }))
}

/// The scope of `user` in the organisation's living workspace with this name; `None` for a stranger, and when there is
/// none.
pub async fn scope_for_name(
    db: &impl Db,
    user: &UserId,
    organization: &OrganizationId,
    name: &WorkspaceName,
) -> Result<Option<WorkspaceScope>, StoreError> {
    let found = workspace::Entity::find()
        .filter(workspace::Column::OrganizationId.eq(organization.as_str()))
        .filter(workspace::Column::LivingName.eq(name.as_str()))
        .one(db.conn())
        .await?;
    scope_of(db, user, found).await
}

async fn scope_of(
    db: &impl Db,
    user: &UserId,
    found: Option<workspace::Model>,
) -> Result<Option<WorkspaceScope>, StoreError> {
    let Some(model) = found else { return Ok(None) };
    let organization: OrganizationId = TABLE.parse("organization_id", &model.organization_id)?;
    let role = organizations::scope_for(db, user, &organization).await?.map(|scope| scope.role());
    let is_member = is_member(db, user, &model).await?;
    if !is_member && role != Some(OrganizationRole::Admin) {
        return Ok(None);
    }
    let workspace = TABLE.parse("id", &model.id)?;
    let (user, break_glass) = (user.clone(), None);
    Ok(Some(WorkspaceScope { organization, workspace, user, organization_role: role, is_member, break_glass }))
}

async fn is_member(db: &impl Db, user: &UserId, workspace: &workspace::Model) -> Result<bool, StoreError> {
    let key = (workspace.id.clone(), user.to_string());
    Ok(workspace_member::Entity::find_by_id(key).one(db.conn()).await?.is_some())
}
