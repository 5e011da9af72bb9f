//! The platform as OpenID provider: its realms, what they publish, and the tokens that workspaces trust.
//!
//! A realm is an issuer below `/oidc/`: `platform` for the API and `hxb`, and one per workspace for kubectl. All realms sign
//! with the same keys; issuer and audience keep their tokens apart (docs/adr/0004-one-key-ring.md).

use std::str::FromStr;
use std::sync::Arc;

use hexabase_backends::store::workspaces::{self, Desired};
use hexabase_backends::store::{groups, users, workspace_members};
use hexabase_core::groups::effective_groups;
use hexabase_core::ids::{SessionId, UserId, WorkspaceId};
use hexabase_core::names::GroupName;
use hexabase_oidc::Issuer;
use hexabase_oidc::claims::{MAX_WORKSPACE_TOKEN_LIFE, WorkspaceClaims, WorkspaceGrant, WorkspaceSignIn};
use hexabase_oidc::jwt::Typ;
use hexabase_oidc::keys::Algorithm;
use hexabase_oidc::provider::{DiscoveryDocument, ProviderFeatures};
use hexabase_oidc::random::random_id;

use crate::context::{App, Settings};
use crate::error::{Error, Result};
use crate::oauth;

/// Audience of access tokens for the platform's own API.
pub const API_AUDIENCE: &str = "hexabase";
/// Algorithm of the tokens we sign: small and fast; RS256 is published for clients that know nothing else.
pub const ALGORITHM: Algorithm = Algorithm::Es256;
/// Seconds a token for kubectl lives: what bounds access after a change where no gateway is in the path.
pub const WORKSPACE_TOKEN_SECONDS: i64 = MAX_WORKSPACE_TOKEN_LIFE;

/// An issuer of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Realm {
    /// The platform itself.
    Platform,
    /// One workspace.
    Workspace(WorkspaceId),
}

impl Realm {
    /// Its issuer identifier, an address below the public one.
    pub fn issuer(&self, settings: &Settings) -> String {
        settings.address(&format!("/oidc/{self}"))
    }
}

impl std::fmt::Display for Realm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Platform => f.write_str("platform"),
            Self::Workspace(id) => id.fmt(f),
        }
    }
}

impl FromStr for Realm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "platform" => Ok(Self::Platform),
            id => id.parse().map(Self::Workspace).map_err(|_| Error::NotFound("issuer")),
        }
    }
}

/// The discovery document of a realm. With `jwks_base` it sends readers there for the keys: what workspaces that cannot
/// reach the public address are given.
pub fn discovery(app: &App, realm: &Realm, jwks_base: Option<String>) -> Result<DiscoveryDocument> {
    let issuer = Issuer::parse(&realm.issuer(&app.settings)).map_err(Error::internal)?;
    let features = ProviderFeatures {
        algorithms: app.keys.with(|ring| ring.algorithms(app.clock.now().as_seconds())),
        jwks_base,
        refresh: true,
        device: true,
        token_exchange: matches!(realm, Realm::Workspace(_)),
        groups: matches!(realm, Realm::Workspace(_)),
        revocation: true,
        introspection: true,
        end_session: true,
        confidential_clients: oauth::clients(app, realm)?.iter().any(|client| !client.is_public()),
        public_clients: true,
        claims_parameter: true,
    };
    Ok(DiscoveryDocument::new(&issuer, &features))
}

/// The public keys as JSON, and the seconds for which readers may keep them.
pub fn jwks(app: &App) -> Result<(Arc<str>, i64)> {
    Ok((app.keys.published(app.clock.now().as_seconds())?, app.keys.policy().jwks_max_age))
}

/// Lets through who may have a token or a code for one: members, until the workspace's deletion is asked for.
///
/// # Errors
/// [`Error::Forbidden`], the same for a stranger as for a workspace that does not exist.
pub(crate) async fn check_member(app: &App, workspace: &WorkspaceId, user: &UserId) -> Result<()> {
    if !workspace_members::is_member_for_issuer(&app.store, workspace, user).await? {
        let sentence = "you are not a member of this workspace; ask one of its administrators";
        return Err(Error::Forbidden(sentence.to_owned()));
    }
    let row = workspaces::load_for_issuer(&app.store, workspace).await?;
    if row.is_none_or(|row| row.desired == Desired::Absent) {
        return Err(Error::Forbidden("the workspace is being deleted".to_owned()));
    }
    Ok(())
}

/// Whom a workspace's token is for.
#[derive(Debug)]
pub struct WorkspaceBearer<'a> {
    /// The workspace.
    pub workspace: &'a WorkspaceId,
    /// The person.
    pub user: &'a UserId,
    /// The signed-in browser or device.
    pub session: &'a SessionId,
    /// The client that gets it.
    pub client: &'a str,
    /// What it says beside as an ID token.
    pub sign_in: WorkspaceSignIn,
}

/// A token with which a person is known to the workspace's API server, and the seconds it lives. Groups are read now, never
/// from an older token.
///
/// # Errors
/// [`Error::Forbidden`] for everybody who is not a member at this moment.
pub async fn workspace_token(app: &App, bearer: WorkspaceBearer<'_>) -> Result<(String, i64)> {
    let WorkspaceBearer { workspace, user, session, client, sign_in } = bearer;
    check_member(app, workspace, user).await?;
    let person = users::get(&app.store, user).await?.ok_or(Error::NotFound("user"))?;
    let now = app.clock.now().as_seconds();
    let issuer = Issuer::parse(&Realm::Workspace(workspace.clone()).issuer(&app.settings)).map_err(Error::internal)?;
    let claims = WorkspaceClaims::new(WorkspaceGrant {
        issuer: &issuer,
        subject: user.as_str(),
        audience: workspace.as_str(),
        workspace: workspace.as_str(),
        session: session.as_str(),
        groups: groups_of(app, workspace, user).await?.into_iter().map(String::from).collect(),
        email: person.email.filter(|_| person.email_verified),
        name: Some(person.display_name.into()),
        client: Some(client),
        sign_in,
        now,
        life: WORKSPACE_TOKEN_SECONDS,
        jti: random_id().map_err(Error::internal)?,
    })
    .map_err(Error::internal)?;
    let token = app.keys.with(|ring| ring.sign(ALGORITHM, &claims, Typ::Jwt, now)).map_err(Error::internal)?;
    Ok((token, WORKSPACE_TOKEN_SECONDS))
}

/// The groups a person is in at this moment, with all above them.
pub(crate) async fn groups_of(app: &App, workspace: &WorkspaceId, user: &UserId) -> Result<Vec<GroupName>> {
    let nodes = groups::nodes_for_issuer(&app.store, workspace).await?;
    let direct = groups::direct_for_issuer(&app.store, workspace, user).await?;
    Ok(effective_groups(&nodes, &direct))
}
