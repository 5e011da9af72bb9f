//! The Kubernetes gateway: `/k8s/{workspace}/…` is the API server of that workspace, for kubectl and everything like it.
//!
//! ```text
//! kubectl ─► path ─► credential ─► Authority::admit ─► limits ─► headers ─┬─► forward (pooled, HTTP/2) ─┐
//!            400     401 403 429   401 403 404 429 503 429                └─► upgrade (own, HTTP/1.1) ──┴─► tenant
//!                                                     pace: bodies and tunnels of one workspace wait for each other
//!                                                     streams: every open stream asks still_admitted again
//!         ◄─ answer ◄─ if it holds a ServiceAccount's token: Authority::note_token, or it is kept back (403 503)
//! ```
//!
//! Invariants:
//! - The gateway has no identity of its own. What reaches a tenant carries the caller's bearer token or does not leave.
//! - Where a request goes is decided by [`Admission::upstream`] alone: the dialer never sees the request.
//! - What the tenant reads is what was admitted: one token, rebuilt, of the caller and of nobody else; path and query byte
//!   for byte; no header that claims another identity.
//! - Of a body no more is held than a window of each connection that it passes, and no token is ever logged.
//! - Nobody is given a ServiceAccount's token of which nobody knows when their access ends.
//!
//! Wiring: [`Router::merge`] it (never `nest`, which rewrites the path) outside any layer that times out, compresses,
//! normalises paths, or limits bodies; serve it with upgrades (`axum::serve` does). A new check of the request line
//! goes into `path.rs`, of a header into `headers.rs`, each with a line in its table of attacks.

mod callers;
mod credential;
mod dial;
mod forward;
mod headers;
mod limits;
mod pace;
mod path;
mod status;
mod streams;
mod upgrade;
mod upstream;

#[cfg(test)]
mod fairness_tests;
#[cfg(test)]
pub(crate) mod smuggling;
#[cfg(test)]
mod testkit;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod token_tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use hexabase_core::ids::{RoleAssignmentId, WorkspaceId};
use hexabase_core::time::Timestamp;
use tokio_util::sync::CancellationToken;

pub use credential::Bearer;
pub use streams::Revocations;

/// Where the API server of a workspace answers, and how it proves that it is the one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// `host:port` to connect to.
    pub address: String,
    /// The name its certificate must carry.
    pub server_name: String,
    /// The only certificate authority trusted for it, as PEM.
    pub ca_pem: Arc<str>,
}

/// Leave for one caller to use one workspace.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The workspace the caller may reach.
    pub workspace: WorkspaceId,
    /// Its API server.
    pub upstream: Upstream,
    /// Who the caller is, for logs and for [`Revocations`].
    pub principal: String,
    /// When the token expires, in seconds since the Unix epoch. The gateway does not end streams then (a watch outlives
    /// its token in Kubernetes); it is kept for [`Authority::still_admitted`].
    pub expires_at: i64,
    /// The caller's groups then; kept for [`Authority::still_admitted`].
    pub groups: Vec<String>,
    /// The roles given then to those groups, for what may stay open; kept for the same.
    pub roles: Vec<RoleAssignmentId>,
    /// The id of the key that signed the caller's token; kept for the same.
    pub key: String,
    /// When a project of the workspace was last moved; kept for the same.
    pub moved_at: Option<Timestamp>,
    /// The same caller's token as it would be made now, to be sent on in place of the one shown, when they differ.
    pub renewed: Option<Bearer>,
    /// How long the caller was held because the workspace was asleep; the answer says so.
    pub woken_in: Option<Duration>,
}

/// A ServiceAccount of a workspace's Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Why a caller may not pass. Messages are sentences for the person at the terminal.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// The token is not one of a known, live caller: 401, upon which kubectl asks its plugin for a new one.
    Unauthorized {
        /// What to tell the caller.
        message: String,
    },
    /// The caller is known and has no access: 403.
    Forbidden {
        /// What to tell the caller.
        message: String,
    },
    /// There is no such workspace, as far as this caller may know: 404.
    NotFound {
        /// What to tell the caller.
        message: String,
    },
    /// The workspace is starting or broken, or was asleep and takes too long to wake: 503.
    Unavailable {
        /// What to tell the caller.
        message: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The caller asks too often: 429.
    TooManyRequests {
        /// What to tell the caller.
        message: String,
        /// When to try again.
        retry_after: Duration,
    },
}

/// Decides who passes. The one implementation outside tests checks tokens and reads the database.
pub trait Authority: Clone + Send + Sync + 'static {
    /// Whether `bearer` may use the workspace that `workspace` (a text from the URL) names, and where that is.
    ///
    /// A workspace that is asleep is woken, and this returns once it is awake: that may take a minute.
    ///
    /// The gateway itself answers requests without a usable token, so `bearer` is never `None` today; an
    /// implementation must refuse `None` as [`Refusal::Unauthorized`]. What `lasts`, because it stays open or is a token of a
    /// ServiceAccount, may need more than what is over in a moment.
    fn admit(
        &self,
        workspace: &str,
        bearer: Option<&str>,
        lasts: bool,
    ) -> impl Future<Output = Result<Admission, Refusal>> + Send;

    /// Whether `admission` would still be granted; asked again and again while a stream is open.
    ///
    /// Not answering counts as no, see [`GatewaySettings::recheck_timeout`].
    fn still_admitted(&self, admission: &Admission) -> impl Future<Output = bool> + Send;

    /// Whether a token of `account` for which the caller asks could be noted; if not, none is asked for.
    fn check_room(
        &self,
        admission: &Admission,
        account: &ServiceAccount,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Notes that the caller is about to be given a token of `account`, which outlives the admission. If it is not written
    /// down, or the caller may not pass any more, the token is kept back.
    fn note_token(
        &self,
        admission: &Admission,
        account: &ServiceAccount,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;
}

/// How the gateway behaves; the defaults are meant for production.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// Longest request body, in bytes; etcd refuses larger objects anyway.
    pub max_request_bytes: u64,
    /// Longest time to reach an API server and agree on TLS.
    pub connect_timeout: Duration,
    /// Longest wait for the head of an answer, unless the request is a watch or reads logs. The API server gives up
    /// after 60 s by itself, with a better message.
    pub response_timeout: Duration,
    /// How long an unused connection to an API server is kept.
    pub idle_timeout: Duration,
    /// Workspaces whose connections are kept at the same time.
    pub max_clients: usize,
    /// How often an open stream is checked with [`Authority::still_admitted`].
    pub recheck: Duration,
    /// How long such a check may take before the stream ends.
    pub recheck_timeout: Duration,
    /// Requests of one workspace in progress at the same time, streams included.
    pub concurrency: u32,
    /// Streams (watch, logs, exec, port-forward, proxy) among them, so that they cannot crowd out everything else.
    pub long_streams: u32,
    /// Requests per second of one workspace.
    pub rate: u32,
    /// Requests of one workspace that may arrive at once after a pause.
    pub burst: u32,
    /// Bytes per second of one workspace, bodies and tunnels, both ways together; what is ahead of that waits. Eight seconds' worth
    /// pass at once after a pause.
    pub bytes_per_second: u64,
    /// When to try again, as told to callers whose workspace does not answer.
    pub retry_after: Duration,
    /// Ends streams before their next check.
    pub revocations: Revocations,
    /// Once cancelled, open streams end, so that a server shutting down does not wait for watches.
    pub shutdown: CancellationToken,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            max_request_bytes: 3 << 20,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(70),
            idle_timeout: Duration::from_secs(90),
            max_clients: 512,
            recheck: Duration::from_secs(20),
            recheck_timeout: Duration::from_secs(5),
            concurrency: 200,
            long_streams: 150,
            rate: 100,
            burst: 400,
            bytes_per_second: 8 << 20,
            retry_after: Duration::from_secs(2),
            revocations: Revocations::default(),
            shutdown: CancellationToken::new(),
        }
    }
}

/// The routes `/k8s/{workspace}` and `/k8s/{workspace}/{*path}`, for any method; every answer below `/k8s` is the
/// tenant's or a Kubernetes `Status`.
pub fn router<A: Authority>(authority: A, settings: GatewaySettings) -> Router {
    let gateway = Arc::new(forward::Gateway::new(authority, settings));
    // One catch-all, because the workspace is read from the raw path: what the router decoded is not what is forwarded.
    Router::new()
        .route("/k8s", any(forward::handle::<A>))
        .route("/k8s/", any(forward::handle::<A>))
        .route("/k8s/{*rest}", any(forward::handle::<A>))
        .with_state(gateway)
}
