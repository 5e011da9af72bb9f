//! Roles given to groups, in the whole workspace or in one project.

use hexabase_core::ids::{GroupId, ProjectId, RoleAssignmentId, WorkspaceId};
use hexabase_core::time::Timestamp;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::column::{Table, time};
use super::db::{self, Connection, Db};
use super::workspaces::WorkspaceScope;
use super::{StoreError, Tx, capped};
use crate::entities::groups::role_assignment as assignment;

const TABLE: Table = Table("role_assignments");

/// A role given to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleAssignment {
    /// Its id.
    pub id: RoleAssignmentId,
    /// The group.
    pub group_id: GroupId,
    /// The project in which it holds; `None` for the whole workspace.
    pub project_id: Option<ProjectId>,
    /// The role's name in the tenant.
    pub role: String,
    /// Since when.
    pub created_at: Timestamp,
}

fn read(model: assignment::Model) -> Result<RoleAssignment, StoreError> {
    Ok(RoleAssignment {
        id: TABLE.parse("id", &model.id)?,
        group_id: TABLE.parse("group_id", &model.group_id)?,
        project_id: TABLE.parse_opt("project_id", model.project_id.as_deref())?,
        role: model.role,
        created_at: time(model.created_at),
    })
}

/// Gives a role; [`Unique::RoleAssignment`](super::Unique::RoleAssignment) when it is given already,
/// [`StoreError::MissingReference`] when group or project are not of the workspace.
pub async fn insert(tx: &Tx, scope: &WorkspaceScope, row: &RoleAssignment) -> Result<(), StoreError> {
    let project = row.project_id.as_ref().map(ToString::to_string);
    let model = assignment::Model {
        id: row.id.to_string(),
        workspace_id: scope.workspace().to_string(),
        group_id: row.group_id.to_string(),
        // Unique indexes take two NULLs for different; the empty text stands for the whole workspace.
        target: project.clone().unwrap_or_default(),
        project_id: project,
        role: row.role.clone(),
        created_at: row.created_at.as_micros(),
    };
    db::insert(tx.conn(), model).await
}

/// Takes a role away; `false` when it is not given.
pub async fn delete(tx: &Tx, scope: &WorkspaceScope, id: &RoleAssignmentId) -> Result<bool, StoreError> {
    let removed = assignment::Entity::delete_many()
        .filter(assignment::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .filter(assignment::Column::Id.eq(id.as_str()))
        .exec(tx.conn())
        .await?;
    Ok(removed.rows_affected > 0)
}

/// The roles given in the workspace, by id.
pub async fn list(
    db: &impl Db,
    scope: &WorkspaceScope,
    after: Option<&RoleAssignmentId>,
    limit: u64,
) -> Result<Vec<RoleAssignment>, StoreError> {
    list_for_job(db, scope.workspace(), after, limit).await
}

/// The same, for the job that makes the bindings in the tenant.
pub async fn list_for_job(
    db: &impl Db,
    workspace: &WorkspaceId,
    after: Option<&RoleAssignmentId>,
    limit: u64,
) -> Result<Vec<RoleAssignment>, StoreError> {
    let mut query = assignment::Entity::find().filter(assignment::Column::WorkspaceId.eq(workspace.as_str()));
    if let Some(after) = after {
        query = query.filter(assignment::Column::Id.gt(after.as_str()));
    }
    let query = query.order_by_asc(assignment::Column::Id).limit(capped(limit));
    query.all(db.conn()).await?.into_iter().map(read).collect()
}
