//! The issuers: `/oidc/platform` for the API and `hxb`, `/oidc/{workspace}` for kubectl.

use std::str::FromStr as _;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use hexabase_app::issuer::{self, Realm};
use hexabase_app::{App, Error, Origin, oauth};
use hexabase_oidc::provider::{
    AuthorizationError, AuthorizationRequest, DeviceAuthorizationRequest, OAuthError, OAuthErrorCode, TokenRequest,
    paths,
};
use hexabase_oidc::{Issuer, Params};

use super::sign_in;
use crate::pages;
use crate::state::ServerState;

/// Seconds that readers may keep the public keys; the rotation rules count on it.
const KEYS_MAX_AGE: &str = "public, max-age=300";

/// The routes of people and programs.
pub(super) fn router() -> Router<ServerState> {
    let below = |path: &str| format!("/oidc/{{realm}}{path}");
    Router::new()
        .route(&below(paths::DISCOVERY), get(discovery))
        .route(&below(paths::JWKS), get(jwks))
        .route(&below(paths::AUTHORIZE), get(authorize))
        .route(&below(paths::TOKEN), post(token))
        .route(&below(paths::USERINFO), get(userinfo).post(userinfo))
        .route(&below(paths::DEVICE_AUTHORIZATION), post(device_authorization))
        .route(&below(paths::REVOKE), post(revoke))
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
    Ok(([(header::CACHE_CONTROL, KEYS_MAX_AGE)], Json(document)).into_response())
}

async fn jwks(State(state): State<ServerState>, Path(name): Path<String>) -> Handled {
    realm(&name)?;
    Ok(([(header::CACHE_CONTROL, KEYS_MAX_AGE)], Json(issuer::jwks(&state.app))).into_response())
}

async fn authorize(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    Extension(origin): Extension<Origin>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Handled {
    let app = &state.app;
    let realm = realm(&name)?;
    let query = query.unwrap_or_default();
    let issuer = Issuer::parse(&realm.issuer(&app.settings)).map_err(Error::internal)?;
    let clients = oauth::clients(&realm)?;
    let request = match AuthorizationRequest::parse(&query, &issuer, &clients) {
        Ok(request) => request,
        Err(AuthorizationError::Redirect { location, .. }) => return Ok(Redirect::to(&location).into_response()),
        Err(AuthorizationError::Show(error)) => {
            return Err(pages::problem(StatusCode::BAD_REQUEST, "This sign-in cannot go on", &error.description).into());
        }
    };
    let refuse = |code, sentence: String| {
        Redirect::to(&request.error_location(&OAuthError::new(code, sentence), &issuer)).into_response()
    };
    let asked_again = request.prompt.login || request.prompt.select_account;
    let Some(live) = sign_in::live(app, &headers, &origin).await?.filter(|_| !asked_again) else {
        if request.prompt.none {
            return Ok(refuse(OAuthErrorCode::LoginRequired, "nobody is signed in".to_owned()));
        }
        // Asked once: whoever comes back from signing in is not sent there again.
        let rest = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "prompt");
        let rest = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(rest).finish();
        let back = format!("/oidc/{realm}{}?{rest}", paths::AUTHORIZE);
        return Ok(Redirect::to(&sign_in::sign_in_address(&back)).into_response());
    };
    let renewed = sign_in::renewed(&live, &headers);
    match oauth::authorize(app, &realm, &request, &live).await {
        Ok(code) => Ok((renewed, Redirect::to(&request.success_location(&code, &issuer))).into_response()),
        Err(Error::Forbidden(sentence)) => Ok(refuse(OAuthErrorCode::AccessDenied, sentence)),
        Err(error) => Err(error.into()),
    }
}

async fn token(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: String,
) -> Handled {
    let realm = realm(&name)?;
    let request = TokenRequest::parse(of_form(&headers)?, &body)?;
    let response = oauth::token(&state.app, &realm, request, label(&headers), &origin).await?;
    Ok(no_store(Json(response).into_response()))
}

/// What the program that asks calls itself.
fn label(headers: &HeaderMap) -> &str {
    headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("a program")
}

/// OpenID Connect Core 1.0 section 5.3: who the bearer of an access token is.
async fn userinfo(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
) -> Handled {
    let realm = realm(&name)?;
    let refuse = |sentence: String| Early::from(OAuthError::new(OAuthErrorCode::InvalidToken, sentence));
    let authorization = authorization(&headers)?;
    let token = authorization
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or_else(|| refuse("the request carries no token".to_owned()))?;
    match oauth::user_info(&state.app, &realm, token, origin.source.as_deref()).await {
        Ok(info) => Ok(no_store(Json(info).into_response())),
        Err(Error::Unauthenticated(sentence) | Error::Forbidden(sentence)) => Err(refuse(sentence)),
        Err(error) => Err(error.into()),
    }
}

async fn device_authorization(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Handled {
    let realm = realm(&name)?;
    let request = DeviceAuthorizationRequest::parse(of_form(&headers)?, &body)?;
    let response = oauth::begin_device(&state.app, &realm, &request, label(&headers)).await?;
    Ok(no_store(Json(response).into_response()))
}

/// RFC 7009: an unknown token is no error, so that nobody learns which ones exist.
async fn revoke(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: String,
) -> Handled {
    let realm = realm(&name)?;
    of_form(&headers)?;
    let form = Params::parse(&body).map_err(OAuthError::from)?;
    let token = form.one("token").map_err(OAuthError::from)?;
    let token =
        token.ok_or_else(|| OAuthError::new(OAuthErrorCode::InvalidRequest, "the parameter token is required"))?;
    oauth::revoke(&state.app, &realm, token, &origin).await?;
    Ok(no_store(StatusCode::OK.into_response()))
}

fn authorization(headers: &HeaderMap) -> Result<Option<&str>, OAuthError> {
    let unreadable = || OAuthError::new(OAuthErrorCode::InvalidClient, "the Authorization header cannot be read");
    headers.get(header::AUTHORIZATION).map(|value| value.to_str().map_err(|_| unreadable())).transpose()
}

/// The `Authorization` header, if any, of a request whose body has to be a form.
fn of_form(headers: &HeaderMap) -> Result<Option<&str>, OAuthError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.split(';').next().is_some_and(|kind| kind.trim() == "application/x-www-form-urlencoded") {
        return authorization(headers);
    }
    Err(OAuthError::new(OAuthErrorCode::InvalidRequest, "the body must be application/x-www-form-urlencoded"))
}

fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
