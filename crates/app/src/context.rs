//! What every use case is given.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use hexabase_backends::bell::Bell;
use hexabase_backends::store::events::{self, NewEvent};
use hexabase_backends::store::{Store, Tx};
use hexabase_core::ids::{Id, OrganizationId, RequestId, SessionId, UserId, WorkspaceId};
use hexabase_core::time::Timestamp;
use url::Url;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::issuer::Keys;

/// Addresses under which the platform is known.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What users and tokens call the server: `https`, no path.
    pub public_url: Url,
    /// What the host cluster calls the listener that serves only public keys; `None` when it can use `public_url`.
    pub cluster_url: Option<Url>,
    /// PEM of the authority behind the server's certificate, where it is a private one.
    pub authority_pem: Option<String>,
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
}

impl App {
    /// A new id.
    ///
    /// # Errors
    /// The system's random source failed.
    pub fn new_id<T: Id>(&self) -> Result<T> {
        let mut random = [0_u8; 8];
        SystemRandom::new().fill(&mut random).map_err(|_| Error::internal("the system's random source failed"))?;
        Ok(T::from_parts(self.clock.now(), u64::from_ne_bytes(random)))
    }
}

/// Something that happened, for the live feed.
#[derive(Debug)]
pub(crate) struct Happening<'a> {
    pub(crate) organization: &'a OrganizationId,
    pub(crate) workspace: Option<&'a WorkspaceId>,
    pub(crate) kind: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) data: serde_json::Value,
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
}

/// Who asks, when, and in which request.
#[derive(Debug, Clone)]
pub struct OpContext {
    /// The person.
    pub user: UserId,
    /// The browser or device the person uses.
    pub session: SessionId,
    /// When the request came in.
    pub now: Timestamp,
    /// The request.
    pub request_id: RequestId,
}
