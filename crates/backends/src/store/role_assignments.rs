//! Roles given to groups, in the whole workspace or in one project, for good or for a time.

use hexabase_core::ids::{GroupId, ProjectId, RoleAssignmentId, WorkspaceId};
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select};

use super::column::{Table, micros_opt, time, time_opt};
use super::db::{self, Connection, Db};
use super::workspaces::WorkspaceScope;
use super::{StoreError, Tx, capped};
use crate::entities::groups::{group, role_assignment as assignment};

const TABLE: Table = Table("role_assignments");

/// A role given to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleAssignment {
    /// Its id.
    pub id: RoleAssignmentId,
    /// The group.
    pub group_id: GroupId,
    /// The project in which, and below which, it holds; `None` for the whole workspace.
    pub project_id: Option<ProjectId>,
    /// The role's name in the tenant.
    pub role: String,
    /// Since when.
    pub created_at: Timestamp,
    /// The moment from which on it gives nothing any more.
    pub expires_at: Option<Timestamp>,
}

impl RoleAssignment {
    /// Whether it gives anything at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

fn read(model: assignment::Model) -> Result<RoleAssignment, StoreError> {
    Ok(RoleAssignment {
        id: TABLE.parse("id", &model.id)?,
        group_id: TABLE.parse("group_id", &model.group_id)?,
        project_id: TABLE.parse_opt("project_id", model.project_id.as_deref())?,
        role: model.role,
        created_at: time(model.created_at),
        expires_at: time_opt(model.expires_at),
    })
}

fn of_workspace(workspace: &WorkspaceId) -> Select<assignment::Entity> {
    assignment::Entity::find().filter(assignment::Column::WorkspaceId.eq(workspace.as_str()))
}

/// A role given in the workspace.
pub async fn get(
    db: &impl Db,
    scope: &WorkspaceScope,
    id: &RoleAssignmentId,
) -> Result<Option<RoleAssignment>, StoreError> {
    let query = of_workspace(scope.workspace()).filter(assignment::Column::Id.eq(id.as_str()));
    query.one(db.conn()).await?.map(read).transpose()
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
        expires_at: micros_opt(row.expires_at),
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

/// Takes away every role given in a project, which is going, and returns them.
pub async fn take_of_project(
    tx: &Tx,
    scope: &WorkspaceScope,
    project: &ProjectId,
) -> Result<Vec<RoleAssignment>, StoreError> {
    take(tx, of_workspace(scope.workspace()).filter(assignment::Column::ProjectId.eq(project.as_str()))).await
}

async fn take(tx: &Tx, query: Select<assignment::Entity>) -> Result<Vec<RoleAssignment>, StoreError> {
    let found = query.order_by_asc(assignment::Column::Id).all(tx.conn()).await?;
    let ids: Vec<&str> = found.iter().map(|row| row.id.as_str()).collect();
    assignment::Entity::delete_many().filter(assignment::Column::Id.is_in(ids)).exec(tx.conn()).await?;
    found.into_iter().map(read).collect()
}

/// Removes what has given nothing since `now` or longer, and returns it.
pub async fn take_expired(tx: &Tx, workspace: &WorkspaceId, now: Timestamp) -> Result<Vec<RoleAssignment>, StoreError> {
    take(tx, of_workspace(workspace).filter(assignment::Column::ExpiresAt.lte(now.as_micros()))).await
}

/// Those that hold at `now`.
fn holding(workspace: &WorkspaceId, now: Timestamp) -> Select<assignment::Entity> {
    let end = assignment::Column::ExpiresAt;
    of_workspace(workspace).filter(end.is_null().or(end.gt(now.as_micros())))
}

/// Which of the roles given to groups with these names hold at `now`, for the gateway.
pub async fn held_for_issuer(
    db: &impl Db,
    workspace: &WorkspaceId,
    groups: &[String],
    now: Timestamp,
) -> Result<Vec<RoleAssignmentId>, StoreError> {
    let named = group::Entity::find()
        .select_only()
        .column(group::Column::Id)
        .filter(group::Column::WorkspaceId.eq(workspace.as_str()))
        .filter(group::Column::Name.is_in(groups))
        .into_query();
    let query = holding(workspace, now).filter(assignment::Column::GroupId.in_subquery(named));
    query.all(db.conn()).await?.into_iter().map(|row| TABLE.parse("id", &row.id)).collect()
}

/// Whether all of these hold at `now`, for the gateway.
pub async fn are_held_for_issuer(
    db: &impl Db,
    workspace: &WorkspaceId,
    ids: &[RoleAssignmentId],
    now: Timestamp,
) -> Result<bool, StoreError> {
    if ids.is_empty() {
        return Ok(true);
    }
    let query = holding(workspace, now).filter(assignment::Column::Id.is_in(ids.iter().map(RoleAssignmentId::as_str)));
    Ok(query.count(db.conn()).await? == ids.len() as u64)
}

/// How many roles are given in the workspace. To hold a limit, take [`workspaces::lock`](super::workspaces::lock) first.
pub async fn count(db: &impl Db, scope: &WorkspaceScope) -> Result<u64, StoreError> {
    Ok(of_workspace(scope.workspace()).count(db.conn()).await?)
}

/// The roles given in the workspace, by id.
pub async fn list(
    db: &impl Db,
    scope: &WorkspaceScope,
    after: Option<&RoleAssignmentId>,
    limit: u64,
) -> Result<Vec<RoleAssignment>, StoreError> {
    let mut query = of_workspace(scope.workspace());
    if let Some(after) = after {
        query = query.filter(assignment::Column::Id.gt(after.as_str()));
    }
    let query = query.order_by_asc(assignment::Column::Id).limit(capped(limit));
    query.all(db.conn()).await?.into_iter().map(read).collect()
}

/// All roles given in the workspace, by id, to work out what they come to.
pub async fn all(db: &impl Db, scope: &WorkspaceScope) -> Result<Vec<RoleAssignment>, StoreError> {
    all_for_job(db, scope.workspace()).await
}

/// The same, for the job that makes the bindings in the tenant.
pub async fn all_for_job(db: &impl Db, workspace: &WorkspaceId) -> Result<Vec<RoleAssignment>, StoreError> {
    // Not cut off at a page: their number has a limit of its own, and the bindings of those left out would be removed.
    let query = of_workspace(workspace).order_by_asc(assignment::Column::Id);
    query.all(db.conn()).await?.into_iter().map(read).collect()
}
