//! `/workspaces/{workspace}/projects`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hexabase_api::page::{Page, PageQuery};
use hexabase_api::projects::{Project, ProjectCreate, ProjectQuota};
use hexabase_app::projects::{self, Project as Row, QuotaRequest};
use hexabase_app::{App, Error};
use hexabase_core::ids::ProjectId;

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{JsonBody, Query, id};
use super::paging;

fn view(row: Row) -> Project {
    Project {
        id: row.id,
        workspace: row.workspace_id,
        name: row.name.into(),
        parent: row.parent_id,
        phase: row.phase,
        quota: ProjectQuota {
            cpu: row.limits.cpu.to_string(),
            memory: row.limits.memory.to_string(),
            storage: row.limits.storage.to_string(),
            pods: row.limits.pods,
        },
        created_at: row.created_at,
    }
}

/// Asks for a project. Its namespace is there when its phase is `ready`.
#[utoipa::path(post, path = "/workspaces/{workspace}/projects", tag = "projects",
    params(("workspace" = String, Path)), request_body = ProjectCreate, responses((status = 201, body = Project)))]
pub(super) async fn create(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    JsonBody(body): JsonBody<ProjectCreate>,
) -> ApiResult<(StatusCode, Json<Project>)> {
    let workspace = id("workspace", &workspace)?;
    let quota = body.quota.unwrap_or_default();
    let quota = QuotaRequest { cpu: quota.cpu, memory: quota.memory, storage: quota.storage, pods: quota.pods };
    let no_such = |_| Error::invalid("parent", "there is no such project in this workspace");
    let parent = body.parent.map(|id| id.parse()).transpose().map_err(no_such)?;
    let created = projects::create(&app, &ctx, &workspace, &body.name, &quota, parent.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(view(created))))
}

/// Living projects of a workspace.
#[utoipa::path(get, path = "/workspaces/{workspace}/projects", tag = "projects",
    params(("workspace" = String, Path), PageQuery), responses((status = 200, body = Page<Project>)))]
pub(super) async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<Page<Project>>> {
    let workspace = id("workspace", &workspace)?;
    let window = paging::window::<ProjectId>(&query)?;
    let rows = projects::list(&app, &ctx, &workspace, window.after.as_ref(), u64::from(window.limit) + 1).await?;
    Ok(Json(paging::page(rows, window.limit, |row| row.id.to_string(), view)))
}

/// One project.
#[utoipa::path(get, path = "/workspaces/{workspace}/projects/{project}", tag = "projects",
    params(("workspace" = String, Path), ("project" = String, Path)), responses((status = 200, body = Project)))]
pub(super) async fn get(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, project)): Path<(String, String)>,
) -> ApiResult<Json<Project>> {
    let workspace = id("workspace", &workspace)?;
    let project = id("project", &project)?;
    Ok(Json(view(projects::get(&app, &ctx, &workspace, &project).await?)))
}

/// Asks for a project to be removed with everything in it.
#[utoipa::path(delete, path = "/workspaces/{workspace}/projects/{project}", tag = "projects",
    params(("workspace" = String, Path), ("project" = String, Path)), responses((status = 202, body = Project)))]
pub(super) async fn delete(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, project)): Path<(String, String)>,
) -> ApiResult<(StatusCode, Json<Project>)> {
    let workspace = id("workspace", &workspace)?;
    let project = id("project", &project)?;
    Ok((StatusCode::ACCEPTED, Json(view(projects::delete(&app, &ctx, &workspace, &project).await?))))
}
