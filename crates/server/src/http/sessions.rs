//! `/me/sessions`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hexabase_api::page::Page;
use hexabase_api::sessions::{Session, SessionsEnded};
use hexabase_app::{App, sessions};
use hexabase_backends::store::sessions as rows;

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::id;

/// Where the caller is signed in.
#[utoipa::path(get, path = "/me/sessions", tag = "users", responses((status = 200, body = Page<Session>)))]
pub(super) async fn list(State(app): State<App>, Caller(ctx): Caller) -> ApiResult<Json<Page<Session>>> {
    let rows = sessions::list(&app, &ctx).await?;
    let view = |row: rows::Session| Session {
        current: ctx.credential.session() == Some(&row.id),
        id: row.id,
        kind: row.kind.to_string(),
        label: row.label,
        created_at: row.created_at,
        created_from: row.created_from,
        last_seen_at: row.last_seen_at,
        last_seen_from: row.last_seen_from,
        expires_at: row.expires_at,
    };
    Ok(Json(Page { items: rows.into_iter().map(view).collect(), next_cursor: None }))
}

/// Ends one session of the caller.
#[utoipa::path(delete, path = "/me/sessions/{session}", tag = "users",
    params(("session" = String, Path)), responses((status = 204)))]
pub(super) async fn end(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(session): Path<String>,
) -> ApiResult<StatusCode> {
    sessions::end_one(&app, &ctx, &id("session", &session)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends every session of the caller but the one that asks.
#[utoipa::path(post, path = "/me/sessions/end-others", tag = "users", responses((status = 200, body = SessionsEnded)))]
pub(super) async fn end_others(State(app): State<App>, Caller(ctx): Caller) -> ApiResult<Json<SessionsEnded>> {
    Ok(Json(SessionsEnded { ended: sessions::end_others(&app, &ctx).await? }))
}
