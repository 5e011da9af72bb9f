//! `/device`: a person with a browser confirms a device without one (RFC 8628 section 3.3).

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hexabase_app::Origin;
use hexabase_app::oauth::{self, DevicePrompt};
use serde::Deserialize;

use super::caller::same_origin;
use super::sign_in;
use crate::pages;
use crate::state::ServerState;

#[derive(Debug, Deserialize)]
struct Typed {
    user_code: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Decision {
    user_code: String,
    decision: String,
}

/// The routes.
pub(super) fn router() -> Router<ServerState> {
    Router::new().route("/device", get(ask).post(decide))
}

async fn ask(
    State(state): State<ServerState>,
    Query(typed): Query<Typed>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
) -> Response {
    let back = match &typed.user_code {
        Some(code) => {
            format!(
                "/device?{}",
                url::form_urlencoded::Serializer::new(String::new()).append_pair("user_code", code).finish()
            )
        }
        None => "/device".to_owned(),
    };
    let live = match sign_in::live(&state.app, &headers, &origin).await {
        Ok(Some(live)) => live,
        Ok(None) => return Redirect::to(&sign_in::sign_in_address(&back)).into_response(),
        Err(error) => return sign_in::failure(&error),
    };
    let Some(code) = typed.user_code.filter(|code| !code.is_empty()) else {
        let body = "<form><label>Code that the device shows<input name=\"user_code\" autofocus autocomplete=\"off\"></label>\
                    <button>Go on</button></form>";
        return pages::page(StatusCode::OK, "Confirm a device", body);
    };
    match oauth::device_prompt(&state.app, &live, &code).await {
        Err(error) => sign_in::failure(&error),
        Ok(prompt) => pages::page(StatusCode::OK, "Confirm a device", &question(&prompt)),
    }
}

fn question(prompt: &DevicePrompt) -> String {
    let DevicePrompt { user_code, client, acts_for_people, workspace } = prompt;
    let wish = if *acts_for_people { "act for you" } else { "know who you are" };
    let place = workspace.as_deref().map(pages::escape);
    let place = place.map(|name| format!(" in the workspace <strong>{name}</strong>")).unwrap_or_default();
    let (client, code) = (pages::escape(client), pages::escape(user_code));
    format!(
        "<p>The program <code>{client}</code> wants to {wish}{place}, on the device that shows this code:</p>\
         <p class=\"code\">{code}</p><p class=\"muted\">Refuse if you did not start this yourself.</p>\
         <form method=\"post\"><input type=\"hidden\" name=\"user_code\" value=\"{code}\">\
         <button name=\"decision\" value=\"agree\">Confirm</button>\
         <button class=\"quiet\" name=\"decision\" value=\"refuse\">Refuse</button></form>"
    )
}

async fn decide(
    State(state): State<ServerState>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    Form(decision): Form<Decision>,
) -> Response {
    if !same_origin(&state.app, &headers) {
        return pages::problem(StatusCode::FORBIDDEN, "Not confirmed", "The request came from another site.");
    }
    let live = match sign_in::live(&state.app, &headers, &origin).await {
        Ok(Some(live)) => live,
        Ok(None) => return Redirect::to("/sign-in").into_response(),
        Err(error) => return sign_in::failure(&error),
    };
    let agree = decision.decision == "agree";
    match oauth::decide_device(&state.app, &live, &decision.user_code, agree, &origin).await {
        Err(error) => sign_in::failure(&error),
        Ok(()) if agree => {
            pages::page(StatusCode::OK, "Confirmed", "<p>The device is signed in. You can close this page.</p>")
        }
        Ok(()) => {
            pages::page(StatusCode::OK, "Refused", "<p>The device was not signed in. You can close this page.</p>")
        }
    }
}
