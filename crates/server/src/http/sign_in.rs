//! Signing in with a browser: choosing a provider, going there, coming back.
//!
//! `/sign-in` → `/auth/{provider}/start` → the provider → `/auth/{provider}/callback` → where the person wanted to go. What
//! has to be remembered meanwhile lies sealed in a cookie of this browser, so that nothing is stored for visitors who never
//! come back, and a callback that belongs to another browser is refused.

use axum::{Extension, Router};
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::Cookie;
use hexabase_app::sessions::{self, Live};
use hexabase_app::users::{self, ExternalIdentity};
use hexabase_app::{App, Error, Origin};
use hexabase_oidc::client::{Callback, LoginAttempt};
use hexabase_oidc::provider::append_query;
use serde::{Deserialize, Serialize};

use super::caller::{SESSION_COOKIE, same_origin};
use crate::pages;
use crate::providers::Provider;
use crate::state::ServerState;

/// Cookie that remembers one attempt to sign in.
const ATTEMPT_COOKIE: &str = "__Host-hexabase_attempt";
const ATTEMPT_SECONDS: i64 = 600;
const ATTEMPT_PURPOSE: &str = "sign-in attempt";

#[derive(Serialize, Deserialize)]
struct Attempt {
    provider: String,
    login: LoginAttempt,
    return_to: String,
    expires_at: i64,
}

/// Where to go once signed in.
#[derive(Debug, Deserialize)]
struct ReturnTo {
    return_to: Option<String>,
    login_hint: Option<String>,
    /// What the provider is to be asked for: `login` or `select_account`.
    prompt: Option<String>,
}

/// The routes.
pub(super) fn router() -> Router<ServerState> {
    Router::new()
        .route("/", get(home))
        .route("/sign-in", get(choose))
        .route("/auth/{provider}/start", get(start))
        .route("/auth/{provider}/callback", get(callback))
        .route("/auth/logout", post(sign_out))
}

/// The signed-in browser, if it is one.
pub(super) async fn live(app: &App, headers: &HeaderMap) -> Result<Option<Live>, Error> {
    let jar = CookieJar::from_headers(headers);
    let Some(cookie) = jar.get(SESSION_COOKIE) else { return Ok(None) };
    match sessions::from_cookie(app, cookie.value()).await {
        Ok(live) => Ok(Some(live)),
        Err(Error::Unauthenticated(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The address of the sign-in page that leads back to `path`, an absolute path of ours.
pub(super) fn sign_in_address(path: &str) -> String {
    address(path, None, None)
}

/// The same, with what the provider is to be told.
pub(super) fn address(path: &str, login_hint: Option<&str>, prompt: Option<&str>) -> String {
    format!("/sign-in?{}", query(path, login_hint, prompt))
}

fn query(return_to: &str, login_hint: Option<&str>, prompt: Option<&str>) -> String {
    let more = [("login_hint", login_hint), ("prompt", prompt)];
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair("return_to", return_to)
        .extend_pairs(more.into_iter().filter_map(|(name, value)| Some((name, value?))))
        .finish()
}

/// Forgets the session in this browser.
pub(super) fn no_session() -> Cookie<'static> {
    expired(SESSION_COOKIE)
}

/// Only absolute paths of this site: anything else could send people elsewhere (open redirect).
fn local_path(wanted: Option<&str>) -> String {
    // Browsers drop tabs and line ends, so that `/<tab>/host` is `//host` to them, and read `\` as `/`.
    let odd = |character: char| character.is_control() || character == '\\';
    let fits = |path: &&str| path.starts_with('/') && !path.starts_with("//") && !path.contains(odd);
    wanted.filter(fits).unwrap_or("/").to_owned()
}

async fn home(State(state): State<ServerState>, headers: HeaderMap) -> Response {
    let app = &state.app;
    let live = match live(app, &headers).await {
        Ok(Some(live)) => live,
        Ok(None) => return Redirect::to("/sign-in").into_response(),
        Err(error) => return failure(&error),
    };
    match users::get(app, &live.user).await {
        Err(error) => failure(&error),
        Ok(user) => {
            let body = format!(
                "<dl><dt>Name</dt><dd>{}</dd><dt>Address</dt><dd>{}</dd></dl>\
                 <p>Use the command line on this machine:</p><p><code>hxb login {}</code></p>\
                 <form method=\"post\" action=\"/auth/logout\"><button class=\"quiet\">Sign out</button></form>",
                pages::escape(user.display_name.as_str()),
                pages::escape(user.email.as_deref().unwrap_or("none given")),
                pages::escape(&app.settings.address("")),
            );
            pages::page(StatusCode::OK, "You are signed in", &body)
        }
    }
}

async fn choose(State(state): State<ServerState>, Query(query): Query<ReturnTo>) -> Response {
    let return_to = local_path(query.return_to.as_deref());
    let query = self::query(&return_to, query.login_hint.as_deref(), query.prompt.as_deref());
    let mut body = String::new();
    for provider in state.providers.iter() {
        body.push_str(&format!(
            "<a class=\"button\" href=\"/auth/{}/start?{}\">Continue with {}</a>",
            provider.id,
            pages::escape(&query),
            pages::escape(&provider.display_name)
        ));
    }
    if body.is_empty() {
        body.push_str("<p>No identity provider is set up. The operator adds one under sign_in.providers.</p>");
    }
    pages::page(StatusCode::OK, "Sign in", &body)
}

async fn start(
    State(state): State<ServerState>,
    Path(provider): Path<String>,
    Query(query): Query<ReturnTo>,
    jar: CookieJar,
) -> Response {
    let Some(provider) = state.providers.find(&provider) else { return unknown_provider() };
    match begin(&state, provider, &query).await {
        Ok((address, cookie)) => (jar.add(cookie), Redirect::to(&address)).into_response(),
        Err(error) => failure(&error),
    }
}

async fn begin(state: &ServerState, provider: &Provider, query: &ReturnTo) -> Result<(String, Cookie<'static>), Error> {
    let metadata = provider.metadata().await.map_err(|cause| {
        tracing::warn!(provider = %provider.id, error = %cause, "an identity provider cannot be reached");
        Error::Unavailable(format!("{} does not answer; try again in a moment", provider.display_name))
    })?;
    let login = LoginAttempt::start().map_err(Error::internal)?;
    let party = &provider.relying_party;
    let address = party.authorization_url(&metadata, &login, query.login_hint.as_deref()).map_err(Error::internal)?;
    let prompt = query.prompt.as_deref().filter(|prompt| ["login", "select_account"].contains(prompt));
    let address = append_query(&address, prompt.map(|prompt| ("prompt", prompt)));
    let attempt = Attempt {
        provider: provider.id.clone(),
        login,
        return_to: local_path(query.return_to.as_deref()),
        expires_at: state.app.clock.now().as_seconds() + ATTEMPT_SECONDS,
    };
    let plain = serde_json::to_vec(&attempt).map_err(Error::internal)?;
    let sealed = state.cookies.seal(ATTEMPT_PURPOSE, &plain).map_err(Error::internal)?;
    Ok((address, cookie(ATTEMPT_COOKIE, sealed, ATTEMPT_SECONDS)))
}

async fn callback(
    State(state): State<ServerState>,
    Path(provider): Path<String>,
    Extension(origin): Extension<Origin>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    jar: CookieJar,
) -> Response {
    let Some(provider) = state.providers.find(&provider) else { return unknown_provider() };
    let spent = expired(ATTEMPT_COOKIE);
    match finish(&state, provider, query.as_deref().unwrap_or_default(), &headers, &jar, &origin).await {
        Ok((session, return_to)) => (jar.add(spent).add(session), Redirect::to(&return_to)).into_response(),
        Err(error) => (jar.add(spent), failure(&error)).into_response(),
    }
}

async fn finish(
    state: &ServerState,
    provider: &Provider,
    query: &str,
    headers: &HeaderMap,
    jar: &CookieJar,
    origin: &Origin,
) -> Result<(Cookie<'static>, String), Error> {
    let app = &state.app;
    let stale = || {
        Error::Unauthenticated("this sign-in was not begun in this browser, or too long ago; start again".to_owned())
    };
    let sealed = jar.get(ATTEMPT_COOKIE).ok_or_else(stale)?;
    let plain = state.cookies.open(ATTEMPT_PURPOSE, sealed.value()).map_err(|_| stale())?;
    let attempt: Attempt = serde_json::from_slice(&plain).map_err(|_| stale())?;
    let now = app.clock.now();
    if attempt.provider != provider.id || attempt.expires_at < now.as_seconds() {
        return Err(stale());
    }
    let refused = |cause: hexabase_oidc::client::ClientError| {
        tracing::warn!(provider = %provider.id, error = %cause, "a sign-in was refused");
        Error::Unauthenticated(format!("{} did not confirm the sign-in: {cause}", provider.display_name))
    };
    let metadata = provider.metadata().await.map_err(refused)?;
    let callback = Callback::parse(query).map_err(refused)?;
    let identity = provider
        .relying_party
        .finish(&provider.http, &provider.keys, &metadata, &callback, &attempt.login, now.as_seconds())
        .await
        .map_err(refused)?;
    let identity = ExternalIdentity {
        issuer: identity.issuer,
        subject: identity.subject,
        display_name: identity.name,
        email: identity.email,
        email_verified: identity.email_verified,
    };
    let user = users::sign_in(app, &identity, origin).await?;
    // A session that this browser already had ends: whoever planted it gains nothing (session fixation).
    if let Some(old) = live(app, headers).await? {
        sessions::end(app, &old, origin).await?;
    }
    let label = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("browser");
    let token = sessions::start_browser(app, &user, label, origin).await?;
    Ok((cookie(SESSION_COOKIE, token, sessions::BROWSER_SECONDS), attempt.return_to))
}

async fn sign_out(
    State(state): State<ServerState>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    jar: CookieJar,
) -> Response {
    if !same_origin(&state.app, &headers) {
        return pages::problem(StatusCode::FORBIDDEN, "Not signed out", "The request came from another site.");
    }
    match live(&state.app, &headers).await {
        Ok(None) => {}
        Ok(Some(live)) => {
            if let Err(error) = sessions::end(&state.app, &live, &origin).await {
                return failure(&error);
            }
        }
        Err(error) => return failure(&error),
    }
    (jar.add(expired(SESSION_COOKIE)), Redirect::to("/sign-in")).into_response()
}

fn cookie(name: &'static str, value: String, seconds: i64) -> Cookie<'static> {
    let text = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}");
    Cookie::parse(text).unwrap_or_else(|_| Cookie::new(name, ""))
}

fn expired(name: &'static str) -> Cookie<'static> {
    cookie(name, String::new(), 0)
}

fn unknown_provider() -> Response {
    pages::problem(StatusCode::NOT_FOUND, "Unknown provider", "There is no way to sign in by that name here.")
}

/// A page for an error of a use case.
pub(super) fn failure(error: &Error) -> Response {
    let status = match error {
        Error::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Internal(cause) => {
            tracing::error!(error = %cause, "a page failed");
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ => StatusCode::BAD_REQUEST,
    };
    pages::problem(status, "That did not work", &error.to_string())
}
