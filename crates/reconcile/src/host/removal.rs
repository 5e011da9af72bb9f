//! The way back, without the tenant's help: rights, control plane, pods, namespace, volumes.
//!
//! Each call reads what is there and takes the next step, so it may stop anywhere and be run again by another worker. It ends
//! within two minutes, whatever others do: a pod whose node does not answer, a finalizer that nobody takes off and a volume
//! that stays are each waited for, but for half a minute or so and then no more.
//! Network policies outlive the pods they bind (CVE-2024-7598): the namespace goes only when no pod is left.

use std::collections::BTreeSet;

use futures::FutureExt;
use hexabase_core::time::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::apply::{Cluster, in_parallel};
use crate::error::ReconcileError;
use crate::host::inventory;
use crate::host::namespace::{Claim, claim};
use crate::host::volumes::{self, Fate};
use crate::labels::Names;
use crate::manifest::Kind;
use crate::receipt::{ObjectRef, Receipt, Removal, Removed};

/// Seconds that a pod gets to end.
const GRACE: u32 = 1;
/// A pod that should have ended this long ago is not waited for.
pub(super) const STUCK_MILLIS: i64 = 30_000;
/// What was deleted so long ago waits for nobody's finalizer any more.
const HELD_MILLIS: i64 = 45_000;
/// vCluster's own finalizers: nobody is left to take them off.
const FINALIZERS: &str = "vcluster.loft.sh/";
/// Kinds after which others may have to clean up elsewhere, such as a load balancer of the cloud: these are deleted first, so
/// that whoever holds them has as long as possible. Network policies are not: they bind pods that still end.
const CLEANED_UP_AFTER: [Kind; 10] = [
    Kind::Service,
    Kind::Ingress,
    Kind::ConfigMap,
    Kind::Secret,
    Kind::ServiceAccount,
    Kind::Role,
    Kind::RoleBinding,
    Kind::PodDisruptionBudget,
    Kind::LimitRange,
    Kind::ResourceQuota,
];
/// Kinds that carry them.
const FINALIZED: [Kind; 4] = [Kind::ConfigMap, Kind::Secret, Kind::Service, Kind::PersistentVolumeClaim];

/// One call of [`Host::remove`](crate::Host::remove).
pub(crate) async fn remove(host: &Cluster, removal: &Removal) -> Result<Removed, ReconcileError> {
    let names = Names::of(&removal.id);
    let claimed = claim(host, &names, removal.organization.as_ref(), removal.fence).await?;
    let (seen, forced) = (removal.seen.iter().cloned().collect(), removal.forced.iter().cloned().collect());
    let mut found = Found { seen, forced };

    let global = inventory::cluster_scoped(host, &names).await?;
    found.seen.extend(global.iter().map(|(kind, name)| kind.object(None, name)));
    for (kind, name) in &global {
        host.delete(*kind, None, name, None).await?;
    }
    // Before that, nothing can be deleted for so long, and the look is spared.
    if removal.now.millis_since(removal.begun) > HELD_MILLIS {
        found.forced.extend(let_go(host, &names, &global, removal.now).await?);
    }
    let waiting = match claimed {
        Claim::Ours { ending, .. } => Some(empty(host, &names, removal.now, ending, &mut found.seen).await?),
        Claim::Absent if !global.is_empty() => Some(("cluster roles are being removed".to_owned(), 100)),
        Claim::Absent => None,
    };
    if let Some((reason, millis)) = waiting {
        return Ok(wait(reason, millis, found));
    }
    release(host, &names, removal.now, found).await
}

/// What all calls of a removal have come across.
struct Found {
    seen: BTreeSet<ObjectRef>,
    forced: BTreeSet<ObjectRef>,
}

fn wait(reason: String, millis: u64, Found { seen, forced }: Found) -> Removed {
    let after = std::time::Duration::from_millis(millis);
    Removed::Waiting { reason, after, seen: seen.into_iter().collect(), forced: forced.into_iter().collect() }
}

/// Takes every finalizer off what of the workspace was deleted a good while ago, but for its volumes; gives what had one. What
/// is not being deleted is not touched: nobody has been asked yet to clean up after it.
async fn let_go(
    host: &Cluster,
    names: &Names,
    global: &BTreeSet<(Kind, String)>,
    now: Timestamp,
) -> Result<Vec<ObjectRef>, ReconcileError> {
    let nothing = json!({ "metadata": { "finalizers": [] } });
    let mut held: Vec<(Kind, Option<&str>, String)> = Vec::new();
    for (kind, name) in global {
        // Of a volume its provisioner knows more, and the receipt tells of it.
        if *kind != Kind::PersistentVolume
            && let Some(object) = host.get(*kind, None, name).await?
            && is_stuck(&object.metadata, now)
        {
            held.push((*kind, None, name.clone()));
        }
    }
    let namespace = names.namespace.as_str();
    for kind in Kind::ALL.iter().copied() {
        if !kind.is_namespaced() {
            continue;
        }
        let found = host.list_metadata(kind, Some(namespace), "").await?;
        let found = found.into_iter().filter(|metadata| is_stuck(metadata, now)).filter_map(|metadata| metadata.name);
        held.extend(found.map(|name| (kind, Some(namespace), name)));
    }
    for (kind, namespace, name) in &held {
        match host.merge(*kind, *namespace, name, &nothing).await {
            Err(error) if error.is(404) => {}
            other => other?,
        }
    }
    Ok(held.into_iter().map(|(kind, namespace, name)| kind.object(namespace, &name)).collect())
}

fn is_held(metadata: &ObjectMeta) -> bool {
    metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty())
}

fn is_stuck(metadata: &ObjectMeta, now: Timestamp) -> bool {
    let deleted = metadata.deletion_timestamp.as_ref();
    is_held(metadata) && deleted.is_some_and(|deleted| now.millis_since(deleted.0.into()) > HELD_MILLIS)
}

/// Deletes what others may have to clean up after, while the pods end.
async fn begin_clean_up(host: &Cluster, names: &Names) -> Result<(), ReconcileError> {
    let namespace = names.namespace.as_str();
    let lists = CLEANED_UP_AFTER.iter().map(|kind| host.list_metadata(*kind, Some(namespace), "").boxed()).collect();
    for (kind, found) in CLEANED_UP_AFTER.into_iter().zip(in_parallel(lists).await?) {
        for metadata in found {
            let concerns = matches!(kind, Kind::Service | Kind::Ingress) || is_held(&metadata);
            if let Some(name) = metadata.name.filter(|_| concerns && metadata.deletion_timestamp.is_none()) {
                host.delete(kind, Some(namespace), &name, None).await?;
            }
        }
    }
    Ok(())
}

/// Deletes claims, and workloads that somebody holds, once Kubernetes makes nothing for them any more. Pods that still end keep
/// their claims; whoever else holds something is asked before these have ended.
async fn begin_release(host: &Cluster, names: &Names, now: Timestamp) -> Result<(), ReconcileError> {
    volumes::delete_claims(host, names, now).await?;
    let namespace = Some(names.namespace.as_str());
    for kind in [Kind::StatefulSet, Kind::Deployment] {
        for metadata in host.list_metadata(kind, namespace, "").await? {
            if is_held(&metadata)
                && metadata.deletion_timestamp.is_none()
                && let Some(name) = metadata.name
            {
                host.delete(kind, namespace, &name, None).await?;
            }
        }
    }
    Ok(())
}

/// Empties the namespace and deletes it; says what is still in the way.
async fn empty(
    host: &Cluster,
    names: &Names,
    now: Timestamp,
    ending: Option<String>,
    seen: &mut BTreeSet<ObjectRef>,
) -> Result<(String, u64), ReconcileError> {
    let namespace = Some(names.namespace.as_str());
    seen.insert(Kind::Namespace.object(None, &names.namespace));
    if ending.is_none() {
        seen.extend(inventory::namespaced(host, names).await?);
        seen.extend(volumes::objects(host, names).await?);
    }
    // Without its rights the control plane makes no new pods while it ends.
    host.delete(Kind::RoleBinding, namespace, &format!("vc-{}", names.name), None).await?;
    begin_clean_up(host, names).await?;
    let stopping = stop(host, names).await?;
    if stopping.is_none() {
        begin_release(host, names, now).await?;
    }
    let pods: Vec<Pod> = host.list_as(Kind::Pod, namespace, "").await?;
    if let Some(pod) = end_pods(host, names, &pods, now).await? {
        return Ok((format!("pod {pod}: Terminating"), 250));
    }
    if let Some(workload) = stopping {
        return Ok((format!("{workload}: is being stopped"), 100));
    }
    strip_finalizers(host, names).await?;
    if ending.is_none() {
        if let Some(claim) = volumes::being_made(host, names, now).await? {
            return Ok((format!("PersistentVolumeClaim {claim}: its volume is being made"), 500));
        }
        seen.extend(volumes::objects(host, names).await?);
        unprotect(host, names).await?;
        host.delete(Kind::Namespace, None, &names.namespace, None).await?;
    }
    Ok((format!("namespace {}: {}", names.namespace, ending.as_deref().unwrap_or("Terminating")), 500))
}

/// Scales the control plane to nothing; gives the name of a part for which Kubernetes may still make pods and claims,
/// because it has not taken notice yet.
pub(super) async fn stop(host: &Cluster, names: &Names) -> Result<Option<String>, ReconcileError> {
    let namespace = Some(names.namespace.as_str());
    let mut stopping = None;
    for kind in [Kind::StatefulSet, Kind::Deployment] {
        for object in host.list(kind, namespace, "").await? {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            if is_stopped(&object) {
                continue;
            }
            stopping = Some(format!("{} {name}", kind.as_str()));
            match host.merge(kind, namespace, name, &json!({ "spec": { "replicas": 0 } })).await {
                Err(error) if error.is(404) => {}
                other => other?,
            }
        }
    }
    Ok(stopping)
}

/// Whether Kubernetes knows that no pod is wanted.
fn is_stopped(workload: &DynamicObject) -> bool {
    let observed = workload.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
    let replicas = workload.data.pointer("/spec/replicas").and_then(Value::as_i64);
    // For what is being deleted nothing is made, and not every change is noticed.
    replicas == Some(0) && (observed >= workload.metadata.generation || workload.metadata.deletion_timestamp.is_some())
}

/// Ends all pods; gives the name of one that is still there.
async fn end_pods(
    host: &Cluster,
    names: &Names,
    pods: &[Pod],
    now: Timestamp,
) -> Result<Option<String>, ReconcileError> {
    for pod in pods {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        if let Some(grace) = next_grace(pod, now) {
            host.delete(Kind::Pod, Some(&names.namespace), name, Some(grace)).await?;
        }
    }
    Ok(pods.first().and_then(|pod| pod.metadata.name.clone()))
}

/// With how much grace a pod is to be deleted now, if at all.
fn next_grace(pod: &Pod, now: Timestamp) -> Option<u32> {
    match &pod.metadata.deletion_timestamp {
        None => Some(GRACE),
        // The deletion timestamp is the moment when the pod's grace ends.
        Some(ends) if now.millis_since(ends.0.into()) > STUCK_MILLIS => Some(0),
        // Deleted by somebody else with a longer grace than ours.
        Some(_) if pod.metadata.deletion_grace_period_seconds.unwrap_or(0) > i64::from(GRACE) => Some(GRACE),
        Some(_) => None,
    }
}

/// Deletes what Kubernetes lets go of only after a moment. It begins to empty a namespace after five seconds; what is
/// still there then costs eight more.
async fn unprotect(host: &Cluster, names: &Names) -> Result<(), ReconcileError> {
    let namespace = Some(names.namespace.as_str());
    for kind in [Kind::StatefulSet, Kind::Deployment, Kind::PersistentVolumeClaim] {
        for name in host.list_names(kind, namespace, "").await? {
            host.delete(kind, namespace, &name, None).await?;
        }
    }
    Ok(())
}

/// Takes vCluster's finalizers off, or the namespace would never end.
async fn strip_finalizers(host: &Cluster, names: &Names) -> Result<(), ReconcileError> {
    let namespace = Some(names.namespace.as_str());
    for kind in FINALIZED {
        for object in host.list(kind, namespace, "").await? {
            let Some(kept) = kept_finalizers(&object) else { continue };
            let name = object.metadata.name.as_deref().unwrap_or_default();
            let patch = json!({ "metadata": { "finalizers": kept } });
            match host.merge(kind, namespace, name, &patch).await {
                Err(error) if error.is(404) => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// The finalizers that are not vCluster's, if any is.
fn kept_finalizers(object: &DynamicObject) -> Option<Vec<String>> {
    let all = object.metadata.finalizers.as_ref()?;
    let kept: Vec<String> = all.iter().filter(|name| !name.starts_with(FINALIZERS)).cloned().collect();
    (kept.len() < all.len()).then_some(kept)
}

/// The namespace is gone: sees to the volumes, and writes the receipt.
async fn release(host: &Cluster, names: &Names, now: Timestamp, mut found: Found) -> Result<Removed, ReconcileError> {
    let mut remaining = BTreeSet::new();
    let mut pending = None;
    for volume in volumes::of_workspace(host, names).await? {
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        let object = Kind::PersistentVolume.object(None, name);
        found.seen.insert(object.clone());
        match volumes::fate(&volume, now) {
            Fate::GiveUp => drop(remaining.insert(object)),
            Fate::Wait => pending = Some(format!("PersistentVolume {name}: is being removed")),
            Fate::Delete => {
                host.delete(Kind::PersistentVolume, None, name, None).await?;
                pending = Some(format!("PersistentVolume {name}: is being removed"));
            }
        }
    }
    if let Some(reason) = pending {
        return Ok(wait(reason, 500, found));
    }
    let removed = found.seen.difference(&remaining).cloned().collect();
    let (remaining, forced) = (remaining.into_iter().collect(), found.forced.into_iter().collect());
    // Nodes are handed back by whoever knows which there are.
    Ok(Removed::Gone(Receipt { removed, remaining, forced, returned: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use hexabase_core::ids::WorkspaceId;
    use hexabase_testkit::kubernetes::FakeKubernetes;

    use super::*;
    use crate::connection::Host;
    use crate::labels::{MANAGED_BY, MANAGER, NOBODY, OWNER, WORKSPACE};
    use crate::settings::HostSettings;

    /// A host cluster in memory on which a workspace's namespace is, at `path`, and nothing in it.
    struct Stage {
        server: FakeKubernetes,
        host: Cluster,
        id: WorkspaceId,
        path: String,
    }

    async fn stage() -> Stage {
        let server = FakeKubernetes::start().await.unwrap();
        let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
        let host = Host::connect(settings).await.unwrap().cluster;
        let id = "ws-0123456789abcdefghjk".parse().unwrap();
        let names = Names::of(&id);
        let path = format!("/api/v1/namespaces/{}", names.namespace);
        let metadata = json!({ "name": names.namespace, "labels": labels(&names), "annotations": { OWNER: NOBODY } });
        server.put(&path, json!({ "metadata": metadata }));
        Stage { server, host, id, path }
    }

    fn labels(names: &Names) -> Value {
        json!({ MANAGED_BY: MANAGER, WORKSPACE: names.name })
    }

    #[tokio::test]
    async fn what_others_hold_is_let_go_of_when_that_takes_too_long_and_the_receipt_says_so() {
        let Stage { server, host, id, path } = stage().await;
        let held = |name: &str| json!({ "metadata": { "name": name, "finalizers": ["example.com/hold"] } });
        server.put(&format!("{path}/configmaps/held"), held("held"));
        server.put(&format!("{path}/pods/held"), {
            let mut pod = held("held");
            pod["spec"] = json!({ "containers": [] });
            pod
        });
        let mut role = held("held");
        role["metadata"]["labels"] = labels(&Names::of(&id));
        server.put("/apis/rbac.authorization.k8s.io/v1/clusterroles/held", role);

        let begun = now();
        let mut removal =
            Removal { id, organization: None, fence: 1, now: begun, begun, seen: Vec::new(), forced: Vec::new() };
        let mut reasons = Vec::new();
        let receipt = loop {
            match remove(&host, &removal).await.unwrap() {
                Removed::Gone(receipt) => break receipt,
                Removed::Waiting { reason, seen, forced, .. } => {
                    assert_eq!(forced.is_empty(), removal.now.millis_since(begun) <= HELD_MILLIS, "{reason}");
                    (removal.seen, removal.forced) = (seen, forced);
                    reasons.push(reason);
                }
            }
            assert!(removal.now.millis_since(begun) < 120_000, "{reasons:?}");
            removal.now = removal.now.plus_seconds(5);
        };
        let held: Vec<&str> = receipt.forced.iter().map(|object| object.kind.as_str()).collect();
        assert_eq!(held, ["ClusterRole", "ConfigMap", "Pod"]);
        assert_eq!(receipt.remaining, []);
        assert_eq!(server.get(&path), None);
    }

    #[tokio::test]
    async fn a_removal_that_is_late_asks_before_it_takes_off_what_others_hold() {
        let Stage { server, host, id, path } = stage().await;
        let cleanup = json!(["service.kubernetes.io/load-balancer-cleanup"]);
        let service = format!("{path}/services/web");
        server.put(&service, json!({ "metadata": { "name": "web", "finalizers": cleanup } }));
        server.put(&format!("{path}/services/plain"), json!({ "metadata": { "name": "plain" } }));
        // A node that does not answer.
        let lost =
            json!({ "metadata": { "name": "lost", "finalizers": ["example.com/hold"] }, "spec": { "containers": [] } });
        server.put(&format!("{path}/pods/lost"), lost);

        let asked: Timestamp = "2026-01-01T00:00:00Z".to_owned().try_into().unwrap();
        let begun = asked.plus_seconds(-3_600);
        let mut removal =
            Removal { id, organization: None, fence: 1, now: asked, begun, seen: Vec::new(), forced: Vec::new() };
        for seconds in [0, 5, 44] {
            removal.now = asked.plus_seconds(seconds);
            let Removed::Waiting { forced, .. } = remove(&host, &removal).await.unwrap() else { panic!("it is held") };
            assert_eq!(forced, [], "after {seconds} s");
            let held = server.get(&service).unwrap();
            assert_eq!(held["metadata"]["finalizers"], cleanup);
            assert!(held["metadata"]["deletionTimestamp"].is_string(), "its load balancer goes while the pods end");
            assert_eq!(server.get(&format!("{path}/services/plain")), None);
        }
        removal.now = asked.plus_seconds(46);
        let Removed::Waiting { forced, .. } = remove(&host, &removal).await.unwrap() else { panic!("not gone yet") };
        assert_eq!(forced.iter().map(|object| object.name.as_str()).collect::<Vec<_>>(), ["lost", "web"]);
        assert_eq!(server.get(&service), None);
    }

    #[tokio::test]
    async fn a_claim_that_is_held_and_a_volume_that_stays_together_take_no_longer_than_two_minutes() {
        let Stage { server, host, id, path } = stage().await;
        let held = |name: &str, spec: Value| {
            let metadata = json!({ "name": name, "finalizers": ["example.com/hold"] });
            json!({ "metadata": metadata, "spec": spec })
        };
        server.put(&format!("{path}/pods/held"), held("held", json!({ "containers": [] })));
        server.put(&format!("{path}/persistentvolumeclaims/data"), held("data", json!({ "volumeName": "disk" })));
        let of = json!({ "namespace": Names::of(&id).namespace, "name": "data" });
        let disk = json!({ "claimRef": of, "persistentVolumeReclaimPolicy": "Retain" });
        server.put("/api/v1/persistentvolumes/disk", held("disk", disk));

        let begun = now();
        let mut removal =
            Removal { id, organization: None, fence: 1, now: begun, begun, seen: Vec::new(), forced: Vec::new() };
        let receipt = loop {
            server.set_time(&removal.now.to_string());
            match remove(&host, &removal).await.unwrap() {
                Removed::Gone(receipt) => break receipt,
                Removed::Waiting { reason, seen, forced, .. } => {
                    assert!(removal.now.millis_since(begun) < 115_000, "{reason}");
                    (removal.seen, removal.forced) = (seen, forced);
                }
            }
            removal.now = removal.now.plus_seconds(5);
        };
        let forced: Vec<&str> = receipt.forced.iter().map(|object| object.kind.as_str()).collect();
        assert_eq!(forced, ["PersistentVolumeClaim", "Pod"]);
        assert_eq!(receipt.remaining.iter().map(|object| object.name.as_str()).collect::<Vec<_>>(), ["disk"]);
    }

    fn now() -> Timestamp {
        "2026-01-01T00:01:00Z".to_owned().try_into().unwrap()
    }

    fn grace(metadata: Value) -> Option<u32> {
        next_grace(&serde_json::from_value(json!({ "metadata": metadata })).unwrap(), now())
    }

    #[test]
    fn a_pod_is_ended_soon_and_one_that_does_not_end_is_not_waited_for() {
        assert_eq!(grace(json!({})), Some(GRACE));
        let deleted =
            |time: &str, seconds: i64| json!({ "deletionTimestamp": time, "deletionGracePeriodSeconds": seconds });
        assert_eq!(grace(deleted("2026-01-01T00:00:59Z", 1)), None);
        assert_eq!(grace(deleted("2026-01-01T00:01:20Z", 30)), Some(GRACE));
        assert_eq!(grace(deleted("2026-01-01T00:00:29Z", 1)), Some(0));
    }

    #[test]
    fn a_workload_is_stopped_once_kubernetes_took_notice() {
        let stopped = |replicas: i64, observed: Value| {
            let workload = json!({ "metadata": { "generation": 2 }, "spec": { "replicas": replicas },
                "status": { "observedGeneration": observed } });
            is_stopped(&serde_json::from_value(workload).unwrap())
        };
        assert!(stopped(0, json!(2)));
        assert!(!stopped(0, json!(1)) && !stopped(0, Value::Null) && !stopped(1, json!(2)));
        let deleted = json!({ "metadata": { "generation": 3, "deletionTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "replicas": 0 }, "status": { "observedGeneration": 2 } });
        assert!(is_stopped(&serde_json::from_value(deleted).unwrap()));
    }

    #[test]
    fn only_vclusters_finalizers_are_taken_off() {
        let kept = |finalizers: Value| {
            let object = json!({ "metadata": { "finalizers": finalizers } });
            kept_finalizers(&serde_json::from_value(object).unwrap())
        };
        let both = json!(["vcluster.loft.sh/snapshot-controller", "kubernetes.io/pvc-protection"]);
        assert_eq!(kept(both), Some(vec!["kubernetes.io/pvc-protection".to_owned()]));
        assert_eq!(kept(json!(["kubernetes.io/pvc-protection"])), None);
    }
}
