//! Nodes of a workspace's own: how many it is to have, and how far they are. Which ones it gets is the job's to say.

use hexabase_backends::store::host_nodes::{self, HostNode};
use hexabase_backends::store::workspaces::{self, WorkspaceScope};
use hexabase_backends::store::{Store, plans};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::nodes::NodeClass;
use serde_json::json;

use crate::authz::{self, While, WorkspaceAction};
use crate::context::{App, OpContext};
use crate::error::{Error, Result};
use crate::jobs::follow;
use crate::plans::plan_of;

/// The nodes of a workspace's own.
#[derive(Debug, Clone)]
pub struct WorkspaceNodes {
    /// How many it is to have.
    pub wanted: u32,
    /// How many its plan gives.
    pub limit: u32,
    /// How many more it could have at this moment.
    pub available: u32,
    /// On which nodes its new pods are put.
    pub placed: NodeClass,
    /// What keeps it from being where it is to be.
    pub message: Option<String>,
    /// Those that it has, by name.
    pub nodes: Vec<HostNode>,
}

/// The nodes of a workspace.
pub async fn get(app: &App, ctx: &OpContext, id: &WorkspaceId) -> Result<WorkspaceNodes> {
    let scope = authz::workspace(&app.store, ctx, id, WorkspaceAction::View).await?;
    found(app, &scope).await
}

/// Asks for so many nodes of its own for a workspace, or for none: then it runs on shared ones again. It goes on running, and moves
/// as a whole or not at all, but for pods that nothing makes anew. Asking twice changes nothing.
///
/// # Errors
/// [`Error::LimitReached`] when its plan gives fewer.
pub async fn set(app: &App, ctx: &OpContext, id: &WorkspaceId, count: u32) -> Result<WorkspaceNodes> {
    let tx = app.store.begin().await?;
    let scope = authz::locked_workspace_while(&tx, ctx, id, WorkspaceAction::ManageNodes, While::Living).await?;
    let plan = plan_of(&tx, &scope).await?;
    if count > plan.max_nodes {
        let sentence = match plan.max_nodes {
            0 => format!(
                "the plan {} gives a workspace no nodes of its own; an admin of the organization can choose another plan",
                plan.id
            ),
            most => format!(
                "the plan {} gives a workspace {most} node(s) of its own; an admin of the organization can choose another plan for more",
                plan.id
            ),
        };
        return Err(Error::LimitReached(sentence));
    }
    let row = workspaces::get(&tx, &scope).await?.ok_or(Error::NotFound("workspace"))?;
    if row.nodes_wanted == count {
        tx.rollback().await?;
        return found(app, &scope).await;
    }
    workspaces::want_nodes(&tx, &scope, count, ctx.now).await?;
    let said = (Some(json!({ "count": row.nodes_wanted })), Some(json!({ "count": count })));
    follow::commit(app, ctx, tx, &scope, "workspace.nodes_changed", id.as_str(), said).await?;
    tracing::info!(workspace.id = %id, nodes = count, "nodes of its own asked for a workspace");
    found(app, &scope).await
}

/// Every node that is offered or that a workspace has, for an operator of the platform.
pub async fn all(store: &Store) -> Result<Vec<HostNode>> {
    Ok(host_nodes::list_for_operator(store).await?)
}

async fn found(app: &App, scope: &WorkspaceScope) -> Result<WorkspaceNodes> {
    let row = workspaces::get(&app.store, scope).await?.ok_or(Error::NotFound("workspace"))?;
    let plan = plans::get_version(&app.store, &row.plan_id, row.plan_version).await?;
    let limit = plan.ok_or_else(|| Error::internal("the plan's row is missing"))?.max_nodes;
    let free = host_nodes::count_free(&app.store).await?;
    let available = limit.saturating_sub(row.nodes_wanted).min(u32::try_from(free).unwrap_or(u32::MAX));
    let nodes = host_nodes::list(&app.store, scope).await?;
    let (wanted, placed, message) = (row.nodes_wanted, row.placed, row.nodes_message);
    Ok(WorkspaceNodes { wanted, limit, available, placed, message, nodes })
}
