//! `/workspaces/{workspace}/projects`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hexabase_api::page::{Page, PageQuery};
use hexabase_api::projects::{Project, ProjectCreate, ProjectQuotaCreate, ProjectUpdate};
use hexabase_app::projects::{self, ProjectChanges, ProjectDetails, ProjectRequest};
use hexabase_app::quota::QuotaRequest;
use hexabase_app::{App, Error};
use hexabase_core::ids::ProjectId;

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{JsonBody, Query, id};
use super::paging;

fn view(ProjectDetails { row, own }: ProjectDetails) -> Project {
    Project {
        id: row.id,
        workspace: row.workspace_id,
        name: row.name.into(),
        parent: row.parent_id,
        phase: row.phase,
        quota: row.limits.into(),
        available: own.into(),
        labels: row.labels.into(),
        pod_security: row.pod_security,
        network: row.network,
        created_at: row.created_at,
    }
}

fn quota(asked: Option<ProjectQuotaCreate>) -> QuotaRequest {
    let ProjectQuotaCreate { cpu, memory, storage, pods, services, load_balancers, persistent_volume_claims, objects } =
        asked.unwrap_or_default();
    QuotaRequest { cpu, memory, storage, pods, services, load_balancers, persistent_volume_claims, objects }
}

fn parent(text: String) -> ApiResult<ProjectId> {
    let parsed = text.parse();
    parsed.map_err(|_| Error::invalid("parent", "there is no such project in this workspace").into())
}

/// Asks for a project. Its namespace is there, and its quota counts, when its phase is `ready`.
#[utoipa::path(post, path = "/workspaces/{workspace}/projects", tag = "projects",
    params(("workspace" = String, Path)), request_body = ProjectCreate, responses((status = 201, body = Project)))]
pub(super) async fn create(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    JsonBody(body): JsonBody<ProjectCreate>,
) -> ApiResult<(StatusCode, Json<Project>)> {
    let workspace = id("workspace", &workspace)?;
    let request = ProjectRequest {
        name: &body.name,
        quota: quota(body.quota),
        parent: body.parent.map(parent).transpose()?,
        labels: body.labels,
        pod_security: body.pod_security,
        network: body.network,
    };
    let created = projects::create(&app, &ctx, &workspace, request).await?;
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
    Ok(Json(paging::page(rows, window.limit, |details| details.row.id.to_string(), view)))
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

/// Gives a project another share, another place, other labels, another Pod Security level or another network.
#[utoipa::path(patch, path = "/workspaces/{workspace}/projects/{project}", tag = "projects",
    params(("workspace" = String, Path), ("project" = String, Path)), request_body = ProjectUpdate,
    responses((status = 200, body = Project)))]
pub(super) async fn update(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, project)): Path<(String, String)>,
    JsonBody(body): JsonBody<ProjectUpdate>,
) -> ApiResult<Json<Project>> {
    let workspace = id("workspace", &workspace)?;
    let project = id("project", &project)?;
    let changes = ProjectChanges {
        quota: quota(body.quota),
        parent: body.parent.map(|to| to.map(parent).transpose()).transpose()?,
        labels: body.labels,
        pod_security: body.pod_security,
        network: body.network,
    };
    Ok(Json(view(projects::update(&app, &ctx, &workspace, &project, changes).await?)))
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
