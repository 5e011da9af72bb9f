//! The nodes of one workspace, looked at together: which are its, which it may leave, and whether it can move.

use hexabase_core::ids::WorkspaceId;
use hexabase_core::nodes::{NodeClass, NodeName};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Bound, Mark, bound, holder, is_offered, is_tainted, is_usable, patch, reclosed};
use crate::apply::Cluster;
use crate::error::ReconcileError;
use crate::host::volumes;
use crate::labels::{self, Names, SYNCED_BY};
use crate::ledger;
use crate::manifest::Kind;
use crate::nodes::{FoundNodes, Holder, WantedNodes};
use crate::status::Progress;

/// When to look again, in milliseconds: what is on its way, and what somebody has to do something about.
const SOON: u64 = 1_000;
const LATER: u64 = 15_000;
/// People of a workspace are not told whose pods and marks are in the way; the worker's log says it to the operator.
const NOT_OURS: &str = "the node says that it is somebody else's; the operator looks into it";
/// How many claims are named.
const NAMED: usize = 5;

/// One look at the nodes of a workspace; changes what can be changed.
pub(crate) async fn settle(host: &Cluster, wanted: &WantedNodes) -> Result<FoundNodes, ReconcileError> {
    let names = Names::of(&wanted.id);
    let nodes: Vec<Node> = host.list_as(Kind::Node, None, "").await?;
    let mut keeps = Vec::with_capacity(wanted.keeps.len());
    for name in &wanted.keeps {
        keeps.push((name.clone(), told(take(host, find(&nodes, name), wanted, &names).await)?));
    }
    let usable = keeps.iter().filter(|(_, progress)| *progress == Progress::Done);
    let own: Vec<&Node> = usable.filter_map(|(name, _)| find(&nodes, name)).collect();
    let shared: Vec<&Node> = nodes.iter().filter(|node| is_shared(node)).collect();
    let of_class = |class: NodeClass| match class {
        NodeClass::Dedicated => own.as_slice(),
        NodeClass::Shared => shared.as_slice(),
    };
    let may_move = told(may_move(host, wanted, of_class(wanted.goal), &names).await)?;
    let (mut leaves, mut closed) = (Vec::with_capacity(wanted.leaves.len()), Vec::new());
    if !wanted.leaves.is_empty() {
        let others = of_class(wanted.placed);
        let bound = bound(host, &names, others).await?;
        for name in &wanted.leaves {
            let left = leave(host, find(&nodes, name), wanted, &names, (others, bound.as_slice())).await;
            let left = told(left)?;
            if left != Progress::Done && find(&nodes, name).is_some_and(|node| draws_none(node, &wanted.id)) {
                closed.push(name.clone());
            }
            leaves.push((name.clone(), left));
        }
    }
    Ok(FoundNodes { keeps, leaves, closed, may_move })
}

fn told(result: Result<Progress, ReconcileError>) -> Result<Progress, ReconcileError> {
    Ok(ledger::settle(result)?.unwrap_or_else(|wait| wait))
}

fn find<'a>(nodes: &'a [Node], name: &NodeName) -> Option<&'a Node> {
    nodes.iter().find(|node| node.metadata.name.as_deref() == Some(name.as_str()))
}

fn name_of(node: &Node) -> &str {
    node.metadata.name.as_deref().unwrap_or_default()
}

/// Whether the node is one on which all workspaces may be.
fn is_shared(node: &Node) -> bool {
    holder(node) == Holder::Nobody && !is_offered(node) && is_usable(node)
}

/// Marks a node for the workspace, once nobody else's pod is on it.
async fn take(
    host: &Cluster,
    node: Option<&Node>,
    wanted: &WantedNodes,
    names: &Names,
) -> Result<Progress, ReconcileError> {
    let Some(node) = node else { return Ok(Progress::wait(LATER, "the node is not on the host any more")) };
    match holder(node) {
        Holder::Workspace(id) if id != wanted.id => {
            return Ok(not_ours(node, wanted, id.as_str()));
        }
        Holder::Unknown(value) => {
            return Ok(not_ours(node, wanted, &value));
        }
        // First nobody must come any more, or somebody would come between the look and the mark.
        Holder::Nobody | Holder::Free if patch(node, Mark::Free).is_some() => {
            mark(host, node, Mark::Free).await?;
            return Ok(Progress::wait(SOON, "the node is being closed to others"));
        }
        Holder::Workspace(_) => {
            if let Some(closed) = reclosed(node, &wanted.id) {
                mark(host, node, closed).await?;
                return Ok(Progress::wait(SOON, "the node is being closed to others"));
            }
        }
        Holder::Free | Holder::Nobody => {}
    }
    let pods = pods_on(host, name_of(node)).await?;
    if let Some(pod) = pods.iter().find(|pod| is_foreign(pod, names)) {
        let (node, pod) = (name_of(node), title(pod));
        tracing::warn!(node, workspace.id = %wanted.id, pod, "a node waits for somebody else's pod to go");
        return Ok(Progress::wait(LATER, "pods of others are still on the node; the operator drains it"));
    }
    mark(host, node, Mark::Of(&wanted.id)).await?;
    match is_usable(node) {
        true => Ok(Progress::Done),
        false => Ok(Progress::wait(LATER, "the node is not ready, or takes no pods of tenants")),
    }
}

fn not_ours(node: &Node, wanted: &WantedNodes, whose: &str) -> Progress {
    tracing::warn!(node = name_of(node), workspace.id = %wanted.id, whose, "a node says it is somebody else's");
    Progress::wait(LATER, NOT_OURS)
}

/// Whether the workspace's new pods may be put on these nodes.
async fn may_move(
    host: &Cluster,
    wanted: &WantedNodes,
    nodes: &[&Node],
    names: &Names,
) -> Result<Progress, ReconcileError> {
    if wanted.placed == wanted.goal {
        return Ok(Progress::Done);
    }
    if nodes.is_empty() {
        let which = match wanted.goal {
            NodeClass::Dedicated => "no node of the workspace's own is ready yet",
            NodeClass::Shared => "the host has no node that workspaces share",
        };
        return Ok(Progress::wait(SOON, which));
    }
    if let Some(claim) = volumes::being_made(host, names, wanted.now).await? {
        return Ok(Progress::wait(SOON, format!("PersistentVolumeClaim {claim}: its volume is being made")));
    }
    let bound: Vec<Bound> = bound(host, names, nodes).await?;
    Ok(match told_of(bound.iter()) {
        Some(claims) => Progress::wait(LATER, format!("the workspace stays where it is, with its data: {claims}")),
        None => Progress::Done,
    })
}

/// Has a node left; done once it is handed back. `others` are where the workspace's pods go, and what cannot go there.
async fn leave(
    host: &Cluster,
    node: Option<&Node>,
    wanted: &WantedNodes,
    names: &Names,
    (others, bound): (&[&Node], &[Bound]),
) -> Result<Progress, ReconcileError> {
    // Of what is gone nothing is to be handed back.
    let Some(node) = node else { return Ok(Progress::Done) };
    match holder(node) {
        Holder::Workspace(id) if id == wanted.id => {}
        // Handed back, or somebody took the marks off; then what is on it is to leave first.
        Holder::Nobody | Holder::Free => {
            let has_data = !others.is_empty() && bound.iter().any(|bound| bound.is_on(node));
            if !has_data && own_pod(host, node, names).await?.is_none() {
                return Ok(Progress::Done);
            }
            mark(host, node, Mark::Leaving(&wanted.id)).await?;
            return Ok(Progress::wait(SOON, "the node is being closed to others"));
        }
        Holder::Workspace(_) | Holder::Unknown(_) => return emptied(host, node, wanted, names).await,
    }
    // Also while it stays: nobody else's pods are to come in the meantime.
    if let Some(closed) = reclosed(node, &wanted.id) {
        mark(host, node, closed).await?;
        return Ok(Progress::wait(SOON, "the node is being closed to others"));
    }
    if others.is_empty() {
        return Ok(Progress::wait(SOON, "there is no other node yet on which the workspace's pods could run"));
    }
    if let Some(claims) = told_of(bound.iter().filter(|bound| bound.is_on(node))) {
        return Ok(Progress::wait(LATER, format!("the node stays the workspace's, with its data: {claims}")));
    }
    // A pod may have been on its way there when it was closed.
    if !is_closed(node, &wanted.id) {
        mark(host, node, Mark::Leaving(&wanted.id)).await?;
        return Ok(Progress::wait(SOON, "the node is being closed to new pods"));
    }
    emptied(host, node, wanted, names).await
}

/// Hands a node back, in the same words for as long as that lasts: by them it is known since when.
async fn emptied(host: &Cluster, node: &Node, wanted: &WantedNodes, names: &Names) -> Result<Progress, ReconcileError> {
    match hand_back(host, node, &wanted.id, names).await? {
        Progress::Done => Ok(Progress::Done),
        Progress::Wait { after, .. } => {
            Ok(Progress::Wait { reason: "pods of the workspace are still on the node".to_owned(), after })
        }
    }
}

/// Whether the node says that no more of the workspace's pods may come.
fn is_closed(node: &Node, id: &WorkspaceId) -> bool {
    patch(node, Mark::Leaving(id)).is_none()
}

/// Whether no pod of the workspace comes to the node any more.
fn draws_none(node: &Node, id: &WorkspaceId) -> bool {
    match holder(node) {
        Holder::Workspace(other) if other == *id => is_closed(node, id),
        Holder::Workspace(_) | Holder::Unknown(_) => true,
        Holder::Nobody | Holder::Free => false,
    }
}

/// Takes the workspace's mark off a node that it had, on which no pod of it is left. Until then the node is closed to it.
pub(crate) async fn hand_back(
    host: &Cluster,
    node: &Node,
    id: &WorkspaceId,
    names: &Names,
) -> Result<Progress, ReconcileError> {
    let is_marked = holder(node) == Holder::Workspace(id.clone());
    if let Some(pod) = own_pod(host, node, names).await? {
        // What leaves it would come back.
        if is_marked {
            mark(host, node, Mark::Leaving(id)).await?;
        }
        return Ok(Progress::wait(SOON, format!("{} is still on the node {}", title(&pod), name_of(node))));
    }
    if !is_marked {
        return Ok(Progress::Done);
    }
    mark(host, node, unmarked(node)).await?;
    Ok(Progress::Done)
}

/// Takes the workspace's mark off a node that it never had. While its pods are put on its own nodes (`moves`), its job moves what
/// the mark has drawn, and the node is closed to it until that is gone; else what is there may stay.
pub(crate) async fn disown(
    host: &Cluster,
    node: &Node,
    id: &WorkspaceId,
    names: &Names,
    moves: bool,
) -> Result<Progress, ReconcileError> {
    if holder(node) != Holder::Workspace(id.clone()) {
        return Ok(Progress::Done);
    }
    // A label alone keeps nobody away. Without it nobody is drawn any more, and a taint would close a node that all share.
    let is_shared = !is_tainted(node) && !is_offered(node);
    if moves && !is_shared {
        // What moves are the tenant's pods. Its control plane stays where it is, which is on nodes such as this one.
        let mut pods = pods_on(host, name_of(node)).await?.into_iter();
        if let Some(pod) = pods.find(|pod| is_own(pod, names) && is_synced(pod)) {
            mark(host, node, Mark::Leaving(id)).await?;
            return Ok(Progress::wait(SOON, format!("{} is still on the node {}", title(&pod), name_of(node))));
        }
    }
    mark(host, node, unmarked(node)).await?;
    Ok(Progress::Done)
}

/// What a node says of itself that is no workspace's.
fn unmarked(node: &Node) -> Mark<'static> {
    if is_offered(node) { Mark::Free } else { Mark::None }
}

async fn mark(host: &Cluster, node: &Node, mark: Mark<'_>) -> Result<(), ReconcileError> {
    match patch(node, mark) {
        Some(patch) => host.merge(Kind::Node, None, name_of(node), &patch).await,
        None => Ok(()),
    }
}

async fn own_pod(host: &Cluster, node: &Node, names: &Names) -> Result<Option<ObjectMeta>, ReconcileError> {
    let pods = pods_on(host, name_of(node)).await?;
    Ok(pods.into_iter().find(|pod| is_own(pod, names)))
}

fn is_own(pod: &ObjectMeta, names: &Names) -> bool {
    pod.namespace.as_deref() == Some(names.namespace.as_str())
}

/// Whether vCluster brought the pod, as it does all of the tenant's.
fn is_synced(pod: &ObjectMeta) -> bool {
    pod.labels.as_ref().is_some_and(|labels| labels.contains_key(SYNCED_BY))
}

/// What runs on a node, or is to.
async fn pods_on(host: &Cluster, node: &str) -> Result<Vec<ObjectMeta>, ReconcileError> {
    let there = format!("spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed");
    host.list_metadata_by_field(Kind::Pod, &there).await
}

/// Whether a node has no pods but those that every node has.
pub(crate) async fn is_empty(host: &Cluster, node: &NodeName) -> Result<bool, ReconcileError> {
    Ok(pods_on(host, node.as_str()).await?.iter().all(is_of_the_node))
}

/// Whether a pod is neither the workspace's nor one of those that every node has.
fn is_foreign(pod: &ObjectMeta, names: &Names) -> bool {
    !is_own(pod, names) && !is_of_the_node(pod)
}

/// Whether a pod is one of those that every node has. What a workspace's pod says of its owner counts for nothing.
fn is_of_the_node(pod: &ObjectMeta) -> bool {
    let mut owners = pod.owner_references.iter().flatten();
    let is_of_node = owners.any(|owner| matches!(owner.kind.as_str(), "DaemonSet" | "Node"));
    is_of_node && labels::workspace_of(pod.namespace.as_deref().unwrap_or_default()).is_none()
}

fn title(pod: &ObjectMeta) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("the pod {}/{}", part(&pod.namespace), part(&pod.name))
}

/// The claims, and what can be done about them; nothing when there are none.
fn told_of<'a>(bound: impl Iterator<Item = &'a Bound>) -> Option<String> {
    let titles: Vec<&str> = bound.map(|bound| bound.title.as_str()).collect();
    let more = titles.len().saturating_sub(NAMED);
    let named = titles.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!titles.is_empty()).then(|| {
        format!(
            "the volumes of {named}{more} cannot be reached from other nodes; copy what is in them elsewhere and delete the claims"
        )
    })
}

#[cfg(test)]
mod tests;
