//! `/me/tokens`, and what all tokens have in common.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use hexabase_api::page::Page;
use hexabase_api::tokens::{ApiToken, ApiTokenCreate, ApiTokenCreated};
use hexabase_app::tokens::{self, NewToken, TokenRequest};
use hexabase_app::{App, Error};
use hexabase_backends::store::api_tokens as rows;
use secrecy::ExposeSecret as _;

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{JsonBody, id};
use super::idempotency::ToldOnce;

fn view(row: rows::ApiToken) -> ApiToken {
    ApiToken {
        id: row.id,
        name: row.name.into(),
        prefix: row.prefix,
        access: row.scope.access,
        workspace: row.scope.workspace,
        created_by: row.created_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
        last_used_at: row.last_used_at,
        last_used_from: row.last_used_from,
    }
}

pub(super) fn page(rows: Vec<rows::ApiToken>) -> Json<Page<ApiToken>> {
    Json(Page { items: rows.into_iter().map(view).collect(), next_cursor: None })
}

pub(super) fn wanted(body: ApiTokenCreate) -> ApiResult<TokenRequest> {
    let workspace = body.workspace.as_deref().map(|workspace| id("workspace", workspace)).transpose()?;
    Ok(TokenRequest { name: body.name, access: body.access, workspace, expires_at: body.expires_at })
}

/// The answer with the secret; what is kept for a repeated request has none.
pub(super) fn created(made: NewToken) -> ApiResult<impl IntoResponse> {
    let told = ApiTokenCreated { token: view(made.row), secret: None };
    let kept = ToldOnce { kept: serde_json::to_string(&told).map_err(Error::internal)? };
    let secret = Some(made.secret.expose_secret().to_owned());
    Ok((StatusCode::CREATED, Extension(kept), Json(ApiTokenCreated { secret, ..told })))
}

/// The caller's own tokens.
#[utoipa::path(get, path = "/me/tokens", tag = "tokens", responses((status = 200, body = Page<ApiToken>)))]
pub(super) async fn list(State(app): State<App>, Caller(ctx): Caller) -> ApiResult<Json<Page<ApiToken>>> {
    Ok(page(tokens::list(&app, &ctx).await?))
}

/// Makes a token that acts as the caller. Its secret is told this once.
#[utoipa::path(post, path = "/me/tokens", tag = "tokens", request_body = ApiTokenCreate,
    responses((status = 201, body = ApiTokenCreated)))]
pub(super) async fn create(
    State(app): State<App>,
    Caller(ctx): Caller,
    JsonBody(body): JsonBody<ApiTokenCreate>,
) -> ApiResult<impl IntoResponse> {
    created(tokens::create(&app, &ctx, &wanted(body)?).await?)
}

/// Revokes a token of the caller.
#[utoipa::path(delete, path = "/me/tokens/{token}", tag = "tokens",
    params(("token" = String, Path)), responses((status = 204)))]
pub(super) async fn revoke(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(token): Path<String>,
) -> ApiResult<StatusCode> {
    tokens::revoke(&app, &ctx, &id("token", &token)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
