//! The issuers: `/oidc/platform` for the API and `hxb`, `/oidc/{workspace}` for kubectl.

mod authorize;
mod end_session;
mod programs;

use std::str::FromStr as _;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hexabase_app::issuer::{self, Realm};
use hexabase_app::{App, Error};
use hexabase_oidc::provider::{OAuthError, OAuthErrorCode, paths};

use super::sign_in;
use crate::pages;
use crate::state::ServerState;

/// Below an endpoint with a page: where the page sends the person's decision.
const DECISION: &str = "/decision";
/// The longest form that is turned into a query: browsers and proxies take no longer address.
const MAX_QUERY: usize = 8 * 1024;

/// The routes of people and programs.
pub(super) fn router() -> Router<ServerState> {
    let below = |path: &str| format!("/oidc/{{realm}}{path}");
    let decision = |path: &str| format!("/oidc/{{realm}}{path}{DECISION}");
    Router::new()
        .route(&below(paths::DISCOVERY), get(discovery))
        .route(&below(paths::JWKS), get(jwks))
        .route(&below(paths::AUTHORIZE), get(authorize::ask).post(authorize::ask_by_form))
        .route(&decision(paths::AUTHORIZE), post(authorize::decide))
        .route(&below(paths::TOKEN), post(programs::token))
        .route(&below(paths::USERINFO), get(programs::userinfo).post(programs::userinfo_by_form))
        .route(&below(paths::DEVICE_AUTHORIZATION), post(programs::device_authorization))
        .route(&below(paths::REVOKE), post(programs::revoke))
        .route(&below(paths::INTROSPECT), post(programs::introspect))
        .route(&below(paths::END_SESSION), get(end_session::ask).post(end_session::ask_by_form))
        .route(&decision(paths::END_SESSION), post(end_session::decide))
}

/// The routes of the second listener: discovery and public keys for API servers that cannot reach the public address.
pub fn cluster_router(state: ServerState) -> Router {
    let below = |path: &str| format!("/oidc/{{realm}}{path}");
    Router::new()
        .route(&below(paths::DISCOVERY), get(cluster_discovery))
        .route(&below(paths::JWKS), get(jwks))
        .with_state(state)
}

/// An answer, or an early one: what `?` leaves a handler with.
type Handled = Result<Response, Early>;

/// The answer to a request that goes no further.
struct Early(Box<Response>);

impl IntoResponse for Early {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl From<Response> for Early {
    fn from(response: Response) -> Self {
        Self(Box::new(response))
    }
}

/// For programs: the error answer of RFC 6749 section 5.2.
impl From<OAuthError> for Early {
    fn from(error: OAuthError) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let mut response = no_store((status, Json(&error)).into_response());
        if let Some(challenge) = error.www_authenticate().and_then(|text| HeaderValue::from_str(&text).ok()) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response.into()
    }
}

/// For people: a page.
impl From<Error> for Early {
    fn from(error: Error) -> Self {
        sign_in::failure(&error).into()
    }
}

fn realm(text: &str) -> Result<Realm, Early> {
    Realm::from_str(text).map_err(|_| StatusCode::NOT_FOUND.into_response().into())
}

async fn discovery(State(state): State<ServerState>, Path(name): Path<String>) -> Handled {
    document(&state.app, &realm(&name)?, None)
}

async fn cluster_discovery(State(state): State<ServerState>, Path(name): Path<String>) -> Handled {
    let realm = realm(&name)?;
    let base = state
        .app
        .settings
        .cluster_url
        .as_ref()
        .map(|url| format!("{}/oidc/{realm}", url.as_str().trim_end_matches('/')));
    document(&state.app, &realm, base)
}

fn document(app: &App, realm: &Realm, jwks_base: Option<String>) -> Handled {
    let document = issuer::discovery(app, realm, jwks_base)?;
    Ok(([(header::CACHE_CONTROL, may_keep(app.keys.policy().jwks_max_age))], Json(document)).into_response())
}

async fn jwks(State(state): State<ServerState>, Path(name): Path<String>) -> Handled {
    realm(&name)?;
    let (keys, max_age) = issuer::jwks(&state.app)?;
    let json = HeaderValue::from_static("application/json");
    let headers = [(header::CONTENT_TYPE, json), (header::CACHE_CONTROL, may_keep(max_age))];
    Ok((headers, keys.to_string()).into_response())
}

/// For how long readers may keep what is published; the rotation rules count on it.
fn may_keep(seconds: i64) -> HeaderValue {
    let text = HeaderValue::from_str(&format!("public, max-age={seconds}"));
    text.unwrap_or_else(|_| HeaderValue::from_static("no-store"))
}

/// Turns a form that another site has posted into the same request by address: only then do browsers send our cookie
/// (`SameSite=Lax`).
fn by_address(realm: &Realm, path: &str, headers: &HeaderMap, form: &str) -> Handled {
    of_form(headers)?;
    if form.len() > MAX_QUERY {
        let sentence = "The request is too long.";
        return Ok(pages::problem(StatusCode::PAYLOAD_TOO_LARGE, "This cannot go on", sentence));
    }
    // Written anew: whatever was posted, an address holds nothing but what may stand in one.
    let pairs = url::form_urlencoded::parse(form.as_bytes());
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    Ok(Redirect::to(&format!("/oidc/{realm}{path}?{query}")).into_response())
}

fn authorization(headers: &HeaderMap) -> Result<Option<&str>, OAuthError> {
    let unreadable = || OAuthError::new(OAuthErrorCode::InvalidClient, "the Authorization header cannot be read");
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().map(|value| value.to_str().map_err(|_| unreadable())).transpose()?;
    if values.next().is_some() {
        return Err(OAuthError::new(OAuthErrorCode::InvalidRequest, "there are two Authorization headers"));
    }
    Ok(value)
}

/// Whether the body is a form.
fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().is_some_and(|kind| kind.trim() == "application/x-www-form-urlencoded")
}

/// The `Authorization` header, if any, of a request whose body has to be a form.
fn of_form(headers: &HeaderMap) -> Result<Option<&str>, OAuthError> {
    if is_form(headers) {
        return authorization(headers);
    }
    Err(OAuthError::new(OAuthErrorCode::InvalidRequest, "the body must be application/x-www-form-urlencoded"))
}

fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
