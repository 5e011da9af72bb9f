//! The endpoints that programs talk to.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::{Extension, Json};
use hexabase_app::{Origin, oauth};
use hexabase_oidc::Params;
use hexabase_oidc::provider::{
    DeviceAuthorizationRequest, IntrospectionRequest, OAuthError, RevocationRequest, TokenRequest, bearer_token,
};
use secrecy::ExposeSecret as _;

use super::{Handled, authorization, is_form, no_store, of_form, realm};
use crate::state::ServerState;

pub(super) async fn token(
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
pub(super) async fn userinfo(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
) -> Handled {
    answer_userinfo(&state, &name, &origin, &headers, None).await
}

/// The same for a POST, which may carry the token in its form.
pub(super) async fn userinfo_by_form(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: String,
) -> Handled {
    let form = if is_form(&headers) { Some(Params::parse(&body).map_err(OAuthError::from)?) } else { None };
    answer_userinfo(&state, &name, &origin, &headers, form.as_ref()).await
}

async fn answer_userinfo(
    state: &ServerState,
    name: &str,
    origin: &Origin,
    headers: &HeaderMap,
    form: Option<&Params>,
) -> Handled {
    let realm = realm(name)?;
    let token = bearer_token(authorization(headers)?, form)?;
    let info = oauth::user_info(&state.app, &realm, token.expose_secret(), origin.source.as_deref()).await?;
    Ok(no_store(Json(info).into_response()))
}

pub(super) async fn device_authorization(
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
pub(super) async fn revoke(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    body: String,
) -> Handled {
    let realm = realm(&name)?;
    let request = RevocationRequest::parse(of_form(&headers)?, &body)?;
    oauth::revoke(&state.app, &realm, &request, &origin).await?;
    Ok(no_store(StatusCode::OK.into_response()))
}

/// RFC 7662: what a token is.
pub(super) async fn introspect(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Handled {
    let realm = realm(&name)?;
    let request = IntrospectionRequest::parse(of_form(&headers)?, &body)?;
    Ok(no_store(Json(oauth::introspect(&state.app, &realm, &request).await?).into_response()))
}
