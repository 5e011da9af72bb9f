//! What the authorisation endpoint answers: a code, or what has to happen first.

use hexabase_backends::store::authorization_codes::{self, AuthorizationCode};
use hexabase_backends::store::client_confirmations::{self, ClientConfirmation};
use hexabase_backends::store::sessions::{self as session_rows, Session};
use hexabase_backends::store::{Digest, users};
use hexabase_core::ids::SessionId;
use hexabase_core::time::Timestamp;
use hexabase_oidc::opaque_token;
use hexabase_oidc::provider::{AuthorizationRequest, Client, OAuthErrorCode, native_target};
use serde_json::json;

use super::clients;
use super::tokens::Wanted;
use crate::context::{App, Change, Credential, OpContext, Origin};
use crate::error::{Error, Result};
use crate::issuer::{Realm, check_member};
use crate::sessions::{Live, auth_time};

/// Seconds a code lives (RFC 6749 section 4.1.2 allows ten minutes; a browser needs one).
const CODE_SECONDS: i64 = 60;
/// Seconds after which a sign-in no longer answers the request that it was begun for.
const ASKED_SECONDS: i64 = 900;

/// Who stands at the endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Visitor<'a> {
    /// The signed-in browser, if it is one.
    pub live: Option<&'a Live>,
    /// That it was sent away to sign in, for this request.
    pub asked: Option<&'a AskedToSignIn>,
    /// Whether the person has just let the program in.
    pub confirmed: bool,
}

/// That a browser was sent away to sign in.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct AskedToSignIn {
    /// As whom it was signed in then.
    pub session: Option<SessionId>,
    /// When.
    pub at: Timestamp,
}

/// What the endpoint answers.
#[derive(Debug)]
pub enum Answer {
    /// The code to send the browser back with.
    Code(String),
    /// The person has to sign in first, or again: `prompt` is what an identity provider is to be told.
    SignIn {
        /// `login` or `select_account`, where a session of its own is not enough.
        prompt: Option<&'static str>,
    },
    /// The person has to let the program in first.
    Confirm(Confirmation),
    /// No, and what the client is told.
    Refuse(OAuthErrorCode, String),
}

/// What a person is asked.
#[derive(Debug)]
pub struct Confirmation {
    /// The program.
    pub client: String,
    /// Whether it runs on the person's own machine, where others may pretend to be it.
    pub on_this_machine: bool,
    /// The person whom it would act for.
    pub person: String,
    /// The person's address.
    pub email: Option<String>,
}

/// Decides about an authorisation request that was read by [`read_request`](super::read_request). Our own programs and those
/// the operator has registered are let in by signing in; but where any program of a machine could wait for the code
/// (RFC 8252 section 8.6), the person is asked, once for each sign-in of the browser.
pub async fn authorize(
    app: &App,
    realm: &Realm,
    request: &AuthorizationRequest,
    visitor: Visitor<'_>,
    origin: &Origin,
) -> Result<Answer> {
    let session = match signed_in(app, realm, request, visitor).await? {
        Ok(session) => session,
        Err(answer) => return Ok(answer),
    };
    if let Realm::Workspace(workspace) = realm {
        match check_member(app, workspace, &session.user_id).await {
            Err(Error::Forbidden(sentence)) => return Ok(Answer::Refuse(OAuthErrorCode::AccessDenied, sentence)),
            checked => checked?,
        }
    }
    let native = native_target(&request.redirect_uri);
    let confirmation = native.map(|redirect_host| ClientConfirmation {
        session_id: session.id.clone(),
        realm: realm.to_string(),
        client_id: request.client_id.clone(),
        redirect_host,
    });
    if !visitor.confirmed && must_ask(app, request, confirmation.as_ref()).await? {
        if request.prompt.none {
            return Ok(refuse(OAuthErrorCode::ConsentRequired, "the person has not let this program in yet"));
        }
        return ask(app, realm, request, &session, confirmation.is_some()).await.map(Answer::Confirm);
    }
    let confirmed = confirmation.filter(|_| visitor.confirmed);
    give_code(app, realm, request, &session, confirmed.as_ref(), origin).await.map(Answer::Code)
}

fn refuse(code: OAuthErrorCode, sentence: &str) -> Answer {
    Answer::Refuse(code, sentence.to_owned())
}

/// The browser's session, if the request can be answered for its person and by its sign-in; else what comes first.
async fn signed_in(
    app: &App,
    realm: &Realm,
    request: &AuthorizationRequest,
    visitor: Visitor<'_>,
) -> Result<Result<Session, Answer>> {
    let silent = request.prompt.none;
    let now = app.clock.now();
    let sign_in = |prompt: Option<&'static str>| Ok(Err(Answer::SignIn { prompt }));
    let refused = |sentence: &str| Ok(Err(refuse(OAuthErrorCode::LoginRequired, sentence)));
    let session = match visitor.live {
        None => None,
        Some(live) => session_rows::find_live(&app.store, &live.session, now).await?,
    };
    let Some(session) = session else {
        return if silent { refused("nobody is signed in") } else { sign_in(first_prompt(request)) };
    };
    // That it was sent away, if this session came of that, in time.
    let asked = visitor.asked.filter(|asked| {
        asked.session.as_ref() != Some(&session.id)
            && session.created_at >= asked.at
            && now.millis_since(asked.at) <= ASKED_SECONDS * 1_000
    });
    // In whole seconds, as identity providers tell it. Where nothing is known of it, a sign-in is never young enough.
    let proven = session.authenticated_at.map(Timestamp::as_seconds);
    let anew = asked.is_some_and(|asked| proven >= Some(asked.at.as_seconds()));
    let too_old = |most: i64| proven.is_none_or(|at| now.as_seconds() - at > most);
    if (request.prompt.login || request.max_age.is_some_and(too_old)) && !anew {
        return if silent { refused("the last sign-in is too long ago") } else { sign_in(Some("login")) };
    }
    if request.prompt.select_account && asked.is_none() {
        return sign_in(Some("select_account"));
    }
    match expected(app, realm, request) {
        Expected::Anybody => {}
        Expected::Person(person) if person == session.user_id.as_str() => {}
        _ if silent => return refused("somebody else may be signed in"),
        // What was sent along proves nothing: whoever is signed in may go on.
        Expected::Unknown => {}
        Expected::Person(_) if asked.is_some() => return refused("somebody else has signed in"),
        Expected::Person(_) => return sign_in(Some("select_account")),
    }
    Ok(Ok(session))
}

/// What the identity provider is told where nobody is signed in: whoever wants a young sign-in gets a new one.
fn first_prompt(request: &AuthorizationRequest) -> Option<&'static str> {
    match request.prompt {
        prompt if prompt.login || request.max_age.is_some() => Some("login"),
        prompt if prompt.select_account => Some("select_account"),
        _ => None,
    }
}

async fn must_ask(
    app: &App,
    request: &AuthorizationRequest,
    confirmation: Option<&ClientConfirmation>,
) -> Result<bool> {
    match confirmation {
        _ if request.prompt.consent => Ok(true),
        Some(confirmation) => Ok(!client_confirmations::exists(&app.store, confirmation).await?),
        None => Ok(false),
    }
}

async fn ask(
    app: &App,
    realm: &Realm,
    request: &AuthorizationRequest,
    session: &Session,
    on_this_machine: bool,
) -> Result<Confirmation> {
    let known = clients(app, realm)?;
    let client = known.iter().find(|client| client.id() == request.client_id);
    let client = client.map(Client::name).unwrap_or_default().to_owned();
    let person = users::get(&app.store, &session.user_id).await?.ok_or(Error::NotFound("user"))?;
    Ok(Confirmation { client, on_this_machine, person: person.display_name.into(), email: person.email })
}

/// A code for the request, and that the person has just let the program in by it.
async fn give_code(
    app: &App,
    realm: &Realm,
    request: &AuthorizationRequest,
    session: &Session,
    confirmed: Option<&ClientConfirmation>,
    origin: &Origin,
) -> Result<String> {
    let now = app.clock.now();
    let code = opaque_token("hxc_").map_err(Error::internal)?;
    let row = AuthorizationCode {
        code_hash: Digest::of(&code),
        session_id: session.id.clone(),
        user_id: session.user_id.clone(),
        realm: realm.to_string(),
        client_id: request.client_id.clone(),
        redirect_uri: request.redirect_uri.clone(),
        code_challenge: request.code_challenge.as_ref().map(|it| it.as_str().to_owned()).unwrap_or_default(),
        nonce: request.nonce.clone(),
        scope: request.scopes.limited_to(realm.scopes()).to_string(),
        created_at: now,
        expires_at: now.plus_seconds(CODE_SECONDS),
        redeemed_at: None,
        auth_time: Some(auth_time(session)),
        claims: Wanted::of(realm, &request.claims).stored()?,
    };
    let tx = app.store.begin().await?;
    authorization_codes::insert(&tx, &row).await?;
    if let Some(confirmation) = confirmed
        && client_confirmations::insert(&tx, confirmation, now).await?
    {
        let ctx = OpContext::of(session.user_id.clone(), Credential::Session(session.id.clone()), now, origin);
        app.change(&tx, &ctx, let_in(confirmation))?;
    }
    tx.commit().await?;
    Ok(code)
}

fn let_in(confirmation: &ClientConfirmation) -> Change<'_> {
    let ClientConfirmation { session_id, realm, client_id, redirect_host } = confirmation;
    let after = json!({ "realm": realm, "client": client_id, "redirect_host": redirect_host });
    let (action, subject) = ("client.confirmed", session_id.as_str());
    Change { organization: None, workspace: None, action, subject, before: None, after: Some(after) }
}

/// Whom the client expects.
enum Expected {
    Anybody,
    /// It sent a hint that is none of ours, or no longer.
    Unknown,
    Person(String),
}

fn expected(app: &App, realm: &Realm, request: &AuthorizationRequest) -> Expected {
    if let Some(subject) = &request.claims.subject {
        return Expected::Person(subject.clone());
    }
    let Some(hint) = &request.id_token_hint else { return Expected::Anybody };
    let now = app.clock.now().as_seconds();
    match app.keys.with(|ring| ring.verify_hint(hint, &realm.issuer(&app.settings), now)) {
        Ok(claims) if claims.aud.contains(&request.client_id) => Expected::Person(claims.sub),
        _ => Expected::Unknown,
    }
}
