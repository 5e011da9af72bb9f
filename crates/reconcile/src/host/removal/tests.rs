//! Whole removals on a host cluster in memory.

use hexabase_core::ids::WorkspaceId;
use hexabase_core::time::Timestamp;
use hexabase_testkit::kubernetes::FakeKubernetes;
use serde_json::{Value, json};

use super::finalizers::HELD_MILLIS;
use super::remove;
use crate::apply::Cluster;
use crate::connection::Host;
use crate::labels::{MANAGED_BY, MANAGER, NOBODY, Names, OWNER, WORKSPACE};
use crate::receipt::{Removal, Removed};
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

fn now() -> Timestamp {
    "2026-01-01T00:01:00Z".to_owned().try_into().unwrap()
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
