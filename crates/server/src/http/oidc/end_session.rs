//! Signing out at the wish of a client, after asking the person where nothing proves that it speaks for them.

use axum::Extension;
use axum::extract::{Form, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum_extra::extract::CookieJar;
use hexabase_app::Origin;
use hexabase_app::issuer::Realm;
use hexabase_app::oauth::{self, SignOut};
use hexabase_oidc::provider::{EndSessionRequest, paths};
use serde::Deserialize;

use super::{DECISION, Handled, by_address, realm};
use crate::http::caller::same_origin;
use crate::http::sign_in;
use crate::pages;
use crate::state::ServerState;

/// What a person decided.
#[derive(Deserialize)]
pub(super) struct Decision {
    /// The request's query.
    request: String,
    sign_out: String,
}

pub(super) async fn ask(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    Extension(origin): Extension<Origin>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Handled {
    let query = query.unwrap_or_default();
    answer(&state, &realm(&name)?, &query, &headers, false, &origin).await
}

pub(super) async fn ask_by_form(Path(name): Path<String>, headers: HeaderMap, body: String) -> Handled {
    by_address(&realm(&name)?, paths::END_SESSION, &headers, &body)
}

pub(super) async fn decide(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    Form(decision): Form<Decision>,
) -> Handled {
    if !same_origin(&state.app, &headers) {
        return Ok(pages::problem(StatusCode::FORBIDDEN, "Not signed out", "The request came from another site."));
    }
    if decision.sign_out != "yes" {
        return Ok(pages::page(StatusCode::OK, "Still signed in", "<p>You can close this page.</p>"));
    }
    answer(&state, &realm(&name)?, &decision.request, &headers, true, &origin).await
}

async fn answer(
    state: &ServerState,
    realm: &Realm,
    query: &str,
    headers: &HeaderMap,
    confirmed: bool,
    origin: &Origin,
) -> Handled {
    let refuse = |sentence: &str| pages::problem(StatusCode::BAD_REQUEST, "This cannot go on", sentence);
    let request = match EndSessionRequest::parse(query) {
        Ok(request) => request,
        Err(error) => return Ok(refuse(&error.description)),
    };
    let live = sign_in::live(&state.app, headers, origin).await?;
    let outcome = oauth::end_session(&state.app, realm, &request, live.as_ref(), confirmed, origin).await?;
    Ok(match outcome {
        SignOut::Refuse(sentence) => refuse(sentence),
        SignOut::Ask { client } => {
            let renewed = live.as_ref().map(|live| sign_in::renewed(live, headers));
            (renewed, page(realm, query, client.as_deref())).into_response()
        }
        SignOut::Done { location } => {
            let jar = CookieJar::from_headers(headers).add(sign_in::no_session());
            match location {
                Some(location) => (jar, Redirect::to(&location)).into_response(),
                None => {
                    (jar, pages::page(StatusCode::OK, "Signed out", "<p>You can close this page.</p>")).into_response()
                }
            }
        }
    })
}

/// Whether the person wants to be signed out.
fn page(realm: &Realm, query: &str, client: Option<&str>) -> Response {
    let who = client.map_or("A program".to_owned(), |client| format!("<strong>{}</strong>", pages::escape(client)));
    let body = format!(
        "<p>{who} asks to sign you out of Hexabase in this browser.</p>\
         <form method=\"post\" action=\"/oidc/{realm}{}{DECISION}\"><input type=\"hidden\" name=\"request\" value=\"{}\">\
         <button name=\"sign_out\" value=\"yes\">Sign out</button>\
         <button class=\"quiet\" name=\"sign_out\" value=\"no\">Stay signed in</button></form>",
        paths::END_SESSION,
        pages::escape(query),
    );
    pages::page(StatusCode::OK, "Sign out?", &body)
}
