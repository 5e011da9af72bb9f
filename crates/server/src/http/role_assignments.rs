//! `/workspaces/{workspace}/role-assignments`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hexabase_api::page::{Page, PageQuery};
use hexabase_api::roles::{RoleAssignment, RoleAssignmentCreate};
use hexabase_app::role_assignments::{self, AssignmentDetails, End, NewAssignment};
use hexabase_app::{App, Error};
use hexabase_core::ids::RoleAssignmentId;

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{JsonBody, Query, id};
use super::paging;

fn view(AssignmentDetails { row, group, project }: AssignmentDetails) -> RoleAssignment {
    RoleAssignment {
        id: row.id,
        group: row.group_id,
        group_name: group,
        role: row.role,
        project: row.project_id,
        project_name: project,
        created_at: row.created_at,
        expires_at: row.expires_at,
    }
}

/// The roles given to groups in a workspace and its projects.
#[utoipa::path(get, path = "/workspaces/{workspace}/role-assignments", tag = "roles",
    params(("workspace" = String, Path), PageQuery), responses((status = 200, body = Page<RoleAssignment>)))]
pub(super) async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<Page<RoleAssignment>>> {
    let workspace = id("workspace", &workspace)?;
    let window = paging::window::<RoleAssignmentId>(&query)?;
    let (after, limit) = (window.after.as_ref(), u64::from(window.limit) + 1);
    let rows = role_assignments::list(&app, &ctx, &workspace, after, limit).await?;
    Ok(Json(paging::page(rows, window.limit, |details| details.row.id.to_string(), view)))
}

/// Gives a role to a group. It takes a few seconds until the workspace knows.
#[utoipa::path(post, path = "/workspaces/{workspace}/role-assignments", tag = "roles",
    params(("workspace" = String, Path)), request_body = RoleAssignmentCreate,
    responses((status = 201, body = RoleAssignment)))]
pub(super) async fn create(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    JsonBody(body): JsonBody<RoleAssignmentCreate>,
) -> ApiResult<(StatusCode, Json<RoleAssignment>)> {
    let workspace = id("workspace", &workspace)?;
    let no_such = |field, what| Error::invalid(field, format!("there is no such {what} in this workspace"));
    let end = match (body.expires_at, body.expires_in) {
        (None, None) => End::Never,
        (Some(moment), None) => End::At(moment),
        (None, Some(seconds)) => End::In(seconds),
        (Some(_), Some(_)) => {
            return Err(Error::invalid("expires_in", "give expires_at or expires_in, not both").into());
        }
    };
    let new = NewAssignment {
        group: body.group.parse().map_err(|_| no_such("group", "group"))?,
        role: body.role,
        project: body.project.map(|id| id.parse()).transpose().map_err(|_| no_such("project", "project"))?,
        end,
    };
    Ok((StatusCode::CREATED, Json(view(role_assignments::create(&app, &ctx, &workspace, new).await?))))
}

/// A role given to a group.
#[utoipa::path(get, path = "/workspaces/{workspace}/role-assignments/{assignment}", tag = "roles",
    params(("workspace" = String, Path), ("assignment" = String, Path)),
    responses((status = 200, body = RoleAssignment)))]
pub(super) async fn get(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, assignment)): Path<(String, String)>,
) -> ApiResult<Json<RoleAssignment>> {
    let (workspace, assignment) = (id("workspace", &workspace)?, id("role assignment", &assignment)?);
    Ok(Json(view(role_assignments::get(&app, &ctx, &workspace, &assignment).await?)))
}

/// Takes a role away from a group.
#[utoipa::path(delete, path = "/workspaces/{workspace}/role-assignments/{assignment}", tag = "roles",
    params(("workspace" = String, Path), ("assignment" = String, Path)), responses((status = 204)))]
pub(super) async fn delete(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, assignment)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    let (workspace, assignment) = (id("workspace", &workspace)?, id("role assignment", &assignment)?);
    role_assignments::delete(&app, &ctx, &workspace, &assignment).await?;
    Ok(StatusCode::NO_CONTENT)
}
