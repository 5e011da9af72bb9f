//! Signing in with a browser: choosing a provider, going there, coming back.
//!
//! `/sign-in` → `/auth/{provider}/start` → the provider → `/auth/{provider}/callback` → where the person wanted to go. What
//! has to be remembered meanwhile lies sealed in a cookie of this browser, so that nothing is stored for visitors who never
//! come back, and a callback that belongs to another browser is refused. An attempt may be one to link another identity to
//! the signed-in person (`account.rs`); then it names the session that began it, and is good in no other.

use axum::extract::{Path, Query, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::Cookie;
use hexabase_app::sessions::{self, Live};
use hexabase_app::users::{self, ExternalIdentity};
use hexabase_app::{App, Error, OpContext, Origin, identities};
use hexabase_core::ids::SessionId;
use hexabase_core::time::Timestamp;
use hexabase_oidc::client::LoginAttempt;
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
/// Bytes of a cookie with all that belongs to it. Browsers drop a longer one without a word.
const MOST_COOKIE: usize = 4096;
/// What the provider is asked for when the person is to prove anew who they are.
pub(super) const LOGIN: &str = "login";
const SELECT_ACCOUNT: &str = "select_account";

#[derive(Serialize, Deserialize)]
struct Attempt {
    provider: String,
    login: LoginAttempt,
    return_to: String,
    expires_at: i64,
    /// The session of the person to link the identity to; without one, this is a sign-in.
    link: Option<SessionId>,
}

/// Where to go once signed in.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ReturnTo {
    return_to: Option<String>,
    login_hint: Option<String>,
    /// What the provider is to be asked for: [`LOGIN`] or [`SELECT_ACCOUNT`]. Anybody can take it out: whether the person has
    /// signed in anew is known by their session.
    prompt: Option<String>,
}

/// The routes.
pub(super) fn router() -> Router<ServerState> {
    Router::new()
        .route("/sign-in", get(choose))
        .route("/auth/{provider}/start", get(start))
        .route("/auth/{provider}/callback", get(callback))
        .route("/auth/logout", post(sign_out))
}

/// The signed-in browser, if it is one.
pub(super) async fn live(app: &App, headers: &HeaderMap, origin: &Origin) -> Result<Option<Live>, Error> {
    let jar = CookieJar::from_headers(headers);
    let Some(cookie) = jar.get(SESSION_COOKIE) else { return Ok(None) };
    match sessions::from_cookie(app, cookie.value(), origin.source.as_deref()).await {
        Ok(live) => Ok(Some(live)),
        Err(Error::Unauthenticated(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The session's cookie once more, when this use has moved the session's end: the browser would drop it before.
pub(super) fn renewed(live: &Live, headers: &HeaderMap) -> CookieJar {
    let held = CookieJar::from_headers(headers);
    match held.get(SESSION_COOKIE).filter(|_| live.extended) {
        Some(held) => CookieJar::new().add(session_cookie(held.value().to_owned())),
        None => CookieJar::new(),
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

async fn choose(State(state): State<ServerState>, Query(query): Query<ReturnTo>) -> Response {
    let return_to = local_path(query.return_to.as_deref());
    let anew = query.prompt.as_deref() == Some(LOGIN);
    let query = self::query(&return_to, query.login_hint.as_deref(), query.prompt.as_deref());
    let mut body = String::new();
    for provider in state.providers.iter() {
        if anew && !provider.signs_in_anew() {
            body.push_str(&format!("<p class=\"muted\">{}.</p>", pages::escape(&provider.cannot_sign_in_anew())));
            continue;
        }
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
    match begin(&state, provider, &query, None).await {
        Ok(away) => (jar.add(away.attempt), Redirect::to(&away.address)).into_response(),
        Err(error) => failure(&error),
    }
}

/// A browser on its way to a provider.
pub(super) struct Away {
    /// Where it goes.
    pub(super) address: String,
    /// What it carries until it is back.
    pub(super) attempt: Cookie<'static>,
}

/// Begins a sign-in, or to `link` an identity to the person of that session.
///
/// # Errors
/// As for [`Provider::begin`], and [`Error::Invalid`] for a way back that no browser can carry.
pub(super) async fn begin(
    state: &ServerState,
    provider: &Provider,
    query: &ReturnTo,
    link: Option<SessionId>,
) -> Result<Away, Error> {
    let now = state.app.clock.now();
    let prompt = query.prompt.as_deref();
    let anew = (prompt == Some(LOGIN)).then_some(now);
    let (address, login) = provider.begin(query.login_hint.as_deref(), anew).await?;
    let chosen = (prompt == Some(SELECT_ACCOUNT)).then_some(("prompt", SELECT_ACCOUNT));
    let address = append_query(&address, chosen);
    let attempt = Attempt {
        provider: provider.id.clone(),
        login,
        return_to: local_path(query.return_to.as_deref()),
        expires_at: now.as_seconds() + ATTEMPT_SECONDS,
        link,
    };
    let plain = serde_json::to_vec(&attempt).map_err(Error::internal)?;
    let sealed = state.cookies.seal(ATTEMPT_PURPOSE, &plain).map_err(Error::internal)?;
    let attempt = cookie(ATTEMPT_COOKIE, sealed, ATTEMPT_SECONDS);
    if attempt.to_string().len() > MOST_COOKIE {
        let rule = "what you were sent here with is longer than a browser can keep while you sign in; it is for the program \
                    that sent you to ask for less";
        return Err(Error::invalid("return_to", rule));
    }
    Ok(Away { address, attempt })
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
        Ok((Some(session), return_to)) => (jar.add(spent).add(session), Redirect::to(&return_to)).into_response(),
        Ok((None, return_to)) => (jar.add(spent), Redirect::to(&return_to)).into_response(),
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
) -> Result<(Option<Cookie<'static>>, String), Error> {
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
    let here = live(app, headers, origin).await?;
    // Who is signed in here must be who asked for it: else somebody could have another person's account opened to them.
    if attempt.link.is_some() && attempt.link != here.as_ref().map(|live| live.session.clone()) {
        return Err(stale());
    }
    let identity = provider.finish(query, &attempt.login, now.as_seconds()).await?;
    let authenticated_at = identity.auth_time.map(Timestamp::from_seconds);
    let identity = ExternalIdentity {
        issuer: identity.issuer,
        subject: identity.subject,
        display_name: identity.name,
        email: identity.email,
        email_verified: identity.email_verified,
    };
    if let (true, Some(live)) = (attempt.link.is_some(), here.as_ref()) {
        let ctx = OpContext::of(live.user.clone(), live.credential(), app.clock.now(), origin);
        identities::link(app, &ctx, &identity).await?;
        return Ok((None, attempt.return_to));
    }
    let user = users::sign_in(app, &identity, origin).await?;
    // A session that this browser already had ends: whoever planted it gains nothing (session fixation).
    if let Some(old) = here {
        sessions::end(app, &old.user, &old.session, origin).await?;
    }
    let label = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("browser");
    let token = sessions::start_browser(app, &user, label, authenticated_at, origin).await?;
    Ok((Some(session_cookie(token)), attempt.return_to))
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
    match live(&state.app, &headers, &origin).await {
        Ok(None) => {}
        Ok(Some(live)) => {
            if let Err(error) = sessions::end(&state.app, &live.user, &live.session, &origin).await {
                return failure(&error);
            }
        }
        Err(error) => return failure(&error),
    }
    (jar.add(expired(SESSION_COOKIE)), Redirect::to("/sign-in")).into_response()
}

/// A cookie of this host alone, for no script.
pub(super) fn cookie(name: &'static str, value: String, seconds: i64) -> Cookie<'static> {
    let text = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}");
    Cookie::parse(text).unwrap_or_else(|_| Cookie::new(name, ""))
}

fn session_cookie(token: String) -> Cookie<'static> {
    cookie(SESSION_COOKIE, token, sessions::BROWSER_SECONDS)
}

/// Takes a cookie away.
pub(super) fn expired(name: &'static str) -> Cookie<'static> {
    cookie(name, String::new(), 0)
}

pub(super) fn unknown_provider() -> Response {
    pages::problem(StatusCode::NOT_FOUND, "Unknown provider", "There is no way to sign in by that name here.")
}

/// A page for an error of a use case.
pub(super) fn failure(error: &Error) -> Response {
    let status = match error {
        Error::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
        Error::Forbidden(_) => StatusCode::FORBIDDEN,
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::Conflict { .. } | Error::LimitReached(_) => StatusCode::CONFLICT,
        Error::TooOften { .. } => StatusCode::TOO_MANY_REQUESTS,
        Error::Unavailable(_) | Error::Overtaken => StatusCode::SERVICE_UNAVAILABLE,
        Error::Internal(cause) => {
            tracing::error!(error = %cause, "a page failed");
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ => StatusCode::BAD_REQUEST,
    };
    pages::problem(status, "That did not work", &error.to_string())
}
