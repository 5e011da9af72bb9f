//! Who may pass to a workspace's API server, and where that is.

use hexabase_backends::store::sessions;
use hexabase_backends::store::{workspace_members, workspaces};
use hexabase_core::ids::{SessionId, UserId, WorkspaceId};
use hexabase_core::phases::WorkspacePhase;
use hexabase_oidc::claims::WorkspaceClaims;
use hexabase_oidc::jwt::{Expectation, ExpectedTyp, Typ};
use hexabase_oidc::keys::Algorithm;

use crate::context::App;
use crate::error::{Error, Result};
use crate::issuer::Realm;

/// Somebody who may pass.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The person.
    pub user: UserId,
    /// The browser or device the token was made for.
    pub session: SessionId,
    /// When the token ends, in seconds since the Unix epoch.
    pub expires_at: i64,
    /// `host:port` of the tenant's API server.
    pub endpoint: String,
    /// PEM of the authority behind its certificate.
    pub ca_pem: String,
}

/// Somebody with a workspace's token.
#[derive(Debug, Clone)]
pub struct Identified {
    /// The person.
    pub user: UserId,
    /// The browser or device the token was made for.
    pub session: SessionId,
    /// When the token ends, in seconds since the Unix epoch.
    pub expires_at: i64,
    /// All that it says.
    pub claims: WorkspaceClaims,
}

/// Whose token this is: issued for this workspace, still good, its session alive and its person a member.
///
/// # Errors
/// [`Error::Unauthenticated`] for a token that is not accepted, [`Error::Forbidden`] for somebody who is no member any more.
pub async fn identify(app: &App, workspace: &WorkspaceId, bearer: &str) -> Result<Identified> {
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
    let session: SessionId = claims.session().parse().map_err(|_| unauthenticated("it has no session".to_owned()))?;
    check_standing(app, workspace, &user, &session).await?;
    Ok(Identified { user, session, expires_at: claims.expires_at(), claims })
}

/// Lets a bearer of a workspace's token pass. The token is forwarded as it is: what it may do is decided by the workspace's
/// own API server.
///
/// # Errors
/// [`Error::Unauthenticated`] for a token that is not accepted, [`Error::Forbidden`] for somebody who is no member any more,
/// [`Error::NotFound`], and [`Error::Unavailable`] while the workspace is not there yet.
pub async fn admit(app: &App, workspace: &str, bearer: &str) -> Result<Admitted> {
    let id: WorkspaceId = workspace.parse().map_err(|_| Error::NotFound("workspace"))?;
    let Identified { user, session, expires_at, .. } = identify(app, &id, bearer).await?;
    let row = workspaces::load_for_issuer(&app.store, &id).await?.ok_or(Error::NotFound("workspace"))?;
    if matches!(row.phase, WorkspacePhase::Deleting | WorkspacePhase::Deleted) {
        return Err(Error::NotFound("workspace; it is being deleted"));
    }
    match (row.endpoint, row.ca_pem) {
        (Some(endpoint), Some(ca_pem)) => Ok(Admitted { workspace: id, user, session, expires_at, endpoint, ca_pem }),
        _ => Err(Error::Unavailable(format!(
            "the workspace is not ready yet, it is {}; try again in a moment",
            row.phase
        ))),
    }
}

/// Whether somebody who passed may still be connected.
pub async fn still_admitted(app: &App, workspace: &WorkspaceId, user: &UserId, session: &SessionId) -> bool {
    let row = workspaces::load_for_issuer(&app.store, workspace).await;
    let wanted = row.is_ok_and(|row| row.is_some_and(|row| row.desired == workspaces::Desired::Present));
    wanted && check_standing(app, workspace, user, session).await.is_ok()
}

async fn check_standing(app: &App, workspace: &WorkspaceId, user: &UserId, session: &SessionId) -> Result<()> {
    let live = sessions::find_live(&app.store, session, app.clock.now()).await?;
    if live.is_none_or(|session| session.user_id != *user) {
        return Err(Error::Unauthenticated("the session behind this token has ended; sign in again".to_owned()));
    }
    if !workspace_members::is_member_for_issuer(&app.store, workspace, user).await? {
        return Err(Error::Forbidden("you are not, or no longer, a member of this workspace".to_owned()));
    }
    Ok(())
}
