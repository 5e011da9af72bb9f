//! Nodes of the host that are kept for workspaces, as the rest of the platform sees them.

use hexabase_core::ids::{OrganizationId, WorkspaceId};
use hexabase_core::nodes::{NodeClass, NodeName};
use hexabase_core::time::Timestamp;
use k8s_openapi::api::core::v1::Node;

use crate::connection::Host;
use crate::error::ReconcileError;
use crate::host::namespace;
use crate::host::nodes::{self, Mark, holder, is_offered, is_usable};
use crate::labels::Names;
use crate::ledger::settle;
use crate::manifest::Kind;
use crate::status::Progress;

/// Whose a node is, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// It says nothing: anybody's pods may be on it.
    Nobody,
    /// Nobody's yet, and kept empty.
    Free,
    /// This workspace's, of this installation or another one on the same host.
    Workspace(WorkspaceId),
    /// Somebody's who is no workspace.
    Unknown(String),
}

/// A node that is offered to workspaces, or says that it is somebody's.
#[derive(Debug, Clone)]
pub struct SeenNode {
    /// Its name.
    pub name: NodeName,
    /// Whether the operator offers it to workspaces.
    pub offered: bool,
    /// Whether it is ready, takes pods, and has no taint that tenants' pods may not tolerate.
    pub usable: bool,
    /// Whose it is.
    pub holder: Holder,
    /// Whether it says in full, by label and taint, that nobody's pods may come.
    pub closed: bool,
    /// As it was read: it is changed only while it is so.
    read: Node,
}

/// What is wanted of the nodes of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedNodes {
    /// The workspace.
    pub id: WorkspaceId,
    /// Nodes that it has and keeps.
    pub keeps: Vec<NodeName>,
    /// Nodes that it gives back.
    pub leaves: Vec<NodeName>,
    /// On which nodes its new pods are put now.
    pub placed: NodeClass,
    /// On which they are to be put.
    pub goal: NodeClass,
    /// The present moment.
    pub now: Timestamp,
}

/// How far the nodes of a workspace are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundNodes {
    /// Of each node that it keeps: done while its pods run there and nobody else's.
    pub keeps: Vec<(NodeName, Progress)>,
    /// Of each node that it gives back: done once nothing of it is left there and the node says so.
    pub leaves: Vec<(NodeName, Progress)>,
    /// Those of them to which no new pod comes any more: what is on them is to leave. On others it would only be made anew there.
    pub closed: Vec<NodeName>,
    /// Done while new pods may be put where they are to be: there are nodes, and nothing that it has would be left behind.
    pub may_move: Progress,
}

impl Host {
    /// Every node that is offered to workspaces, or says that it is somebody's; by name.
    pub async fn nodes(&self) -> Result<Vec<SeenNode>, ReconcileError> {
        let nodes: Vec<Node> = self.cluster.list_as(Kind::Node, None, "").await?;
        let seen = nodes.into_iter().filter_map(|node| {
            let (offered, holder) = (is_offered(&node), holder(&node));
            let name = node.metadata.name.as_deref()?.parse::<NodeName>().ok()?;
            let concerns = offered || holder != Holder::Nobody;
            let (usable, closed) = (is_usable(&node), nodes::patch(&node, Mark::Free).is_none());
            concerns.then_some(SeenNode { name, offered, usable, holder, closed, read: node })
        });
        let mut seen: Vec<SeenNode> = seen.collect();
        seen.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(seen)
    }

    /// Has a node that is nobody's kept empty, or not kept any more. Waits when it is not as it was seen.
    pub async fn keep_free(&self, node: &SeenNode, kept: bool) -> Result<Progress, ReconcileError> {
        let mark = if kept { Mark::Free } else { Mark::None };
        let done = match nodes::patch(&node.read, mark) {
            Some(patch) => self.cluster.merge(Kind::Node, None, node.name.as_str(), &patch).await,
            None => Ok(()),
        };
        Ok(settle(done)?.err().unwrap_or(Progress::Done))
    }

    /// Whether a node has no pods but those that every node has.
    pub async fn is_empty(&self, name: &NodeName) -> Result<bool, ReconcileError> {
        nodes::is_empty(&self.cluster, name).await
    }

    /// Refuses where the workspace's namespace is somebody else's, or a newer attempt has written to it; one that is not there yet is
    /// nobody's. To be asked before nodes are given or marked, which have no such fence.
    pub async fn claim(
        &self,
        id: &WorkspaceId,
        organization: Option<&OrganizationId>,
        fence: i64,
    ) -> Result<(), ReconcileError> {
        namespace::claim(&self.cluster, &Names::of(id), organization, fence).await.map(drop)
    }

    /// Brings the nodes of a workspace one call nearer to what is wanted. Where its pods are is not changed by it: they are moved
    /// by [`Self::reconcile`].
    pub async fn settle_nodes(&self, wanted: &WantedNodes) -> Result<FoundNodes, ReconcileError> {
        nodes::settle(&self.cluster, wanted).await
    }

    /// Takes the workspace's mark off a node, once no pod of it is left there, and lets no more of them come until then; a mark that
    /// is not its stays.
    pub async fn hand_back(&self, id: &WorkspaceId, name: &NodeName) -> Result<Progress, ReconcileError> {
        let node: Option<Node> = self.cluster.get_as(Kind::Node, None, name.as_str()).await?;
        let Some(node) = node else { return Ok(Progress::Done) };
        let handed = nodes::hand_back(&self.cluster, &node, id, &Names::of(id)).await;
        Ok(settle(handed)?.unwrap_or_else(|wait| wait))
    }

    /// Takes the workspace's mark off a node that was never given to it: at once where it keeps nobody away, else once the pods are
    /// gone that are to move from there, which are the tenant's while the workspace `moves` to nodes of its own.
    pub async fn disown(&self, id: &WorkspaceId, name: &NodeName, moves: bool) -> Result<Progress, ReconcileError> {
        let node: Option<Node> = self.cluster.get_as(Kind::Node, None, name.as_str()).await?;
        let Some(node) = node else { return Ok(Progress::Done) };
        let disowned = nodes::disown(&self.cluster, &node, id, &Names::of(id), moves).await;
        Ok(settle(disowned)?.unwrap_or_else(|wait| wait))
    }
}
