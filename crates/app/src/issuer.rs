//! The platform as OpenID provider: its realms, its keys, and the tokens that workspaces trust.
//!
//! A realm is an issuer below `/oidc/`: `platform` for the API and `hxb`, and one per workspace for kubectl. All realms sign
//! with the same keys; issuer and audience keep their tokens apart (docs/adr/0004-one-key-ring.md).

use std::str::FromStr;
use std::sync::{Arc, RwLock};

use hexabase_backends::seal::{Place, Sealer};
use hexabase_backends::store::signing_keys::{self, SigningAlgorithm, SigningKey as KeyRow};
use hexabase_backends::store::workspaces::{self, Desired};
use hexabase_backends::store::{Store, groups, users, workspace_members};
use hexabase_core::groups::{MAX_GROUP_BYTES_PER_TOKEN, MAX_GROUPS_PER_TOKEN};
use hexabase_core::ids::{UserId, WorkspaceId};
use hexabase_core::time::Timestamp;
use hexabase_oidc::Issuer;
use hexabase_oidc::claims::{MAX_GROUP_BYTES, MAX_GROUPS, MAX_WORKSPACE_TOKEN_LIFE, WorkspaceClaims, WorkspaceGrant};
use hexabase_oidc::jwt::Typ;
use hexabase_oidc::keys::{Algorithm, Jwk, JwkSet, KeyRing, KeyState, RotationPolicy, SigningKey};
use hexabase_oidc::provider::{DiscoveryDocument, ProviderFeatures};
use hexabase_oidc::random::random_id;
use secrecy::SecretString;

use crate::context::{App, Settings};
use crate::error::{Error, Result};
use crate::gateway::{Basis, end_of};

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
/// Who a proof speaks for; no id of a user or session looks like it.
const NOBODY: &str = "nobody";
const KEY_PURPOSE: &str = "signing_keys.private_sealed";

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

/// The signing keys, shared by every process on the same database.
#[derive(Debug, Clone)]
pub struct Keys(Arc<RwLock<KeyRing>>);

impl Keys {
    /// Reads the keys, or makes the first ones. Of several processes that start at once, one makes them for all.
    pub async fn load(store: &Store, sealer: &Sealer, now: Timestamp) -> Result<Self> {
        if signing_keys::list(store).await?.is_empty() {
            let mut rows = Vec::new();
            for algorithm in Algorithm::ALL {
                rows.push(first_key(sealer, algorithm, now)?);
            }
            let tx = store.begin().await?;
            signing_keys::insert_if_none(&tx, &rows).await?;
            tx.commit().await?;
        }
        let keys = Self(Arc::new(RwLock::new(KeyRing::new())));
        keys.reload(store, sealer).await?;
        Ok(keys)
    }

    /// Takes over what other processes have changed.
    pub async fn reload(&self, store: &Store, sealer: &Sealer) -> Result<()> {
        let mut ring = KeyRing::new();
        for row in signing_keys::list(store).await? {
            let place = Place { purpose: KEY_PURPOSE, row: &row.kid };
            let der = sealer.open(place, &row.private_sealed).map_err(Error::internal)?;
            let key = SigningKey::from_pkcs8_der(algorithm_of(row.algorithm), &der).map_err(Error::internal)?;
            ring.add(key, state_of(&row)).map_err(Error::internal)?;
        }
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = ring;
        Ok(())
    }

    /// Runs `read` on the keys as they stand.
    pub fn with<T>(&self, read: impl FnOnce(&KeyRing) -> T) -> T {
        read(&self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

fn first_key(sealer: &Sealer, algorithm: Algorithm, now: Timestamp) -> Result<KeyRow> {
    let key = SigningKey::generate(algorithm).map_err(Error::internal)?;
    let der = key.to_pkcs8_der().map_err(Error::internal)?;
    let place = Place { purpose: KEY_PURPOSE, row: key.kid() };
    let state = RotationPolicy::DEFAULT.first(now.as_seconds());
    let jwk: &Jwk = key.public_jwk();
    Ok(KeyRow {
        kid: key.kid().to_owned(),
        algorithm: match algorithm {
            Algorithm::Es256 => SigningAlgorithm::Es256,
            Algorithm::Rs256 => SigningAlgorithm::Rs256,
        },
        private_sealed: {
            use secrecy::ExposeSecret as _;
            sealer.seal(place, der.expose_secret()).map_err(Error::internal)?
        },
        public_jwk: serde_json::to_value(jwk).map_err(Error::internal)?,
        publish_from: Timestamp::from_seconds(state.publish_from),
        sign_from: Timestamp::from_seconds(state.sign_from),
        // Open until a successor is made: a server that nobody rotates must not stop signing.
        sign_until: None,
        publish_until: None,
    })
}

fn algorithm_of(algorithm: SigningAlgorithm) -> Algorithm {
    match algorithm {
        SigningAlgorithm::Es256 => Algorithm::Es256,
        SigningAlgorithm::Rs256 => Algorithm::Rs256,
    }
}

fn state_of(row: &KeyRow) -> KeyState {
    let end = |moment: Option<Timestamp>| moment.map_or(i64::MAX, Timestamp::as_seconds);
    KeyState {
        publish_from: row.publish_from.as_seconds(),
        sign_from: row.sign_from.as_seconds(),
        sign_until: end(row.sign_until),
        publish_until: end(row.publish_until),
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
        introspection: false,
        end_session: false,
        confidential_clients: false,
        public_clients: true,
    };
    Ok(DiscoveryDocument::new(&issuer, &features))
}

/// The public keys.
pub fn jwks(app: &App) -> JwkSet {
    app.keys.with(|ring| ring.jwks(app.clock.now().as_seconds()))
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

/// A token with which `user` is known to the workspace's API server, and the seconds it lives: never longer than what it is
/// given for, since the API server itself asks nobody. Groups are read now, never from an older token.
///
/// # Errors
/// [`Error::Forbidden`] for everybody who is not a member at this moment, and [`Error::Unauthenticated`] when what it would be
/// given for is over.
pub async fn workspace_token(
    app: &App,
    workspace: &WorkspaceId,
    user: &UserId,
    basis: &Basis,
    nonce: Option<String>,
) -> Result<(String, i64)> {
    let end = end_of(app, user, basis).await?;
    let life = WORKSPACE_TOKEN_SECONDS.min(end.as_seconds() - app.clock.now().as_seconds());
    if life < 1 {
        return Err(Error::Unauthenticated("what you are signed in with ends this moment; sign in again".to_owned()));
    }
    let token = mint(app, workspace, user, &basis.to_string(), nonce, life).await?;
    Ok((token, life))
}

/// The same with a life of its own, and with `sid` for what it was made for.
pub(crate) async fn mint(
    app: &App,
    workspace: &WorkspaceId,
    user: &UserId,
    sid: &str,
    nonce: Option<String>,
    life: i64,
) -> Result<String> {
    check_member(app, workspace, user).await?;
    let person = users::get(&app.store, user).await?.ok_or(Error::NotFound("user"))?;
    let groups = groups::effective_for_issuer(&app.store, workspace, user).await?;
    let issuer = issuer_of(app, workspace)?;
    sign(
        app,
        WorkspaceGrant {
            subject: user.as_str(),
            session: sid,
            groups: groups.into_iter().map(String::from).collect(),
            email: person.email.filter(|_| person.email_verified),
            name: Some(person.display_name.into()),
            nonce,
            life,
            ..grant_for_nobody(app, &issuer, workspace)?
        },
    )
}

/// A token that shows whether the workspace's API server believes us. It speaks for nobody and has no session, so that it
/// opens nothing: not the gateway, and of the API server only what is open to everybody it knows.
pub(crate) fn proof(app: &App, workspace: &WorkspaceId) -> Result<SecretString> {
    let issuer = issuer_of(app, workspace)?;
    sign(app, grant_for_nobody(app, &issuer, workspace)?).map(SecretString::from)
}

fn issuer_of(app: &App, workspace: &WorkspaceId) -> Result<Issuer> {
    Issuer::parse(&Realm::Workspace(workspace.clone()).issuer(&app.settings)).map_err(Error::internal)
}

fn grant_for_nobody<'a>(app: &App, issuer: &'a Issuer, workspace: &'a WorkspaceId) -> Result<WorkspaceGrant<'a>> {
    Ok(WorkspaceGrant {
        issuer,
        subject: NOBODY,
        audience: workspace.as_str(),
        workspace: workspace.as_str(),
        session: NOBODY,
        groups: Vec::new(),
        email: None,
        name: None,
        nonce: None,
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
