//! Removing a workspace: what to remove, how far it is, and the receipt.

use std::time::Duration;

use hexabase_core::ids::{OrganizationId, WorkspaceId};
use hexabase_core::nodes::NodeName;
use hexabase_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A workspace to be removed from the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The workspace.
    pub id: WorkspaceId,
    /// Whom it belongs to; nobody, where it was made ahead. What is somebody else's on the host is not removed.
    pub organization: Option<OrganizationId>,
    /// As in [`DesiredWorkspace::fence`](crate::DesiredWorkspace::fence).
    pub fence: i64,
    /// The present moment: pods that have been terminating for too long are not waited for.
    pub now: Timestamp,
    /// When it was asked for. A good while later it begins to let go of what others still hold that was deleted a good while ago.
    pub begun: Timestamp,
    /// What earlier calls saw ([`Removed::Waiting`]); without it the receipt lists only what this call still finds.
    pub seen: Vec<ObjectRef>,
    /// What earlier calls let go of that somebody else held.
    pub forced: Vec<ObjectRef>,
}

/// How far a removal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// Nothing is left but what the receipt says.
    Gone(Receipt),
    /// Call again.
    Waiting {
        /// Names the object that is in the way; meant for people.
        reason: String,
        /// When to look again.
        after: Duration,
        /// Everything seen so far: keep it and hand it to the next call.
        seen: Vec<ObjectRef>,
        /// Everything let go of so far that somebody else held: the same.
        forced: Vec<ObjectRef>,
    },
}

/// What was there and what remains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Objects that were there and are gone, sorted.
    pub removed: Vec<ObjectRef>,
    /// Objects that are still there, sorted: none, unless Kubernetes refuses to let go of a volume.
    pub remaining: Vec<ObjectRef>,
    /// Objects that went although whoever had put a finalizer on them had not done with them, sorted: what they were to clean up
    /// elsewhere may be left there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forced: Vec<ObjectRef>,
    /// Nodes of its own that are nobody's again, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub returned: Vec<NodeName>,
}

/// An object on the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Kind, as in a manifest.
    pub kind: String,
    /// Namespace, unless it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}
