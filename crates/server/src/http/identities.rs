//! `/me/identities`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hexabase_api::identities::Identity;
use hexabase_api::page::Page;
use hexabase_app::{App, identities};
use hexabase_backends::store::identities as rows;

use super::account::provider_name;
use super::caller::Caller;
use super::error::ApiResult;
use super::extract::id;
use crate::providers::Providers;
use crate::state::ServerState;

fn view(providers: &Providers, row: rows::Identity, primary: bool) -> Identity {
    Identity {
        provider: providers.of_issuer(&row.issuer).map(|provider| provider.id.clone()),
        provider_name: provider_name(providers, &row).to_owned(),
        id: row.id,
        issuer: row.issuer,
        subject: row.subject,
        display_name: row.said.display_name,
        email: row.said.email,
        email_verified: row.said.email_verified,
        primary,
        created_at: row.created_at,
        last_used_at: row.last_used_at,
    }
}

/// What the person who asks can sign in with, the primary identity first. Others are linked in the browser.
#[utoipa::path(get, path = "/me/identities", tag = "users", responses((status = 200, body = Page<Identity>)))]
pub(super) async fn list(State(state): State<ServerState>, Caller(ctx): Caller) -> ApiResult<Json<Page<Identity>>> {
    let rows = identities::list(&state.app, &ctx).await?.into_iter().enumerate();
    let items = rows.map(|(place, row)| view(&state.providers, row, place == 0)).collect();
    Ok(Json(Page { items, next_cursor: None }))
}

/// Takes an identity away; the last one stays.
#[utoipa::path(delete, path = "/me/identities/{identity}", tag = "users", params(("identity" = String, Path)),
    responses((status = 204)))]
pub(super) async fn unlink(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(identity): Path<String>,
) -> ApiResult<StatusCode> {
    identities::unlink(&app, &ctx, &id("identity", &identity)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
