//! The endpoints: decode, do one thing, encode.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{RawQuery, Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use hexabase_oidc::{
    Params,
    claims::{Audience, IdTokenClaims},
    jwt::{Expectation, ExpectedTyp, Typ, half_hash},
    keys::Algorithm,
    provider::{
        AuthorizationError, AuthorizationRequest, DiscoveryDocument, OAuthError, OAuthErrorCode, ProviderFeatures,
        TokenRequest, TokenResponse, paths,
    },
};
use url::Url;

use super::{DevIdentity, DevIssuer, codes::Issued, pages};

const TOKEN_LIFE: i64 = 600;
const SCOPES: [&str; 3] = ["openid", "email", "profile"];

type Dev = State<Arc<DevIssuer>>;

pub(super) fn router(dev: Arc<DevIssuer>) -> Router {
    Router::new()
        .route(paths::DISCOVERY, get(discovery))
        .route(paths::JWKS, get(jwks))
        .route(paths::AUTHORIZE, get(show_choice).post(choose))
        .route(paths::TOKEN, post(token))
        .route(paths::USERINFO, get(userinfo).post(userinfo))
        .with_state(dev)
        .layer(middleware::from_fn(loopback_only))
}

/// Refuses what was addressed to another host: a listener opened too wide, or a page that rebinds its own name to
/// 127.0.0.1.
async fn loopback_only(request: Request, next: Next) -> Response {
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(|authority| authority.as_str()).or(header).unwrap_or_default();
    let local = match Url::parse(&format!("http://{host}/")).ok().as_ref().and_then(Url::host) {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if local {
        next.run(request).await
    } else {
        let text = "The development issuer answers requests to a loopback address only.";
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    }
}

async fn discovery(State(dev): Dev) -> Json<DiscoveryDocument> {
    let algorithms = vec![Algorithm::Es256];
    let public_clients = dev.client.is_public();
    let confidential_clients = !public_clients;
    let features = ProviderFeatures { algorithms, public_clients, confidential_clients, ..Default::default() };
    Json(DiscoveryDocument::new(&dev.issuer, &features))
}

async fn jwks(State(dev): Dev) -> Response {
    ([(header::CACHE_CONTROL, "public, max-age=300")], Json(dev.keys.jwks((dev.clock)()))).into_response()
}

async fn show_choice(State(dev): Dev, RawQuery(query): RawQuery) -> Response {
    dev.authorize(&query.unwrap_or_default(), "")
}

async fn choose(State(dev): Dev, RawQuery(query): RawQuery, body: String) -> Response {
    // The request may be in the query (our own page) or, OpenID Connect Core 3.1.2.1, in the form.
    match query.filter(|query| !query.is_empty()) {
        Some(query) => dev.authorize(&query, &body),
        None => dev.authorize(&body, &body),
    }
}

async fn token(State(dev): Dev, headers: HeaderMap, body: String) -> Response {
    match dev.redeem(&headers, &body) {
        Ok(tokens) => ([(header::CACHE_CONTROL, "no-store")], Json(tokens)).into_response(),
        Err(error) => oauth_error(&error),
    }
}

async fn userinfo(State(dev): Dev, method: Method, headers: HeaderMap, body: String) -> Response {
    let form = if method == Method::POST { body.as_str() } else { "" };
    match dev.userinfo(&headers, form) {
        Ok(claims) => ([(header::CACHE_CONTROL, "no-store")], Json(claims)).into_response(),
        Err(error) => oauth_error(&error),
    }
}

impl DevIssuer {
    /// The page, or, once somebody was chosen in `form`, the way back with a code.
    fn authorize(&self, query: &str, form: &str) -> Response {
        let request = match AuthorizationRequest::parse(query, &self.issuer, std::slice::from_ref(&self.client)) {
            Ok(request) => request,
            Err(AuthorizationError::Show(error)) => {
                return page(StatusCode::BAD_REQUEST, pages::problem(&error.description));
            }
            Err(AuthorizationError::Redirect { location, .. }) => return redirect(location),
        };
        if request.prompt.none {
            let error = OAuthError::new(OAuthErrorCode::LoginRequired, "nobody is signed in here, ever");
            return redirect(request.error_location(&error, &self.issuer));
        }
        let form = Params::parse(form).unwrap_or_default();
        let [email, name] = ["email", "name"].map(|field| form.one(field).ok().flatten().unwrap_or_default());
        let hint = request.login_hint.as_deref();
        if email.is_empty() && form.one("email").is_ok() {
            return page(StatusCode::OK, pages::choice(&self.identities, query, self.client.id(), hint, None));
        }
        let Some(identity) = DevIdentity::from_input(email, name, &self.identities) else {
            let again = pages::choice(&self.identities, query, self.client.id(), Some(email), Some(name));
            return page(StatusCode::UNPROCESSABLE_ENTITY, again);
        };
        let issued = Issued { request: request.clone(), identity, signed_in_at: (self.clock)() };
        redirect(match self.codes.issue(issued) {
            Ok(code) => request.success_location(&code, &self.issuer),
            Err(error) => request.error_location(&error, &self.issuer),
        })
    }

    fn redeem(&self, headers: &HeaderMap, body: &str) -> Result<TokenResponse, OAuthError> {
        let now = (self.clock)();
        let form = "application/x-www-form-urlencoded";
        if !text(headers, header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with(form)) {
            return Err(OAuthError::new(OAuthErrorCode::InvalidRequest, "the body must be a form"));
        }
        let request = TokenRequest::parse(text(headers, header::AUTHORIZATION), body)?;
        let client = request.client.authenticate(std::slice::from_ref(&self.client))?;
        let Issued { request, identity, signed_in_at } = self.codes.redeem(client.id(), &request.grant, now)?;
        let scopes = request.scopes.limited_to(&SCOPES);
        let mut claims = IdTokenClaims {
            iss: self.issuer.to_string(),
            sub: identity.subject(),
            aud: Audience::One(self.issuer.join(paths::USERINFO)),
            exp: now + TOKEN_LIFE,
            iat: now,
            auth_time: Some(signed_in_at),
            nonce: None,
            azp: None,
            at_hash: None,
            sid: None,
            email: scopes.contains("email").then(|| identity.email.clone()),
            email_verified: scopes.contains("email").then_some(true),
            name: scopes.contains("profile").then_some(identity.name),
            picture: None,
            groups: None,
        };
        let mut tokens = TokenResponse::bearer(self.sign(&claims, Typ::AccessToken)?, TOKEN_LIFE);
        tokens.scope = Some(scopes.to_string());
        if scopes.contains("openid") {
            claims.aud = Audience::One(client.id().to_owned());
            claims.nonce = request.nonce;
            claims.at_hash = Some(half_hash(&tokens.access_token));
            tokens.id_token = Some(self.sign(&claims, Typ::Jwt)?);
        }
        Ok(tokens)
    }

    fn sign(&self, claims: &IdTokenClaims, typ: Typ) -> Result<String, OAuthError> {
        self.keys.sign(Algorithm::Es256, claims, typ, claims.iat).map_err(|error| {
            tracing::error!(%error, "the development issuer cannot sign");
            OAuthError::new(OAuthErrorCode::ServerError, "the token could not be signed")
        })
    }

    /// RFC 6750: the token comes in the header or in a posted form.
    fn userinfo(&self, headers: &HeaderMap, form: &str) -> Result<serde_json::Value, OAuthError> {
        let form = Params::parse(form)?;
        let token = match text(headers, header::AUTHORIZATION).map(|value| value.split_once(' ')) {
            Some(Some((scheme, token))) if scheme.eq_ignore_ascii_case("bearer") => Some(token),
            Some(_) => None,
            None => form.one("access_token")?,
        };
        let invalid = |description| OAuthError::new(OAuthErrorCode::InvalidToken, description);
        let token = token.ok_or_else(|| invalid("an access token is required"))?;
        let expected = Expectation {
            issuer: self.issuer.as_str(),
            audience: &self.issuer.join(paths::USERINFO),
            typ: ExpectedTyp::Exactly(Typ::AccessToken),
            algorithms: &[Algorithm::Es256],
            now: (self.clock)(),
            leeway: 0,
        };
        let claims: IdTokenClaims =
            self.keys.verify(token, &expected).map_err(|_| invalid("the access token is not valid"))?;
        let IdTokenClaims { sub, email, email_verified, name, .. } = claims;
        let mut answer = serde_json::json!({ "sub": sub });
        if email.is_some() {
            answer["email"] = email.into();
            answer["email_verified"] = email_verified.into();
        }
        if name.is_some() {
            answer["name"] = name.into();
        }
        Ok(answer)
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// No `form-action` in the policy: browsers apply it to the redirect that follows the form as well. Not `no-referrer`
/// either: with it they send `Origin: null` with the form, which an origin check refuses.
fn page(status: StatusCode, html: String) -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, Html(html)).into_response()
}

fn redirect(location: String) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, location), (header::CACHE_CONTROL, "no-store".to_owned())])
        .into_response()
}

fn oauth_error(error: &OAuthError) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, [(header::CACHE_CONTROL, "no-store")], Json(error)).into_response();
    if let Some(Ok(challenge)) = error.www_authenticate().map(|value| value.parse()) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
