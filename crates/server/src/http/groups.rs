//! `/workspaces/{workspace}/groups`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hexabase_api::groups::{Group, GroupCreate, GroupMember, GroupUpdate};
use hexabase_api::page::{Page, PageQuery};
use hexabase_app::groups::{self, GroupChanges, GroupDetails, NewGroup};
use hexabase_app::{App, Error};
use hexabase_core::ids::{GroupId, UserId};

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{JsonBody, Query, id};
use super::paging;

fn view(GroupDetails { group, cluster_roles }: GroupDetails) -> Group {
    Group {
        id: group.id,
        name: group.name.into(),
        display_name: group.display_name.into(),
        parent: group.parent_id,
        cluster_roles,
        is_default: group.is_default,
    }
}

fn member(member: groups::GroupMember) -> GroupMember {
    GroupMember {
        kind: member.row.user.kind(),
        user: member.row.user.id,
        display_name: member.row.user.display_name.into(),
        email: member.row.user.email,
        direct: member.paths.iter().any(|path| path.len() == 1),
        paths: member.paths.into_iter().map(|path| path.into_iter().map(String::from).collect()).collect(),
    }
}

/// A group named in a body. A text that cannot be an id is answered like an id that does not exist.
fn parent(text: &str) -> ApiResult<GroupId> {
    Ok(text.parse().map_err(|_| Error::invalid("parent", "there is no such group in this workspace"))?)
}

/// The groups of a workspace and the ClusterRoles given to each.
#[utoipa::path(get, path = "/workspaces/{workspace}/groups", tag = "groups",
    params(("workspace" = String, Path), PageQuery), responses((status = 200, body = Page<Group>)))]
pub(super) async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<Page<Group>>> {
    let workspace = id("workspace", &workspace)?;
    let window = paging::window::<GroupId>(&query)?;
    let rows = groups::list(&app, &ctx, &workspace, window.after.as_ref(), u64::from(window.limit) + 1).await?;
    Ok(Json(paging::page(rows, window.limit, |row| row.group.id.to_string(), view)))
}

/// Makes a group.
#[utoipa::path(post, path = "/workspaces/{workspace}/groups", tag = "groups",
    params(("workspace" = String, Path)), request_body = GroupCreate, responses((status = 201, body = Group)))]
pub(super) async fn create(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    JsonBody(body): JsonBody<GroupCreate>,
) -> ApiResult<(StatusCode, Json<Group>)> {
    let workspace = id("workspace", &workspace)?;
    let parent = body.parent.as_deref().map(parent).transpose()?;
    let new = NewGroup { name: &body.name, display_name: body.display_name.as_deref(), parent };
    Ok((StatusCode::CREATED, Json(view(groups::create(&app, &ctx, &workspace, &new).await?))))
}

/// One group.
#[utoipa::path(get, path = "/workspaces/{workspace}/groups/{group}", tag = "groups",
    params(("workspace" = String, Path), ("group" = String, Path)), responses((status = 200, body = Group)))]
pub(super) async fn get(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, group)): Path<(String, String)>,
) -> ApiResult<Json<Group>> {
    let (workspace, group) = (id("workspace", &workspace)?, id("group", &group)?);
    Ok(Json(view(groups::get(&app, &ctx, &workspace, &group).await?)))
}

/// Gives a group another name for people, or another place.
#[utoipa::path(patch, path = "/workspaces/{workspace}/groups/{group}", tag = "groups",
    params(("workspace" = String, Path), ("group" = String, Path)), request_body = GroupUpdate,
    responses((status = 200, body = Group)))]
pub(super) async fn update(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, group)): Path<(String, String)>,
    JsonBody(body): JsonBody<GroupUpdate>,
) -> ApiResult<Json<Group>> {
    let (workspace, group) = (id("workspace", &workspace)?, id("group", &group)?);
    let place = body.parent.map(|place| place.as_deref().map(parent).transpose()).transpose()?;
    let changes = GroupChanges { display_name: body.display_name, parent: place };
    Ok(Json(view(groups::update(&app, &ctx, &workspace, &group, &changes).await?)))
}

/// Removes a group, below which no group stands and to which no role is given.
#[utoipa::path(delete, path = "/workspaces/{workspace}/groups/{group}", tag = "groups",
    params(("workspace" = String, Path), ("group" = String, Path)), responses((status = 204)))]
pub(super) async fn delete(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, group)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    let (workspace, group) = (id("workspace", &workspace)?, id("group", &group)?);
    groups::delete(&app, &ctx, &workspace, &group).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Everybody who counts as a member of a group, with the reason.
#[utoipa::path(get, path = "/workspaces/{workspace}/groups/{group}/members", tag = "groups",
    params(("workspace" = String, Path), ("group" = String, Path), PageQuery),
    responses((status = 200, body = Page<GroupMember>)))]
pub(super) async fn list_members(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, group)): Path<(String, String)>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<Page<GroupMember>>> {
    let (workspace, group) = (id("workspace", &workspace)?, id("group", &group)?);
    let window = paging::window::<UserId>(&query)?;
    let (after, limit) = (window.after.as_ref(), window.limit as usize + 1);
    let rows = groups::list_members(&app, &ctx, &workspace, &group, after, limit).await?;
    Ok(Json(paging::page(rows, window.limit, |row| row.row.user.id.to_string(), member)))
}

/// Puts a member of the workspace into a group.
#[utoipa::path(put, path = "/workspaces/{workspace}/groups/{group}/members/{user}", tag = "groups",
    params(("workspace" = String, Path), ("group" = String, Path), ("user" = String, Path)),
    responses((status = 204)))]
pub(super) async fn add_member(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, group, user)): Path<(String, String, String)>,
) -> ApiResult<StatusCode> {
    let (workspace, group, user) = (id("workspace", &workspace)?, id("group", &group)?, id("member", &user)?);
    groups::add_member(&app, &ctx, &workspace, &group, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes somebody out of a group.
#[utoipa::path(delete, path = "/workspaces/{workspace}/groups/{group}/members/{user}", tag = "groups",
    params(("workspace" = String, Path), ("group" = String, Path), ("user" = String, Path)),
    responses((status = 204)))]
pub(super) async fn remove_member(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, group, user)): Path<(String, String, String)>,
) -> ApiResult<StatusCode> {
    let (workspace, group, user) = (id("workspace", &workspace)?, id("group", &group)?, id("member", &user)?);
    groups::remove_member(&app, &ctx, &workspace, &group, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}
