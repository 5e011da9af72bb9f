//! `/organizations/{organization}/members`.

use axum::Json;
use axum::extract::{Path, State};
use hexabase_api::organizations::{
    OrganizationMember, OrganizationMemberQuery, OrganizationMemberRemoved, OrganizationMemberUpdate, TokensLeftBehind,
};
use hexabase_api::page::{Page, PageQuery};
use hexabase_app::organization_members::LeftBehind;
use hexabase_app::{App, organization_members};
use hexabase_backends::store::organizations::OrganizationMember as Row;
use hexabase_core::ids::UserId;

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{JsonBody, Query, id};
use super::paging;

fn view(row: Row) -> OrganizationMember {
    OrganizationMember {
        kind: row.user.kind(),
        user: row.user.id,
        display_name: row.user.display_name.into(),
        email: row.user.email,
        role: row.role,
    }
}

pub(super) fn left_behind(LeftBehind { workspace, name, service_accounts }: LeftBehind) -> TokensLeftBehind {
    TokensLeftBehind { workspace, name: name.into(), service_accounts }
}

/// The people of an organisation.
#[utoipa::path(get, path = "/organizations/{organization}/members", tag = "organizations",
    params(("organization" = String, Path), OrganizationMemberQuery),
    responses((status = 200, body = Page<OrganizationMember>)))]
pub(super) async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(organization): Path<String>,
    Query(OrganizationMemberQuery { search, cursor, limit }): Query<OrganizationMemberQuery>,
) -> ApiResult<Json<Page<OrganizationMember>>> {
    let id = id("organization", &organization)?;
    let window = paging::window::<UserId>(&PageQuery { cursor, limit })?;
    let (after, most) = (window.after.as_ref(), window.limit as usize + 1);
    let rows = organization_members::list(&app, &ctx, &id, search.as_deref(), after, most).await?;
    Ok(Json(paging::page(rows, window.limit, |row| row.user.id.to_string(), view)))
}

/// Gives a member another role.
#[utoipa::path(patch, path = "/organizations/{organization}/members/{user}", tag = "organizations",
    params(("organization" = String, Path), ("user" = String, Path)), request_body = OrganizationMemberUpdate,
    responses((status = 200, body = OrganizationMember)))]
pub(super) async fn update(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((organization, user)): Path<(String, String)>,
    JsonBody(body): JsonBody<OrganizationMemberUpdate>,
) -> ApiResult<Json<OrganizationMember>> {
    let organization = id("organization", &organization)?;
    let user = id("member", &user)?;
    Ok(Json(view(organization_members::set_role(&app, &ctx, &organization, &user, body.role).await?)))
}

/// Takes a person out of an organisation and all of its workspaces; people may take themselves out. The tokens that the
/// person made for service accounts end; those of ServiceAccounts inside workspaces do not: the answer tells where the person was
/// given some.
#[utoipa::path(delete, path = "/organizations/{organization}/members/{user}", tag = "organizations",
    params(("organization" = String, Path), ("user" = String, Path)),
    responses((status = 200, body = OrganizationMemberRemoved)))]
pub(super) async fn remove(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((organization, user)): Path<(String, String)>,
) -> ApiResult<Json<OrganizationMemberRemoved>> {
    let organization = id("organization", &organization)?;
    let user = id("member", &user)?;
    let removed = organization_members::remove(&app, &ctx, &organization, &user).await?;
    Ok(Json(OrganizationMemberRemoved {
        tokens_ended: removed.tokens_ended.len(),
        left_behind: removed.left_behind.into_iter().map(left_behind).collect(),
    }))
}
