//! Nodes of a workspace's own: on a second real node a workspace moves with all it has, on pretended ones the real scheduler
//! puts pods where they may be and nowhere else.

mod kubelet;
mod lent;
mod placement;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hexabase_core::nodes::{NodeClass, NodeName};
use hexabase_reconcile::{DesiredWorkspace, FoundNodes, Host, Placement, Progress, ReconcileError, WantedNodes};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, AttachParams, DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::inside::tenant;
use crate::support::{
    DEADLINE, cleaned, client, desired, eventually, host, namespace, now, objects, project, ready, remove, second_node,
};
use lent::Lent;

/// Label and taint of a node that is a workspace's.
const POOL: &str = "hexabase.node-restriction.kubernetes.io/pool";
const TAINT: &str = "hexabase.ai/node-pool";

/// What is wanted of the nodes of a workspace that keeps these.
fn keeping(desired: &DesiredWorkspace, keeps: &[String]) -> WantedNodes {
    WantedNodes {
        id: desired.id.clone(),
        keeps: keeps.iter().map(|name| name.parse::<NodeName>().unwrap()).collect(),
        leaves: Vec::new(),
        placed: NodeClass::Shared,
        goal: NodeClass::Dedicated,
        now: now(),
    }
}

/// Looks until it is as it should be.
async fn settled(host: &Host, wanted: &WantedNodes, what: &str, enough: impl Fn(&FoundNodes) -> bool) -> FoundNodes {
    let start = Instant::now();
    loop {
        let mut wanted = wanted.clone();
        wanted.now = now();
        match host.settle_nodes(&wanted).await {
            Ok(found) if enough(&found) => {
                println!("{what} after {:.1?}", start.elapsed());
                return found;
            }
            Ok(found) => assert!(start.elapsed() < DEADLINE, "not in time: {what}: {found:?}"),
            Err(ReconcileError::Unreachable { .. }) => assert!(start.elapsed() < DEADLINE, "not in time: {what}"),
            Err(error) => panic!("{what}: {error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Reconciles until all pods are where they are to be.
async fn moved(host: &Host, desired: &DesiredWorkspace) {
    let start = Instant::now();
    let mut last = None;
    loop {
        match host.reconcile(desired).await {
            Ok(observed) => {
                if observed.waiting().is_none() && observed.moved == Some(Progress::Done) {
                    println!("{} moved after {:.1?}", desired.id, start.elapsed());
                    return;
                }
                last = Some((observed.waiting().map(|(step, reason, _)| (step, reason.to_owned())), observed.moved));
            }
            Err(ReconcileError::Unreachable { .. }) => {}
            Err(error) => panic!("not moved: {error:?}"),
        }
        assert!(start.elapsed() < DEADLINE, "not moved: {last:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The pods that the syncer has brought, and the nodes they are on.
async fn places(client: &Client, desired: &DesiredWorkspace) -> Vec<(String, String)> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace(&desired.id));
    let of_tenant = ListParams::default().labels(&format!("vcluster.loft.sh/managed-by={}", desired.id));
    let found = pods.list(&of_tenant).await.unwrap().items;
    let place = |pod: Pod| (pod.metadata.name.unwrap_or_default(), pod.spec.unwrap().node_name.unwrap_or_default());
    found.into_iter().map(place).collect()
}

fn said(progress: &Progress) -> &str {
    match progress {
        Progress::Done => "done",
        Progress::Wait { reason, .. } => reason,
    }
}

async fn make(client: &Client, namespace: &str, object: Value) {
    let text = |field: &str| object[field].as_str().unwrap().to_owned();
    let api = objects(client, &text("apiVersion"), &text("kind"), Some(namespace));
    eventually(&format!("{} is made", object["metadata"]["name"]), || async {
        api.create(&PostParams::default(), &serde_json::from_value(object.clone()).unwrap()).await.ok()
    })
    .await;
}

fn claim(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": name },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "10Mi" } } } })
}

/// Writes a line into its volume whenever it begins.
fn writer(name: &str) -> Value {
    let container = json!({
        "name": "main", "image": "docker.io/library/busybox:1.36", "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/busybox", "sh", "-c", "echo begun >> /v/log; exec sleep 3600"],
        "volumeMounts": [{ "name": "v", "mountPath": "/v" }],
    });
    let volumes = json!([{ "name": "v", "persistentVolumeClaim": { "claimName": name } }]);
    let pod = json!({ "metadata": { "labels": { "app": name } },
        "spec": { "containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 1 } });
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name }, "spec": {
        "strategy": { "type": "Recreate" }, "selector": { "matchLabels": { "app": name } }, "template": pod } })
}

/// What the writer's volume holds, once it runs.
async fn written(tenant: &Client, name: &str) -> Vec<String> {
    let pods: Api<Pod> = Api::namespaced(tenant.clone(), "shop");
    eventually(&format!("{name} runs"), || async {
        let found = pods.list(&ListParams::default().labels(&format!("app={name}"))).await.ok()?.items;
        let is_up = |pod: &&Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
        };
        let pod = found.iter().find(is_up)?.metadata.name.clone()?;
        let command = ["/bin/busybox", "cat", "/v/log"];
        let mut process = pods.exec(&pod, command, &AttachParams::default().stderr(false)).await.ok()?;
        let mut text = String::new();
        process.stdout()?.read_to_string(&mut text).await.ok()?;
        (!text.is_empty()).then(|| text.lines().map(str::to_owned).collect())
    })
    .await
}

/// A volume that is reached from every node, as one on a network is, for a claim that the tenant is about to make.
async fn travelling_volume(client: &Client, desired: &DesiredWorkspace, claim: &str, folder: &std::path::Path) {
    let place = namespace(&desired.id);
    let found = objects(client, "v1", "Namespace", None).get(&place).await.unwrap();
    let classes = found.metadata.annotations.unwrap()["hexabase.ai/storage-classes"].clone();
    let volume = json!({ "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": format!("travels-{}", desired.id) },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "10Mi" }, "storageClassName": classes.split(',').next(),
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": { "namespace": place, "name": format!("{claim}-x-shop-x-{}", desired.id) },
            "hostPath": { "path": folder, "type": "DirectoryOrCreate" },
        } });
    let volumes = objects(client, "v1", "PersistentVolume", None);
    volumes.create(&PostParams::default(), &serde_json::from_value(volume).unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_moves_to_a_node_of_its_own_and_back_with_all_it_has() {
    let second = second_node();
    let host = host().await;
    let mut wanted = desired();
    wanted.projects = vec![project("shop")];
    let id = wanted.id.clone();
    let folder = std::env::temp_dir().join(format!("hexabase-travels-{id}"));
    let (runner, data) = (host.clone(), folder.clone());
    let lent = Lent::offer(&host, vec![second.clone()]).await;
    let outcome = tokio::spawn(async move {
        cleaned(&host, vec![id], async move { there_and_back(&runner, wanted, second, data).await }).await;
    })
    .await;
    lent.withdraw().await;
    // It may not have been made.
    let _ = std::fs::remove_dir_all(folder);
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

async fn there_and_back(runner: &Arc<Host>, mut wanted: DesiredWorkspace, second: String, folder: PathBuf) {
    let client = client().await;
    let id = wanted.id.clone();
    let observed = ready(runner, &wanted).await;
    let inside = tenant(&client, &id, &observed.tenant.unwrap()).await;
    let config =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "kept" }, "data": { "a": "b" } });
    make(&inside, "shop", config).await;
    travelling_volume(&client, &wanted, "travels", &folder).await;
    for name in ["travels", "stays"] {
        make(&inside, "shop", claim(name)).await;
        make(&inside, "shop", writer(name)).await;
    }
    assert_eq!(written(&inside, "travels").await.len(), 1);
    written(&inside, "stays").await;

    // Once nobody else is there the node is its own; but its data is where it is, and so it stays.
    let mut nodes = keeping(&wanted, std::slice::from_ref(&second));
    let found = settled(runner, &nodes, "the node is marked", |found| found.keeps[0].1 == Progress::Done).await;
    assert!(said(&found.may_move).contains("the volumes of shop/stays cannot be reached"), "{found:?}");
    for (version, kind) in [("apps/v1", "Deployment"), ("v1", "PersistentVolumeClaim")] {
        objects(&inside, version, kind, Some("shop")).delete("stays", &DeleteParams::default()).await.unwrap();
    }
    settled(runner, &nodes, "it may move", |found| found.may_move == Progress::Done).await;

    let own = nodes.keeps.clone();
    wanted.placement = Placement { dedicated: true, own, moves: true, ..Placement::default() };
    moved(runner, &wanted).await;
    assert!(written(&inside_of(runner, &client, &wanted).await, "travels").await.len() >= 2);
    let there = places(&client, &wanted).await;
    assert!(there.len() >= 2 && there.iter().all(|(_, node)| *node == second), "{there:?}");
    nobody_else(&client, &namespace(&id), &second).await;

    // And back, to where the control plane has been all the time.
    nodes.leaves = std::mem::take(&mut nodes.keeps);
    (nodes.placed, nodes.goal) = (NodeClass::Dedicated, NodeClass::Shared);
    settled(runner, &nodes, "it may move back", |found| found.may_move == Progress::Done).await;
    wanted.placement =
        Placement { dedicated: false, moves: true, leaving: nodes.leaves.clone(), ..Placement::default() };
    moved(runner, &wanted).await;
    nodes.placed = NodeClass::Shared;
    settled(runner, &nodes, "the node is handed back", |found| found.leaves[0].1 == Progress::Done).await;
    let inside = inside_of(runner, &client, &wanted).await;
    let lines = written(&inside, "travels").await;
    assert!(lines.len() >= 3, "what it wrote in both places is there: {lines:?}");
    let kept = objects(&inside, "v1", "ConfigMap", Some("shop")).get("kept").await.unwrap();
    assert_eq!(kept.data["data"]["a"], "b");
    let back = places(&client, &wanted).await;
    assert!(back.iter().all(|(_, node)| *node != second), "{back:?}");
    let node = objects(&client, "v1", "Node", None).get(&second).await.unwrap();
    assert_eq!(node.metadata.labels.unwrap()[POOL], "free");

    let receipt = remove(runner, &id, 2).await;
    assert_eq!(receipt.remaining, []);
}

/// A client of the tenant, whose control plane has restarted.
async fn inside_of(host: &Host, client: &Client, wanted: &DesiredWorkspace) -> Client {
    let observed = ready(host, wanted).await;
    tenant(client, &wanted.id, &observed.tenant.unwrap()).await
}

/// A pod of somebody else's that wants to be on the node waits for ever.
async fn nobody_else(client: &Client, workspace: &str, node: &str) {
    let place = format!("not-{workspace}");
    let namespaces = objects(client, "v1", "Namespace", None);
    let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": place } });
    namespaces.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "guest" }, "spec": {
        "nodeSelector": { "kubernetes.io/hostname": node },
        "containers": [{ "name": "main", "image": "docker.io/library/busybox:1.36" }] } });
    make(client, &place, pod).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &place);
    let why = eventually("the guest is told why it waits", || async {
        let conditions = pods.get("guest").await.ok()?.status?.conditions?;
        conditions.into_iter().find(|condition| condition.reason.as_deref() == Some("Unschedulable"))?.message
    })
    .await;
    namespaces.delete(&place, &DeleteParams::default()).await.unwrap();
    assert!(why.contains("untolerated taint"), "{why}");
}
