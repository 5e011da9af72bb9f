//! Projects: the namespaces of a workspace.

use hexabase_core::ids::{ProjectId, UserId, WorkspaceId};
use hexabase_core::names::ProjectName;
use hexabase_core::phases::ProjectPhase;
use hexabase_core::projects::{NetworkIsolation, PodSecurity, ProjectLabels};
use hexabase_core::quota::Amounts;
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use serde_json::{Map, Value};

use super::column::{Table, json_of, time, time_opt};
use super::db::{self, Connection, Db};
use super::workspaces::WorkspaceScope;
use super::{StoreError, Tx, capped};
use crate::entities::projects::project;

const TABLE: Table = Table("projects");

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// Its name, unique among the workspace's living projects.
    pub name: ProjectName,
    /// Where it stands.
    pub phase: ProjectPhase,
    /// Its share of the workspace's plan, or of the share of the project it stands below; what it gave to projects below it is
    /// part of that.
    pub limits: Amounts,
    /// Who made it.
    pub created_by: UserId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its namespace was gone.
    pub deleted_at: Option<Timestamp>,
    /// The project it stands below, whose roles hold in it too.
    pub parent_id: Option<ProjectId>,
    /// What people wrote on it, for their own use.
    pub labels: ProjectLabels,
    /// Which pods are let into its namespace.
    pub pod_security: PodSecurity,
    /// Whom its pods can talk to in the workspace.
    pub network: NetworkIsolation,
}

/// A project to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProject {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub name: ProjectName,
    /// Its share of the workspace's plan, or of the share of the project it is to stand below.
    pub limits: Amounts,
    /// The project it is to stand below: one of the same workspace, which the caller has looked up there.
    pub parent_id: Option<ProjectId>,
    /// What people write on it.
    pub labels: ProjectLabels,
    /// Which pods are to be let into its namespace.
    pub pod_security: PodSecurity,
    /// Whom its pods are to be able to talk to in the workspace.
    pub network: NetworkIsolation,
}

fn read(model: project::Model) -> Result<Project, StoreError> {
    Ok(Project {
        id: TABLE.parse("id", &model.id)?,
        workspace_id: TABLE.parse("workspace_id", &model.workspace_id)?,
        name: TABLE.parse("name", &model.name)?,
        phase: TABLE.parse("phase", &model.phase)?,
        limits: limits(&model.limits)?,
        created_by: TABLE.parse("created_by", &model.created_by)?,
        created_at: time(model.created_at),
        deleted_at: time_opt(model.deleted_at),
        parent_id: TABLE.parse_opt("parent_id", model.parent_id.as_deref())?,
        labels: TABLE.object("labels", &model.labels)?,
        pod_security: TABLE.parse("pod_security", &model.pod_security)?,
        network: TABLE.parse("network", &model.network)?,
    })
}

/// Servers of the version before, which go on for a while beside the first new ones, write less: the rest is as the migration
/// filled it in.
fn limits(text: &str) -> Result<Amounts, StoreError> {
    let mut said: Map<String, Value> = TABLE.object("limits", text)?;
    let pods = said.get("pods").and_then(Value::as_u64).unwrap_or_default();
    let missing = [
        ("services", pods),
        ("load_balancers", 0),
        ("persistent_volume_claims", pods),
        ("objects", pods.saturating_mul(10)),
    ];
    for (name, number) in missing {
        said.entry(name).or_insert_with(|| number.into());
    }
    TABLE.object("limits", &Value::Object(said).to_string())
}

fn living(workspace: &WorkspaceId) -> Select<project::Entity> {
    project::Entity::find()
        .filter(project::Column::WorkspaceId.eq(workspace.as_str()))
        .filter(project::Column::LivingName.is_not_null())
}

/// A project of the workspace, deleted or not.
pub async fn get(db: &impl Db, scope: &WorkspaceScope, id: &ProjectId) -> Result<Option<Project>, StoreError> {
    let query =
        project::Entity::find_by_id(id.as_str()).filter(project::Column::WorkspaceId.eq(scope.workspace().as_str()));
    query.one(db.conn()).await?.map(read).transpose()
}

/// The workspace's living projects, by id.
pub async fn list(
    db: &impl Db,
    scope: &WorkspaceScope,
    after: Option<&ProjectId>,
    limit: u64,
) -> Result<Vec<Project>, StoreError> {
    list_for_job(db, scope.workspace(), after, limit).await
}

/// The same, for the job that makes the namespaces.
pub async fn list_for_job(
    db: &impl Db,
    workspace: &WorkspaceId,
    after: Option<&ProjectId>,
    limit: u64,
) -> Result<Vec<Project>, StoreError> {
    let mut query = living(workspace);
    if let Some(after) = after {
        query = query.filter(project::Column::Id.gt(after.as_str()));
    }
    let query = query.order_by_asc(project::Column::Id).limit(capped(limit));
    query.all(db.conn()).await?.into_iter().map(read).collect()
}

/// How many living projects the workspace has. To hold a limit, take [`workspaces::lock`](super::workspaces::lock)
/// first.
pub async fn count_living(db: &impl Db, scope: &WorkspaceScope) -> Result<u64, StoreError> {
    Ok(living(scope.workspace()).count(db.conn()).await?)
}

/// How many living projects stand directly below this one. To rely on it, take
/// [`workspaces::lock`](super::workspaces::lock) first.
pub async fn count_below(db: &impl Db, scope: &WorkspaceScope, id: &ProjectId) -> Result<u64, StoreError> {
    Ok(living(scope.workspace()).filter(project::Column::ParentId.eq(id.as_str())).count(db.conn()).await?)
}

/// Adds a project in phase `creating`, made by the scope's person.
///
/// [`Unique::ProjectName`](super::Unique::ProjectName) when a living one has the name.
pub async fn insert(tx: &Tx, scope: &WorkspaceScope, new: &NewProject, now: Timestamp) -> Result<(), StoreError> {
    let model = project::Model {
        id: new.id.to_string(),
        workspace_id: scope.workspace().to_string(),
        name: new.name.to_string(),
        living_name: Some(new.name.to_string()),
        phase: ProjectPhase::Creating.to_string(),
        limits: json_of(&new.limits)?,
        created_by: scope.user().to_string(),
        created_at: now.as_micros(),
        deleted_at: None,
        parent_id: new.parent_id.as_ref().map(ToString::to_string),
        labels: json_of(&new.labels)?,
        pod_security: new.pod_security.to_string(),
        network: new.network.to_string(),
    };
    db::insert(tx.conn(), model).await
}

/// What can change about a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectChange {
    /// Its share.
    pub limits: Amounts,
    /// The project it stands below: one of the same workspace, which the caller has looked up there.
    pub parent_id: Option<ProjectId>,
    /// What people wrote on it.
    pub labels: ProjectLabels,
    /// Which pods are let into its namespace.
    pub pod_security: PodSecurity,
    /// Whom its pods can talk to in the workspace.
    pub network: NetworkIsolation,
}

/// Changes a project that is not leaving; `false` when there is none. Take [`workspaces::lock`](super::workspaces::lock) first:
/// shares are counted under it.
pub async fn update(
    tx: &Tx,
    scope: &WorkspaceScope,
    id: &ProjectId,
    change: &ProjectChange,
) -> Result<bool, StoreError> {
    let ProjectChange { limits, parent_id, labels, pod_security, network } = change;
    let updated = project::Entity::update_many()
        .col_expr(project::Column::Limits, Expr::value(json_of(limits)?))
        .col_expr(project::Column::ParentId, Expr::value(parent_id.as_ref().map(ToString::to_string)))
        .col_expr(project::Column::Labels, Expr::value(json_of(labels)?))
        .col_expr(project::Column::PodSecurity, Expr::value(pod_security.as_str()))
        .col_expr(project::Column::Network, Expr::value(network.as_str()))
        .filter(project::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .filter(project::Column::Id.eq(id.as_str()))
        .filter(project::Column::Phase.is_in([ProjectPhase::Creating.as_str(), ProjectPhase::Ready.as_str()]))
        .exec(tx.conn())
        .await?;
    Ok(updated.rows_affected > 0)
}

/// Asks for the project's deletion; `false` when there is no such project, or that was done before.
pub async fn request_deletion(tx: &Tx, scope: &WorkspaceScope, id: &ProjectId) -> Result<bool, StoreError> {
    let updated = project::Entity::update_many()
        .col_expr(project::Column::Phase, Expr::value(ProjectPhase::Deleting.as_str()))
        .filter(project::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .filter(project::Column::Id.eq(id.as_str()))
        .filter(project::Column::Phase.is_in([ProjectPhase::Creating.as_str(), ProjectPhase::Ready.as_str()]))
        .exec(tx.conn())
        .await?;
    Ok(updated.rows_affected > 0)
}

/// Notes where the project stands; `deleted` also frees its name.
///
/// [`StoreError::Stale`] when its deletion was asked for and `phase` is one of coming to life, or the reverse.
pub async fn set_phase(tx: &Tx, id: &ProjectId, phase: ProjectPhase, now: Timestamp) -> Result<(), StoreError> {
    use ProjectPhase::{Creating, Deleted, Deleting, Ready};
    let from = match phase {
        Creating | Ready => [Creating, Ready].as_slice(),
        Deleting | Deleted => &[Deleting],
    };
    let mut update = project::Entity::update_many()
        .col_expr(project::Column::Phase, Expr::value(phase.as_str()))
        .filter(project::Column::Id.eq(id.as_str()))
        .filter(project::Column::Phase.is_in(from.iter().map(|phase| phase.as_str())));
    if phase == Deleted {
        update = update
            .col_expr(project::Column::LivingName, Expr::value(None::<String>))
            .col_expr(project::Column::DeletedAt, Expr::value(now.as_micros()));
    }
    let updated = update.exec(tx.conn()).await?;
    if updated.rows_affected > 0 { Ok(()) } else { Err(StoreError::Stale) }
}

/// Notes that every project of the workspace went with it, and frees their names.
pub(super) async fn set_all_deleted(tx: &Tx, workspace: &WorkspaceId, now: Timestamp) -> Result<(), StoreError> {
    project::Entity::update_many()
        .col_expr(project::Column::Phase, Expr::value(ProjectPhase::Deleted.as_str()))
        .col_expr(project::Column::LivingName, Expr::value(None::<String>))
        .col_expr(project::Column::DeletedAt, Expr::value(now.as_micros()))
        .filter(project::Column::WorkspaceId.eq(workspace.as_str()))
        .filter(project::Column::LivingName.is_not_null())
        .exec(tx.conn())
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_of_before_wrote_is_read_as_the_migration_read_it() {
        let read = limits(r#"{"cpu":"1","memory":"1Gi","storage":"2Gi","pods":3}"#).unwrap();
        let (services, claims) = (read.services, read.persistent_volume_claims);
        assert_eq!((services, read.load_balancers, claims, read.objects), (3, 0, 3, 30));
        let written = Amounts { services: 1, ..read.clone() };
        assert_eq!(limits(&json_of(&written).unwrap()).unwrap(), written);
        assert!(limits(r#"{"cpu":"1","memory":"1Gi","storage":"2Gi"}"#).is_err());
        assert!(limits(r#"{"cpu":"1","memory":"1Gi","storage":"2Gi","pods":3,"gpus":1}"#).is_err());
    }
}
