//! How many nodes of its own a workspace is to have, and on which nodes its pods run.

use hexabase_core::ids::WorkspaceId;
use hexabase_core::nodes::NodeClass;
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::changes::{change, changed};
use super::{Desired, WorkspaceScope};
use crate::entities::workspaces::workspace;
use crate::store::{StoreError, Tx};

/// Asks for so many nodes of its own for the workspace; [`StoreError::Stale`] when its deletion was asked for.
pub async fn want_nodes(tx: &Tx, scope: &WorkspaceScope, count: u32, now: Timestamp) -> Result<(), StoreError> {
    let update = change(scope.workspace(), now)
        .col_expr(workspace::Column::NodesWanted, Expr::value(i64::from(count)))
        .col_expr(workspace::Column::NodesSince, Expr::value(now.as_micros()))
        .col_expr(workspace::Column::NodesMessage, Expr::value(None::<String>))
        .filter(workspace::Column::Desired.ne(Desired::Absent.as_str()));
    changed(tx, update).await
}

/// Notes on which nodes new pods of the workspace are put from now on, and that the move begins now; [`StoreError::Stale`] when its deletion was asked for.
pub async fn set_placed(tx: &Tx, id: &WorkspaceId, placed: NodeClass, now: Timestamp) -> Result<(), StoreError> {
    let update = change(id, now)
        .col_expr(workspace::Column::Placed, Expr::value(placed.as_str()))
        .col_expr(workspace::Column::NodesSince, Expr::value(now.as_micros()))
        .filter(workspace::Column::Desired.ne(Desired::Absent.as_str()));
    changed(tx, update).await
}

/// Notes that pods of the workspace, which were all in their place, begin to move now. That is no change of it: its version stays.
pub async fn note_moving(tx: &Tx, id: &WorkspaceId, now: Timestamp) -> Result<(), StoreError> {
    let update = workspace::Entity::update_many()
        .col_expr(workspace::Column::NodesSince, Expr::value(now.as_micros()))
        .filter(workspace::Column::Id.eq(id.as_str()));
    changed(tx, update).await
}

/// Notes what keeps the workspace from being where it is to be. That is no change of it: its version stays.
pub async fn note_nodes_message(tx: &Tx, id: &WorkspaceId, message: Option<&str>) -> Result<(), StoreError> {
    let update = workspace::Entity::update_many()
        .col_expr(workspace::Column::NodesMessage, Expr::value(message.map(str::to_owned)))
        .filter(workspace::Column::Id.eq(id.as_str()));
    changed(tx, update).await
}
