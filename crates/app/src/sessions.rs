//! Signed-in browsers and devices.

use hexabase_backends::bell::Topic;
use hexabase_backends::store::sessions::{self, Session, SessionKind};
use hexabase_backends::store::{Digest, MAX_PAGE, Tx};
use hexabase_core::ids::{SessionId, UserId};
use hexabase_core::time::Timestamp;
use hexabase_oidc::claims::AccessClaims;
use hexabase_oidc::jwt::{Expectation, ExpectedTyp, Typ};
use hexabase_oidc::keys::Algorithm;
use hexabase_oidc::opaque_token;
use serde_json::json;

use crate::authz::{self, AccountAction};
use crate::context::{App, Change, Credential, OpContext, Origin};
use crate::error::{Error, Result};
use crate::issuer::{API_AUDIENCE, Realm};
use crate::oauth::HXB;
use crate::tokens;
use crate::user_agent::in_words;

/// Seconds without use after which a browser is signed out: over a holiday, on a machine that others may use, it ends.
pub const BROWSER_SECONDS: i64 = 7 * 24 * 3600;
/// Seconds after which a browser signs in again however much it is used: a copied cookie is good for a month at most, and
/// the identity provider is asked once a month whether the person is still there.
pub const BROWSER_MOST_SECONDS: i64 = 30 * 24 * 3600;
/// Seconds without use after which a device is signed out, such as a laptop with `hxb`. Longer than for a browser: its refresh
/// tokens change with each use, so that a copy is noticed, and signing in again interrupts work in a terminal.
pub const DEVICE_SECONDS: i64 = 30 * 24 * 3600;
/// Seconds after which a device signs in again however much it is used: twice a year.
pub const DEVICE_MOST_SECONDS: i64 = 180 * 24 * 3600;
/// How often a use from the same address is noted; a write at every request would cost more than it tells.
const TOUCH_SECONDS: i64 = 300;

/// A signed-in person.
#[derive(Debug, Clone)]
pub struct Live {
    /// The person.
    pub user: UserId,
    /// The browser or device.
    pub session: SessionId,
    /// Whether this use has moved the session's end; a browser is then given its cookie again, which has an end of its own.
    pub extended: bool,
    /// The client whose access token was shown; a browser shows its cookie.
    pub client: Option<String>,
}

impl Live {
    /// As what it acts: a browser and `hxb` as the person themselves, other clients for the person.
    pub fn credential(&self) -> Credential {
        let session = self.session.clone();
        match &self.client {
            Some(id) if id != HXB => Credential::Client { session, id: id.clone() },
            _ => Credential::Session(session),
        }
    }
}

/// Signs a browser in, whose person proved who they are at `authenticated_at` if that is known; returns the value of its
/// cookie, which is stored only as a hash.
pub async fn start_browser(
    app: &App,
    user: &UserId,
    label: &str,
    authenticated_at: Option<Timestamp>,
    origin: &Origin,
) -> Result<String> {
    let token = opaque_token("hxs_").map_err(Error::internal)?;
    let row = new_session(app, user, SessionKind::Browser, label, BROWSER_SECONDS, Some(Digest::of(&token)))?;
    let row = Session { authenticated_at, ..row };
    let tx = app.store.begin().await?;
    store(app, &tx, &row, Credential::SignIn, None, origin).await?;
    tx.commit().await?;
    Ok(token)
}

/// Writes a session that begins, with the place it begins at, and says so in the person's audit log. A session that is not a
/// browser's belongs to a client of an issuer.
pub(crate) async fn store(
    app: &App,
    tx: &Tx,
    row: &Session,
    credential: Credential,
    client: Option<(&Realm, &str)>,
    origin: &Origin,
) -> Result<()> {
    let source = origin.source.clone();
    let placed = Session { created_from: source.clone(), last_seen_from: source, ..row.clone() };
    sessions::insert(tx, &placed).await?;
    let ctx = OpContext::of(row.user_id.clone(), credential, row.created_at, origin);
    let mut after = json!({ "kind": row.kind, "label": row.label });
    if let Some((realm, client)) = client {
        after["realm"] = json!(realm.to_string());
        after["client"] = json!(client);
    }
    app.change(tx, &ctx, change("session.started", &row.id, Some(after)))
}

/// When the person of a browser signed in, as far as it is known: at their identity provider, or else here.
pub(crate) fn auth_time(browser: &Session) -> Timestamp {
    browser.authenticated_at.unwrap_or(browser.created_at)
}

fn change<'a>(action: &'a str, session: &'a SessionId, after: Option<serde_json::Value>) -> Change<'a> {
    Change { organization: None, workspace: None, action, subject: session.as_str(), before: None, after }
}

/// What a `User-Agent` is called in a list of sessions; words stay as they are.
pub(crate) fn label_of(agent: &str) -> String {
    in_words(agent).chars().filter(|character| !character.is_control()).take(120).collect()
}

/// A session that is not yet stored; `label` is the `User-Agent` of the browser or device, or words.
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
        label: label_of(label),
        created_at: now,
        last_seen_at: now,
        expires_at: now.plus_seconds(seconds),
        revoked_at: None,
        created_from: None,
        last_seen_from: None,
        authenticated_at: None,
    })
}

/// The person behind a browser's cookie, which comes from the address `source` where that is known.
///
/// # Errors
/// [`Error::Unauthenticated`] when it is unknown, revoked or over.
pub async fn from_cookie(app: &App, token: &str, source: Option<&str>) -> Result<Live> {
    let now = app.clock.now();
    let found = sessions::find_live_by_token_hash(&app.store, &Digest::of(token), now).await?;
    let session = found.ok_or_else(ended)?;
    let extended = note_use(app, &session, now, source).await?;
    Ok(Live { user: session.user_id, session: session.id, extended, client: None })
}

/// The person behind an access token of the platform, which comes from the address `source` where that is known. The signature
/// alone is not enough: the session must still live.
///
/// # Errors
/// [`Error::Unauthenticated`] with the reason.
pub async fn from_access_token(app: &App, token: &str, source: Option<&str>) -> Result<Live> {
    let claims = claims_of(app, &Realm::Platform, API_AUDIENCE, token)?;
    let session = session_of(app, &claims).await?;
    let extended = note_use(app, &session, app.clock.now(), source).await?;
    let client = Some(claims.client_id().to_owned());
    Ok(Live { user: session.user_id, session: session.id, extended, client })
}

/// What an access token of `realm` says that is good at `audience`, and whose time is not over. Its session may have ended
/// since: see [`session_of`].
///
/// # Errors
/// [`Error::Unauthenticated`] with the reason.
pub(crate) fn claims_of(app: &App, realm: &Realm, audience: &str, token: &str) -> Result<AccessClaims> {
    let expected = Expectation {
        issuer: &realm.issuer(&app.settings),
        audience,
        typ: ExpectedTyp::Exactly(Typ::AccessToken),
        algorithms: &Algorithm::ALL,
        now: app.clock.now().as_seconds(),
        leeway: 0,
    };
    app.keys
        .with(|ring| ring.verify(token, &expected))
        .map_err(|cause| Error::Unauthenticated(format!("the token is not accepted: {cause}")))
}

/// The session behind an access token, which must live and be its subject's.
///
/// # Errors
/// [`Error::Unauthenticated`].
pub(crate) async fn session_of(app: &App, claims: &AccessClaims) -> Result<Session> {
    let id: SessionId = claims.session().parse().map_err(|_| ended())?;
    let session = sessions::find_live(&app.store, &id, app.clock.now()).await?;
    session.filter(|session| session.user_id.as_str() == claims.subject()).ok_or_else(ended)
}

/// Whether a use is to be noted: now and then, and at once when it comes from another address than the last one.
pub(crate) fn is_noteworthy(last: Option<Timestamp>, from: Option<&str>, now: Timestamp, source: Option<&str>) -> bool {
    let moved = source.is_some() && source != from;
    moved || last.is_none_or(|last| now.millis_since(last) > TOUCH_SECONDS * 1_000)
}

/// Moves the session's end, if it was not just now; says whether it did.
pub(crate) async fn note_use(app: &App, session: &Session, now: Timestamp, source: Option<&str>) -> Result<bool> {
    let due = is_noteworthy(Some(session.last_seen_at), session.last_seen_from.as_deref(), now, source);
    if due {
        let tx = app.store.begin().await?;
        touch(&tx, session, now, source).await?;
        tx.commit().await?;
    }
    Ok(due)
}

/// Seconds that a session lasts without use, and at most.
fn lasts(kind: SessionKind) -> (i64, i64) {
    match kind {
        SessionKind::Browser => (BROWSER_SECONDS, BROWSER_MOST_SECONDS),
        SessionKind::Device => (DEVICE_SECONDS, DEVICE_MOST_SECONDS),
    }
}

/// When a session ends however much it is used. One that was made for less than its kind lasts without use ends as it was
/// made to.
pub(crate) fn absolute_end(session: &Session) -> Timestamp {
    let (idle, most) = lasts(session.kind);
    match session.expires_at < session.created_at.plus_seconds(idle) {
        true => session.expires_at,
        false => session.created_at.plus_seconds(most),
    }
}

/// Notes that a session was used, which moves its end, but never past its [`absolute_end`].
pub(crate) async fn touch(tx: &Tx, session: &Session, now: Timestamp, source: Option<&str>) -> Result<()> {
    let end = now.plus_seconds(lasts(session.kind).0).min(absolute_end(session));
    Ok(sessions::touch(tx, &session.id, now, end, source).await?)
}

/// Refuses a caller whose session or token has ended since the request began.
///
/// # Errors
/// [`Error::Unauthenticated`] with the reason.
pub(crate) async fn still_good(app: &App, ctx: &OpContext) -> Result<()> {
    match &ctx.credential {
        Credential::SignIn => {}
        Credential::Session(session) | Credential::Client { session, .. } => {
            sessions::find_live(&app.store, session, app.clock.now()).await?.ok_or_else(ended)?;
        }
        Credential::Token { id, .. } => {
            tokens::still_good(app, id, &ctx.user).await?;
        }
    }
    Ok(())
}

/// The refusal of whoever was signed in.
pub(crate) fn ended() -> Error {
    Error::Unauthenticated("this session has ended; sign in again".to_owned())
}

/// What the bell rings for, with the session's id, when a session ends.
pub const TOPIC: &str = "sessions";

/// Tells the streams of a session that it has ended; to be called after the commit.
fn announce_end(app: &App, session: &SessionId) {
    app.bell.ring(Topic { kind: TOPIC.to_owned(), subject: session.to_string() });
}

/// Ends a session of `user`, as whoever holds it may: its cookie, its refresh tokens and, with the next check, its access
/// tokens. `false` when there is none to end.
pub async fn end(app: &App, user: &UserId, session: &SessionId, origin: &Origin) -> Result<bool> {
    let credential = Credential::Session(session.clone());
    end_as(app, &OpContext::of(user.clone(), credential, app.clock.now(), origin), session).await
}

async fn end_as(app: &App, ctx: &OpContext, session: &SessionId) -> Result<bool> {
    let tx = app.store.begin().await?;
    let ended = revoke(app, &tx, session, ctx).await?;
    tx.commit().await?;
    announce_end(app, session);
    Ok(ended)
}

/// Ends a session of the caller, and says so in the caller's audit log; `false` when there is none to end.
async fn revoke(app: &App, tx: &Tx, session: &SessionId, ctx: &OpContext) -> Result<bool> {
    let ended = sessions::revoke(tx, &ctx.user, session, ctx.now).await?;
    if ended {
        app.change(tx, ctx, change("session.ended", session, None))?;
    }
    Ok(ended)
}

/// Where the caller is signed in, oldest first.
///
/// # Errors
/// [`Error::Forbidden`] for a token or a client.
pub async fn list(app: &App, ctx: &OpContext) -> Result<Vec<Session>> {
    authz::account(ctx, AccountAction::ManageCredentials)?;
    Ok(sessions::list_for_user(&app.store, &ctx.user, ctx.now, None, MAX_PAGE).await?)
}

/// Ends one session of the caller, perhaps the one that asks.
///
/// # Errors
/// [`Error::NotFound`] for one that is somebody else's, or over, and [`Error::Forbidden`] for a token or a client.
pub async fn end_one(app: &App, ctx: &OpContext, session: &SessionId) -> Result<()> {
    authz::account(ctx, AccountAction::ManageCredentials)?;
    let live = sessions::find_live(&app.store, session, ctx.now).await?;
    if live.is_none() || !end_as(app, ctx, session).await? {
        return Err(Error::NotFound("session"));
    }
    Ok(())
}

/// Ends every session of the caller but the one that asks; says how many.
///
/// # Errors
/// [`Error::Forbidden`] for a token or a client.
pub async fn end_others(app: &App, ctx: &OpContext) -> Result<usize> {
    authz::account(ctx, AccountAction::ManageCredentials)?;
    let tx = app.store.begin().await?;
    let mut ended = Vec::new();
    loop {
        // What has ended is not listed again.
        let page = sessions::list_for_user(&tx, &ctx.user, ctx.now, None, MAX_PAGE).await?;
        let mut others =
            page.into_iter().map(|row| row.id).filter(|id| ctx.credential.session() != Some(id)).peekable();
        if others.peek().is_none() {
            break;
        }
        for session in others {
            if revoke(app, &tx, &session, ctx).await? {
                ended.push(session);
            }
        }
    }
    tx.commit().await?;
    ended.iter().for_each(|session| announce_end(app, session));
    Ok(ended.len())
}
