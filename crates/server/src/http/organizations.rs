//! `/organizations`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hexabase_api::organizations::{Organization, OrganizationCreate, OrganizationMember};
use hexabase_api::page::Page;
use hexabase_app::{App, organizations};
use hexabase_backends::store::organizations as rows;
use hexabase_core::roles::OrganizationRole;

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{JsonBody, id};

fn view((row, role): (rows::Organization, OrganizationRole)) -> Organization {
    Organization {
        id: row.id,
        name: row.name.into(),
        personal: row.personal_of.is_some(),
        role,
        created_at: row.created_at,
    }
}

/// The organisations the caller is in.
#[utoipa::path(get, path = "/organizations", tag = "organizations", responses((status = 200, body = Page<Organization>)))]
pub(super) async fn list(State(app): State<App>, Caller(ctx): Caller) -> ApiResult<Json<Page<Organization>>> {
    let rows = organizations::list(&app, &ctx).await?;
    Ok(Json(Page { items: rows.into_iter().map(view).collect(), next_cursor: None }))
}

/// Makes an organisation with the caller as its admin.
#[utoipa::path(post, path = "/organizations", tag = "organizations", request_body = OrganizationCreate,
    responses((status = 201, body = Organization)))]
pub(super) async fn create(
    State(app): State<App>,
    Caller(ctx): Caller,
    JsonBody(body): JsonBody<OrganizationCreate>,
) -> ApiResult<(StatusCode, Json<Organization>)> {
    let created = organizations::create(&app, &ctx, &body.name).await?;
    Ok((StatusCode::CREATED, Json(view(created))))
}

/// One organisation.
#[utoipa::path(get, path = "/organizations/{organization}", tag = "organizations",
    params(("organization" = String, Path)), responses((status = 200, body = Organization)))]
pub(super) async fn get(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(organization): Path<String>,
) -> ApiResult<Json<Organization>> {
    let id = id("organization", &organization)?;
    Ok(Json(view(organizations::get(&app, &ctx, &id).await?)))
}

/// The people of an organisation.
#[utoipa::path(get, path = "/organizations/{organization}/members", tag = "organizations",
    params(("organization" = String, Path)), responses((status = 200, body = Page<OrganizationMember>)))]
pub(super) async fn members(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(organization): Path<String>,
) -> ApiResult<Json<Page<OrganizationMember>>> {
    let id = id("organization", &organization)?;
    let rows = organizations::members(&app, &ctx, &id).await?;
    let view = |row: rows::OrganizationMember| OrganizationMember {
        user: row.user.id,
        display_name: row.user.display_name.into(),
        email: row.user.email,
        role: row.role,
    };
    Ok(Json(Page { items: rows.into_iter().map(view).collect(), next_cursor: None }))
}
