//! What every use case is given.

use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use hexabase_backends::bell::Bell;
use hexabase_backends::mail::Mailer;
use hexabase_backends::seal::Sealer;
use hexabase_backends::store::audit::{self, AuditChain, NewAuditEntry};
use hexabase_backends::store::events::{self, NewEvent};
use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_backends::store::{Store, Tx};
use hexabase_core::audit::AuditEntry;
use hexabase_core::ids::{ApiTokenId, Id, OrganizationId, RequestId, SessionId, UserId, WorkspaceId};
use hexabase_core::time::Timestamp;
use hexabase_core::tokens::TokenScope;
use serde_json::{Value, json};
use url::Url;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::keys::Keys;
use crate::oauth::RegisteredClient;

/// Addresses under which the platform is known.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What users and tokens call the server: `https`, no path.
    pub public_url: Url,
    /// What the host cluster calls the listener that serves only public keys; `None` when it can use `public_url`.
    pub cluster_url: Option<Url>,
    /// PEM of the authority behind the server's certificate, where it is a private one.
    pub authority_pem: Option<String>,
    /// Clients of the issuers beside our own programs.
    pub oidc_clients: Arc<[RegisteredClient]>,
}

impl Settings {
    /// The address below `public_url` with this absolute path.
    pub fn address(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }

    /// What kubectl connects to.
    pub fn gateway_url(&self, workspace: &WorkspaceId) -> String {
        self.address(&format!("/k8s/{workspace}"))
    }
}

/// The platform's parts, shared by all requests and jobs of a process.
#[derive(Debug, Clone)]
pub struct App {
    /// The truth.
    pub store: Store,
    /// Wakes workers and event streams; never carries data.
    pub bell: Bell,
    /// Time.
    pub clock: Clock,
    /// Addresses.
    pub settings: Settings,
    /// Signing keys of the issuers.
    pub keys: Keys,
    /// Seals what the database has to keep and must not show.
    pub sealer: Sealer,
    /// Sends mail, where it is set up.
    pub mailer: Mailer,
}

impl App {
    /// A new id.
    ///
    /// # Errors
    /// The system's random source failed.
    pub fn new_id<T: Id>(&self) -> Result<T> {
        new_id(&self.clock)
    }
}

/// A new id, for who has a clock and no more.
pub(crate) fn new_id<T: Id>(clock: &Clock) -> Result<T> {
    let mut random = [0_u8; 8];
    SystemRandom::new().fill(&mut random).map_err(|_| Error::internal("the system's random source failed"))?;
    Ok(T::from_parts(clock.now(), u64::from_ne_bytes(random)))
}

/// Something that happened without anybody asking for it just then, for the live feed.
#[derive(Debug)]
pub(crate) struct Happening<'a> {
    pub(crate) organization: &'a OrganizationId,
    pub(crate) workspace: Option<&'a WorkspaceId>,
    pub(crate) kind: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) data: Value,
}

/// Something that somebody changed, for the audit log and the live feed.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    /// Where; without one it concerns the person's own account.
    pub(crate) organization: Option<&'a OrganizationId>,
    pub(crate) workspace: Option<&'a WorkspaceId>,
    /// A noun and what was done to it, such as `workspace.created`.
    pub(crate) action: &'a str,
    /// The id of what was changed.
    pub(crate) subject: &'a str,
    /// How it was, without secrets.
    pub(crate) before: Option<Value>,
    /// How it is, without secrets.
    pub(crate) after: Option<Value>,
}

impl App {
    /// Tells the live feed, when `tx` commits.
    pub(crate) fn record(&self, tx: &Tx, happening: Happening<'_>) -> Result<()> {
        let Happening { organization, workspace, kind, subject, data } = happening;
        let event = NewEvent {
            id: self.new_id()?,
            organization_id: organization.clone(),
            workspace_id: workspace.cloned(),
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            data,
            created_at: self.clock.now(),
        };
        events::append(tx, event);
        Ok(())
    }

    /// Writes a change into the audit log and, where it concerns an organisation, tells the live feed, when `tx` commits.
    /// Every use case that changes something calls this once.
    pub(crate) fn change(&self, tx: &Tx, ctx: &OpContext, change: Change<'_>) -> Result<()> {
        let told = change.after.clone().unwrap_or_else(|| json!({}));
        self.change_telling(tx, ctx, change, told)
    }

    /// The same for what not everybody who hears the feed may see: the feed tells that it happened, and to what.
    pub(crate) fn change_without_details(&self, tx: &Tx, ctx: &OpContext, change: Change<'_>) -> Result<()> {
        self.change_telling(tx, ctx, change, json!({}))
    }

    fn change_telling(&self, tx: &Tx, ctx: &OpContext, change: Change<'_>, data: Value) -> Result<()> {
        let Change { organization, workspace, action, subject, before, after } = change;
        if let Some(organization) = organization {
            self.record(tx, Happening { organization, workspace, kind: action, subject, data })?;
        }
        let chain = match organization {
            Some(organization) => AuditChain::Organization(organization.clone()),
            None => AuditChain::User(ctx.user.clone()),
        };
        let entry = AuditEntry {
            id: self.new_id()?,
            at: ctx.now,
            actor: ctx.user.to_string(),
            on_behalf_of: None,
            credential: ctx.credential.to_string(),
            source: ctx.source.clone(),
            request_id: ctx.request_id.to_string(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            workspace: workspace.cloned(),
            before,
            after,
        };
        audit::append(tx, NewAuditEntry { chain, entry });
        Ok(())
    }

    /// The same for what was changed in a workspace: `said` is how it was and how it is.
    pub(crate) fn change_in(
        &self,
        tx: &Tx,
        ctx: &OpContext,
        scope: &WorkspaceScope,
        action: &str,
        subject: &str,
        said: (Option<Value>, Option<Value>),
    ) -> Result<()> {
        let (organization, workspace) = (Some(scope.organization()), Some(scope.workspace()));
        let (before, after) = said;
        self.change(tx, ctx, Change { organization, workspace, action, subject, before, after })
    }

    /// Writes down what the platform did to an organisation by itself: because its time had come, or as the end of what somebody
    /// asked for.
    pub(crate) fn change_by_itself(&self, tx: &Tx, organization: &OrganizationId, change: Change<'_>) -> Result<()> {
        let Change { workspace, action, subject, before, after, .. } = change;
        let data = after.clone().or_else(|| before.clone()).unwrap_or_else(|| json!({}));
        self.record(tx, Happening { organization, workspace, kind: action, subject, data })?;
        let entry = AuditEntry {
            id: self.new_id()?,
            at: self.clock.now(),
            actor: "system".to_owned(),
            on_behalf_of: None,
            credential: "system".to_owned(),
            source: None,
            request_id: self.new_id::<RequestId>()?.to_string(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            workspace: workspace.cloned(),
            before,
            after,
        };
        audit::append(tx, NewAuditEntry { chain: AuditChain::Organization(organization.clone()), entry });
        Ok(())
    }
}

/// By what the caller is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// An identity provider has just said who it is; there is no session yet.
    SignIn,
    /// The person themselves: a signed-in browser, or `hxb`.
    Session(SessionId),
    /// A client that the operator lets act for people, in a session of its own. It does what the person may do, but nothing
    /// that would outlast it.
    Client {
        /// Its session.
        session: SessionId,
        /// Its client id.
        id: String,
    },
    /// A long-lived token, which may be good for less than its owner may do.
    Token {
        /// The token.
        id: ApiTokenId,
        /// What it is good for.
        scope: TokenScope,
    },
}

impl Credential {
    /// The session, if it is one.
    pub fn session(&self) -> Option<&SessionId> {
        match self {
            Self::Session(id) | Self::Client { session: id, .. } => Some(id),
            Self::SignIn | Self::Token { .. } => None,
        }
    }

    /// What a token is good for; nothing narrows the rights of a session.
    pub fn scope(&self) -> Option<&TokenScope> {
        match self {
            Self::Token { scope, .. } => Some(scope),
            Self::SignIn | Self::Session(_) | Self::Client { .. } => None,
        }
    }
}

/// As the audit log shows it.
impl std::fmt::Display for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SignIn => f.write_str("sign-in"),
            Self::Session(id) => write!(f, "session {id}"),
            Self::Client { session, id } => write!(f, "session {session} of {id}"),
            Self::Token { id, .. } => write!(f, "token {id}"),
        }
    }
}

/// Who asks, by what they are known, when, from where, and in which request.
#[derive(Debug, Clone)]
pub struct OpContext {
    /// The person or service account whose rights count.
    pub user: UserId,
    /// What the caller presented.
    pub credential: Credential,
    /// When the request came in.
    pub now: Timestamp,
    /// The request.
    pub request_id: RequestId,
    /// The address it came from.
    pub source: Option<String>,
}

impl OpContext {
    /// Who asks, and what the credential is good for: what is answered to one is not answered to another.
    pub fn principal(&self) -> String {
        let user = &self.user;
        match &self.credential {
            Credential::SignIn | Credential::Session(_) => user.to_string(),
            Credential::Client { id, .. } => format!("{user} client {id}"),
            Credential::Token { scope: TokenScope { access, workspace: None }, .. } => format!("{user} {access}"),
            Credential::Token { scope: TokenScope { access, workspace: Some(only) }, .. } => {
                format!("{user} {access} {only}")
            }
        }
    }
}

/// Where a request came from, before anybody is known.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The request.
    pub request_id: RequestId,
    /// The address it came from.
    pub source: Option<String>,
}

impl OpContext {
    /// For a person of whom an identity provider has just told, or whose grant is being redeemed.
    pub fn of(user: UserId, credential: Credential, now: Timestamp, origin: &Origin) -> Self {
        let Origin { request_id, source } = origin.clone();
        Self { user, credential, now, request_id, source }
    }
}
