use hexabase_testkit::kubernetes::FakeKubernetes;
use serde_json::{Value, json};

use super::*;
use crate::connection::Host;
use crate::labels::{NODE_OFFER, NODE_POOL, OBJECT_NAME, OBJECT_NAMESPACE, POOL_LABEL};
use crate::settings::HostSettings;

const ID: &str = "ws-0123456789abcdefghjk";
const OTHER: &str = "ws-0123456789abcdefghj0";

struct Stage {
    server: FakeKubernetes,
    host: Host,
    wanted: WantedNodes,
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

impl Stage {
    /// A shared node, and two that are offered and kept empty.
    async fn set(keeps: &[&str], leaves: &[&str]) -> Self {
        let server = FakeKubernetes::start().await.unwrap();
        let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
        let host = Host::connect(settings).await.unwrap();
        let wanted = WantedNodes {
            id: ID.parse().unwrap(),
            keeps: keeps.iter().map(|text| name(text)).collect(),
            leaves: leaves.iter().map(|text| name(text)).collect(),
            placed: NodeClass::Shared,
            goal: NodeClass::Dedicated,
            now: "2026-01-01T00:00:00Z".to_owned().try_into().unwrap(),
        };
        let stage = Self { server, host, wanted };
        stage.put_node("shared", None, None);
        stage.put_node("one", Some("free"), Some("free"));
        stage.put_node("two", Some("free"), Some("free"));
        stage
    }

    fn put_node(&self, name: &str, label: Option<&str>, taint: Option<&str>) {
        let mut labels = json!({ "kubernetes.io/hostname": name });
        if name != "shared" {
            labels[NODE_OFFER] = json!("workspaces");
        }
        if let Some(label) = label {
            labels[POOL_LABEL] = json!(label);
        }
        let taints: Vec<Value> =
            taint.iter().map(|value| json!({ "key": NODE_POOL, "value": value, "effect": "NoSchedule" })).collect();
        let status = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
        let metadata = json!({ "name": name, "labels": labels });
        let node = json!({ "metadata": metadata, "spec": { "taints": taints }, "status": status });
        self.server.put(&format!("/api/v1/nodes/{name}"), node);
    }

    /// Label and taint of a node.
    fn marks(&self, name: &str) -> (Value, Value) {
        let node = self.server.get(&format!("/api/v1/nodes/{name}")).unwrap();
        (node["metadata"]["labels"][POOL_LABEL].clone(), node["spec"]["taints"][0]["value"].clone())
    }

    fn put_pod(&self, namespace: &str, name: &str, node: &str, owner: Option<&str>) {
        let owners: Vec<Value> =
            owner.iter().map(|kind| json!({ "apiVersion": "v1", "kind": kind, "name": "x", "uid": "u" })).collect();
        let metadata = json!({ "name": name, "namespace": namespace, "ownerReferences": owners });
        let pod = json!({ "metadata": metadata, "spec": { "nodeName": node, "containers": [] } });
        self.server.put(&format!("/api/v1/namespaces/{namespace}/pods/{name}"), pod);
    }

    /// A claim `shop/data` of the workspace's whose volume is on this node.
    fn put_volume(&self, node: &str) {
        let place = format!("hxb-{ID}");
        let annotations = json!({ OBJECT_NAMESPACE: "shop", OBJECT_NAME: "data" });
        let claim = json!({ "metadata": { "name": "data-x-shop", "namespace": place, "annotations": annotations },
            "spec": { "volumeName": "disk" } });
        self.server.put(&format!("/api/v1/namespaces/{place}/persistentvolumeclaims/data-x-shop"), claim);
        let there = json!({ "key": "kubernetes.io/hostname", "operator": "In", "values": [node] });
        let affinity = json!({ "required": { "nodeSelectorTerms": [{ "matchExpressions": [there] }] } });
        let volume = json!({ "metadata": { "name": "disk" },
            "spec": { "claimRef": { "namespace": place, "name": "data-x-shop" }, "nodeAffinity": affinity } });
        self.server.put("/api/v1/persistentvolumes/disk", volume);
    }

    /// A pod of the tenant's.
    fn put_synced_pod(&self, name: &str, node: &str) {
        let place = format!("hxb-{ID}");
        self.put_pod(&place, name, node, Some("ReplicaSet"));
        let path = format!("/api/v1/namespaces/{place}/pods/{name}");
        let mut pod = self.server.get(&path).unwrap();
        pod["metadata"]["labels"] = json!({ SYNCED_BY: ID });
        self.server.put(&path, pod);
    }

    async fn look(&self) -> FoundNodes {
        self.host.settle_nodes(&self.wanted).await.unwrap()
    }

    async fn disown(&self, node: &str, moves: bool) -> Progress {
        self.host.disown(&self.wanted.id, &name(node), moves).await.unwrap()
    }
}

fn said(progress: &Progress) -> &str {
    match progress {
        Progress::Done => "done",
        Progress::Wait { reason, .. } => reason,
    }
}

#[tokio::test]
async fn a_node_is_marked_once_nobody_elses_pod_is_on_it() {
    let stage = Stage::set(&["one"], &[]).await;
    stage.put_pod("shop", "guest", "one", Some("ReplicaSet"));
    stage.put_pod(&format!("hxb-{OTHER}"), "liar", "one", Some("DaemonSet"));
    stage.put_pod("kube-system", "proxy", "one", Some("DaemonSet"));
    stage.put_pod("kube-system", "static", "one", Some("Node"));
    stage.put_pod("shop", "elsewhere", "two", None);
    for (pod, namespace) in [("liar", format!("hxb-{OTHER}")), ("guest", "shop".to_owned())] {
        let found = stage.look().await;
        let told = said(&found.keeps[0].1);
        assert!(told.starts_with("pods of others are still on the node"), "{found:?}");
        assert!(!told.contains(pod) && !told.contains(&namespace), "whose they are is not the workspace's to know");
        assert_eq!(said(&found.may_move), "no node of the workspace's own is ready yet");
        assert_eq!(stage.marks("one"), (json!("free"), json!("free")));
        stage.server.remove(&format!("/api/v1/namespaces/{namespace}/pods/{pod}"));
    }
    let found = stage.look().await;
    assert_eq!((found.keeps, found.may_move), (vec![(name("one"), Progress::Done)], Progress::Done));
    assert_eq!(stage.marks("one"), (json!(ID), json!(ID)));
    let writes = stage.server.writes();
    stage.look().await;
    assert_eq!(stage.server.writes(), writes, "what is as it should be is not written");
}

#[tokio::test]
async fn a_node_is_closed_to_others_before_it_is_looked_who_is_on_it() {
    let stage = Stage::set(&["one"], &[]).await;
    for label in [None, Some("free")] {
        stage.put_node("one", label, None);
        assert_eq!(said(&stage.look().await.keeps[0].1), "the node is being closed to others");
        assert_eq!(stage.marks("one"), (json!("free"), json!("free")));
    }
    assert_eq!(stage.look().await.keeps[0].1, Progress::Done);
}

#[tokio::test]
async fn a_node_that_is_somebody_elses_or_gone_is_not_touched() {
    let stage = Stage::set(&["one", "two", "three"], &["one", "three"]).await;
    stage.put_node("one", Some(OTHER), Some(OTHER));
    stage.put_node("two", None, Some("gold"));
    let writes = stage.server.writes();
    let found = stage.look().await;
    for (_, progress) in &found.keeps[..2] {
        assert_eq!(said(progress), NOT_OURS);
    }
    assert!(said(&found.keeps[2].1).contains("not on the host"), "{found:?}");
    assert!(found.leaves.iter().all(|(_, progress)| *progress == Progress::Done), "{found:?}");
    assert_eq!(stage.server.writes(), writes);
}

#[tokio::test]
async fn marks_that_somebody_took_off_are_put_back() {
    let mut stage = Stage::set(&["one"], &[]).await;
    stage.wanted.placed = NodeClass::Dedicated;
    for (label, taint) in [(None, Some(ID)), (Some("free"), Some(ID)), (Some(OTHER), Some(ID))] {
        stage.put_node("one", label, taint);
        assert_eq!(stage.look().await.keeps[0].1, Progress::Done);
        assert_eq!(stage.marks("one"), (json!(ID), json!(ID)), "{label:?} {taint:?}");
    }
}

#[tokio::test]
async fn a_taint_that_somebody_took_off_is_put_back_whoever_has_come_since() {
    let mut stage = Stage::set(&["one"], &["two"]).await;
    stage.wanted.placed = NodeClass::Dedicated;
    stage.put_pod("shop", "guest", "one", Some("ReplicaSet"));
    stage.put_volume("two");
    for name in ["one", "two"] {
        stage.put_node(name, Some(ID), None);
    }
    stage.look().await;
    for name in ["one", "two"] {
        assert_eq!(stage.marks(name), (json!(ID), json!(ID)), "{name}");
    }
    let found = stage.look().await;
    assert_ne!(found.keeps[0].1, Progress::Done, "the guest is told of");
    stage.server.remove("/api/v1/namespaces/shop/pods/guest");
    assert_eq!(stage.look().await.keeps[0].1, Progress::Done);
    // One that keeps nobody away counts for none.
    let mut node = stage.server.get("/api/v1/nodes/one").unwrap();
    node["spec"]["taints"][0]["effect"] = json!("PreferNoSchedule");
    stage.server.put("/api/v1/nodes/one", node);
    stage.look().await;
    let node = stage.server.get("/api/v1/nodes/one").unwrap();
    assert_eq!(node["spec"]["taints"][0]["effect"], "NoSchedule");
}

#[tokio::test]
async fn a_workspace_stays_where_the_volumes_of_its_claims_are() {
    let mut stage = Stage::set(&["one"], &[]).await;
    stage.put_volume("shared");
    assert!(said(&stage.look().await.may_move).contains("the volumes of shop/data cannot be reached"));
    stage.put_volume("one");
    assert_eq!(stage.look().await.may_move, Progress::Done);
    // And back.
    (stage.wanted.placed, stage.wanted.goal) = (NodeClass::Dedicated, NodeClass::Shared);
    assert!(said(&stage.look().await.may_move).contains("shop/data"));
    stage.put_volume("shared");
    assert_eq!(stage.look().await.may_move, Progress::Done);
}

#[tokio::test]
async fn a_node_is_handed_back_once_nothing_of_the_workspace_is_left_there() {
    let mut stage = Stage::set(&["one"], &["two"]).await;
    stage.wanted.placed = NodeClass::Dedicated;
    stage.put_node("two", Some(ID), Some(ID));
    stage.put_volume("two");
    assert_eq!(stage.look().await.keeps[0].1, Progress::Done);
    let found = stage.look().await;
    assert!(said(&found.leaves[0].1).contains("shop/data") && found.closed.is_empty(), "{found:?}");
    assert_eq!(stage.marks("two"), (json!(ID), json!(ID)), "its pods could not be made anew elsewhere");
    stage.put_volume("one");
    let place = format!("hxb-{ID}");
    stage.put_pod(&place, "web", "two", None);
    assert!(said(&stage.look().await.leaves[0].1).contains("being closed to new pods"));
    assert_eq!(stage.marks("two"), (json!("leaving"), json!(ID)));
    let found = stage.look().await;
    assert!(said(&found.leaves[0].1).contains("pods of the workspace are still on the node"), "{found:?}");
    assert_eq!(found.closed, [name("two")], "what is there is to leave");
    stage.server.remove(&format!("/api/v1/namespaces/{place}/pods/web"));
    assert_eq!(stage.look().await.leaves[0].1, Progress::Done);
    assert_eq!(stage.marks("two"), (json!("free"), json!("free")));
}

#[tokio::test]
async fn a_node_whose_marks_somebody_changed_is_not_given_back_with_the_workspaces_pods_on_it() {
    let mut stage = Stage::set(&["one"], &["two"]).await;
    stage.wanted.placed = NodeClass::Dedicated;
    assert_eq!(stage.look().await.keeps[0].1, Progress::Done);
    let place = format!("hxb-{ID}");
    stage.put_pod(&place, "web", "two", None);
    for (label, taint) in [(Some("leaving"), None), (None, None), (Some("free"), Some("free"))] {
        stage.put_node("two", label, taint);
        assert_ne!(stage.look().await.leaves[0].1, Progress::Done, "{label:?} {taint:?}");
        assert_eq!(stage.marks("two"), (json!("leaving"), json!(ID)), "{label:?} {taint:?}");
        assert_eq!(stage.look().await.closed, [name("two")], "what is there is to leave");
    }
    stage.put_node("two", Some(OTHER), Some(OTHER));
    let found = stage.look().await;
    assert!(said(&found.leaves[0].1).contains("still on the node"), "{found:?}");
    assert_eq!(found.closed, [name("two")]);
    assert_eq!(stage.marks("two"), (json!(OTHER), json!(OTHER)), "another's mark is not written over");
    stage.server.remove(&format!("/api/v1/namespaces/{place}/pods/web"));
    assert_eq!(stage.look().await.leaves[0].1, Progress::Done);
    // Its data keeps it as well.
    stage.put_node("two", None, None);
    stage.put_volume("two");
    assert_ne!(stage.look().await.leaves[0].1, Progress::Done);
    assert_eq!(stage.marks("two"), (json!("leaving"), json!(ID)));
}

#[tokio::test]
async fn the_last_node_is_left_only_once_the_workspace_is_placed_elsewhere() {
    let mut stage = Stage::set(&[], &["one"]).await;
    (stage.wanted.placed, stage.wanted.goal) = (NodeClass::Dedicated, NodeClass::Shared);
    stage.put_node("one", Some(ID), Some(ID));
    let found = stage.look().await;
    assert_eq!(found.may_move, Progress::Done);
    assert!(said(&found.leaves[0].1).contains("no other node yet"), "{found:?}");
    stage.wanted.placed = NodeClass::Shared;
    assert!(said(&stage.look().await.leaves[0].1).contains("being closed"));
    assert_eq!(stage.look().await.leaves[0].1, Progress::Done);
    // Where nobody else is to get it, it is everybody's again.
    stage.put_node("one", Some(ID), Some(ID));
    let mut node = stage.server.get("/api/v1/nodes/one").unwrap();
    node["metadata"]["labels"].as_object_mut().unwrap().remove(NODE_OFFER);
    stage.server.put("/api/v1/nodes/one", node);
    assert_eq!(stage.host.hand_back(&stage.wanted.id, &name("one")).await.unwrap(), Progress::Done);
    assert_eq!(stage.marks("one"), (Value::Null, Value::Null));
}

#[tokio::test]
async fn a_node_that_the_workspace_does_not_have_is_closed_to_it_until_its_pods_are_gone() {
    let stage = Stage::set(&[], &[]).await;
    let place = format!("hxb-{ID}");
    for taint in [Some(ID), None] {
        stage.put_node("one", Some(ID), taint);
        stage.put_synced_pod("web", "one");
        let disowned = stage.disown("one", true).await;
        assert!(said(&disowned).contains("web is still on the node"), "{disowned:?}");
        assert_eq!(stage.marks("one"), (json!("leaving"), json!(ID)), "what leaves must not come back");
        stage.server.remove(&format!("/api/v1/namespaces/{place}/pods/web"));
        assert_eq!(stage.disown("one", true).await, Progress::Done);
        assert_eq!(stage.marks("one"), (json!("free"), json!("free")));
    }
    // Nobody moves what is of a workspace on shared nodes.
    stage.put_node("one", Some(ID), Some(ID));
    stage.put_synced_pod("web", "one");
    assert_eq!(stage.disown("one", false).await, Progress::Done);
    assert_eq!(stage.marks("one"), (json!("free"), json!("free")));
}

#[tokio::test]
async fn a_shared_node_that_says_it_is_a_workspaces_stays_open_to_all() {
    let stage = Stage::set(&[], &[]).await;
    let place = format!("hxb-{ID}");
    stage.put_pod(&place, &format!("{ID}-0"), "shared", Some("StatefulSet"));
    stage.put_synced_pod("web", "shared");
    stage.put_node("shared", Some(ID), None);
    assert_eq!(stage.disown("shared", true).await, Progress::Done);
    assert_eq!(stage.marks("shared"), (Value::Null, Value::Null));
    // Where it is closed already, the control plane does not keep it so.
    stage.put_node("shared", Some(ID), Some(ID));
    assert!(said(&stage.disown("shared", true).await).contains("web is still on the node"));
    stage.server.remove(&format!("/api/v1/namespaces/{place}/pods/web"));
    assert_eq!(stage.disown("shared", true).await, Progress::Done);
    assert_eq!(stage.marks("shared"), (Value::Null, Value::Null));
    // Another's mark stays.
    stage.put_node("shared", Some(OTHER), None);
    assert_eq!(stage.disown("shared", true).await, Progress::Done);
    assert_eq!(stage.marks("shared"), (json!(OTHER), Value::Null));
}

#[tokio::test]
async fn offered_nodes_are_seen_and_kept_empty_and_let_go() {
    let stage = Stage::set(&[], &[]).await;
    stage.put_node("one", None, None);
    stage.put_node("two", Some(ID), Some(ID));
    let seen = stage.host.nodes().await.unwrap();
    let told: Vec<_> =
        seen.iter().map(|node| (node.name.as_str(), node.offered, node.usable, node.holder.clone())).collect();
    let ours = Holder::Workspace(ID.parse().unwrap());
    assert_eq!(told, [("one", true, true, Holder::Nobody), ("two", true, true, ours)]);
    assert_eq!(stage.host.keep_free(&seen[0], true).await.unwrap(), Progress::Done);
    assert_eq!(stage.marks("one"), (json!("free"), json!("free")));
    // Somebody has changed it since it was seen.
    assert!(matches!(stage.host.keep_free(&seen[0], true).await.unwrap(), Progress::Wait { .. }));
    let seen = stage.host.nodes().await.unwrap();
    assert_eq!(stage.host.keep_free(&seen[0], false).await.unwrap(), Progress::Done);
    assert_eq!(stage.marks("one"), (Value::Null, Value::Null));
}
