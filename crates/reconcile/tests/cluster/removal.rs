//! The way back, when not everything is as it was made.

use std::time::{Duration, Instant};

use hexabase_reconcile::{ReconcileError, Removal, Removed};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::inside::{running_pod, tenant};
use crate::support::{cleaned, client, desired, eventually, host, namespace, objects, project, ready, removal, remove};

/// No removal takes longer, whatever stands in its way.
const BOUND: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_whose_tenant_is_dead_goes_with_all_it_left() {
    let host = host().await;
    let mut wanted = desired();
    wanted.projects = vec![project("shop")];
    let id = wanted.id.clone();
    let runner = host.clone();
    cleaned(&host, vec![id.clone()], async move {
        let client = client().await;
        let observed = ready(&runner, &wanted).await;
        let inside = tenant(&client, &id, &observed.tenant.unwrap()).await;
        running_pod(&inside, "shop", "web", Some("data")).await;
        let place = namespace(&id);

        // Dead: no control plane, and a snapshot request that only it could finish.
        let sets = objects(&client, "apps/v1", "StatefulSet", Some(&place));
        let nothing = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
        sets.patch(id.as_str(), &PatchParams::default(), &nothing).await.unwrap();
        let pods = objects(&client, "v1", "Pod", Some(&place));
        eventually("the control plane has ended", || async {
            pods.get_opt(&format!("{id}-0")).await.unwrap().is_none().then_some(())
        })
        .await;
        let request = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "snapshot-x",
            "finalizers": ["vcluster.loft.sh/snapshot-controller"] } });
        let configs = objects(&client, "v1", "ConfigMap", Some(&place));
        configs.create(&PostParams::default(), &serde_json::from_value(request).unwrap()).await.unwrap();
        let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": format!("vc-{id}-v-{place}") } });
        let roles = objects(&client, "rbac.authorization.k8s.io/v1", "ClusterRole", None);
        roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();

        let start = Instant::now();
        let receipt = remove(&runner, &id, 2).await;
        println!("removed in {:.1?}: {} objects", start.elapsed(), receipt.removed.len());
        assert_eq!(receipt.remaining, []);
        let of_kind = |kind: &str| receipt.removed.iter().filter(|object| object.kind == kind).count();
        assert_eq!(of_kind("PersistentVolume"), 2, "{receipt:#?}");
        assert_eq!(of_kind("PersistentVolumeClaim"), 2);
        assert_eq!(of_kind("ClusterRole"), 1);
        assert!(of_kind("Pod") >= 2);

        // Nothing that a fresh look finds carries the workspace's name.
        assert!(objects(&client, "v1", "Namespace", None).get_opt(&place).await.unwrap().is_none());
        for (api_version, kind) in [
            ("v1", "PersistentVolume"),
            ("rbac.authorization.k8s.io/v1", "ClusterRole"),
            ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
        ] {
            let left = objects(&client, api_version, kind, None).list(&ListParams::default()).await.unwrap();
            let left = left.items.iter().filter(|object| serde_json::to_string(object).unwrap().contains(id.as_str()));
            assert_eq!(left.count(), 0, "{kind}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_goes_in_time_whoever_holds_a_part_of_it_and_whatever_node_is_missing() {
    let host = host().await;
    let wanted = desired();
    let (id, runner) = (wanted.id.clone(), host.clone());
    cleaned(&host, vec![id.clone()], async move {
        let client = client().await;
        ready(&runner, &wanted).await;
        let place = namespace(&id);
        let held = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "held",
            "finalizers": ["example.com/never-taken-off"] } });
        let configs = objects(&client, "v1", "ConfigMap", Some(&place));
        configs.create(&PostParams::default(), &serde_json::from_value(held).unwrap()).await.unwrap();
        // A pod on a node that is gone: nobody reports that it has ended. The host admits none that names its node, so that it is
        // bound as the scheduler binds.
        let lost = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "lost" },
            "spec": { "schedulerName": "nobody", "containers": [{ "name": "main", "image": "docker.io/library/busybox:1.36" }] } });
        let pods = objects(&client, "v1", "Pod", Some(&place));
        pods.create(&PostParams::default(), &serde_json::from_value(lost).unwrap()).await.unwrap();
        let binding = json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "lost" },
            "target": { "apiVersion": "v1", "kind": "Node", "name": "gone" } });
        let path = format!("/api/v1/namespaces/{place}/pods/lost/binding");
        let request = http::Request::post(path).header("content-type", "application/json");
        client.request_text(request.body(binding.to_string().into_bytes()).unwrap()).await.unwrap();

        let start = Instant::now();
        let receipt = remove(&runner, &id, 2).await;
        println!("removed in {:.1?}", start.elapsed());
        assert!(start.elapsed() < BOUND, "{:.1?}", start.elapsed());
        assert_eq!(receipt.remaining, []);
        let forced: Vec<&str> = receipt.forced.iter().map(|object| object.name.as_str()).collect();
        assert!(forced.contains(&"held"), "{receipt:#?}");
        assert!(receipt.removed.iter().any(|object| object.name == "lost"), "{receipt:#?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_workspace_goes_and_none_is_gone_at_once() {
    let host = host().await;
    let wanted = desired();
    let (id, runner) = (wanted.id.clone(), host.clone());
    cleaned(&host, vec![id.clone()], async move {
        let removal = removal(&id, 1);
        let Removed::Gone(receipt) = runner.remove(&removal).await.unwrap() else { panic!("there was nothing") };
        assert_eq!((receipt.removed, receipt.remaining), (vec![], vec![]));

        // One call makes a part of it only.
        runner.reconcile(&wanted).await.unwrap();
        let lower = Removal { fence: 0, ..removal };
        let refused = runner.remove(&lower).await;
        assert!(matches!(refused, Err(ReconcileError::Fenced { own: 0, found: 1, .. })), "{refused:?}");
        let receipt = remove(&runner, &id, 2).await;
        assert!(receipt.removed.iter().any(|object| object.kind == "Namespace"), "{receipt:#?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_of_somebody_else_is_neither_taken_nor_removed() {
    let host = host().await;
    let wanted = desired();
    let client = client().await;
    let place = namespace(&wanted.id);
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client);
    let foreign = serde_json::from_value(json!({ "metadata": { "name": place } })).unwrap();
    namespaces.create(&PostParams::default(), &foreign).await.unwrap();
    let reconciled = host.reconcile(&wanted).await;
    let removed = host.remove(&removal(&wanted.id, 1)).await;
    let found = namespaces.get(&place).await.unwrap();
    namespaces.delete(&place, &DeleteParams::default()).await.unwrap();
    assert!(matches!(reconciled, Err(ReconcileError::NotOurs { .. })), "{reconciled:?}");
    assert!(matches!(removed, Err(ReconcileError::NotOurs { .. })), "{removed:?}");
    assert!(found.metadata.deletion_timestamp.is_none());
    assert!(!found.metadata.labels.unwrap().contains_key("hexabase.ai/workspace"));
}
