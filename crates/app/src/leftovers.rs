//! What is left of workspaces that are gone, in the store and on the host, for the platform's operators.
//!
//! The worker looks for it by itself, and takes away what its rows prove to be ours (`jobs/sweep_host.rs`,
//! `jobs/sweep_store.rs`). What they do not prove is told here, and left.

use hexabase_backends::store::leftovers::{self, Leftover};
use hexabase_backends::store::{MAX_PAGE, Store, Tx, settings};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::jobs::RECONCILE_WORKSPACE;

/// Under which name the last look at the host is kept.
const HOST: &str = "leftovers-of-the-host";
/// What goes with a workspace gets so many seconds after it to end by itself.
const GRACE_SECONDS: i64 = 600;

/// What is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Rows that hang on deleted workspaces; the worker takes them away.
    pub store: Vec<Leftover>,
    /// Rows that name workspaces of which there is none; they stay.
    pub unknown: Vec<Leftover>,
    /// What a worker saw on the host, if one has looked.
    pub host: Option<HostLook>,
}

/// What a worker saw on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLook {
    /// When.
    pub at: Timestamp,
    /// Deleted workspaces of which something stood there; it is being removed.
    pub removing: Vec<WorkspaceId>,
    /// Workspaces of which this database knows nothing; what stands there of them stays.
    pub unknown: Vec<WorkspaceId>,
}

/// What is left at this moment, and on the host when a worker looked last.
pub async fn report(store: &Store, clock: &Clock) -> Result<Report> {
    let found = hanging(store, clock.now()).await?;
    let unknown = leftovers::list_unknown_for_job(store, MAX_PAGE).await?;
    let host = settings::get(store, HOST).await?;
    let host = host.map(|look| serde_json::from_str(&look)).transpose().map_err(Error::internal)?;
    Ok(Report { store: found, unknown, host })
}

/// Rows that hang on workspaces which were deleted a while before `now`.
pub(crate) async fn hanging(store: &Store, now: Timestamp) -> Result<Vec<Leftover>> {
    let before = now.plus_seconds(-GRACE_SECONDS);
    Ok(leftovers::list_for_job(store, RECONCILE_WORKSPACE, before, MAX_PAGE).await?)
}

/// Keeps what a worker saw on the host.
pub(crate) async fn note_host(tx: &Tx, look: &HostLook) -> Result<()> {
    let look = serde_json::to_string(look).map_err(Error::internal)?;
    Ok(settings::set(tx, HOST, &look).await?)
}
