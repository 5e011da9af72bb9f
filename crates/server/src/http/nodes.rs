//! `/workspaces/{workspace}/nodes`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hexabase_api::nodes::{Node, WorkspaceNodes, WorkspaceNodesUpdate};
use hexabase_app::App;
use hexabase_app::nodes::{self, WorkspaceNodes as Found};
use hexabase_backends::store::host_nodes::HostNode;

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{JsonBody, id};

fn view(found: Found) -> WorkspaceNodes {
    let Found { wanted, limit, available, placed, message, nodes } = found;
    let node = |node: HostNode| Node {
        name: node.name.into(),
        state: node.state,
        message: node.message,
        claimed_at: node.claimed_at,
    };
    WorkspaceNodes { wanted, limit, available, placed, message, nodes: nodes.into_iter().map(node).collect() }
}

/// The nodes of a workspace's own, and on which nodes its pods are.
#[utoipa::path(get, path = "/workspaces/{workspace}/nodes", tag = "workspaces",
    params(("workspace" = String, Path)), responses((status = 200, body = WorkspaceNodes)))]
pub(super) async fn get(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
) -> ApiResult<Json<WorkspaceNodes>> {
    let workspace = id("workspace", &workspace)?;
    Ok(Json(view(nodes::get(&app, &ctx, &workspace).await?)))
}

/// Says how many nodes of its own a workspace is to have. It goes on running, and moves once a node is ready and all of its
/// volumes can be reached from there; with 0, back to shared ones in the same way.
#[utoipa::path(put, path = "/workspaces/{workspace}/nodes", tag = "workspaces", params(("workspace" = String, Path)),
    request_body = WorkspaceNodesUpdate, responses((status = 202, body = WorkspaceNodes)))]
pub(super) async fn set(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    JsonBody(WorkspaceNodesUpdate { count }): JsonBody<WorkspaceNodesUpdate>,
) -> ApiResult<(StatusCode, Json<WorkspaceNodes>)> {
    let workspace = id("workspace", &workspace)?;
    let asked = nodes::set(&app, &ctx, &workspace, count).await?;
    Ok((StatusCode::ACCEPTED, Json(view(asked))))
}
