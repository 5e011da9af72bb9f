//! `/workspaces/{workspace}/sleep`, `wake` and `sleep-rule`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hexabase_api::workspaces::{SleepRule, Workspace};
use hexabase_app::{App, Error, sleep as rest};
use hexabase_core::sleep::{SleepRule as Rule, TimeOfDay};

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{JsonBody, id};
use super::workspaces::details;

/// Puts a ready workspace to sleep: nothing of it runs, and it keeps all it has. Whoever uses it next wakes it.
#[utoipa::path(post, path = "/workspaces/{workspace}/sleep", tag = "workspaces",
    params(("workspace" = String, Path)), responses((status = 202, body = Workspace)))]
pub(super) async fn sleep(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
) -> ApiResult<(StatusCode, Json<Workspace>)> {
    let workspace = id("workspace", &workspace)?;
    let asked = rest::sleep(&app, &ctx, &workspace).await?;
    Ok((StatusCode::ACCEPTED, Json(details(&app, asked))))
}

/// Wakes a workspace ahead of its use. It is usable when its phase is `ready`.
#[utoipa::path(post, path = "/workspaces/{workspace}/wake", tag = "workspaces",
    params(("workspace" = String, Path)), responses((status = 202, body = Workspace)))]
pub(super) async fn wake(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
) -> ApiResult<(StatusCode, Json<Workspace>)> {
    let workspace = id("workspace", &workspace)?;
    let asked = rest::wake(&app, &ctx, &workspace).await?;
    Ok((StatusCode::ACCEPTED, Json(details(&app, asked))))
}

/// Says when a workspace sleeps by itself, in the place of what was said before; `{}` for never.
#[utoipa::path(put, path = "/workspaces/{workspace}/sleep-rule", tag = "workspaces",
    params(("workspace" = String, Path)), request_body = SleepRule, responses((status = 200, body = Workspace)))]
pub(super) async fn set_rule(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    JsonBody(body): JsonBody<SleepRule>,
) -> ApiResult<Json<Workspace>> {
    let workspace = id("workspace", &workspace)?;
    let SleepRule { after_minutes, keep_workloads, sleep_at, wake_at } = body;
    let (sleep_at, wake_at) = (time("sleep_at", sleep_at.as_deref())?, time("wake_at", wake_at.as_deref())?);
    let rule = Rule { after_minutes, keep_workloads, sleep_at, wake_at };
    Ok(Json(details(&app, rest::set_rule(&app, &ctx, &workspace, rule).await?)))
}

fn time(field: &'static str, text: Option<&str>) -> Result<Option<TimeOfDay>, Error> {
    text.map(str::parse::<TimeOfDay>).transpose().map_err(|cause| Error::invalid(field, cause.to_string()))
}
