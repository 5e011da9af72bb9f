use hexabase_testkit::kubernetes::FakeKubernetes;
use serde_json::{Value, json};

use super::*;
use crate::connection::Host;
use crate::settings::HostSettings;

/// A host and a tenant in memory, with a workspace that is to be on its own node `own`.
struct Stage {
    host: FakeKubernetes,
    tenant: FakeKubernetes,
    desired: DesiredWorkspace,
    names: Names,
}

/// Since when budgets of disruption hold no more.
fn long_ago() -> Timestamp {
    "2026-01-01T00:00:00Z".to_owned().try_into().unwrap()
}

async fn client(server: &FakeKubernetes) -> Cluster {
    let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
    Host::connect(settings).await.unwrap().cluster
}

impl Stage {
    async fn set() -> Self {
        let mut desired = crate::golden::desired();
        (desired.placement.dedicated, desired.placement.moves) = (true, true);
        desired.placement.own = vec!["own".parse().unwrap()];
        let names = Names::of(&desired.id);
        let (host, tenant) = (FakeKubernetes::start().await.unwrap(), FakeKubernetes::start().await.unwrap());
        let set = json!({ "metadata": { "name": names.name, "generation": 2 },
            "status": { "observedGeneration": 2, "updatedReplicas": 1, "readyReplicas": 1 } });
        host.put(&format!("/apis/apps/v1/namespaces/{}/statefulsets/{}", names.namespace, names.name), set);
        let pool = json!({ "kubernetes.io/hostname": "own", POOL_LABEL: names.name });
        host.put("/api/v1/nodes/own", json!({ "metadata": { "name": "own", "labels": pool } }));
        host.put(
            "/api/v1/nodes/shared",
            json!({ "metadata": { "name": "shared", "labels": { "kubernetes.io/hostname": "shared" } } }),
        );
        Self { host, tenant, desired, names }
    }

    fn on_host(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/pods/{name}-x-shop", self.names.namespace)
    }

    fn inside(&self, name: &str) -> String {
        format!("/api/v1/namespaces/shop/pods/{name}")
    }

    /// A pod of the tenant's, in both places.
    fn put(&self, name: &str, node: &str, maker: Option<&str>, claim: Option<&str>) {
        let owners: Vec<Value> =
            maker.iter().map(|kind| json!({ "apiVersion": "v1", "kind": kind, "name": "x", "uid": "o" })).collect();
        let metadata =
            json!({ "name": name, "namespace": "shop", "uid": format!("uid-of-{name}"), "ownerReferences": owners });
        self.tenant.put(&self.inside(name), json!({ "metadata": metadata, "spec": { "containers": [] } }));
        let annotations = json!({ OBJECT_NAME: name, OBJECT_NAMESPACE: "shop", OBJECT_UID: format!("uid-of-{name}") });
        let selector = if node == "shared" { json!({}) } else { json!({ POOL_LABEL: self.names.name }) };
        let volumes: Vec<Value> =
            claim.iter().map(|claim| json!({ "name": "v", "persistentVolumeClaim": { "claimName": claim } })).collect();
        let metadata = json!({ "name": format!("{name}-x-shop"), "namespace": self.names.namespace,
            "labels": { SYNCED_BY: self.names.name }, "annotations": annotations });
        let spec = json!({ "nodeName": node, "nodeSelector": selector, "containers": [], "volumes": volumes });
        let status = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
        self.host.put(&self.on_host(name), json!({ "metadata": metadata, "spec": spec, "status": status }));
    }

    /// A pod of the tenant's that was told to end by then, within so many seconds, and does not.
    fn put_ending(&self, name: &str, node: &str, ends: &str, grace: i64) {
        self.put(name, node, Some("ReplicaSet"), None);
        let mut pod = self.host.get(&self.on_host(name)).unwrap();
        pod["metadata"]["deletionTimestamp"] = json!(ends);
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        self.host.put(&self.on_host(name), pod);
    }

    /// A pod of the tenant's in its place, which was made then and is not ready.
    fn put_starting(&self, name: &str, made: &str) {
        self.put(name, "own", Some("Job"), None);
        let mut pod = self.host.get(&self.on_host(name)).unwrap();
        pod["status"] = json!({ "phase": "Pending" });
        pod["metadata"]["creationTimestamp"] = json!(made);
        self.host.put(&self.on_host(name), pod);
    }

    /// What the syncer does with a pod that is gone inside.
    fn sync(&self, name: &str) {
        if self.tenant.get(&self.inside(name)).is_none() {
            self.host.remove(&self.on_host(name));
        }
    }

    async fn look(&self) -> String {
        let (host, tenant) = (client(&self.host).await, client(&self.tenant).await);
        match progress(&host, &tenant, &self.desired, &self.names).await.unwrap() {
            Progress::Done => "done".to_owned(),
            Progress::Wait { reason, .. } => reason,
        }
    }

    fn is_inside(&self, name: &str) -> bool {
        self.tenant.get(&self.inside(name)).is_some()
    }
}

#[tokio::test]
async fn pods_are_moved_one_by_one_and_those_in_their_place_stay() {
    let stage = Stage::set().await;
    for (name, node) in [("api", "shared"), ("web", "shared"), ("well", "own")] {
        stage.put(name, node, Some("ReplicaSet"), None);
    }
    assert_eq!(stage.look().await, "pod shop/api: is being moved");
    assert!(!stage.is_inside("api") && stage.is_inside("web"));
    // Made anew, and not up yet.
    stage.put("api", "own", Some("ReplicaSet"), None);
    let mut starting = stage.host.get(&stage.on_host("api")).unwrap();
    starting["status"] = json!({ "phase": "Pending" });
    stage.host.put(&stage.on_host("api"), starting);
    assert_eq!(stage.look().await, "pod shop/api: is not ready yet in its new place");
    assert!(stage.is_inside("web"));
    stage.put("api", "own", Some("ReplicaSet"), None);
    assert_eq!(stage.look().await, "pod shop/web: is being moved");
    stage.sync("web");
    assert_eq!(stage.look().await, "done");
    assert!(stage.is_inside("api") && stage.is_inside("well"));
}

#[tokio::test]
async fn a_budget_of_disruption_holds_a_pod_for_a_time() {
    let mut stage = Stage::set().await;
    stage.put("web", "shared", Some("ReplicaSet"), None);
    stage.tenant.refuse("POST", &format!("{}/eviction", stage.inside("web")), 429);
    assert!(stage.look().await.starts_with("pod shop/web: "));
    assert!(stage.is_inside("web"));
    stage.desired.placement.insists = Some(long_ago());
    assert_eq!(stage.look().await, "pod shop/web: is being moved");
    assert!(!stage.is_inside("web"));
}

#[tokio::test]
async fn a_pod_that_is_not_ready_holds_up_the_next_one_for_its_own_time_whatever_the_moves() {
    let mut stage = Stage::set().await;
    stage.desired.placement.insists = Some(long_ago());
    stage.put("web", "shared", Some("ReplicaSet"), None);
    stage.put_starting("api", "2026-01-01T00:00:01Z");
    assert_eq!(stage.look().await, "pod shop/api: is not ready yet in its new place");
    stage.put_starting("api", "2025-12-31T23:59:59Z");
    assert_eq!(stage.look().await, "pod shop/web: is being moved");
}

#[tokio::test]
async fn pods_that_are_made_again_and_again_and_never_get_ready_do_not_hold_up_a_move_for_ever() {
    let mut stage = Stage::set().await;
    stage.desired.placement.insists = Some(long_ago());
    stage.put("web", "shared", Some("ReplicaSet"), None);
    for (name, made) in [("job-1", "2026-01-01T00:05:00Z"), ("job-2", "2026-01-01T00:10:00Z")] {
        stage.put_starting(name, made);
        assert_eq!(stage.look().await, format!("pod shop/{name}: is not ready yet in its new place"));
        stage.host.remove(&stage.on_host(name));
    }
    stage.put_starting("job-3", "2026-01-01T00:15:00Z");
    stage.desired.placement.hurries = true;
    assert_eq!(stage.look().await, "pod shop/web: is being moved");
    assert!(stage.is_inside("job-3"));
}

#[tokio::test]
async fn what_nothing_makes_anew_or_would_lose_its_volume_is_left_alone() {
    let mut stage = Stage::set().await;
    stage.desired.placement.insists = Some(long_ago());
    stage.put("bare", "shared", None, None);
    assert_eq!(stage.look().await, "pod shop/bare: nothing makes it anew; delete it, and make it again");
    stage.put("base", "shared", Some("StatefulSet"), Some("data-x-shop"));
    let there = json!({ "key": "kubernetes.io/hostname", "operator": "In", "values": ["shared"] });
    let affinity = json!({ "required": { "nodeSelectorTerms": [{ "matchExpressions": [there] }] } });
    let claim = json!({ "namespace": stage.names.namespace, "name": "data-x-shop" });
    let volume = |affinity: &Value| json!({ "metadata": { "name": "disk" }, "spec": { "claimRef": claim, "nodeAffinity": affinity } });
    stage.host.put("/api/v1/persistentvolumes/disk", volume(&affinity));
    stage.look().await;
    assert!(stage.is_inside("bare") && stage.is_inside("base"));
    // One that is reached from everywhere goes along.
    stage.host.put("/api/v1/persistentvolumes/disk", volume(&Value::Null));
    assert_eq!(stage.look().await, "pod shop/base: is being moved");
    assert!(stage.is_inside("bare") && !stage.is_inside("base"));
}

#[tokio::test]
async fn a_pod_leaves_a_node_that_says_it_is_the_workspaces_and_is_not() {
    let stage = Stage::set().await;
    let labels = json!({ "kubernetes.io/hostname": "liar", POOL_LABEL: stage.names.name });
    stage.host.put("/api/v1/nodes/liar", json!({ "metadata": { "name": "liar", "labels": labels } }));
    stage.put("well", "own", Some("ReplicaSet"), None);
    stage.put("web", "liar", Some("ReplicaSet"), None);
    assert_eq!(stage.look().await, "pod shop/web: is being moved");
    assert!(stage.is_inside("well") && !stage.is_inside("web"));
    stage.sync("web");
    // What is in its volume would be lost.
    stage.put("base", "liar", Some("StatefulSet"), Some("data-x-shop"));
    let there = json!({ "key": "kubernetes.io/hostname", "operator": "In", "values": ["liar"] });
    let affinity = json!({ "required": { "nodeSelectorTerms": [{ "matchExpressions": [there] }] } });
    let claim = json!({ "namespace": stage.names.namespace, "name": "data-x-shop" });
    let volume = json!({ "metadata": { "name": "disk" }, "spec": { "claimRef": claim, "nodeAffinity": affinity } });
    stage.host.put("/api/v1/persistentvolumes/disk", volume);
    assert!(stage.look().await.contains("cannot be reached from other nodes"));
    assert!(stage.is_inside("base"));
}

#[tokio::test]
async fn a_pod_that_takes_a_year_to_end_gets_a_minute_after_its_time_and_holds_up_no_other() {
    let (mut stage, year) = (Stage::set().await, 31_536_000);
    stage.put("web", "shared", Some("ReplicaSet"), None);
    stage.put_ending("slow", "shared", "2027-01-01T00:00:01Z", year);
    assert_eq!(stage.look().await, "pod shop/slow: Terminating");
    stage.desired.placement.insists = Some(long_ago());
    assert_eq!(stage.look().await, "pod shop/slow: Terminating", "it has ten minutes of its own");
    assert!(stage.is_inside("web"));
    stage.put_ending("slow", "shared", "2026-12-31T23:59:59Z", year);
    assert_eq!(stage.look().await, "pod shop/web: is being moved");
    assert!(stage.host.get(&stage.on_host("slow")).is_none(), "it was asked again, with less time");
}

#[tokio::test]
async fn a_pod_that_has_the_name_of_one_which_does_not_end_has_its_own_time() {
    let mut stage = Stage::set().await;
    stage.desired.placement.insists = Some(long_ago());
    stage.put_ending("slow", "shared", "2026-12-31T23:59:59Z", 31_536_000);
    let host = client(&stage.host).await;
    let read: Pod = host.get_as(Kind::Pod, Some(&stage.names.namespace), "slow-x-shop").await.unwrap().unwrap();
    stage.host.remove(&stage.on_host("slow"));
    assert!(matches!(hasten(&host, &read, &stage.names).await, Ok(Ended::Asked)));
    stage.put("slow", "own", Some("ReplicaSet"), None);
    assert!(matches!(hasten(&host, &read, &stage.names).await, Ok(Ended::Asked)));
    assert!(stage.host.get(&stage.on_host("slow")).is_some(), "another one has its name");
}

#[tokio::test]
async fn a_pod_whose_node_does_not_answer_is_not_forced_and_holds_up_no_other() {
    let mut stage = Stage::set().await;
    stage.desired.placement.insists = Some(long_ago());
    stage.put_ending("lost", "shared", "2026-01-01T00:00:20Z", 30);
    stage.put_ending("well", "own", "2026-01-01T00:10:00Z", 30);
    stage.put("web", "shared", Some("ReplicaSet"), None);
    assert_eq!(stage.look().await, "pod shop/web: is being moved");
    stage.sync("web");
    let writes = stage.host.writes();
    assert_eq!(stage.look().await, "pod shop/lost: does not end; its node may not answer");
    assert_eq!(stage.host.writes(), writes);
}

#[tokio::test]
async fn no_pod_is_moved_before_the_control_plane_puts_it_in_the_right_place() {
    let stage = Stage::set().await;
    stage.put("web", "shared", Some("ReplicaSet"), None);
    let path = format!("/apis/apps/v1/namespaces/{}/statefulsets/{}", stage.names.namespace, stage.names.name);
    let set = stage.host.get(&path).unwrap();
    for (field, value) in [("observedGeneration", 1), ("updatedReplicas", 0), ("readyReplicas", 0)] {
        let mut old = set.clone();
        old["status"][field] = json!(value);
        stage.host.put(&path, old);
        assert!(stage.look().await.contains("control plane restarts"), "{field}");
        assert!(stage.is_inside("web"));
    }
}

#[tokio::test]
async fn a_pod_leaves_a_node_that_is_given_back_and_one_of_that_name_that_is_another_stays() {
    let mut stage = Stage::set().await;
    stage.put("web", "own", Some("ReplicaSet"), None);
    assert_eq!(stage.look().await, "done");
    stage.desired.placement.leaving = vec!["own".parse().unwrap()];
    let mut again = stage.tenant.get(&stage.inside("web")).unwrap();
    again["metadata"]["uid"] = json!("another");
    stage.tenant.put(&stage.inside("web"), again);
    assert_eq!(stage.look().await, "pod shop/web: is being moved");
    assert!(stage.is_inside("web"), "that one was made anew already");
    stage.put("web", "own", Some("ReplicaSet"), None);
    stage.look().await;
    assert!(!stage.is_inside("web"));
    // A workspace that never had nodes is not looked at.
    stage.desired.placement.moves = false;
    assert_eq!(stage.look().await, "done");
}
