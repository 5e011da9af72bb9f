//! `Idempotency-Key`: a POST that is sent again with the same key gets the first answer again.
//!
//! Kept for 24 hours per person. While the first is in flight: 409. The same key with another body or path: 422.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hexabase_app::{App, OpContext};
use hexabase_backends::store::Digest;
use hexabase_backends::store::idempotency::{self, Begin, Request as Keyed};

use super::error::{ApiError, ApiResult};
use super::extract::too_large;

/// Largest body of an API request.
pub const MAX_BODY: usize = 1 << 20;
const MAX_ANSWER: usize = 4 << 20;
/// After this long a first request that never ended, because its server died, no longer blocks the key.
const IN_FLIGHT_SECONDS: i64 = 60;
const KEEP_SECONDS: i64 = 24 * 3600;
const HEADER: &str = "idempotency-key";

/// Put into the extensions of an answer that holds a secret: what is kept and told to a repeated request in its place. The
/// secret is in no database, and told once.
#[derive(Debug, Clone)]
pub(super) struct ToldOnce {
    /// The body without the secret.
    pub(super) kept: String,
}

/// Applies the key, where one is given with a POST.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let key = request.headers().get(HEADER).cloned();
    let context = request.extensions().get::<OpContext>().cloned();
    match (key, context) {
        (Some(key), Some(context)) if request.method() == Method::POST => {
            once(&app, &context, &key, request, next).await.unwrap_or_else(IntoResponse::into_response)
        }
        _ => next.run(request).await,
    }
}

async fn once(app: &App, context: &OpContext, key: &HeaderValue, request: Request, next: Next) -> ApiResult<Response> {
    let text = key.to_str().unwrap_or_default();
    if text.is_empty() || text.len() > 255 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let detail = "Idempotency-Key must be 1 to 255 printable ASCII characters without spaces";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid", detail));
    }
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, MAX_BODY).await.map_err(|_| too_large())?;
    let keyed = Keyed {
        principal: context.user.to_string(),
        key: text.to_owned(),
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        body_hash: Digest::of(&bytes),
    };
    let begun = idempotency::begin(&app.store, &keyed, context.now, context.now.plus_seconds(IN_FLIGHT_SECONDS))
        .await
        .map_err(hexabase_app::Error::from)?;
    match begun {
        Begin::Replay { status, body } => return Ok(replay(status, body)),
        Begin::InFlight => {
            let detail = "the first request with this Idempotency-Key is still being answered; try again in a moment";
            return Err(ApiError::new(StatusCode::CONFLICT, "in_flight", detail));
        }
        Begin::Mismatch => {
            let detail = "this Idempotency-Key was used for another request; take a new key";
            return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", detail));
        }
        Begin::New => {}
    }
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    keep(app, &keyed, response).await
}

/// Stores the answer, unless it is one that trying again may change.
async fn keep(app: &App, keyed: &Keyed, response: Response) -> ApiResult<Response> {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, MAX_ANSWER).await.map_err(hexabase_app::Error::internal)?;
    let told_once = parts.extensions.get::<ToldOnce>().map(|told| told.kept.as_str());
    let text = told_once.or(std::str::from_utf8(&bytes).ok()).filter(|_| !parts.status.is_server_error());
    if let Err(error) = store(app, keyed, parts.status, text).await {
        tracing::warn!(%error, "an idempotent answer could not be kept");
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

async fn store(app: &App, keyed: &Keyed, status: StatusCode, text: Option<&str>) -> Result<(), hexabase_app::Error> {
    let tx = app.store.begin().await?;
    match text {
        Some(text) => {
            let until = app.clock.now().plus_seconds(KEEP_SECONDS);
            idempotency::finish(&tx, &keyed.principal, &keyed.key, status.as_u16(), text, until).await?;
        }
        None => idempotency::abandon(&tx, &keyed.principal, &keyed.key).await?,
    }
    Ok(tx.commit().await?)
}

fn replay(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let media_type = if status.is_success() { "application/json" } else { hexabase_api::problem::MEDIA_TYPE };
    let headers =
        [(header::CONTENT_TYPE, media_type), (header::HeaderName::from_static("idempotent-replayed"), "true")];
    (status, headers, Bytes::from(body)).into_response()
}
