//! `/workspaces/{workspace}/members` and `…/groups`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hexabase_api::groups::Group;
use hexabase_api::members::{Member, MemberAdd};
use hexabase_api::page::Page;
use hexabase_app::members::{self, Invitee};
use hexabase_app::{App, Error, groups};

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{JsonBody, id};

fn view(member: members::Member) -> Member {
    Member {
        user: member.row.user.id,
        display_name: member.row.user.display_name.into(),
        email: member.row.user.email,
        groups: member.groups.into_iter().map(String::from).collect(),
        effective_groups: member.effective_groups.into_iter().map(String::from).collect(),
    }
}

/// Everybody with access.
#[utoipa::path(get, path = "/workspaces/{workspace}/members", tag = "members",
    params(("workspace" = String, Path)), responses((status = 200, body = Page<Member>)))]
pub(super) async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
) -> ApiResult<Json<Page<Member>>> {
    let workspace = id("workspace", &workspace)?;
    let rows = members::list(&app, &ctx, &workspace).await?;
    Ok(Json(Page { items: rows.into_iter().map(view).collect(), next_cursor: None }))
}

/// Gives a person access.
#[utoipa::path(post, path = "/workspaces/{workspace}/members", tag = "members",
    params(("workspace" = String, Path)), request_body = MemberAdd, responses((status = 201, body = Member)))]
pub(super) async fn add(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    JsonBody(body): JsonBody<MemberAdd>,
) -> ApiResult<(StatusCode, Json<Member>)> {
    let workspace = id("workspace", &workspace)?;
    let who = match (body.user, body.email) {
        (Some(user), None) => Invitee::User(
            user.parse().map_err(|_| Error::invalid("user", "this is not the id of a person; it starts with usr-"))?,
        ),
        (None, Some(email)) => Invitee::Email(email),
        _ => return Err(Error::invalid("user", "give either user or email").into()),
    };
    let added = members::add(&app, &ctx, &workspace, &who, &body.groups).await?;
    Ok((StatusCode::CREATED, Json(view(added))))
}

/// Takes a person's access away, or gives one's own up.
#[utoipa::path(delete, path = "/workspaces/{workspace}/members/{user}", tag = "members",
    params(("workspace" = String, Path), ("user" = String, Path)), responses((status = 204)))]
pub(super) async fn remove(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, user)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    let workspace = id("workspace", &workspace)?;
    let user = id("member", &user)?;
    members::remove(&app, &ctx, &workspace, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The groups of a workspace and the ClusterRoles given to each.
#[utoipa::path(get, path = "/workspaces/{workspace}/groups", tag = "members",
    params(("workspace" = String, Path)), responses((status = 200, body = Page<Group>)))]
pub(super) async fn list_groups(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
) -> ApiResult<Json<Page<Group>>> {
    let workspace = id("workspace", &workspace)?;
    let rows = groups::list(&app, &ctx, &workspace).await?;
    let view = |(group, cluster_roles): (hexabase_backends::store::groups::Group, Vec<String>)| Group {
        id: group.id,
        name: group.name.into(),
        display_name: group.display_name.into(),
        parent: group.parent_id,
        cluster_roles,
    };
    Ok(Json(Page { items: rows.into_iter().map(view).collect(), next_cursor: None }))
}
