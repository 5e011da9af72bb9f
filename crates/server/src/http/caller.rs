//! Who is asking: an access token of the platform, an API token, or the browser's session cookie.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use hexabase_app::{App, Credential, Error, OpContext, Origin, sessions, tokens};

use super::error::{ApiError, ApiResult};
use super::sign_in;

/// Cookie of a signed-in browser. The prefix makes browsers refuse it from another host or over plain HTTP (RFC 6265bis).
pub const SESSION_COOKIE: &str = "__Host-hexabase_session";
/// Header that a page of another origin cannot send without being asked first (a CORS preflight, which is never granted).
const CSRF_HEADER: &str = "x-hexabase-request";

/// The authenticated caller of an API request.
#[derive(Debug, Clone)]
pub struct Caller(pub OpContext);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let refused = || ApiError::from(Error::Unauthenticated("sign in first".to_owned()));
        parts.extensions.get::<OpContext>().cloned().map(Caller).ok_or_else(refused)
    }
}

/// Lets only authenticated requests through.
pub async fn require(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match authenticate(&app, &parts).await {
        Ok((context, renewed)) => {
            parts.extensions.insert(context);
            (renewed, next.run(Request::from_parts(parts, body)).await).into_response()
        }
        Err(error) => error.into_response(),
    }
}

/// Who asks, and the cookie that a browser is to be given again.
async fn authenticate(app: &App, parts: &Parts) -> ApiResult<(OpContext, CookieJar)> {
    let origin = parts.extensions.get::<Origin>().cloned();
    let origin = origin.ok_or_else(|| Error::internal("the request has no id"))?;
    let headers = &parts.headers;
    let source = origin.source.as_deref();
    let (live, renewed) = match bearer(headers)? {
        Some(secret) if tokens::is_api_token(secret) => {
            let token = tokens::from_secret(app, secret, source).await?;
            let credential = Credential::Token { id: token.id, scope: token.scope };
            return Ok((OpContext::of(token.user_id, credential, app.clock.now(), &origin), CookieJar::new()));
        }
        Some(token) => (sessions::from_access_token(app, token, source).await?, CookieJar::new()),
        None => {
            let jar = CookieJar::from_headers(headers);
            let Some(cookie) = jar.get(SESSION_COOKIE) else {
                return Err(Error::Unauthenticated("sign in first: the request carries no token".to_owned()).into());
            };
            refuse_cross_site(app, &parts.method, headers)?;
            let live = sessions::from_cookie(app, cookie.value(), source).await?;
            let renewed = sign_in::renewed(&live, headers);
            (live, renewed)
        }
    };
    let credential = live.credential();
    Ok((OpContext::of(live.user, credential, app.clock.now(), &origin), renewed))
}

/// The bearer token, if there is an `Authorization` header. A header that is empty, doubled or of another scheme is refused
/// rather than taken for none.
fn bearer(headers: &HeaderMap) -> ApiResult<Option<&str>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let malformed =
        || ApiError::from(Error::Unauthenticated("the Authorization header must be: Bearer <token>".to_owned()));
    if values.next().is_some() {
        return Err(malformed());
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.contains(' ') {
        return Err(malformed());
    }
    Ok(Some(token))
}

/// A request that changes something and is carried by a cookie must come from our own pages.
pub fn refuse_cross_site(app: &App, method: &Method, headers: &HeaderMap) -> ApiResult<()> {
    if method.is_safe() || (same_origin(app, headers) && headers.contains_key(CSRF_HEADER)) {
        return Ok(());
    }
    let detail = format!("a request with a session cookie must come from this site and carry the header {CSRF_HEADER}");
    Err(ApiError::new(StatusCode::FORBIDDEN, "cross_site", detail))
}

/// Whether the browser says that the request comes from a page of ours.
pub fn same_origin(app: &App, headers: &HeaderMap) -> bool {
    let ours = app.settings.public_url.origin().ascii_serialization();
    headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()) == Some(ours.as_str())
}
