//! Removing a workspace: what it had, what to remove, how far it is, and the receipt.

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

/// What a workspace has on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// All of it, sorted.
    pub all: Vec<ObjectRef>,
    /// What of it is to be there for as long as the workspace is.
    pub lasting: Lasting,
}

/// What the platform applies to a workspace and takes away with all the rest only: what of it is gone before, somebody else took
/// away. Nothing is in here that comes and goes while a workspace is used, such as pods, claims and what a project has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lasting {
    /// What the platform makes itself, sorted.
    pub own: Vec<ObjectRef>,
    /// What comes from the chart, sorted. It lasts as long as the chart is rendered so: what another rendering no longer has is
    /// taken away by the platform.
    pub chart: Vec<ObjectRef>,
    /// The rendering that this comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendering: Option<String>,
}

/// What was there and what remains.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Objects that were to be there and that the removal did not find when it began, sorted: somebody else had taken them away.
    /// None of them is among those that it removed, unless it came back after that look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<ObjectRef>,
    /// Until the removal has looked for it: what is to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Lasting>,
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
