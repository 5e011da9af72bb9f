//! Who may pass to a workspace's API server, and where that is.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use hexabase_backends::store::{
    role_assignments, service_account_tokens, sessions as rows, workspace_members, workspaces,
};
use hexabase_core::ids::{ApiTokenId, RoleAssignmentId, SessionId, UserId, WorkspaceId};
use hexabase_core::time::Timestamp;
use hexabase_oidc::claims::{WorkspaceClaims, WorkspaceSignIn};
use hexabase_oidc::jwt::{Expectation, ExpectedTyp, Typ, key_id};
use hexabase_oidc::keys::Algorithm;

pub use hexabase_backends::store::service_account_tokens::TokenOf;

use crate::context::App;
use crate::error::{Error, Result};
use crate::issuer::{Realm, WorkspaceBearer, groups_of, mint};
use crate::workspaces::endpoint_of;
use crate::{leaving, sessions, sleep, tokens};

/// What a workspace's token was given for, named by its claim `sid`. When that ends, so does the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Basis {
    /// A signed-in browser or device.
    Session(SessionId),
    /// An API token.
    Token(ApiTokenId),
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(id) => id.fmt(f),
            Self::Token(id) => id.fmt(f),
        }
    }
}

impl FromStr for Basis {
    type Err = hexabase_core::ids::InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self::Token).or_else(|_| text.parse().map(Self::Session))
    }
}

/// Somebody who may pass.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The person.
    pub user: UserId,
    /// What the token was given for.
    pub basis: Basis,
    /// When the token ends, in seconds since the Unix epoch.
    pub expires_at: i64,
    /// `host:port` of the tenant's API server.
    pub endpoint: String,
    /// PEM of the authority behind its certificate.
    pub ca_pem: String,
    /// What the person has at this moment.
    pub held: Held,
    /// The person's token with those groups, when the one shown has others: to be sent on in its place.
    pub renewed: Option<String>,
    /// How long the workspace took to wake, if it was asleep.
    pub woken_in: Option<Duration>,
}

/// What somebody had when a stream began, for [`still_admitted`]: it ends with any of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The groups the person is in, with all above them.
    pub groups: Vec<String>,
    /// The roles given to those, when what is asked for may stay open.
    pub roles: Vec<RoleAssignmentId>,
    /// The id of the key that signed the person's token.
    pub key: String,
    /// When a project of the workspace was last moved: by the same roles the person then has other rights.
    pub moved_at: Option<Timestamp>,
}

/// Somebody with a workspace's token.
#[derive(Debug, Clone)]
pub struct Identified {
    /// The person.
    pub user: UserId,
    /// What the token was given for.
    pub basis: Basis,
    /// When the token ends, in seconds since the Unix epoch.
    pub expires_at: i64,
    /// All that it says.
    pub claims: WorkspaceClaims,
}

/// Whose token this is: issued for this workspace, still good, the session or API token behind it alive and its person a
/// member.
///
/// # Errors
/// [`Error::Unauthenticated`] for a token that is not accepted, [`Error::Forbidden`] for somebody who is no member any more.
pub async fn identify(app: &App, workspace: &WorkspaceId, bearer: &str) -> Result<Identified> {
    let found = read(app, workspace, bearer)?;
    check_standing(app, workspace, &found.user, &found.basis).await?;
    Ok(found)
}

/// Whose token this is: issued for this workspace, and its time not over. What it was given for may have ended since.
///
/// # Errors
/// [`Error::Unauthenticated`].
pub(crate) fn read(app: &App, workspace: &WorkspaceId, bearer: &str) -> Result<Identified> {
    let expected = Expectation {
        issuer: &Realm::Workspace(workspace.clone()).issuer(&app.settings),
        audience: workspace.as_str(),
        typ: ExpectedTyp::Exactly(Typ::Jwt),
        algorithms: &Algorithm::ALL,
        now: app.clock.now().as_seconds(),
        leeway: 0,
    };
    let unauthenticated = |why: String| Error::Unauthenticated(format!("the token is not accepted: {why}"));
    let claims: WorkspaceClaims =
        app.keys.with(|ring| ring.verify(bearer, &expected)).map_err(|cause| unauthenticated(cause.to_string()))?;
    if claims.workspace() != workspace.as_str() {
        return Err(unauthenticated("it is for another workspace".to_owned()));
    }
    let user: UserId =
        claims.subject().parse().map_err(|_| unauthenticated("its subject is not a person".to_owned()))?;
    let basis: Basis = claims.session().parse().map_err(|_| unauthenticated("it has no session".to_owned()))?;
    Ok(Identified { user, basis, expires_at: claims.expires_at(), claims })
}

/// Lets a bearer of a workspace's token pass. What the bearer may do is decided by the workspace's own API server, from the
/// groups of this moment: a token that was made before they changed is replaced by one that ends when it ends
/// (docs/adr/0010-rights-of-this-moment.md). A workspace that sleeps is woken, and the answer held until it is there. What
/// `stays_open` is asked about again with [`still_admitted`].
///
/// # Errors
/// [`Error::Unauthenticated`] for a token that is not accepted, [`Error::Forbidden`] for somebody who is no member any more,
/// [`Error::NotFound`], [`Error::Conflict`] for a member of a workspace that is leaving, and [`Error::Unavailable`] while it is not there
/// yet.
pub async fn admit(app: &App, workspace: &str, bearer: &str, stays_open: bool) -> Result<Admitted> {
    let id: WorkspaceId = workspace.parse().map_err(|_| Error::NotFound("workspace"))?;
    let mut found = read(app, &id, bearer)?;
    let (standing, row, groups) = tokio::join!(
        check_standing(app, &id, &found.user, &found.basis),
        workspaces::load_for_issuer(&app.store, &id),
        groups_of(app, &id, &found.user),
    );
    // Nothing is told of the workspace to whoever may not know.
    standing?;
    let row = row?.ok_or(Error::NotFound("workspace"))?;
    if row.desired == workspaces::Desired::Absent {
        return Err(leaving::refused(&row));
    }
    let mut groups = groups?;
    sleep::note_use(app, &row).await;
    let (asleep, begun) = (sleep::is_asleep(&row), Instant::now());
    let row = sleep::awake(app, row, &found.user).await?;
    let woken_in = asleep.then(|| begun.elapsed());
    if asleep {
        // Meanwhile the token's time may have ended, its key been revoked, or whoever waited lost their access.
        found = identify(app, &id, bearer).await?;
        groups = groups_of(app, &id, &found.user).await?;
    }
    let moved_at = row.moved_at;
    let Identified { user, basis, expires_at, claims } = found;
    let (endpoint, ca_pem) = endpoint_of(row)?;
    let renewed = match groups == claims.groups() {
        true => None,
        false => {
            let life = (expires_at - app.clock.now().as_seconds()).max(1);
            let (basis, client) = (Some(&basis), claims.client_id());
            let sign_in = WorkspaceSignIn::default();
            Some(mint(app, WorkspaceBearer { workspace: &id, user: &user, basis, client, sign_in }, life).await?)
        }
    };
    let roles = match stays_open {
        true => role_assignments::held_for_issuer(&app.store, &id, &groups, app.clock.now()).await?,
        false => Vec::new(),
    };
    let key = key_id(bearer).ok().flatten();
    let key = key.ok_or_else(|| Error::Unauthenticated("the token is not accepted: it names no key".to_owned()))?;
    let held = Held { groups, roles, key, moved_at };
    Ok(Admitted { workspace: id, user, basis, expires_at, endpoint, ca_pem, held, renewed, woken_in })
}

/// Whether somebody who passed may still be connected: as before, with a token that no revoked key has signed, and still in
/// every group that the person was in then, with every role that was given to those, and no project moved since. Kubernetes does
/// not ask again, and does not say by which of them it let somebody in. That the token's time is over, or its key replaced, ends nothing.
pub async fn still_admitted(app: &App, workspace: &WorkspaceId, user: &UserId, basis: &Basis, held: &Held) -> bool {
    let row = workspaces::load_for_issuer(&app.store, workspace).await;
    let Some(row) = row.ok().flatten().filter(|row| row.desired == workspaces::Desired::Present) else { return false };
    if row.moved_at != held.moved_at {
        return false;
    }
    if app.keys.is_revoked(&held.key) || check_standing(app, workspace, user, basis).await.is_err() {
        return false;
    }
    let groups = groups_of(app, workspace, user).await;
    if !groups.is_ok_and(|now| held.groups.iter().all(|group| now.contains(group))) {
        return false;
    }
    // What is open is in use.
    sleep::note_use(app, &row).await;
    role_assignments::are_held_for_issuer(&app.store, workspace, &held.roles, app.clock.now()).await.unwrap_or(false)
}

/// Whether a token of a ServiceAccount could be written down by [`note_token`], for somebody who asks for one: where not, none
/// has to be made.
///
/// # Errors
/// [`Error::Forbidden`] for somebody with tokens of far too many.
pub async fn check_room(app: &App, token: &TokenOf<'_>) -> Result<()> {
    match service_account_tokens::has_room_for_issuer(&app.store, token).await? {
        true => Ok(()),
        false => Err(too_many(token)),
    }
}

/// Writes down that somebody who passed is about to be given a token of a ServiceAccount, so that it is found when their
/// access ends (docs/adr/0017-ending-service-account-tokens.md).
///
/// # Errors
/// [`Error::Forbidden`] for somebody with tokens of far too many, and for somebody who is no member any more: whoever took their
/// access away may have been told already what they were given. Nothing is written down of either.
pub async fn note_token(app: &App, token: &TokenOf<'_>) -> Result<()> {
    let (tx, now) = (app.store.begin().await?, app.clock.now());
    if !workspace_members::stays_member_for_issuer(&tx, token.workspace, token.user).await? {
        return Err(Error::Forbidden(
            "you are no longer a member of this workspace; the token is kept back".to_owned(),
        ));
    }
    let noted = service_account_tokens::note_for_issuer(&tx, token, now).await?;
    tx.commit().await?;
    if noted { Ok(()) } else { Err(too_many(token)) }
}

fn too_many(TokenOf { workspace, user, .. }: &TokenOf<'_>) -> Error {
    let most = service_account_tokens::MOST;
    Error::Forbidden(format!(
        "you were given tokens of {most} service accounts of this workspace, and of more nobody is given any; a member of \
         WSAdmins can end them: hxb member revoke-tokens {user} -w {workspace}"
    ))
}

/// When what a workspace's token is given for ends at the latest.
///
/// # Errors
/// [`Error::Unauthenticated`] when it has ended already, or is somebody else's.
pub(crate) async fn end_of(app: &App, user: &UserId, basis: &Basis) -> Result<Timestamp> {
    match basis {
        Basis::Session(session) => {
            let live = rows::find_live(&app.store, session, app.clock.now()).await?;
            let live = live.filter(|session| session.user_id == *user).ok_or_else(|| {
                Error::Unauthenticated("the session behind this token has ended; sign in again".to_owned())
            })?;
            Ok(sessions::absolute_end(&live))
        }
        Basis::Token(token) => Ok(tokens::still_good(app, token, user).await?.expires_at),
    }
}

async fn check_standing(app: &App, workspace: &WorkspaceId, user: &UserId, basis: &Basis) -> Result<()> {
    let is_member = workspace_members::is_member_for_issuer(&app.store, workspace, user);
    let (end, is_member) = tokio::join!(end_of(app, user, basis), is_member);
    end?;
    if !is_member? {
        return Err(Error::Forbidden("you are not, or no longer, a member of this workspace".to_owned()));
    }
    Ok(())
}
