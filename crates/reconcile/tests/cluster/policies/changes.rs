//! Rules about what is there already: a pod that waits for its node, a claim that waits for its volume, whatever an account of
//! a workspace asks for in its own name.

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::cases::{claim, ingress, pod, service, volume};
use super::{account_of, tried};
use crate::support::{eventually, objects};

/// An object: API version, kind, name.
type Object = (&'static str, &'static str, &'static str);

const POD: Object = ("v1", "Pod", "waiting");
const SYNCED: Object = ("v1", "Pod", "synced");
const TOLERANT: Object = ("v1", "Pod", "tolerant");
const SERVICE: Object = ("v1", "Service", "web");
const CLAIM: Object = ("v1", "PersistentVolumeClaim", "data");
const SET: Object = ("apps/v1", "StatefulSet", "set");
const DEPLOYMENT: Object = ("apps/v1", "Deployment", "set");
const REPLICAS: Object = ("apps/v1", "ReplicaSet", "alone");
const INGRESS: Object = ("networking.k8s.io/v1", "Ingress", "web");

/// What refusals of a status say: nobody makes a pod with one.
pub(super) const OF_A_STATUS: [&str; 2] = ["its node's to tell", "not changed with its status"];

/// What refusals of a pod say that only an account of a workspace gets.
pub(super) const OF_A_POD: &str = "must stay as it was made";

/// What refusals of a workload say, which only an account of a workspace gets.
pub(super) const OF_A_WORKLOAD: &str = "is the platform's to say";

/// Tries a change; says why not.
async fn changed(client: &Client, namespace: &str, object: Object, patch: Value) -> Result<(), String> {
    patched(client, namespace, object, &Patch::Merge(&patch)).await
}

/// The same with a patch of another kind.
async fn patched(
    client: &Client,
    namespace: &str,
    (version, kind, name): Object,
    patch: &Patch<&Value>,
) -> Result<(), String> {
    let api = objects(client, version, kind, Some(namespace));
    match api.patch(name, &PatchParams::default().dry_run(), patch).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(error) => panic!("{patch:?}: {error:?}"),
    }
}

/// The same for a container that is added to a running pod.
async fn debugged(client: &Client, namespace: &str, privileged: bool) -> Result<(), String> {
    let container = json!({ "name": "debug", "image": "busybox", "securityContext": { "privileged": privileged } });
    let patch = json!({ "spec": { "ephemeralContainers": [container] } });
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let parameters = PatchParams::default().dry_run();
    match pods.patch_ephemeral_containers(POD.2, &parameters, &Patch::Strategic(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(error) => panic!("{patch}: {error:?}"),
    }
}

/// The same for what a running pod may use.
async fn resized(client: &Client, namespace: &str) -> Result<(), String> {
    let patch =
        json!({ "spec": { "containers": [{ "name": "main", "resources": { "requests": { "cpu": "20m" } } }] } });
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    match pods.patch_resize(POD.2, &PatchParams::default().dry_run(), &Patch::Strategic(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(error) => panic!("{patch}: {error:?}"),
    }
}

/// The same for what is said of a running pod, and what comes with it.
async fn said(client: &Client, namespace: &str, patch: Value) -> Result<(), String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    match pods.patch_status(POD.2, &PatchParams::default().dry_run(), &Patch::Strategic(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(error) => panic!("{patch}: {error:?}"),
    }
}

async fn make(client: &Client, namespace: &str, (version, kind, name): Object, mut object: Value) {
    object["metadata"]["name"] = json!(name);
    let api = objects(client, version, kind, Some(namespace));
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

pub(super) async fn are_judged(client: &Client, workspace: &str, foreign: &str) {
    for namespace in [workspace, foreign] {
        let gated = pod(json!({ "schedulingGates": [{ "name": "hexabase.ai/never" }] }));
        let mut synced = gated.clone();
        synced["metadata"]["labels"] = json!({ "vcluster.loft.sh/managed-by": "ws-x" });
        make(client, namespace, POD, gated).await;
        make(client, namespace, SYNCED, synced).await;
        make(client, namespace, SERVICE, service(json!({}))).await;
        make(client, namespace, CLAIM, claim(json!({}))).await;
        make(client, namespace, INGRESS, ingress(json!({}), json!({}))).await;
    }
    let found = objects(client, "v1", "Pod", Some(workspace)).get(POD.2).await.unwrap();
    let mut tolerations = found.data["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    tolerations.push(json!({ "key": "hexabase.ai/node-pool", "value": "pool-a", "effect": "NoSchedule" }));
    let host = json!([{ "host": "bank.example" }]);
    let cases = [
        (POD, json!({ "spec": { "tolerations": tolerations } }), "tolerate only taints"),
        (POD, json!({ "spec": { "nodeSelector": { "kubernetes.io/hostname": "devhost" } } }), "select nodes only by"),
        (SERVICE, json!({ "spec": { "externalIPs": ["192.0.2.1"] } }), "externalIPs"),
        (INGRESS, json!({ "spec": { "rules": host } }), "a host in a domain of the workspace"),
        (
            INGRESS,
            json!({ "metadata": { "annotations": { "kubernetes.io/ingress.class": "internal" } } }),
            "name its class by annotation",
        ),
    ];
    for (object, patch, says) in cases {
        let message = changed(client, workspace, object, patch.clone()).await.unwrap_err();
        assert!(message.contains(says), "{patch}: {message}");
        assert_eq!(changed(client, foreign, object, patch.clone()).await, Ok(()), "{patch}");
    }
    for object in [POD, SERVICE, CLAIM, INGRESS] {
        let patch = json!({ "metadata": { "labels": { "a": "b" } } });
        assert_eq!(changed(client, workspace, object, patch).await, Ok(()), "{object:?}");
    }
    let message = debugged(client, workspace, true).await.unwrap_err();
    assert!(message.contains("privileged container"), "{message}");
    assert_eq!(debugged(client, workspace, false).await, Ok(()));
    assert_eq!(debugged(client, foreign, true).await, Ok(()));

    by_an_account(client, workspace, foreign).await;
    stay_as_they_were_made(client, workspace, foreign).await;
    from_before(client, workspace).await;
}

/// The control plane's own pod bears no marker of vCluster, as this one. Whoever has got in has nothing else run there.
async fn stay_as_they_were_made(client: &Client, workspace: &str, foreign: &str) {
    let account = account_of(workspace).await;
    let refused = |outcome: Result<(), String>| {
        let message = outcome.unwrap_err();
        assert!(message.contains(OF_A_POD), "{message}");
    };
    for patch in [
        json!({ "metadata": { "labels": { "app": "another" } } }),
        json!({ "metadata": { "labels": { "vcluster.loft.sh/managed-by": "x" } } }),
        json!({ "spec": { "activeDeadlineSeconds": 1 } }),
    ] {
        refused(changed(&account, workspace, POD, patch.clone()).await);
        assert_eq!(changed(client, workspace, POD, patch.clone()).await, Ok(()), "{patch}");
        assert_eq!(changed(&account, foreign, POD, patch.clone()).await, Ok(()), "{patch}");
    }
    let image = json!({ "spec": { "containers": [{ "name": "main", "image": "docker.io/library/busybox:1.37" }] } });
    refused(patched(&account, workspace, POD, &Patch::Strategic(&image)).await);
    assert_eq!(patched(client, workspace, POD, &Patch::Strategic(&image)).await, Ok(()));
    assert_eq!(patched(&account, workspace, SYNCED, &Patch::Strategic(&image)).await, Ok(()));
    refused(debugged(&account, workspace, false).await);
    assert_eq!(debugged(&account, foreign, false).await, Ok(()));
    refused(resized(&account, workspace).await);
    assert_eq!(resized(client, workspace).await, Ok(()));
    // What vCluster has brought it may change, but not hide.
    let labels = |labels: Value| json!({ "metadata": { "labels": labels } });
    assert_eq!(changed(&account, workspace, SYNCED, labels(json!({ "a": "b" }))).await, Ok(()));
    refused(changed(&account, workspace, SYNCED, labels(json!({ "vcluster.loft.sh/managed-by": null }))).await);
}

/// An operator gives a workspace less than it has brought to the host already.
async fn from_before(client: &Client, workspace: &str) {
    let less =
        Patch::Merge(json!({ "metadata": { "annotations": { "hexabase.ai/ingress-domains": "other.example" } } }));
    let namespaces = objects(client, "v1", "Namespace", None);
    namespaces.patch(workspace, &PatchParams::default(), &less).await.unwrap();
    let host = json!({ "spec": { "rules": [{ "host": "shop.example" }] } });
    let refused = || changed(client, workspace, INGRESS, host.clone());
    let message = eventually("less is given", || async { refused().await.err() }).await;
    assert!(message.contains("a host in a domain of the workspace"), "{message}");
    let held = json!({ "metadata": { "finalizers": ["example.com/held"], "labels": { "c": "d" } } });
    assert_eq!(changed(client, workspace, INGRESS, held.clone()).await, Ok(()));

    let pool = |name: Value| Patch::Merge(json!({ "metadata": { "annotations": { "hexabase.ai/node-pool": name } } }));
    let taint = json!({ "key": "hexabase.ai/node-pool", "value": "pool-a", "effect": "NoSchedule" });
    let tolerant = pod(json!({ "schedulingGates": [{ "name": "hexabase.ai/never" }], "tolerations": [taint] }));
    namespaces.patch(workspace, &PatchParams::default(), &pool(json!("pool-a"))).await.unwrap();
    eventually("nodes are given", || async { tried(client, Some(workspace), &tolerant).await.ok() }).await;
    make(client, workspace, TOLERANT, tolerant.clone()).await;
    namespaces.patch(workspace, &PatchParams::default(), &pool(Value::Null)).await.unwrap();
    let taken = || async { tried(client, Some(workspace), &tolerant).await.err() };
    let message = eventually("nodes are taken away", taken).await;
    assert!(message.contains("tolerate only taints"), "{message}");
    assert_eq!(changed(client, workspace, TOLERANT, held).await, Ok(()));
    let moved = json!({ "spec": { "nodeSelector": { "kubernetes.io/arch": "amd64" } } });
    let message = changed(client, workspace, TOLERANT, moved).await.unwrap_err();
    assert!(message.contains("tolerate only taints"), "it is placed anew: {message}");
}

/// Whoever has got into the control plane of a workspace with nodes of its own makes pods there, with vCluster's marker or without.
pub(super) async fn are_put_on_the_plans_nodes(workspace: &str, foreign: &str) {
    let account = account_of(workspace).await;
    let bare = pod(json!({}));
    let message = tried(&account, Some(workspace), &bare).await.unwrap_err();
    assert!(message.contains("has to select the plan's nodes"), "{message}");
    let placed = pod(json!({ "nodeSelector": { "hexabase.node-restriction.kubernetes.io/pool": "pool-a" } }));
    assert_eq!(tried(&account, Some(workspace), &placed).await, Ok(()));
    assert_eq!(tried(&account, Some(foreign), &bare).await, Ok(()));
}

/// Nor does it have them made by the host's own controllers.
pub(super) async fn are_not_made_by_others(client: &Client, workspace: &str, foreign: &str) {
    let account = account_of(workspace).await;
    let labels = json!({ "app": "set" });
    let template = json!({ "metadata": { "labels": labels }, "spec": pod(json!({}))["spec"] });
    let selector = json!({ "matchLabels": labels });
    let spec = json!({ "replicas": 0, "serviceName": "set", "selector": selector, "template": template });
    let set = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {}, "spec": spec });
    let mut deployment = set.clone();
    deployment["kind"] = json!("Deployment");
    deployment["spec"].as_object_mut().unwrap().remove("serviceName");
    let mut replicas = deployment.clone();
    replicas["kind"] = json!("ReplicaSet");
    // The Deployment would take one of the same labels for its own.
    for place in ["/spec/selector/matchLabels/app", "/spec/template/metadata/labels/app"] {
        *replicas.pointer_mut(place).unwrap() = json!("alone");
    }
    for workload in [&set, &deployment, &replicas] {
        let message = tried(&account, Some(workspace), workload).await.unwrap_err();
        assert!(message.contains(OF_A_WORKLOAD), "{message}");
        assert_eq!(tried(&account, Some(foreign), workload).await, Ok(()), "{workload}");
    }
    for namespace in [workspace, foreign] {
        make(client, namespace, SET, set.clone()).await;
        make(client, namespace, DEPLOYMENT, deployment.clone()).await;
        make(client, namespace, REPLICAS, replicas.clone()).await;
    }
    let other = json!([{ "name": "main", "image": "docker.io/library/busybox:1.37" }]);
    for (object, spec) in [
        (SET, json!({ "replicas": 2 })),
        (SET, json!({ "template": { "spec": { "containers": other } } })),
        (SET, json!({ "template": { "metadata": { "labels": { "a": "b" } } } })),
        // Its pods would be others than the one that there is.
        (SET, json!({ "ordinals": { "start": 1 } })),
        // What the platform asks for next would never come.
        (SET, json!({ "updateStrategy": { "type": "OnDelete", "rollingUpdate": null } })),
        (SET, json!({ "updateStrategy": { "rollingUpdate": { "partition": 1 } } })),
        (SET, json!({ "minReadySeconds": 86_400 })),
        // The platform's own next sleep would take the volume away.
        (SET, json!({ "persistentVolumeClaimRetentionPolicy": { "whenScaled": "Delete" } })),
        (DEPLOYMENT, json!({ "replicas": 2 })),
        (DEPLOYMENT, json!({ "paused": true })),
        (DEPLOYMENT, json!({ "strategy": { "type": "Recreate", "rollingUpdate": null } })),
        (REPLICAS, json!({ "replicas": 2 })),
    ] {
        let patch = json!({ "spec": spec });
        let message = changed(&account, workspace, object, patch.clone()).await.unwrap_err();
        assert!(message.contains(OF_A_WORKLOAD), "{patch}: {message}");
        assert_eq!(changed(client, workspace, object, patch.clone()).await, Ok(()), "{patch}");
        assert_eq!(changed(&account, foreign, object, patch.clone()).await, Ok(()), "{patch}");
    }
    // With new certificates it has its own pod made anew so.
    let anew = json!({ "spec": { "template": { "metadata": { "annotations": { "example.com/at": "now" } } } } });
    assert_eq!(changed(&account, workspace, SET, anew).await, Ok(()));
}

/// Whoever has got into a control plane, were it allowed to do everything else.
async fn by_an_account(client: &Client, workspace: &str, foreign: &str) {
    let account = account_of(workspace).await;
    let chosen = json!({ "spec": { "volumeName": "somebodys" } });
    let message = changed(&account, workspace, CLAIM, chosen.clone()).await.unwrap_err();
    assert!(message.contains("volume by name"), "{message}");
    // So does Kubernetes itself.
    assert_eq!(changed(client, workspace, CLAIM, chosen).await, Ok(()));

    for (object, name, says) in [
        (POD, "k8s.v1.cni.cncf.io/networks", "ask the host's network for anything"),
        (SERVICE, "metallb.io/loadBalancerIPs", "load balancers and DNS for anything"),
    ] {
        let patch = json!({ "metadata": { "annotations": { name: "x" } } });
        let message = changed(&account, workspace, object, patch.clone()).await.unwrap_err();
        assert!(message.contains(says), "{message}");
        // The host's own parts write them as well.
        assert_eq!(changed(client, workspace, object, patch).await, Ok(()));
    }

    let mut asking = service(json!({}));
    asking["metadata"]["annotations"] = json!({ "metallb.io/loadBalancerIPs": "192.0.2.1" });
    let message = tried(&account, Some(workspace), &asking).await.unwrap_err();
    assert!(message.contains("load balancers and DNS for anything"), "{message}");

    for (patch, says) in [
        (json!({ "status": { "podIP": "10.244.9.9", "podIPs": [{ "ip": "10.244.9.9" }] } }), OF_A_STATUS[0]),
        (json!({ "metadata": { "labels": { "release": "another" } } }), OF_A_STATUS[1]),
        (
            json!({ "metadata": { "annotations": { "cni.projectcalico.org/podIP": "10.244.9.9/32" } } }),
            "ask the host's network for anything",
        ),
    ] {
        let message = said(&account, workspace, patch.clone()).await.unwrap_err();
        assert!(message.contains(says), "{message}");
        assert_eq!(said(client, workspace, patch.clone()).await, Ok(()));
        assert_eq!(said(&account, foreign, patch.clone()).await, Ok(()), "{patch}");
    }
    let gate = json!({ "conditions": [{ "type": "example.com/ready", "status": "True" }] });
    let noted = json!({ "metadata": { "annotations": { "example.com/note": "x" } }, "status": gate });
    assert_eq!(said(&account, workspace, noted).await, Ok(()));

    let folder = volume(json!({}), json!({ "hostPath": { "path": "/" } }));
    let message = tried(&account, None, &folder).await.unwrap_err();
    assert!(message.contains("folder of a node"), "{message}");
    let driver = volume(json!({}), json!({ "csi": { "driver": "x.example", "volumeHandle": "x" } }));
    assert_eq!(tried(&account, None, &driver).await, Ok(()));
    assert_eq!(tried(client, None, &folder).await, Ok(()));
}
