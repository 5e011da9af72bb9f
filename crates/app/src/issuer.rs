//! The platform as OpenID provider: its realms, what they publish, and the tokens that workspaces trust.
//!
//! A realm is an issuer below `/oidc/`: `platform` for the API and `hxb`, and one per workspace for kubectl. All realms sign
//! with the same keys; issuer and audience keep their tokens apart (docs/adr/0004-one-key-ring.md).

use std::str::FromStr;
use std::sync::Arc;

use hexabase_backends::store::workspaces::{self, Desired};
use hexabase_backends::store::{groups, users, workspace_members};
use hexabase_core::groups::{MAX_GROUP_BYTES_PER_TOKEN, MAX_GROUPS_PER_TOKEN};
use hexabase_core::ids::{UserId, WorkspaceId};
use hexabase_oidc::Issuer;
use hexabase_oidc::claims::{
    MAX_GROUP_BYTES, MAX_GROUPS, MAX_WORKSPACE_TOKEN_LIFE, WorkspaceClaims, WorkspaceGrant, WorkspaceSignIn,
};
use hexabase_oidc::jwt::Typ;
use hexabase_oidc::keys::Algorithm;
use hexabase_oidc::provider::{DiscoveryDocument, ProviderFeatures};
use hexabase_oidc::random::random_id;
use secrecy::SecretString;

use crate::context::{App, Settings};
use crate::error::{Error, Result};
use crate::gateway::{Basis, end_of};
use crate::{leaving, oauth};

/// Audience of access tokens for the platform's own API.
pub const API_AUDIENCE: &str = "hexabase";
/// Algorithm of the tokens we sign: small and fast; RS256 is published for clients that know nothing else.
pub const ALGORITHM: Algorithm = Algorithm::Es256;
/// Most seconds a token for kubectl lives: what bounds access after a change where no gateway is in the path.
pub const WORKSPACE_TOKEN_SECONDS: i64 = MAX_WORKSPACE_TOKEN_LIFE;

// What is refused when somebody is put into a group is what no token could carry: never found out at sign-in.
const _: () = assert!(MAX_GROUPS == MAX_GROUPS_PER_TOKEN && MAX_GROUP_BYTES == MAX_GROUP_BYTES_PER_TOKEN);

/// Seconds a proof lives: long enough for clocks that are a little apart.
const PROOF_SECONDS: i64 = 60;
/// Who a proof speaks for: an id as API servers want one, of a moment at which nobody was made.
pub(crate) const NOBODY: &str = "usr-00000000000000000000";
/// What a proof names as its session; no id of a session or token looks like it.
const NO_SESSION: &str = "none";
/// What a token names as its session with which the platform itself asks: it is no session, so the gateway refuses it.
const OF_THE_PLATFORM: &str = "platform";

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
    match workspaces::load_for_issuer(&app.store, workspace).await? {
        Some(row) if row.desired != Desired::Absent => Ok(()),
        Some(row) => Err(Error::Forbidden(leaving::sentence(&row))),
        None => Err(Error::Forbidden("the workspace is deleted".to_owned())),
    }
}

/// Whom a workspace's token is for.
#[derive(Debug)]
pub struct WorkspaceBearer<'a> {
    /// The workspace.
    pub workspace: &'a WorkspaceId,
    /// The person.
    pub user: &'a UserId,
    /// What it is given for. Without, the platform itself asks as the person, and the gateway refuses the token.
    pub basis: Option<&'a Basis>,
    /// The client that gets it; nobody does when the platform itself asks.
    pub client: Option<&'a str>,
    /// What it says beside as an ID token.
    pub sign_in: WorkspaceSignIn,
}

/// A token with which a person is known to the workspace's API server, and the seconds it lives: never longer than what it is
/// given for, since the API server itself asks nobody. Groups are read now, never from an older token.
///
/// # Errors
/// [`Error::Forbidden`] for everybody who is not a member at this moment, and [`Error::Unauthenticated`] when what it would be
/// given for is over.
pub async fn workspace_token(app: &App, bearer: WorkspaceBearer<'_>) -> Result<(String, i64)> {
    let mut life = WORKSPACE_TOKEN_SECONDS;
    if let Some(basis) = bearer.basis {
        let end = end_of(app, bearer.user, basis).await?;
        life = life.min(end.as_seconds() - app.clock.now().as_seconds());
    }
    if life < 1 {
        return Err(Error::Unauthenticated("what you are signed in with ends this moment; sign in again".to_owned()));
    }
    Ok((mint(app, bearer, life).await?, life))
}

/// The same with a life of its own.
pub(crate) async fn mint(app: &App, bearer: WorkspaceBearer<'_>, life: i64) -> Result<String> {
    let WorkspaceBearer { workspace, user, basis, client, sign_in } = bearer;
    check_member(app, workspace, user).await?;
    let person = users::get(&app.store, user).await?.ok_or(Error::NotFound("user"))?;
    let issuer = issuer_of(app, workspace)?;
    let sid = basis.map_or(OF_THE_PLATFORM.to_owned(), Basis::to_string);
    sign(
        app,
        WorkspaceGrant {
            subject: user.as_str(),
            session: &sid,
            groups: groups_of(app, workspace, user).await?,
            email: person.email.filter(|_| person.email_verified),
            name: Some(person.display_name.into()),
            client,
            sign_in,
            life,
            ..grant_for_nobody(app, &issuer, workspace)?
        },
    )
}

/// The groups a person is in at this moment, with all above them.
pub(crate) async fn groups_of(app: &App, workspace: &WorkspaceId, user: &UserId) -> Result<Vec<String>> {
    let groups = groups::effective_for_issuer(&app.store, workspace, user).await?;
    Ok(groups.into_iter().map(String::from).collect())
}

/// A token that shows whether the workspace's API server believes us. It speaks for nobody and has no session, so that it
/// opens nothing: not the gateway, and of the API server only what is open to everybody it knows.
pub(crate) fn proof(app: &App, workspace: &WorkspaceId) -> Result<SecretString> {
    let issuer = issuer_of(app, workspace)?;
    sign(app, grant_for_nobody(app, &issuer, workspace)?).map(SecretString::from)
}

/// The issuer of a workspace.
pub(crate) fn issuer_of(app: &App, workspace: &WorkspaceId) -> Result<Issuer> {
    Issuer::parse(&Realm::Workspace(workspace.clone()).issuer(&app.settings)).map_err(Error::internal)
}

/// What a token says that speaks for nobody.
pub(crate) fn grant_for_nobody<'a>(
    app: &App,
    issuer: &'a Issuer,
    workspace: &'a WorkspaceId,
) -> Result<WorkspaceGrant<'a>> {
    Ok(WorkspaceGrant {
        issuer,
        subject: NOBODY,
        audience: workspace.as_str(),
        workspace: workspace.as_str(),
        session: NO_SESSION,
        groups: Vec::new(),
        email: None,
        name: None,
        client: None,
        sign_in: WorkspaceSignIn::default(),
        now: app.clock.now().as_seconds(),
        life: PROOF_SECONDS,
        jti: random_id().map_err(Error::internal)?,
    })
}

fn sign(app: &App, grant: WorkspaceGrant<'_>) -> Result<String> {
    let now = grant.now;
    let claims = WorkspaceClaims::new(grant).map_err(Error::internal)?;
    app.keys.with(|ring| ring.sign(ALGORITHM, &claims, Typ::Jwt, now)).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use hexabase_core::ids::Id as _;
    use hexabase_core::time::Timestamp;

    use super::*;
    use crate::gateway::Basis;

    #[test]
    fn a_proof_names_a_person_who_never_was_and_no_session() {
        assert_eq!(NOBODY, UserId::from_parts(Timestamp::from_seconds(0), 0).as_str());
        assert!(NO_SESSION.parse::<Basis>().is_err());
        assert!(OF_THE_PLATFORM.parse::<Basis>().is_err());
    }
}
