//! The authorisation endpoint, and the page that asks whether a program may come in.
//!
//! A browser that has to sign in first is sent away with a sealed note in the address to come back to. The note says as whom
//! it was signed in then: whoever comes back with the same session has not signed in again. That a sign-in was a new one at
//! the identity provider too is in neither address: the session says so that came of it.

use axum::Extension;
use axum::extract::{Form, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use hexabase_app::issuer::Realm;
use hexabase_app::oauth::{self, Answer, AskedToSignIn, Confirmation, Visitor};
use hexabase_app::sessions::Live;
use hexabase_app::{Error, Origin};
use hexabase_oidc::provider::{AuthorizationError, AuthorizationRequest, OAuthError, OAuthErrorCode, paths};
use hexabase_oidc::{Issuer, hash_token};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::{DECISION, Early, Handled, by_address, realm};
use crate::http::caller::same_origin;
use crate::http::sign_in;
use crate::pages;
use crate::providers::Provider;
use crate::state::ServerState;

/// The parameter that holds the note.
const NOTE: &str = "signed_in_for";
const NOTE_PURPOSE: &str = "authorization request";

/// That a browser was sent away to sign in for one request.
#[derive(Serialize, Deserialize)]
struct Note {
    /// The digest of the request's query.
    request: String,
    asked: AskedToSignIn,
}

/// What a person decided.
#[derive(Deserialize)]
pub(super) struct Decision {
    /// The request's query.
    request: String,
    /// Whom the page showed.
    person: String,
    confirm: String,
}

pub(super) async fn ask(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    Extension(origin): Extension<Origin>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Handled {
    let realm = realm(&name)?;
    let live = sign_in::live(&state.app, &headers, &origin).await?;
    let query = query.as_deref().unwrap_or_default();
    let visit = Visit { state: &state, realm: &realm, query, live: live.as_ref() };
    let answer = visit.answer(false, &origin).await?;
    Ok((live.as_ref().map(|live| sign_in::renewed(live, &headers)), answer).into_response())
}

/// OpenID Connect Core 1.0 section 3.1.2.1: the request may be a form.
pub(super) async fn ask_by_form(Path(name): Path<String>, headers: HeaderMap, body: String) -> Handled {
    by_address(&realm(&name)?, paths::AUTHORIZE, &headers, &body)
}

pub(super) async fn decide(
    State(state): State<ServerState>,
    Path(name): Path<String>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    Form(decision): Form<Decision>,
) -> Handled {
    if !same_origin(&state.app, &headers) {
        return Ok(pages::problem(StatusCode::FORBIDDEN, "Not confirmed", "The request came from another site."));
    }
    let realm = realm(&name)?;
    let live = sign_in::live(&state.app, &headers, &origin).await?;
    let visit = Visit { state: &state, realm: &realm, query: &decision.request, live: live.as_ref() };
    let still = live.as_ref().is_some_and(|live| live.user.as_str() == decision.person);
    let answer = match decision.confirm.as_str() {
        "continue" => visit.answer(still, &origin).await?,
        "other" => visit.sign_in_first(Some("select_account"))?,
        _ => {
            let request = visit.read()?;
            visit.refuse(&request, OAuthErrorCode::AccessDenied, "the person did not let the program in".to_owned())?
        }
    };
    Ok((live.as_ref().map(|live| sign_in::renewed(live, &headers)), answer).into_response())
}

/// A browser at the endpoint, with a request.
struct Visit<'a> {
    state: &'a ServerState,
    realm: &'a Realm,
    query: &'a str,
    live: Option<&'a Live>,
}

impl Visit<'_> {
    async fn answer(&self, confirmed: bool, origin: &Origin) -> Handled {
        let request = self.read()?;
        let asked = self.note();
        let visitor = Visitor { live: self.live, asked: asked.as_ref(), confirmed };
        match oauth::authorize(&self.state.app, self.realm, &request, visitor, origin).await? {
            Answer::Code(code) => Ok(Redirect::to(&request.success_location(&code, &self.issuer()?)).into_response()),
            Answer::SignIn { prompt: Some(sign_in::LOGIN) } if !self.anybody_signs_in_anew() => {
                let sentence = "no identity provider here can be asked to have people sign in again";
                self.refuse(&request, OAuthErrorCode::LoginRequired, sentence.to_owned())
            }
            Answer::SignIn { prompt } => self.sign_in_first(prompt),
            Answer::Confirm(confirmation) => Ok(self.page(&confirmation)),
            Answer::Refuse(code, sentence) => self.refuse(&request, code, sentence),
        }
    }

    fn anybody_signs_in_anew(&self) -> bool {
        self.state.providers.iter().any(Provider::signs_in_anew)
    }

    fn issuer(&self) -> Result<Issuer, Error> {
        Issuer::parse(&self.realm.issuer(&self.state.app.settings)).map_err(Error::internal)
    }

    fn read(&self) -> Result<AuthorizationRequest, Early> {
        match oauth::read_request(&self.state.app, self.realm, self.query)? {
            Ok(request) => Ok(request),
            Err(AuthorizationError::Redirect { location, .. }) => Err(Redirect::to(&location).into_response().into()),
            Err(AuthorizationError::Show(error)) => {
                Err(pages::problem(StatusCode::BAD_REQUEST, "This sign-in cannot go on", &error.description).into())
            }
        }
    }

    fn refuse(&self, request: &AuthorizationRequest, code: OAuthErrorCode, sentence: String) -> Handled {
        let location = request.error_location(&OAuthError::new(code, sentence), &self.issuer()?);
        Ok(Redirect::to(&location).into_response())
    }

    /// The request without the note.
    fn bare(&self) -> String {
        let pairs = form_urlencoded::parse(self.query.as_bytes()).filter(|(name, _)| name != NOTE);
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    }

    /// The note, if it is ours and for this request.
    fn note(&self) -> Option<AskedToSignIn> {
        let (_, sealed) = form_urlencoded::parse(self.query.as_bytes()).find(|(name, _)| name == NOTE)?;
        let plain = self.state.cookies.open(NOTE_PURPOSE, &sealed).ok()?;
        let note: Note = serde_json::from_slice(&plain).ok()?;
        (note.request == hash_token(&self.bare())).then_some(note.asked)
    }

    fn sign_in_first(&self, prompt: Option<&'static str>) -> Handled {
        let request = self.bare();
        let asked =
            AskedToSignIn { session: self.live.map(|live| live.session.clone()), at: self.state.app.clock.now() };
        let note = Note { request: hash_token(&request), asked };
        let plain = serde_json::to_vec(&note).map_err(Error::internal)?;
        let sealed = self.state.cookies.seal(NOTE_PURPOSE, &plain).map_err(Error::internal)?;
        let back = format!("/oidc/{}{}?{request}&{NOTE}={sealed}", self.realm, paths::AUTHORIZE);
        let hint = form_urlencoded::parse(request.as_bytes()).find(|(name, _)| name == "login_hint");
        let hint = hint.map(|(_, hint)| hint.into_owned());
        Ok(Redirect::to(&sign_in::address(&back, hint.as_deref(), prompt)).into_response())
    }

    /// Whether a program may act for the person.
    fn page(&self, confirmation: &Confirmation) -> Response {
        let Confirmation { client, on_this_machine, person, email } = confirmation;
        let place = if *on_this_machine { " on this machine" } else { "" };
        let email = email.as_deref().map(|email| format!(" ({})", pages::escape(email))).unwrap_or_default();
        let id = self.live.map(|live| live.user.to_string()).unwrap_or_default();
        let body = format!(
            "<p><strong>{}</strong>{place} wants to sign in as <strong>{}</strong>{email}.</p>\
             <p class=\"muted\">Cancel if you did not start this yourself.</p>\
             <form method=\"post\" action=\"/oidc/{}{}{DECISION}\">\
             <input type=\"hidden\" name=\"request\" value=\"{}\"><input type=\"hidden\" name=\"person\" value=\"{id}\">\
             <button name=\"confirm\" value=\"continue\">Continue</button>\
             <button class=\"quiet\" name=\"confirm\" value=\"other\">Use another account</button>\
             <button class=\"quiet\" name=\"confirm\" value=\"cancel\">Cancel</button></form>",
            pages::escape(client),
            pages::escape(person),
            self.realm,
            paths::AUTHORIZE,
            pages::escape(self.query),
        );
        pages::page(StatusCode::OK, "Let a program in", &body)
    }
}
