//! `/workspaces/{workspace}/projects/{project}/roles`: roles in one project, Kubernetes' own and custom.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hexabase_api::page::Page;
use hexabase_api::roles::{Role, RoleCreate, RoleUpdate};
use hexabase_app::App;
use hexabase_app::roles::{self, Place};
use hexabase_core::roles::ProjectRole;

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{JsonBody, id};
use super::roles::{preset, rules_of, view};

fn within(workspace: &str, project: &str) -> ApiResult<Place> {
    Ok(Place { workspace: id("workspace", workspace)?, project: Some(id("project", project)?) })
}

/// The roles that groups can be given in a project: Kubernetes' own, then custom ones, those of the projects above included.
#[utoipa::path(get, path = "/workspaces/{workspace}/projects/{project}/roles", tag = "roles",
    params(("workspace" = String, Path), ("project" = String, Path)), responses((status = 200, body = Page<Role>)))]
pub(super) async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, project)): Path<(String, String)>,
) -> ApiResult<Json<Page<Role>>> {
    let custom = roles::list(&app, &ctx, &within(&workspace, &project)?).await?;
    let presets = ProjectRole::ALL.iter().map(|role| preset(role.as_str(), Vec::new()));
    Ok(Json(Page { items: presets.chain(custom.into_iter().map(view)).collect(), next_cursor: None }))
}

/// Asks for a custom role in a project. Made with your own rights there; it holds when its phase is `ready`.
#[utoipa::path(post, path = "/workspaces/{workspace}/projects/{project}/roles", tag = "roles",
    params(("workspace" = String, Path), ("project" = String, Path)), request_body = RoleCreate,
    responses((status = 201, body = Role)))]
pub(super) async fn create(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, project)): Path<(String, String)>,
    JsonBody(body): JsonBody<RoleCreate>,
) -> ApiResult<(StatusCode, Json<Role>)> {
    let place = within(&workspace, &project)?;
    let made = roles::create(&app, &ctx, &place, &body.name, rules_of(body.rules)).await?;
    Ok((StatusCode::CREATED, Json(view(made))))
}

/// A custom role of the project.
#[utoipa::path(get, path = "/workspaces/{workspace}/projects/{project}/roles/{role}", tag = "roles",
    params(("workspace" = String, Path), ("project" = String, Path), ("role" = String, Path)),
    responses((status = 200, body = Role)))]
pub(super) async fn get(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, project, role)): Path<(String, String, String)>,
) -> ApiResult<Json<Role>> {
    let (place, role) = (within(&workspace, &project)?, id("role", &role)?);
    Ok(Json(view(roles::get(&app, &ctx, &place, &role).await?)))
}

/// Asks for other rules. Until they are accepted, those before hold.
#[utoipa::path(put, path = "/workspaces/{workspace}/projects/{project}/roles/{role}", tag = "roles",
    params(("workspace" = String, Path), ("project" = String, Path), ("role" = String, Path)),
    request_body = RoleUpdate, responses((status = 200, body = Role)))]
pub(super) async fn update(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, project, role)): Path<(String, String, String)>,
    JsonBody(body): JsonBody<RoleUpdate>,
) -> ApiResult<Json<Role>> {
    let (place, role) = (within(&workspace, &project)?, id("role", &role)?);
    Ok(Json(view(roles::update(&app, &ctx, &place, &role, rules_of(body.rules)).await?)))
}

/// Removes a custom role that is given to no group.
#[utoipa::path(delete, path = "/workspaces/{workspace}/projects/{project}/roles/{role}", tag = "roles",
    params(("workspace" = String, Path), ("project" = String, Path), ("role" = String, Path)),
    responses((status = 204)))]
pub(super) async fn delete(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, project, role)): Path<(String, String, String)>,
) -> ApiResult<StatusCode> {
    let (place, role) = (within(&workspace, &project)?, id("role", &role)?);
    roles::delete(&app, &ctx, &place, &role).await?;
    Ok(StatusCode::NO_CONTENT)
}
