//! Many workspaces with many nodes, and where the scheduler puts their pods.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use hexabase_core::nodes::NodeClass;
use hexabase_core::phases::WorkspaceStep;
use hexabase_reconcile::{DesiredWorkspace, Host, Placement, Progress};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use super::{POOL, TAINT, keeping, places, said, settled};
use crate::nodes::lent::Lent;
use crate::support::{cleaned, client, desired, eventually, host_with, kwok_nodes, namespace, objects, until};

/// Workspaces that share the nodes out; the last one has none.
const WORKSPACES: usize = 5;
/// Pods of each.
const PODS: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_nodes_each_is_one_workspaces_and_no_pod_is_anywhere_else() {
    let many = kwok_nodes();
    // No virtual cluster is wanted here.
    let host = host_with(|settings| settings.chart = PathBuf::from("no-chart")).await;
    let nodes: Api<Node> = Api::all(client().await);
    let found = nodes.list(&ListParams::default().labels("type=kwok")).await.unwrap().items;
    let names: Vec<String> = found.into_iter().filter_map(|node| node.metadata.name).collect();
    assert_eq!(names.len(), many);
    let wanted: Vec<DesiredWorkspace> = (0..WORKSPACES).map(|_| desired()).collect();
    let ids = wanted.iter().map(|workspace| workspace.id.clone()).collect();
    let (runner, mine) = (host.clone(), names.clone());
    let lent = Lent::offer(&host, names).await;
    let outcome =
        tokio::spawn(async move { cleaned(&host, ids, async move { shared_out(&runner, wanted, mine).await }).await })
            .await;
    lent.withdraw().await;
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

async fn shared_out(host: &Arc<Host>, mut wanted: Vec<DesiredWorkspace>, names: Vec<String>) {
    let client = client().await;
    let guest = wanted.pop().unwrap();
    let shares: Vec<Vec<String>> = names.chunks(names.len().div_ceil(wanted.len())).map(<[String]>::to_vec).collect();
    for (workspace, share) in wanted.iter_mut().zip(&shares) {
        let nodes = keeping(workspace, share);
        settled(host, &nodes, "its nodes are marked", |found| {
            found.keeps.iter().all(|(_, progress)| *progress == Progress::Done)
        })
        .await;
        workspace.placement = Placement { dedicated: true, own: nodes.keeps, moves: true, ..Placement::default() };
    }
    // Whoever wants one that is another's is told so, not whose it is, and nothing changes.
    let greedy = keeping(&guest, &shares[0][..1]);
    let refused = host.settle_nodes(&greedy).await.unwrap();
    let told = said(&refused.keeps[0].1);
    assert!(told.contains("somebody else's") && !told.contains(wanted[0].id.as_str()), "{refused:?}");
    assert!(said(&refused.may_move).contains("no node of the workspace's own"), "{refused:?}");

    for workspace in wanted.iter().chain([&guest]) {
        until(host, workspace, "limited", |observed| observed.is_done(WorkspaceStep::Limits)).await;
        let accounts = objects(&client, "v1", "ServiceAccount", Some(&namespace(&workspace.id)));
        eventually("the ServiceAccount is there", || async { accounts.get_opt("default").await.ok()? }).await;
    }
    for workspace in wanted.iter().chain([&guest]) {
        make_pods(&client, workspace).await;
    }
    for (workspace, share) in wanted.iter().zip(&shares) {
        let there = placed(&client, workspace, PODS).await;
        let share: BTreeSet<&str> = share.iter().map(String::as_str).collect();
        assert!(there.iter().all(|node| share.contains(node.as_str())), "{}: {there:?}", workspace.id);
        assert!(there.len() > 1, "they are spread: {there:?}");
    }
    let elsewhere = placed(&client, &guest, 1).await;
    assert!(elsewhere.iter().all(|node| !names.contains(node)), "{elsewhere:?}");
    refused_without_its_place(&client, &wanted[0], &wanted[1]).await;

    // Given back, they are nobody's, and only once nothing is left there.
    let mut nodes = keeping(&wanted[0], &[]);
    nodes.leaves = shares[0].iter().map(|name| name.parse().unwrap()).collect();
    (nodes.placed, nodes.goal) = (NodeClass::Shared, NodeClass::Shared);
    let is_held = |progress: &Progress| said(progress).contains("still on the node");
    let held = settled(host, &nodes, "they are closed", |found| {
        found.leaves.iter().all(|(_, progress)| *progress == Progress::Done || is_held(progress))
    })
    .await;
    assert!(held.leaves.iter().any(|(_, progress)| is_held(progress)), "{held:?}");
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace(&wanted[0].id));
    let at_once = DeleteParams::default().grace_period(0);
    pods.delete_collection(&at_once, &ListParams::default()).await.unwrap();
    settled(host, &nodes, "they are handed back", |found| {
        found.leaves.iter().all(|(_, progress)| *progress == Progress::Done)
    })
    .await;
    let free =
        Api::<Node>::all(client).list(&ListParams::default().labels(&format!("{POOL}=free"))).await.unwrap().items;
    let free: BTreeSet<String> = free.into_iter().filter_map(|node| node.metadata.name).collect();
    assert!(shares[0].iter().all(|name| free.contains(name)), "{free:?}");
}

/// A pod as the syncer makes it for a workspace with nodes of its own, or with shared ones.
fn pod(workspace: &DesiredWorkspace, name: &str) -> Value {
    let id = workspace.id.as_str();
    let mut spec = json!({ "containers": [{
        "name": "main", "image": "docker.io/library/busybox:1.36", "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/busybox", "sleep", "3600"],
        "resources": { "requests": { "cpu": "10m", "memory": "8Mi" }, "limits": { "cpu": "50m", "memory": "16Mi" } },
    }] });
    if workspace.placement.dedicated {
        spec["nodeSelector"] = json!({ POOL: id });
        spec["tolerations"] = json!([{ "key": TAINT, "operator": "Equal", "value": id, "effect": "NoSchedule" }]);
    }
    json!({ "apiVersion": "v1", "kind": "Pod", "spec": spec,
        "metadata": { "name": name, "labels": { "vcluster.loft.sh/managed-by": id } } })
}

async fn make_pods(client: &Client, workspace: &DesiredWorkspace) {
    let pods = objects(client, "v1", "Pod", Some(&namespace(&workspace.id)));
    // On the real node a pod takes room for real.
    let many = if workspace.placement.dedicated { PODS } else { 1 };
    for number in 0..many {
        let pod: kube::api::DynamicObject = serde_json::from_value(pod(workspace, &format!("pod-{number}"))).unwrap();
        // The rules see the namespace's annotation a moment after it is there.
        eventually("a pod is admitted", || async { pods.create(&PostParams::default(), &pod).await.ok() }).await;
    }
}

/// The nodes on which the workspace's pods are, once all of them have one.
async fn placed(client: &Client, workspace: &DesiredWorkspace, many: usize) -> BTreeSet<String> {
    eventually("all pods have a node", || async {
        let there = places(client, workspace).await;
        let all = there.len() == many && there.iter().all(|(_, node)| !node.is_empty());
        all.then(|| there.into_iter().map(|(_, node)| node).collect())
    })
    .await
}

/// Neither without the selector nor with another workspace's is a pod of the first one let in.
async fn refused_without_its_place(client: &Client, first: &DesiredWorkspace, second: &DesiredWorkspace) {
    let pods = objects(client, "v1", "Pod", Some(&namespace(&first.id)));
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let mut bare = pod(first, "bare");
    bare["spec"].as_object_mut().unwrap().remove("nodeSelector");
    let mut others = pod(second, "others");
    others["metadata"]["labels"]["vcluster.loft.sh/managed-by"] = json!(first.id.as_str());
    let mut pinned = pod(first, "pinned");
    pinned["spec"]["nodeName"] = json!("anywhere");
    for (object, says) in
        [(bare, "has to select"), (others, "tolerate only taints"), (pinned, "choose its node by name")]
    {
        let made = pods.create(&dry, &serde_json::from_value(object).unwrap()).await;
        let Err(kube::Error::Api(status)) = made else { panic!("admitted: {says}") };
        assert!(status.message.contains(says), "{}", status.message);
    }
}
