//! `/invitation`: a person accepts an invitation in a browser.
//!
//! The mailed link carries the token behind the `#`. The page moves it into a form; from there it lies sealed in a cookie of
//! this browser while the person signs in, sees what is offered, and agrees (docs/adr/0016).

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Extension, Router};
use axum_extra::extract::CookieJar;
use hexabase_app::invitations;
use hexabase_app::sessions::Live;
use hexabase_app::{Error, OpContext, Origin, users};
use hexabase_core::invitations::Language;
use serde::{Deserialize, Serialize};

use super::caller::same_origin;
use super::sign_in::{self, cookie, expired};
use crate::pages;
use crate::pages::invitation::{SCRIPT, words};
use crate::state::ServerState;

/// Cookie that holds a token while its person signs in and agrees.
const COOKIE: &str = "__Host-hexabase_invitation";
const COOKIE_SECONDS: i64 = 3600;
const PURPOSE: &str = "invitation";
/// Longer than any token; browsers keep no large cookie.
const LONGEST_TOKEN: usize = 100;
const CONFIRM: &str = "/invitation/confirm";

#[derive(Debug, Deserialize)]
struct Asked {
    language: Option<String>,
}

#[derive(Deserialize)]
struct Given {
    token: String,
    language: Option<String>,
}

/// What the cookie holds.
#[derive(Serialize, Deserialize)]
struct Held {
    token: String,
    language: Language,
}

/// The routes.
pub(super) fn router() -> Router<ServerState> {
    Router::new().route("/invitation", get(ask).post(take)).route(CONFIRM, get(show).post(accept))
}

/// English, unless another language is asked for that there is.
fn chosen(language: Option<&str>) -> Language {
    language.and_then(|word| word.parse().ok()).unwrap_or(Language::English)
}

async fn ask(Query(asked): Query<Asked>) -> Response {
    let language = chosen(asked.language.as_deref());
    let words = words(language);
    pages::with_script(StatusCode::OK, language, words.invitation, &words.ask(), SCRIPT)
}

async fn take(
    State(state): State<ServerState>,
    headers: HeaderMap,
    jar: CookieJar,
    Form(given): Form<Given>,
) -> Response {
    if !same_origin(&state.app, &headers) {
        return elsewhere();
    }
    // Whoever pastes the whole link means the token in it.
    let token = given.token.rsplit("token=").next().unwrap_or_default().trim();
    let token = token.chars().take(LONGEST_TOKEN).collect();
    let held = Held { token, language: chosen(given.language.as_deref()) };
    let sealed = serde_json::to_vec(&held).ok().and_then(|plain| state.cookies.seal(PURPOSE, &plain).ok());
    match sealed {
        Some(sealed) => (jar.add(cookie(COOKIE, sealed, COOKIE_SECONDS)), Redirect::to(CONFIRM)).into_response(),
        None => sign_in::failure(&Error::internal("an invitation's token could not be sealed")),
    }
}

fn held(state: &ServerState, jar: &CookieJar) -> Option<Held> {
    let plain = state.cookies.open(PURPOSE, jar.get(COOKIE)?.value()).ok()?;
    serde_json::from_slice(&plain).ok()
}

fn context(state: &ServerState, live: &Live, origin: &Origin) -> OpContext {
    OpContext::of(live.user.clone(), live.credential(), state.app.clock.now(), origin)
}

/// The token and whoever is signed in; else the page to go to first.
async fn ready(
    state: &ServerState,
    headers: &HeaderMap,
    jar: &CookieJar,
    origin: &Origin,
) -> Result<(Held, Live), Response> {
    let held = held(state, jar).ok_or_else(|| Redirect::to("/invitation").into_response())?;
    match sign_in::live(&state.app, headers, origin).await {
        Ok(Some(live)) => Ok((held, live)),
        Ok(None) => Err(Redirect::to(&sign_in::sign_in_address(CONFIRM)).into_response()),
        Err(error) => Err(sign_in::failure(&error)),
    }
}

async fn show(
    State(state): State<ServerState>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    jar: CookieJar,
) -> Response {
    let (held, live) = match ready(&state, &headers, &jar, &origin).await {
        Ok(ready) => ready,
        Err(response) => return response,
    };
    let offer = invitations::offer(&state.app, &context(&state, &live, &origin), &held.token).await;
    let user = users::get(&state.app, &live.user).await;
    match (offer, user) {
        (Ok(offer), Ok(user)) => {
            let words = words(offer.language);
            let account = user.email.as_deref().unwrap_or(user.display_name.as_str());
            pages::in_language(StatusCode::OK, offer.language, words.invitation, &words.offer(&offer, account))
        }
        (Err(error), _) | (_, Err(error)) => refusal(jar, held.language, &error),
    }
}

async fn accept(
    State(state): State<ServerState>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    jar: CookieJar,
) -> Response {
    if !same_origin(&state.app, &headers) {
        return elsewhere();
    }
    let (held, live) = match ready(&state, &headers, &jar, &origin).await {
        Ok(ready) => ready,
        Err(response) => return response,
    };
    match invitations::accept(&state.app, &context(&state, &live, &origin), &held.token).await {
        Ok(accepted) => {
            let words = words(accepted.language);
            let body = words.accepted(&accepted, &state.app.settings.address(""));
            let page = pages::in_language(StatusCode::OK, accepted.language, words.joined, &body);
            (jar.add(expired(COOKIE)), page).into_response()
        }
        Err(error) => refusal(jar, held.language, &error),
    }
}

/// A page that says why not. Somebody who is only signed in as somebody else keeps the token and can change that.
fn refusal(jar: CookieJar, language: Language, error: &Error) -> Response {
    let status = match error {
        Error::Forbidden(_) => StatusCode::FORBIDDEN,
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::Conflict { .. } | Error::LimitReached(_) => StatusCode::CONFLICT,
        _ => return sign_in::failure(error),
    };
    let words = words(language);
    let sentence = format!("<p>{}.</p>", pages::escape(&capitalised(&error.to_string())));
    if status == StatusCode::FORBIDDEN {
        return pages::in_language(status, language, words.refused, &format!("{sentence}{}", words.leave()));
    }
    let page = pages::in_language(status, language, words.refused, &sentence);
    if status == StatusCode::NOT_FOUND { (jar.add(expired(COOKIE)), page).into_response() } else { page }
}

fn capitalised(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn elsewhere() -> Response {
    pages::problem(StatusCode::FORBIDDEN, "Not accepted", "The request came from another site.")
}
