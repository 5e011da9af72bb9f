//! Nodes of the host that are kept for workspaces. A row is a node that the operator offers, or one that a workspace has; its
//! name is its key, so that no two workspaces ever have the same.

use hexabase_core::ids::WorkspaceId;
use hexabase_core::nodes::{NodeName, NodeState};
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, Select, Statement,
};

use super::column::{Table, time, time_opt};
use super::db::{self, Connection, Db};
use super::workspaces::WorkspaceScope;
use super::{StoreError, Tx};
use crate::entities::nodes::host_node;

const TABLE: Table = Table("host_nodes");

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostNode {
    /// Its name on the host.
    pub name: NodeName,
    /// Who has it; nobody while it is free.
    pub workspace_id: Option<WorkspaceId>,
    /// Where it stands.
    pub state: NodeState,
    /// What stands in the way.
    pub message: Option<String>,
    /// Since when the workspace has it.
    pub claimed_at: Option<Timestamp>,
    /// When its state, or what stands in the way, last changed.
    pub changed_at: Timestamp,
}

fn read(model: host_node::Model) -> Result<HostNode, StoreError> {
    Ok(HostNode {
        name: TABLE.parse("name", &model.name)?,
        workspace_id: TABLE.parse_opt("workspace_id", model.workspace_id.as_deref())?,
        state: TABLE.parse("state", &model.state)?,
        message: model.message,
        claimed_at: time_opt(model.claimed_at),
        changed_at: time(model.changed_at),
    })
}

// Not cut off at a page: a node that is left out would be taken for one that nobody has.
async fn all(db: &impl Db, query: Select<host_node::Entity>) -> Result<Vec<HostNode>, StoreError> {
    let query = query.order_by_asc(host_node::Column::Name);
    query.all(db.conn()).await?.into_iter().map(read).collect()
}

fn of_workspace(id: &WorkspaceId) -> Select<host_node::Entity> {
    host_node::Entity::find().filter(host_node::Column::WorkspaceId.eq(id.as_str()))
}

fn free() -> Select<host_node::Entity> {
    host_node::Entity::find().filter(host_node::Column::State.eq(NodeState::Free.as_str()))
}

/// The nodes of the workspace, by name.
pub async fn list(db: &impl Db, scope: &WorkspaceScope) -> Result<Vec<HostNode>, StoreError> {
    all(db, of_workspace(scope.workspace())).await
}

/// The same, for the job that works on it.
pub async fn of_workspace_for_job(db: &impl Db, id: &WorkspaceId) -> Result<Vec<HostNode>, StoreError> {
    all(db, of_workspace(id)).await
}

/// Every node that is offered or that somebody has, for the job that keeps them.
pub async fn list_for_job(db: &impl Db) -> Result<Vec<HostNode>, StoreError> {
    all(db, host_node::Entity::find()).await
}

/// The same for operators.
pub async fn list_for_operator(db: &impl Db) -> Result<Vec<HostNode>, StoreError> {
    all(db, host_node::Entity::find()).await
}

/// How many are free for whoever asks next.
pub async fn count_free(db: &impl Db) -> Result<u64, StoreError> {
    Ok(free().count(db.conn()).await?)
}

/// Notes that the operator offers a node; nothing, when it is known.
pub async fn offer(tx: &Tx, name: &NodeName, now: Timestamp) -> Result<bool, StoreError> {
    let model = host_node::Model {
        name: name.to_string(),
        workspace_id: None,
        state: NodeState::Free.to_string(),
        message: None,
        claimed_at: None,
        changed_at: now.as_micros(),
    };
    db::insert_if_absent(tx.conn(), model).await
}

/// Forgets a node that is offered no more; `false`, and it stays, when a workspace has it.
pub async fn withdraw(tx: &Tx, name: &NodeName) -> Result<bool, StoreError> {
    let removed = host_node::Entity::delete_many()
        .filter(host_node::Column::Name.eq(name.as_str()))
        .filter(host_node::Column::State.eq(NodeState::Free.as_str()))
        .exec(tx.conn())
        .await?;
    Ok(removed.rows_affected > 0)
}

/// Gives a free node to the workspace, if there is one: the one that is free for longest, so that one which could not be used is not
/// given again while there are others. Of many who claim at once none waits for another, and no two
/// are given the same.
pub async fn claim(tx: &Tx, id: &WorkspaceId, now: Timestamp) -> Result<Option<NodeName>, StoreError> {
    let backend = tx.conn().get_database_backend();
    let skip_locked = if backend == DbBackend::Postgres { "FOR UPDATE SKIP LOCKED" } else { "" };
    let claim = Statement::from_sql_and_values(
        backend,
        format!(
            "UPDATE host_nodes SET workspace_id = $1, state = $2, message = NULL, claimed_at = $3, changed_at = $3 \
             WHERE state = $4 AND name = (SELECT name FROM host_nodes WHERE state = $4 ORDER BY changed_at, name LIMIT 1 {skip_locked}) \
             RETURNING name"
        ),
        [
            id.as_str().into(),
            NodeState::Claimed.as_str().into(),
            now.as_micros().into(),
            NodeState::Free.as_str().into(),
        ],
    );
    let Some(row) = tx.conn().query_one_raw(claim).await? else { return Ok(None) };
    let name: String = row.try_get_by_index(0)?;
    Ok(Some(TABLE.parse("name", &name)?))
}

/// Notes where a node of the workspace stands; [`StoreError::Stale`] when it is not its any more.
pub async fn set_state(
    tx: &Tx,
    id: &WorkspaceId,
    name: &NodeName,
    state: NodeState,
    message: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let updated = host_node::Entity::update_many()
        .col_expr(host_node::Column::State, Expr::value(state.as_str()))
        .col_expr(host_node::Column::Message, Expr::value(message.map(str::to_owned)))
        .col_expr(host_node::Column::ChangedAt, Expr::value(now.as_micros()))
        .filter(host_node::Column::Name.eq(name.as_str()))
        .filter(host_node::Column::WorkspaceId.eq(id.as_str()))
        .exec(tx.conn())
        .await?;
    if updated.rows_affected > 0 { Ok(()) } else { Err(StoreError::Stale) }
}

/// Takes a node from the workspace that nothing of it is left on, and forgets it: whether it is still offered, and empty, only a look
/// at the host can tell. [`StoreError::Stale`] when it is not its any more.
pub async fn give_back(tx: &Tx, id: &WorkspaceId, name: &NodeName) -> Result<(), StoreError> {
    let removed = host_node::Entity::delete_many()
        .filter(host_node::Column::Name.eq(name.as_str()))
        .filter(host_node::Column::WorkspaceId.eq(id.as_str()))
        .exec(tx.conn())
        .await?;
    if removed.rows_affected > 0 { Ok(()) } else { Err(StoreError::Stale) }
}
