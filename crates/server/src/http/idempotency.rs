//! `Idempotency-Key`: a POST that is sent again with the same key gets the first answer again.
//!
//! Kept for 24 hours per person, and per what a token is good for. While the first is in flight: 409. The same key with another body or path: 422. A request
//! with a key is carried out to its end, whether its client waits for the answer or not.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hexabase_app::{App, Error, OpContext};
use hexabase_backends::store::Digest;
use hexabase_backends::store::idempotency::{self, Begin, Request as Keyed};

use super::error::{ApiError, ApiResult};
use super::extract;
use super::to_the_end::to_the_end;
use crate::state::ServerState;

const MAX_ANSWER: usize = 4 << 20;
/// After this long a first request that never ended, because its server died, no longer blocks the key.
const IN_FLIGHT_SECONDS: i64 = 60;
/// A request that takes longer is given up: by the time its key is free again, it must be over.
const LIMIT: Duration = Duration::from_secs(45);
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
pub async fn layer(State(state): State<ServerState>, request: Request, next: Next) -> Response {
    let key = request.headers().get(HEADER).cloned();
    let context = request.extensions().get::<OpContext>().cloned();
    match (key, context) {
        (Some(key), Some(context)) if request.method() == Method::POST => {
            once(&state, &context, &key, request, next).await.unwrap_or_else(IntoResponse::into_response)
        }
        _ => next.run(request).await,
    }
}

async fn once(
    state: &ServerState,
    context: &OpContext,
    key: &HeaderValue,
    request: Request,
    next: Next,
) -> ApiResult<Response> {
    let app = state.app.clone();
    let text = key.to_str().unwrap_or_default();
    if text.is_empty() || text.len() > 255 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let detail = "Idempotency-Key must be 1 to 255 printable ASCII characters without spaces";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid", detail));
    }
    let (parts, body) = request.into_parts();
    let bytes = extract::body(body).await?;
    let keyed = Keyed {
        principal: context.principal(),
        key: text.to_owned(),
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        body_hash: Digest::of(&bytes),
        request_id: context.request_id.to_string(),
    };
    // Since its sign-in the body may have taken its time.
    let now = app.clock.now();
    let begun = idempotency::begin(&app.store, &keyed, now, now.plus_seconds(IN_FLIGHT_SECONDS)).await;
    let begun = begun.map_err(Error::from)?;
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
        Begin::CarriedOut { action, subject } => {
            let detail = format!(
                "the first request with this Idempotency-Key was carried out ({action}: {subject}), and its answer was lost; \
                 look at what it made"
            );
            return Err(ApiError::new(StatusCode::CONFLICT, "answer_lost", detail));
        }
        Begin::New => {}
    }
    let request = Request::from_parts(parts, Body::from(bytes));
    // A client that hangs up after the commit finds the answer when it asks again.
    to_the_end(state, async move { carry_out(&app, &keyed, request, next).await }).await?
}

async fn carry_out(app: &App, keyed: &Keyed, request: Request, next: Next) -> ApiResult<Response> {
    match tokio::time::timeout(LIMIT, next.run(request)).await {
        Ok(response) => keep(app, keyed, response).await,
        // Its change may be on its way at this moment: its key is free, or says what was done, once that is over.
        Err(_) => Err(Error::Unavailable("the request took too long; try again in a minute".to_owned()).into()),
    }
}

/// Stores the answer, unless it is one that trying again may change: our fault, or a right that the caller may be given. A fault
/// may come after the change; then trying again changes nothing more.
async fn keep(app: &App, keyed: &Keyed, response: Response) -> ApiResult<Response> {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, MAX_ANSWER).await.map_err(Error::internal)?;
    let told_once = parts.extensions.get::<ToldOnce>().map(|told| told.kept.as_str());
    let passes = parts.status.is_server_error() || parts.status == StatusCode::FORBIDDEN;
    let text = told_once.or(std::str::from_utf8(&bytes).ok()).filter(|_| !passes);
    if let Err(error) = store(app, keyed, parts.status, text).await {
        tracing::warn!(%error, "an idempotent answer could not be kept");
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

async fn store(app: &App, keyed: &Keyed, status: StatusCode, text: Option<&str>) -> Result<(), Error> {
    let tx = app.store.begin().await?;
    match text {
        Some(text) => {
            let until = app.clock.now().plus_seconds(KEEP_SECONDS);
            idempotency::finish(&tx, &keyed.principal, &keyed.key, status.as_u16(), text, until).await?;
        }
        None => idempotency::abandon(&tx, keyed).await?,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::post;
    use axum::{Router, middleware};
    use hexabase_app::clock::Clock;
    use hexabase_app::keys::Keys;
    use hexabase_app::{Credential, Settings};
    use hexabase_backends::bell::Bell;
    use hexabase_backends::mail::Mailer;
    use hexabase_backends::seal::Sealer;
    use hexabase_backends::store::audit::{self, AuditChain, NewAuditEntry};
    use hexabase_core::audit::AuditEntry;
    use hexabase_oidc::keys::RotationPolicy;
    use hexabase_testkit::store::{Engine, TestStore};
    use tokio::sync::Notify;
    use tokio_util::task::TaskTracker;
    use tower::ServiceExt as _;

    use super::*;
    use crate::cookies::Cookies;
    use crate::http::request_id;
    use crate::providers::Providers;

    async fn state(store: &TestStore) -> anyhow::Result<ServerState> {
        let sealer = Sealer::new(&[7; 32], "master")?;
        let clock = Clock::System;
        let keys = Keys::load(store, &sealer, RotationPolicy::DEFAULT, clock.now()).await?;
        let settings = Settings {
            public_url: "https://localhost".parse()?,
            cluster_url: None,
            authority_pem: None,
            oidc_clients: Arc::new([]),
        };
        let cookies = Arc::new(Cookies::new(sealer.clone()));
        let (store, bell) = ((**store).clone(), Bell::new());
        let app = App { store, bell, clock, settings, keys, sealer, mailer: Mailer::None };
        let (providers, proxies, requests) = (Providers::default(), Arc::default(), TaskTracker::new());
        Ok(ServerState { app, providers, cookies, proxies, requests })
    }

    fn context(state: &ServerState) -> anyhow::Result<OpContext> {
        Ok(OpContext {
            user: state.app.new_id()?,
            credential: Credential::Session(state.app.new_id()?),
            now: state.app.clock.now(),
            request_id: state.app.new_id()?,
            source: None,
        })
    }

    /// A change, as the log has it.
    async fn change(app: &App, context: &OpContext) -> anyhow::Result<()> {
        let entry = AuditEntry {
            id: app.new_id()?,
            at: app.clock.now(),
            actor: context.user.to_string(),
            on_behalf_of: None,
            credential: "session".to_owned(),
            source: None,
            request_id: context.request_id.to_string(),
            action: "thing.made".to_owned(),
            subject: "thing-1".to_owned(),
            workspace: None,
            before: None,
            after: None,
        };
        let tx = app.store.begin().await?;
        audit::append(&tx, NewAuditEntry { chain: AuditChain::User(context.user.clone()), entry });
        Ok(tx.commit().await?)
    }

    #[tokio::test]
    async fn a_request_that_fails_after_its_change_is_not_carried_out_again() -> anyhow::Result<()> {
        let store = TestStore::new(Engine::Sqlite).await?;
        let state = state(&store).await?;
        let (context, times) = (context(&state)?, Arc::new(AtomicUsize::new(0)));
        let parts = (state.app.clone(), context.clone(), times.clone());
        let make = async move || {
            let (app, context, times) = parts.clone();
            // A fault without a change first.
            if times.fetch_add(1, Ordering::SeqCst) == 0 {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            let changed = change(&app, &context).await;
            if changed.is_ok() { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::IM_A_TEAPOT }
        };
        let router =
            Router::new().route("/things", post(make)).layer(middleware::from_fn_with_state(state.clone(), layer));
        let mut answers = Vec::new();
        for _ in 0..4 {
            let request = Request::post("/things").header(HEADER, "k").extension(context.clone());
            let answer = router.clone().oneshot(request.body(Body::empty())?).await?;
            let status = answer.status().as_u16();
            let body = to_bytes(answer.into_body(), MAX_ANSWER).await?;
            answers.push((status, String::from_utf8_lossy(&body).contains("thing.made: thing-1")));
        }
        assert_eq!(answers, [(503, false), (500, false), (409, true), (409, true)]);
        assert_eq!(times.load(Ordering::SeqCst), 2);
        Ok(())
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_finds_the_answer_when_it_asks_again() -> anyhow::Result<()> {
        let store = TestStore::new(Engine::Sqlite).await?;
        let state = state(&store).await?;
        let (begun, go, times) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let signals = (begun.clone(), go.clone(), times.clone());
        let make = async move || {
            let (begun, go, times) = signals.clone();
            times.fetch_add(1, Ordering::SeqCst);
            begun.notify_one();
            go.notified().await;
            (StatusCode::CREATED, request_id::current())
        };
        let context = context(&state)?;
        let router = Router::new()
            .route("/things", post(make))
            .layer(middleware::from_fn_with_state(state.clone(), layer))
            .layer(middleware::from_fn_with_state(state.clone(), request_id::layer));
        let ask = || {
            let request = Request::post("/things").header(HEADER, "k").extension(context.clone());
            anyhow::Ok(router.clone().oneshot(request.body(Body::empty())?))
        };

        let first = tokio::spawn(ask()?);
        begun.notified().await;
        first.abort();
        assert!(first.await.is_err(), "it was answered although nobody waited");
        go.notify_one();
        let until_answered = async {
            loop {
                let answer = ask()?.await?;
                if answer.status() != StatusCode::CONFLICT {
                    return anyhow::Ok(answer);
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let again = tokio::time::timeout(Duration::from_secs(30), until_answered).await??;
        assert_eq!(again.status(), StatusCode::CREATED);
        assert_eq!(again.headers()["idempotent-replayed"], "true");
        assert_eq!(times.load(Ordering::SeqCst), 1);
        let id = to_bytes(again.into_body(), MAX_ANSWER).await?;
        assert!(id.starts_with(b"req-"), "the first request's id was lost: {id:?}");
        Ok(())
    }
}
