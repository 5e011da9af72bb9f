//! `/plans`, `/organizations/{organization}/estimate` and `/workspaces/{workspace}/plan`.

use axum::Json;
use axum::extract::{Path, State};
use hexabase_api::page::Page;
use hexabase_api::plans::{Estimate, EstimateQuery, Plan};
use hexabase_api::workspaces::{Workspace, WorkspacePlanUpdate};
use hexabase_app::plans::PlanChoice;
use hexabase_app::{App, plans};
use hexabase_core::ids::WorkspaceId;

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{JsonBody, Query, id};
use super::workspaces;

/// The plans that new workspaces can choose.
#[utoipa::path(get, path = "/plans", tag = "plans", responses((status = 200, body = Page<Plan>)))]
pub(super) async fn list(State(app): State<App>, Caller(_ctx): Caller) -> ApiResult<Json<Page<Plan>>> {
    let items = plans::list(&app).await?.into_iter().map(Plan::from).collect();
    Ok(Json(Page { items, next_cursor: None }))
}

/// What one more workspace under a plan would cost, or one that is there under another plan.
#[utoipa::path(get, path = "/organizations/{organization}/estimate", tag = "plans",
    params(("organization" = String, Path), EstimateQuery), responses((status = 200, body = Estimate)))]
pub(super) async fn estimate(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(organization): Path<String>,
    Query(EstimateQuery { plan, workspace }): Query<EstimateQuery>,
) -> ApiResult<Json<Estimate>> {
    let organization = id("organization", &organization)?;
    let workspace: Option<WorkspaceId> = workspace.map(|text| id("workspace", &text)).transpose()?;
    let found = plans::estimate(&app, &ctx, &organization, &plan, workspace.as_ref()).await?;
    Ok(Json(Estimate {
        plan: found.plan.into(),
        now: found.now.into_iter().map(Into::into).collect(),
        then: found.then.into_iter().map(Into::into).collect(),
        workspaces: found.workspaces,
    }))
}

/// Puts a workspace under another plan, or the newest version of its own. It goes on running while its quotas follow.
#[utoipa::path(put, path = "/workspaces/{workspace}/plan", tag = "plans",
    params(("workspace" = String, Path)), request_body = WorkspacePlanUpdate, responses((status = 200, body = Workspace)))]
pub(super) async fn change(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    JsonBody(body): JsonBody<WorkspacePlanUpdate>,
) -> ApiResult<Json<Workspace>> {
    let workspace = id("workspace", &workspace)?;
    let plan = PlanChoice { plan: &body.plan, version: body.plan_version };
    let changed = hexabase_app::workspaces::change_plan(&app, &ctx, &workspace, plan).await?;
    Ok(Json(workspaces::details(&app, changed)))
}
