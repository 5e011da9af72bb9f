//! Signed-in browsers and devices.

use hexabase_backends::bell::Topic;
use hexabase_backends::store::{Digest, Tx};
use hexabase_backends::store::sessions::{self, Session, SessionKind};
use hexabase_core::ids::{SessionId, UserId};
use hexabase_core::time::Timestamp;
use hexabase_oidc::claims::AccessClaims;
use hexabase_oidc::jwt::{Expectation, ExpectedTyp, Typ};
use hexabase_oidc::keys::Algorithm;
use hexabase_oidc::opaque_token;

use crate::context::{App, Change, Credential, OpContext, Origin};
use crate::error::{Error, Result};
use crate::issuer::{API_AUDIENCE, Realm};

/// Seconds a browser stays signed in when it is used.
pub const BROWSER_SECONDS: i64 = 7 * 24 * 3600;
/// Seconds a device, such as a laptop with `hxb`, stays signed in when it is used.
pub const DEVICE_SECONDS: i64 = 30 * 24 * 3600;
/// How often a use is noted; a write at every request would cost more than it tells.
const TOUCH_SECONDS: i64 = 300;

/// A signed-in person.
#[derive(Debug, Clone)]
pub struct Live {
    /// The person.
    pub user: UserId,
    /// The browser or device.
    pub session: SessionId,
}

/// Signs a browser in; returns the value of its cookie, which is stored only as a hash.
pub async fn start_browser(app: &App, user: &UserId, label: &str, origin: &Origin) -> Result<String> {
    let token = opaque_token("hxs_").map_err(Error::internal)?;
    let row = new_session(app, user, SessionKind::Browser, label, BROWSER_SECONDS, Some(Digest::of(&token)))?;
    let tx = app.store.begin().await?;
    store(app, &tx, &row, Credential::SignIn, origin).await?;
    tx.commit().await?;
    Ok(token)
}

/// Writes a session that begins, and says so in the person's audit log.
pub(crate) async fn store(
    app: &App,
    tx: &Tx,
    row: &Session,
    credential: Credential,
    origin: &Origin,
) -> Result<()> {
    sessions::insert(tx, row).await?;
    let ctx = OpContext::of(row.user_id.clone(), credential, row.created_at, origin);
    let after = serde_json::json!({ "kind": row.kind, "label": row.label });
    app.change(tx, &ctx, change("session.started", &row.id, Some(after)))
}

fn change<'a>(action: &'a str, session: &'a SessionId, after: Option<serde_json::Value>) -> Change<'a> {
    Change { organization: None, workspace: None, action, subject: session.as_str(), before: None, after }
}

/// A session that is not yet stored.
pub(crate) fn new_session(
    app: &App,
    user: &UserId,
    kind: SessionKind,
    label: &str,
    seconds: i64,
    token_hash: Option<Digest>,
) -> Result<Session> {
    let now = app.clock.now();
    Ok(Session {
        id: app.new_id()?,
        user_id: user.clone(),
        kind,
        token_hash,
        label: label.chars().filter(|character| !character.is_control()).take(120).collect(),
        created_at: now,
        last_seen_at: now,
        expires_at: now.plus_seconds(seconds),
        revoked_at: None,
    })
}

/// The person behind a browser's cookie.
///
/// # Errors
/// [`Error::Unauthenticated`] when it is unknown, revoked or over.
pub async fn from_cookie(app: &App, token: &str) -> Result<Live> {
    let now = app.clock.now();
    let found = sessions::find_live_by_token_hash(&app.store, &Digest::of(token), now).await?;
    let session = found.ok_or_else(ended)?;
    note_use(app, &session, now, BROWSER_SECONDS).await?;
    Ok(Live { user: session.user_id, session: session.id })
}

/// The person behind an access token of the platform. The signature alone is not enough: the session must still live.
///
/// # Errors
/// [`Error::Unauthenticated`] with the reason.
pub async fn from_access_token(app: &App, token: &str) -> Result<Live> {
    Ok(bearer_of(app, &Realm::Platform, API_AUDIENCE, token).await?.0)
}

/// The person behind an access token of `realm` that is good at `audience`, and what the token says.
///
/// # Errors
/// [`Error::Unauthenticated`] with the reason.
pub(crate) async fn bearer_of(
    app: &App,
    realm: &Realm,
    audience: &str,
    token: &str,
) -> Result<(Live, AccessClaims)> {
    let now = app.clock.now();
    let expected = Expectation {
        issuer: &realm.issuer(&app.settings),
        audience,
        typ: ExpectedTyp::Exactly(Typ::AccessToken),
        algorithms: &Algorithm::ALL,
        now: now.as_seconds(),
        leeway: 0,
    };
    let claims: AccessClaims = app
        .keys
        .with(|ring| ring.verify(token, &expected))
        .map_err(|cause| Error::Unauthenticated(format!("the token is not accepted: {cause}")))?;
    let session: SessionId = claims.session().parse().map_err(|_| ended())?;
    let session = sessions::find_live(&app.store, &session, now).await?.ok_or_else(ended)?;
    if session.user_id.as_str() != claims.subject() {
        return Err(ended());
    }
    note_use(app, &session, now, DEVICE_SECONDS).await?;
    Ok((Live { user: session.user_id, session: session.id }, claims))
}

async fn note_use(app: &App, session: &Session, now: Timestamp, seconds: i64) -> Result<()> {
    if now.millis_since(session.last_seen_at) > TOUCH_SECONDS * 1_000 {
        let tx = app.store.begin().await?;
        sessions::touch(&tx, &session.id, now, now.plus_seconds(seconds)).await?;
        tx.commit().await?;
    }
    Ok(())
}

fn ended() -> Error {
    Error::Unauthenticated("this session has ended; sign in again".to_owned())
}

/// What the bell rings for, with the session's id, when a session ends.
pub const TOPIC: &str = "sessions";

/// Tells the streams of a session that it has ended; to be called after the commit.
pub(crate) fn announce_end(app: &App, session: &SessionId) {
    app.bell.ring(Topic { kind: TOPIC.to_owned(), subject: session.to_string() });
}

/// Ends a session: its cookie, its refresh tokens and, with the next check, its access tokens.
pub async fn end(app: &App, live: &Live, origin: &Origin) -> Result<()> {
    let tx = app.store.begin().await?;
    let credential = Credential::Session(live.session.clone());
    revoke(app, &tx, &live.session, &OpContext::of(live.user.clone(), credential, app.clock.now(), origin)).await?;
    tx.commit().await?;
    announce_end(app, &live.session);
    Ok(())
}

/// Ends a session of the caller, and says so in the caller's audit log; `false` when there is none to end.
pub(crate) async fn revoke(app: &App, tx: &Tx, session: &SessionId, ctx: &OpContext) -> Result<bool> {
    let ended = sessions::revoke(tx, &ctx.user, session, ctx.now).await?;
    if ended {
        app.change(tx, ctx, change("session.ended", session, None))?;
    }
    Ok(ended)
}
