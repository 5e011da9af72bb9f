//! `/organizations/{organization}/service-accounts`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hexabase_api::page::Page;
use hexabase_api::service_accounts::{ServiceAccount, ServiceAccountCreate, ServiceAccountDeleted};
use hexabase_api::tokens::{ApiToken, ApiTokenCreate, ApiTokenCreated};
use hexabase_app::{App, service_accounts};
use hexabase_backends::store::service_accounts as rows;
use hexabase_core::ids::{OrganizationId, UserId};
use hexabase_core::roles::OrganizationRole;

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{JsonBody, id};
use super::organization_members::left_behind;
use super::tokens;

fn view(row: rows::ServiceAccount) -> ServiceAccount {
    ServiceAccount {
        id: row.user.id,
        name: row.user.display_name.into(),
        role: row.role,
        created_at: row.user.created_at,
    }
}

fn place(organization: &str, account: &str) -> ApiResult<(OrganizationId, UserId)> {
    Ok((id("organization", organization)?, id("service account", account)?))
}

/// The service accounts of an organisation; for its admins.
#[utoipa::path(get, path = "/organizations/{organization}/service-accounts", tag = "service-accounts",
    params(("organization" = String, Path)), responses((status = 200, body = Page<ServiceAccount>)))]
pub(super) async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(organization): Path<String>,
) -> ApiResult<Json<Page<ServiceAccount>>> {
    let rows = service_accounts::list(&app, &ctx, &id("organization", &organization)?).await?;
    Ok(Json(Page { items: rows.into_iter().map(view).collect(), next_cursor: None }))
}

/// Makes a service account.
#[utoipa::path(post, path = "/organizations/{organization}/service-accounts", tag = "service-accounts",
    params(("organization" = String, Path)), request_body = ServiceAccountCreate,
    responses((status = 201, body = ServiceAccount)))]
pub(super) async fn create(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(organization): Path<String>,
    JsonBody(body): JsonBody<ServiceAccountCreate>,
) -> ApiResult<(StatusCode, Json<ServiceAccount>)> {
    let organization = id("organization", &organization)?;
    let role = body.role.unwrap_or(OrganizationRole::Member);
    let created = service_accounts::create(&app, &ctx, &organization, &body.name, role).await?;
    Ok((StatusCode::CREATED, Json(view(created))))
}

/// One service account.
#[utoipa::path(get, path = "/organizations/{organization}/service-accounts/{account}", tag = "service-accounts",
    params(("organization" = String, Path), ("account" = String, Path)),
    responses((status = 200, body = ServiceAccount)))]
pub(super) async fn get(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((organization, account)): Path<(String, String)>,
) -> ApiResult<Json<ServiceAccount>> {
    let (organization, account) = place(&organization, &account)?;
    Ok(Json(view(service_accounts::get(&app, &ctx, &organization, &account).await?)))
}

/// Removes a service account with its tokens and memberships. Tokens of ServiceAccounts inside workspaces do not end with it: the
/// answer tells where it was given some.
#[utoipa::path(delete, path = "/organizations/{organization}/service-accounts/{account}", tag = "service-accounts",
    params(("organization" = String, Path), ("account" = String, Path)),
    responses((status = 200, body = ServiceAccountDeleted)))]
pub(super) async fn delete(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((organization, account)): Path<(String, String)>,
) -> ApiResult<Json<ServiceAccountDeleted>> {
    let (organization, account) = place(&organization, &account)?;
    let left = service_accounts::delete(&app, &ctx, &organization, &account).await?;
    Ok(Json(ServiceAccountDeleted { left_behind: left.into_iter().map(left_behind).collect() }))
}

/// The tokens of a service account.
#[utoipa::path(get, path = "/organizations/{organization}/service-accounts/{account}/tokens", tag = "service-accounts",
    params(("organization" = String, Path), ("account" = String, Path)),
    responses((status = 200, body = Page<ApiToken>)))]
pub(super) async fn list_tokens(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((organization, account)): Path<(String, String)>,
) -> ApiResult<Json<Page<ApiToken>>> {
    let (organization, account) = place(&organization, &account)?;
    Ok(tokens::page(service_accounts::list_tokens(&app, &ctx, &organization, &account).await?))
}

/// Makes a token that acts as the service account. Its secret is told this once.
#[utoipa::path(post, path = "/organizations/{organization}/service-accounts/{account}/tokens", tag = "service-accounts",
    params(("organization" = String, Path), ("account" = String, Path)), request_body = ApiTokenCreate,
    responses((status = 201, body = ApiTokenCreated)))]
pub(super) async fn create_token(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((organization, account)): Path<(String, String)>,
    JsonBody(body): JsonBody<ApiTokenCreate>,
) -> ApiResult<impl IntoResponse> {
    let (organization, account) = place(&organization, &account)?;
    let wanted = tokens::wanted(body)?;
    tokens::created(service_accounts::create_token(&app, &ctx, &organization, &account, &wanted).await?)
}

/// Revokes a token of a service account.
#[utoipa::path(delete, path = "/organizations/{organization}/service-accounts/{account}/tokens/{token}",
    tag = "service-accounts",
    params(("organization" = String, Path), ("account" = String, Path), ("token" = String, Path)),
    responses((status = 204)))]
pub(super) async fn revoke_token(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((organization, account, token)): Path<(String, String, String)>,
) -> ApiResult<StatusCode> {
    let (organization, account) = place(&organization, &account)?;
    service_accounts::revoke_token(&app, &ctx, &organization, &account, &id("token", &token)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
