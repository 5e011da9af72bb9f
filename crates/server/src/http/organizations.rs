//! `/organizations`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hexabase_api::organizations::{Organization, OrganizationCreate, OrganizationTransfer, OrganizationUpdate};
use hexabase_api::page::Page;
use hexabase_app::{App, Error, organizations};
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

/// Gives an organisation another name.
#[utoipa::path(patch, path = "/organizations/{organization}", tag = "organizations",
    params(("organization" = String, Path)), request_body = OrganizationUpdate,
    responses((status = 200, body = Organization)))]
pub(super) async fn update(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(organization): Path<String>,
    JsonBody(body): JsonBody<OrganizationUpdate>,
) -> ApiResult<Json<Organization>> {
    let id = id("organization", &organization)?;
    Ok(Json(view(organizations::rename(&app, &ctx, &id, &body.name).await?)))
}

/// Deletes an organisation without workspaces. Its people and pending invitations leave with it.
#[utoipa::path(delete, path = "/organizations/{organization}", tag = "organizations",
    params(("organization" = String, Path)), responses((status = 204)))]
pub(super) async fn delete(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(organization): Path<String>,
) -> ApiResult<StatusCode> {
    let id = id("organization", &organization)?;
    organizations::delete(&app, &ctx, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Hands an organisation over: the other becomes an admin, the caller a member, in one step.
#[utoipa::path(post, path = "/organizations/{organization}/transfer", tag = "organizations",
    params(("organization" = String, Path)), request_body = OrganizationTransfer,
    responses((status = 200, body = Organization)))]
pub(super) async fn transfer(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(organization): Path<String>,
    JsonBody(body): JsonBody<OrganizationTransfer>,
) -> ApiResult<Json<Organization>> {
    let id = id("organization", &organization)?;
    let not_a_person = |_| Error::invalid("user", "this is not the id of a person; it starts with usr-");
    let to = body.user.parse().map_err(not_a_person)?;
    Ok(Json(view(organizations::transfer(&app, &ctx, &id, &to).await?)))
}
