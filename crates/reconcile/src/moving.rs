//! Pods that are not where they are to be: ended one by one through the tenant, whose controllers make them anew in the right
//! place.
//!
//! They are evicted inside, so that the tenant's own budgets of disruption hold. What nothing makes anew, and what would lose its
//! volume, is left alone and told of. Nothing is forced: what is on a node that does not answer may still write to its volume.

use hexabase_core::nodes::NodeName;
use hexabase_core::time::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::Preconditions;
use serde_json::Value;

use crate::apply::{Cluster, Dependents};
use crate::desired::{DesiredWorkspace, Placement};
use crate::error::ReconcileError;
use crate::host::nodes::{Bound, bound};
use crate::host::workload::is_ready;
use crate::labels::{Names, OBJECT_NAME, OBJECT_NAMESPACE, OBJECT_UID, POOL_LABEL, SYNCED_BY};
use crate::manifest::Kind;
use crate::status::Progress;

/// When to look again, in milliseconds: what is on its way, and what somebody has to do something about.
const SOON: u64 = 1_000;
const LATER: u64 = 15_000;
/// Seconds that a pod gets to end once it holds up the move, however many it asks for; nobody else bounds that.
const LONGEST_GRACE: u32 = 60;

/// Has the next pod end that is on the wrong node; done once none is.
pub(crate) async fn progress(
    host: &Cluster,
    tenant: &Cluster,
    desired: &DesiredWorkspace,
    names: &Names,
) -> Result<Progress, ReconcileError> {
    if !desired.placement.moves {
        return Ok(Progress::Done);
    }
    let selector = format!("{SYNCED_BY}={}", names.name);
    let mut pods: Vec<Pod> = host.list_as(Kind::Pod, Some(&names.namespace), &selector).await?;
    pods.retain(|pod| !is_over(pod));
    let (misplaced, well): (Vec<&Pod>, Vec<&Pod>) = pods.iter().partition(|pod| is_misplaced(pod, desired));
    if misplaced.is_empty() {
        return Ok(Progress::Done);
    }
    if let Some(pod) = pods.iter().find(|pod| is_waited_for(pod, desired)) {
        return Ok(Progress::wait(SOON, format!("pod {}: Terminating", title(pod))));
    }
    // One that was moved is to serve before the next one goes.
    if let Some(pod) = well.iter().find(|pod| !is_ready(pod) && !is_given_up(pod, desired)) {
        return Ok(Progress::wait(SOON, format!("pod {}: is not ready yet in its new place", title(pod))));
    }
    if !is_current(host, names).await? {
        return Ok(Progress::wait(SOON, "the control plane restarts, to put pods in the right place"));
    }
    let bound = left_behind(host, desired, names).await?;
    let mut kept = None;
    for pod in misplaced {
        let ended = match pod.metadata.deletion_timestamp {
            Some(_) => hasten(host, pod, names).await?,
            None => end(tenant, pod, &bound, desired.placement.insists.is_some()).await?,
        };
        match ended {
            Ended::Asked => return Ok(Progress::wait(SOON, format!("pod {}: is being moved", title(pod)))),
            Ended::Kept(why) => kept = kept.or(Some(format!("pod {}: {why}", title(pod)))),
        }
    }
    Ok(kept.map_or(Progress::Done, |why| Progress::wait(LATER, why)))
}

/// What became of the wish that a pod ends.
enum Ended {
    Asked,
    Kept(String),
}

async fn end(tenant: &Cluster, pod: &Pod, bound: &[Bound], insists: bool) -> Result<Ended, ReconcileError> {
    let annotation = |name: &str| pod.metadata.annotations.as_ref().and_then(|all| all.get(name)).cloned();
    let (Some(namespace), Some(name)) = (annotation(OBJECT_NAMESPACE), annotation(OBJECT_NAME)) else {
        return Ok(Ended::Kept("does not say which pod of the workspace it is".to_owned()));
    };
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
    let stays = |claim: &str| bound.iter().find(|bound| bound.claim == claim);
    if let Some(bound) = claims.find_map(|claim| stays(&claim.claim_name)) {
        return Ok(Ended::Kept(format!("the volume of {} cannot be reached from other nodes", bound.title)));
    }
    let inside: Option<Pod> = tenant.get_as(Kind::Pod, Some(&namespace), &name).await?;
    // One that is gone inside, or another one by now, goes by itself.
    let inside = inside.filter(|inside| annotation(OBJECT_UID).is_none_or(|uid| inside.metadata.uid == Some(uid)));
    let Some(inside) = inside else { return Ok(Ended::Asked) };
    if inside.metadata.owner_references.iter().flatten().next().is_none() {
        return Ok(Ended::Kept("nothing makes it anew; delete it, and make it again".to_owned()));
    }
    let uid = inside.metadata.uid;
    let evicted = asked(tenant.evict(&namespace, &name, uid.as_deref()).await);
    if !insists || matches!(evicted, Ok(Ended::Asked)) {
        return evicted;
    }
    let only = Preconditions { uid, resource_version: None };
    let deleted = tenant.delete_this(Kind::Pod, Some(&namespace), &name, only, Dependents::Go).await;
    asked(deleted.map(|_| None))
}

/// Bounds the time of a pod that has been ending for long. One that was made anew by that name meanwhile has its own.
async fn hasten(host: &Cluster, pod: &Pod, names: &Names) -> Result<Ended, ReconcileError> {
    if pod.metadata.deletion_grace_period_seconds > Some(LONGEST_GRACE.into()) {
        let (name, uid) = (pod.metadata.name.as_deref().unwrap_or_default(), pod.metadata.uid.as_deref());
        match host.end_this(&names.namespace, name, uid, LONGEST_GRACE).await {
            Ok(true) => {}
            // It is gone.
            Ok(false) => return Ok(Ended::Asked),
            Err(error) if error.is(409) => return Ok(Ended::Asked),
            Err(error) => return Err(error),
        }
    }
    Ok(Ended::Kept("does not end; its node may not answer".to_owned()))
}

fn asked(result: Result<Option<String>, ReconcileError>) -> Result<Ended, ReconcileError> {
    match result {
        Ok(None) => Ok(Ended::Asked),
        Ok(Some(why)) => Ok(Ended::Kept(why)),
        // Somebody else ended it a moment ago.
        Err(error) if error.is(404) || error.is(409) => Ok(Ended::Asked),
        Err(error) => Err(error),
    }
}

/// Whether the control plane that runs is the one that was asked for last: the one before puts pods where they were.
async fn is_current(host: &Cluster, names: &Names) -> Result<bool, ReconcileError> {
    let Some(set) = host.get(Kind::StatefulSet, Some(&names.namespace), &names.name).await? else { return Ok(false) };
    let number = |pointer: &str| set.data.pointer(pointer).and_then(Value::as_i64);
    let is_noticed = number("/status/observedGeneration") >= set.metadata.generation;
    Ok(is_noticed && number("/status/updatedReplicas") >= Some(1) && number("/status/readyReplicas") >= Some(1))
}

/// The claims whose volumes can be reached from none of the nodes on which the workspace's pods are put now.
async fn left_behind(host: &Cluster, desired: &DesiredWorkspace, names: &Names) -> Result<Vec<Bound>, ReconcileError> {
    let nodes: Vec<Node> = host.list_as(Kind::Node, None, "").await?;
    let pool = |node: &Node| node.metadata.labels.as_ref().and_then(|labels| labels.get(POOL_LABEL)).cloned();
    let ours = nodes.iter().filter(|node| {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        pool(node).as_deref() == desired.pool() && may_be_on(name, desired)
    });
    let ours: Vec<&Node> = ours.collect();
    bound(host, names, &ours).await
}

/// Whether a pod is on a node, or wants one, that is not where its workspace's pods are to be.
fn is_misplaced(pod: &Pod, desired: &DesiredWorkspace) -> bool {
    let spec = pod.spec.as_ref();
    let selector = spec.and_then(|spec| spec.node_selector.as_ref()).and_then(|selector| selector.get(POOL_LABEL));
    let node = spec.and_then(|spec| spec.node_name.as_deref());
    selector.map(String::as_str) != desired.pool() || node.is_some_and(|node| !may_be_on(node, desired))
}

/// Whether the database lets the workspace's pods be on this node. Which nodes are shared, it does not know.
fn may_be_on(node: &str, desired: &DesiredWorkspace) -> bool {
    let Placement { dedicated, own, leaving, .. } = &desired.placement;
    let is_among = |nodes: &[NodeName]| nodes.iter().any(|name| name.as_str() == node);
    !is_among(leaving) && (!dedicated || is_among(own))
}

/// Whether a pod is ending, and no other is to end before it has. Once the move insists, only those in the wrong place count, and
/// none that had its time.
fn is_waited_for(pod: &Pod, desired: &DesiredWorkspace) -> bool {
    let Some(ends) = &pod.metadata.deletion_timestamp else { return false };
    let Some(long_ago) = desired.placement.insists else { return true };
    // The deletion timestamp is the moment when the pod's grace ends.
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
    is_misplaced(pod, desired) && Timestamp::from(ends.0).plus_seconds(grace.saturating_neg()) >= long_ago
}

/// Whether a pod had its time to become ready, or all of them had theirs.
fn is_given_up(pod: &Pod, desired: &DesiredWorkspace) -> bool {
    let made: Option<Timestamp> = pod.metadata.creation_timestamp.as_ref().map(|made| made.0.into());
    let Placement { insists, hurries, .. } = desired.placement;
    hurries || insists.zip(made).is_some_and(|(long_ago, made)| made < long_ago)
}

/// Whether a pod has ended by itself and holds no node.
fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// As the tenant knows it.
fn title(pod: &Pod) -> String {
    let annotation = |name: &str| pod.metadata.annotations.as_ref().and_then(|all| all.get(name));
    match (annotation(OBJECT_NAMESPACE), annotation(OBJECT_NAME)) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        _ => pod.metadata.name.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
