//! Custom roles: of a workspace, or of one project.

use hexabase_core::ids::{ProjectId, RoleId, UserId, WorkspaceId};
use hexabase_core::names::RoleName;
use hexabase_core::roles::{RolePhase, Rule};
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, Select, UpdateMany};

use super::column::{Table, time};
use super::db::{self, Connection, Db};
use super::workspaces::WorkspaceScope;
use super::{StoreError, Tx};
use crate::entities::roles::role;

const TABLE: Table = Table("roles");

/// A custom role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its id.
    pub id: RoleId,
    /// The project it belongs to; `None` for one of the whole workspace.
    pub project_id: Option<ProjectId>,
    /// Its name, unique in the workspace or project.
    pub name: RoleName,
    /// What it is to allow.
    pub rules: Vec<Rule>,
    /// What Kubernetes has accepted, and holds.
    pub accepted: Option<Vec<Rule>>,
    /// Where it stands.
    pub phase: RolePhase,
    /// Why it was refused.
    pub message: Option<String>,
    /// Who made it.
    pub created_by: UserId,
    /// Who changed it last, and with whose rights it is judged.
    pub changed_by: UserId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub changed_at: Timestamp,
}

/// A custom role to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRole {
    /// Its id.
    pub id: RoleId,
    /// The project it belongs to; `None` for one of the whole workspace.
    pub project_id: Option<ProjectId>,
    /// Its name.
    pub name: RoleName,
    /// What it is to allow.
    pub rules: Vec<Rule>,
}

fn read_rules(column: &'static str, text: &str) -> Result<Vec<Rule>, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt { table: "roles", column, source: Box::new(error) })
}

fn read(model: role::Model) -> Result<Role, StoreError> {
    Ok(Role {
        id: TABLE.parse("id", &model.id)?,
        project_id: TABLE.parse_opt("project_id", model.project_id.as_deref())?,
        name: TABLE.parse("name", &model.name)?,
        rules: read_rules("rules", &model.rules)?,
        accepted: model.accepted.map(|text| read_rules("accepted", &text)).transpose()?,
        phase: TABLE.parse("phase", &model.phase)?,
        message: model.message,
        created_by: TABLE.parse("created_by", &model.created_by)?,
        changed_by: TABLE.parse("changed_by", &model.changed_by)?,
        created_at: time(model.created_at),
        changed_at: time(model.changed_at),
    })
}

fn write_rules(rules: &[Rule]) -> Result<String, StoreError> {
    serde_json::to_string(rules).map_err(|error| StoreError::Other(Box::new(error)))
}

fn of_workspace(workspace: &WorkspaceId) -> Select<role::Entity> {
    role::Entity::find().filter(role::Column::WorkspaceId.eq(workspace.as_str()))
}

/// A custom role of the workspace or of one of its projects.
pub async fn get(db: &impl Db, scope: &WorkspaceScope, id: &RoleId) -> Result<Option<Role>, StoreError> {
    let query = of_workspace(scope.workspace()).filter(role::Column::Id.eq(id.as_str()));
    query.one(db.conn()).await?.map(read).transpose()
}

/// All custom roles of the workspace and of its projects, by id. To rely on what is not there, take
/// [`workspaces::lock`](super::workspaces::lock) first.
pub async fn list(db: &impl Db, scope: &WorkspaceScope) -> Result<Vec<Role>, StoreError> {
    list_for_job(db, scope.workspace()).await
}

/// The same, for the job that makes them.
pub async fn list_for_job(db: &impl Db, workspace: &WorkspaceId) -> Result<Vec<Role>, StoreError> {
    // Not cut off at a page: their number has a limit of its own, and a role left out would be removed.
    let query = of_workspace(workspace).order_by_asc(role::Column::Id);
    query.all(db.conn()).await?.into_iter().map(read).collect()
}

/// How many custom roles the workspace and its projects have. To hold a limit, take
/// [`workspaces::lock`](super::workspaces::lock) first.
pub async fn count(db: &impl Db, scope: &WorkspaceScope) -> Result<u64, StoreError> {
    Ok(of_workspace(scope.workspace()).count(db.conn()).await?)
}

/// How many of them belong to this project itself.
pub async fn count_of_project(db: &impl Db, scope: &WorkspaceScope, project: &ProjectId) -> Result<u64, StoreError> {
    let query = of_workspace(scope.workspace()).filter(role::Column::ProjectId.eq(project.as_str()));
    Ok(query.count(db.conn()).await?)
}

/// Adds a custom role in phase `pending`, made by the scope's person.
///
/// [`Unique::RoleName`](super::Unique::RoleName) when the workspace or project has one of that name,
/// [`StoreError::MissingReference`] when the project is not of the workspace.
pub async fn insert(tx: &Tx, scope: &WorkspaceScope, new: &NewRole, now: Timestamp) -> Result<(), StoreError> {
    let project = new.project_id.as_ref().map(ToString::to_string);
    let model = role::Model {
        id: new.id.to_string(),
        workspace_id: scope.workspace().to_string(),
        // Unique indexes take two NULLs for different; the empty text stands for the whole workspace.
        target: project.clone().unwrap_or_default(),
        project_id: project,
        name: new.name.to_string(),
        rules: write_rules(&new.rules)?,
        accepted: None,
        phase: RolePhase::Pending.to_string(),
        message: None,
        created_by: scope.user().to_string(),
        changed_by: scope.user().to_string(),
        created_at: now.as_micros(),
        changed_at: now.as_micros(),
    };
    db::insert(tx.conn(), model).await
}

/// Asks for other rules, in the name of the scope's person; `false` when there is no such role. What was accepted before
/// holds until these are.
pub async fn set_rules(
    tx: &Tx,
    scope: &WorkspaceScope,
    id: &RoleId,
    rules: &[Rule],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let updated = phase(id, RolePhase::Pending, None)
        .col_expr(role::Column::Rules, Expr::value(write_rules(rules)?))
        .col_expr(role::Column::ChangedBy, Expr::value(scope.user().as_str()))
        .col_expr(role::Column::ChangedAt, Expr::value(now.as_micros()))
        .filter(role::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .exec(tx.conn())
        .await?;
    Ok(updated.rows_affected > 0)
}

fn phase(id: &RoleId, phase: RolePhase, message: Option<&str>) -> UpdateMany<role::Entity> {
    role::Entity::update_many()
        .col_expr(role::Column::Phase, Expr::value(phase.as_str()))
        .col_expr(role::Column::Message, Expr::value(message.map(str::to_owned)))
        .filter(role::Column::Id.eq(id.as_str()))
}

/// Only as long as nobody has asked for something else since `role` was read.
fn unchanged(update: UpdateMany<role::Entity>, role: &Role) -> Result<UpdateMany<role::Entity>, StoreError> {
    let update = update
        .filter(role::Column::Phase.eq(RolePhase::Pending.as_str()))
        .filter(role::Column::ChangedBy.eq(role.changed_by.as_str()))
        .filter(role::Column::Rules.eq(write_rules(&role.rules)?));
    Ok(update)
}

/// Notes that Kubernetes holds the rules of `role`; `false` when others were asked for meanwhile.
pub async fn accept(tx: &Tx, role: &Role) -> Result<bool, StoreError> {
    let update = phase(&role.id, RolePhase::Ready, None)
        .col_expr(role::Column::Accepted, Expr::value(write_rules(&role.rules)?));
    Ok(unchanged(update, role)?.exec(tx.conn()).await?.rows_affected > 0)
}

/// Notes that Kubernetes refused the rules of `role`, and why; `false` when others were asked for meanwhile.
pub async fn refuse(tx: &Tx, role: &Role, message: &str) -> Result<bool, StoreError> {
    let update = phase(&role.id, RolePhase::Refused, Some(message));
    Ok(unchanged(update, role)?.exec(tx.conn()).await?.rows_affected > 0)
}

/// Removes a custom role; `false` when there is none.
pub async fn delete(tx: &Tx, scope: &WorkspaceScope, id: &RoleId) -> Result<bool, StoreError> {
    let removed = role::Entity::delete_many()
        .filter(role::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .filter(role::Column::Id.eq(id.as_str()))
        .exec(tx.conn())
        .await?;
    Ok(removed.rows_affected > 0)
}

/// Removes the custom roles of a project, which is going, and returns them.
pub async fn take_of_project(tx: &Tx, scope: &WorkspaceScope, project: &ProjectId) -> Result<Vec<Role>, StoreError> {
    let of_project = role::Column::ProjectId.eq(project.as_str());
    let query = of_workspace(scope.workspace()).filter(of_project.clone()).order_by_asc(role::Column::Id);
    let found = query.all(tx.conn()).await?;
    role::Entity::delete_many()
        .filter(role::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .filter(of_project)
        .exec(tx.conn())
        .await?;
    found.into_iter().map(read).collect()
}
