//! `/organizations/{organization}/workspaces` and `/workspaces`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hexabase_api::page::{Page, PageQuery};
use hexabase_api::workspaces::{
    PlanChange, SleepRule, Step, Workspace, WorkspaceCreate, WorkspaceDeletion, WorkspaceQuery,
};
use hexabase_app::plans::PlanChoice;
use hexabase_app::workspaces::{self, WorkspaceDetails};
use hexabase_app::{App, Settings};
use hexabase_backends::store::workspace_steps::StepRecord;
use hexabase_backends::store::workspaces::{Desired, Workspace as Row};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::phases::WorkspacePhase;
use hexabase_core::plans::Price;
use serde_json::{Value, json};

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{JsonBody, Query, id};
use super::paging;

fn view(settings: &Settings, row: Row, steps: Vec<StepRecord>, price: Option<Price>) -> Workspace {
    let step = |step: StepRecord| Step {
        name: step.step,
        state: step.state.to_string(),
        message: step.message,
        started_at: step.started_at,
        finished_at: step.finished_at,
    };
    let sleep_rule = row.sleep_rule.map(|rule| SleepRule {
        after_minutes: rule.after_minutes,
        keep_workloads: rule.keep_workloads,
        sleep_at: rule.sleep_at.map(|time| time.to_string()),
        wake_at: rule.wake_at.map(|time| time.to_string()),
    });
    let plan_change =
        row.plan_wish.map(|wish| PlanChange { plan: wish.plan, plan_version: wish.version, refused: wish.refused });
    Workspace {
        plan_change,
        removal_at: row.removal_at.filter(|_| row.phase == WorkspacePhase::ToBeDeleted),
        sleep_rule,
        server: settings.gateway_url(&row.id),
        issuer: hexabase_app::issuer::Realm::Workspace(row.id.clone()).issuer(settings),
        id: row.id,
        organization: row.organization_id,
        name: row.name.into(),
        plan: row.plan_id,
        plan_version: row.plan_version,
        price: price.map(Into::into),
        phase: row.phase,
        message: row.message,
        steps: steps.into_iter().map(step).collect(),
        created_at: row.created_at,
        ready_at: row.ready_at,
        deleted_at: row.deleted_at,
        receipt: row.receipt.filter(|_| row.desired == Desired::Absent).map(with_lists),
    }
}

/// A receipt with all of its lists. Rows leave out those in which nothing is, and older ones know of fewer.
fn with_lists(mut receipt: Value) -> Value {
    if let Some(lists) = receipt.as_object_mut() {
        for name in ["removed", "remaining", "forced", "returned", "missing"] {
            lists.entry(name).or_insert_with(|| json!([]));
        }
    }
    receipt
}

pub(super) fn details(app: &App, found: WorkspaceDetails) -> Workspace {
    view(&app.settings, found.workspace, found.steps, found.price)
}

fn page(app: &App, rows: Vec<Row>, limit: u32) -> Json<Page<Workspace>> {
    Json(paging::page(rows, limit, |row| row.id.to_string(), |row| view(&app.settings, row, Vec::new(), None)))
}

/// Asks for a workspace. It is usable when its phase is `ready`.
#[utoipa::path(post, path = "/organizations/{organization}/workspaces", tag = "workspaces",
    params(("organization" = String, Path)), request_body = WorkspaceCreate, responses((status = 201, body = Workspace)))]
pub(super) async fn create(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(organization): Path<String>,
    JsonBody(body): JsonBody<WorkspaceCreate>,
) -> ApiResult<(StatusCode, Json<Workspace>)> {
    let organization = id("organization", &organization)?;
    let plan = PlanChoice { plan: &body.plan, version: body.plan_version };
    let created = workspaces::create(&app, &ctx, &organization, &body.name, plan).await?;
    Ok((StatusCode::CREATED, Json(details(&app, created))))
}

/// Living workspaces of an organisation that the caller may see; without their steps and prices.
#[utoipa::path(get, path = "/organizations/{organization}/workspaces", tag = "workspaces",
    params(("organization" = String, Path), PageQuery), responses((status = 200, body = Page<Workspace>)))]
pub(super) async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(organization): Path<String>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<Page<Workspace>>> {
    let organization = id("organization", &organization)?;
    let window = paging::window::<WorkspaceId>(&query)?;
    let rows = workspaces::list(&app, &ctx, &organization, window.after.as_ref(), u64::from(window.limit) + 1).await?;
    Ok(page(&app, rows, window.limit))
}

/// Living workspaces of all organisations that the caller may see; without their steps and prices.
#[utoipa::path(get, path = "/workspaces", tag = "workspaces", params(WorkspaceQuery),
    responses((status = 200, body = Page<Workspace>)))]
pub(super) async fn list_mine(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(WorkspaceQuery { name, cursor, limit }): Query<WorkspaceQuery>,
) -> ApiResult<Json<Page<Workspace>>> {
    let window = paging::window::<WorkspaceId>(&PageQuery { cursor, limit })?;
    let after = window.after.as_ref();
    let rows = workspaces::list_mine(&app, &ctx, name.as_deref(), after, u64::from(window.limit) + 1).await?;
    Ok(page(&app, rows, window.limit))
}

/// One workspace with its steps.
#[utoipa::path(get, path = "/workspaces/{workspace}", tag = "workspaces",
    params(("workspace" = String, Path)), responses((status = 200, body = Workspace)))]
pub(super) async fn get(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
) -> ApiResult<Json<Workspace>> {
    let workspace = id("workspace", &workspace)?;
    Ok(Json(details(&app, workspaces::get(&app, &ctx, &workspace).await?)))
}

/// Asks for a workspace to be removed with everything in it, at once or after a time in which that can be undone. It is gone
/// when its phase is `deleted`.
#[utoipa::path(delete, path = "/workspaces/{workspace}", tag = "workspaces",
    params(("workspace" = String, Path), WorkspaceDeletion), responses((status = 202, body = Workspace)))]
pub(super) async fn delete(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    Query(WorkspaceDeletion { grace_minutes }): Query<WorkspaceDeletion>,
) -> ApiResult<(StatusCode, Json<Workspace>)> {
    let workspace = id("workspace", &workspace)?;
    let asked = match grace_minutes {
        None | Some(0) => workspaces::delete(&app, &ctx, &workspace).await?,
        Some(minutes) => workspaces::delete_later(&app, &ctx, &workspace, minutes).await?,
    };
    Ok((StatusCode::ACCEPTED, Json(details(&app, asked))))
}

/// Takes the deletion of a workspace back, until its `removal_at`. It is usable when its phase is `ready`.
#[utoipa::path(post, path = "/workspaces/{workspace}/restore", tag = "workspaces",
    params(("workspace" = String, Path)), responses((status = 202, body = Workspace)))]
pub(super) async fn restore(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
) -> ApiResult<(StatusCode, Json<Workspace>)> {
    let workspace = id("workspace", &workspace)?;
    let restored = workspaces::restore(&app, &ctx, &workspace).await?;
    Ok((StatusCode::ACCEPTED, Json(details(&app, restored))))
}

/// A kubeconfig for the workspace. It names the credential plugin `hxb` and holds no secret.
#[utoipa::path(get, path = "/workspaces/{workspace}/kubeconfig", tag = "workspaces",
    params(("workspace" = String, Path)), responses((status = 200, body = String, content_type = "application/yaml")))]
pub(super) async fn kubeconfig(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
) -> ApiResult<Response> {
    let workspace = id("workspace", &workspace)?;
    let found = workspaces::get(&app, &ctx, &workspace).await?;
    let text = crate::kubeconfig::render(&app.settings, &found.workspace);
    Ok(([(header::CONTENT_TYPE, "application/yaml")], text).into_response())
}
