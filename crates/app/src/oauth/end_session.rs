//! Signing out at the wish of a client (OpenID Connect RP-Initiated Logout 1.0).

use hexabase_core::ids::{SessionId, UserId};
use hexabase_oidc::claims::{Audience, IdTokenClaims};
use hexabase_oidc::provider::{Client, EndSessionRequest};

use super::clients;
use crate::context::{App, Origin};
use crate::error::Result;
use crate::issuer::Realm;
use crate::sessions::{self, Live};

/// What comes of it.
#[derive(Debug)]
pub enum SignOut {
    /// The person decides first: nothing proves that the client speaks for who is signed in.
    Ask {
        /// What people know the client by, if it said which it is.
        client: Option<String>,
    },
    /// Signed out.
    Done {
        /// Where the browser goes then.
        location: Option<String>,
    },
    /// The request is not one; the person is told, and nobody else.
    Refuse(&'static str),
}

/// Signs a browser out, and the client with it. An ID token of the person who is signed in is enough; without it the person
/// is asked, and `confirmed` says that they were.
pub async fn end_session(
    app: &App,
    realm: &Realm,
    request: &EndSessionRequest,
    live: Option<&Live>,
    confirmed: bool,
    origin: &Origin,
) -> Result<SignOut> {
    let hint = request.id_token_hint.as_deref().and_then(|hint| read_hint(app, realm, hint));
    if request.id_token_hint.is_some() && hint.is_none() && request.post_logout_redirect_uri.is_some() {
        return Ok(SignOut::Refuse("id_token_hint is not an ID token of this issuer"));
    }
    let known = clients(app, realm)?;
    let named = request.client_id.as_deref().or(hint.as_ref().map(|hint| hint.client.as_str()));
    let client = match named {
        None => None,
        Some(id) => match known.iter().find(|client| client.id() == id) {
            Some(client) if hint.as_ref().is_none_or(|hint| hint.client == id) => Some(client),
            Some(_) => return Ok(SignOut::Refuse("client_id is not the one that id_token_hint was made for")),
            None => return Ok(SignOut::Refuse("no client of that client_id is registered here")),
        },
    };
    if let Some(uri) = &request.post_logout_redirect_uri
        && !client.is_some_and(|client| client.allows_return_to(uri))
    {
        return Ok(SignOut::Refuse("post_logout_redirect_uri is not registered for this client"));
    }
    let theirs = hint.as_ref().filter(|hint| live.is_none_or(|live| live.user == hint.user));
    if live.is_some() && theirs.is_none() && !confirmed {
        return Ok(SignOut::Ask { client: client.map(Client::name).map(str::to_owned) });
    }
    // Where nobody is signed in, an old hint is no sign that its person wants it: others may have seen it since.
    if let Some(hint) = theirs.filter(|hint| live.is_some() || hint.is_fresh) {
        sessions::end(app, &hint.user, &hint.session, origin).await?;
    }
    if let Some(live) = live {
        sessions::end(app, &live.user, &live.session, origin).await?;
    }
    // Without a hint and without anybody to ask, anybody could send people anywhere that is registered.
    let location = request.location().filter(|_| theirs.is_some() || confirmed);
    Ok(SignOut::Done { location })
}

struct Hint {
    client: String,
    user: UserId,
    session: SessionId,
    /// Whether its time is not over.
    is_fresh: bool,
}

/// The hint, if it is an ID token of the client that it is for. A workspace's token that another client was given, as `hxb` is
/// for kubectl, goes around more than ID tokens do, and its session is of that other client.
fn read_hint(app: &App, realm: &Realm, token: &str) -> Option<Hint> {
    let now = app.clock.now().as_seconds();
    let claims = app.keys.with(|ring| ring.verify_hint(token, &realm.issuer(&app.settings), now)).ok()?;
    let IdTokenClaims { sub, aud: Audience::One(client), azp, sid: Some(sid), exp, .. } = claims else { return None };
    if azp.is_some_and(|azp| azp != client) {
        return None;
    }
    Some(Hint { client, user: sub.parse().ok()?, session: sid.parse().ok()?, is_fresh: exp > now })
}
