//! `/workspaces/{workspace}/members`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hexabase_api::members::{Member, MemberAdd};
use hexabase_api::page::{Page, PageQuery};
use hexabase_app::members::{self, Invitee};
use hexabase_app::{App, Error};
use hexabase_core::ids::UserId;

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{JsonBody, Query, id};
use super::paging;

fn view(member: members::Member) -> Member {
    Member {
        kind: member.row.user.kind(),
        user: member.row.user.id,
        display_name: member.row.user.display_name.into(),
        email: member.row.user.email,
        groups: member.groups.into_iter().map(String::from).collect(),
        effective_groups: member.effective_groups.into_iter().map(String::from).collect(),
    }
}

/// Everybody with access.
#[utoipa::path(get, path = "/workspaces/{workspace}/members", tag = "members",
    params(("workspace" = String, Path), PageQuery), responses((status = 200, body = Page<Member>)))]
pub(super) async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<Page<Member>>> {
    let workspace = id("workspace", &workspace)?;
    let window = paging::window::<UserId>(&query)?;
    let rows = members::list(&app, &ctx, &workspace, window.after.as_ref(), u64::from(window.limit) + 1).await?;
    Ok(Json(paging::page(rows, window.limit, |member| member.row.user.id.to_string(), view)))
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
