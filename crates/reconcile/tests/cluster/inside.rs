//! Inside a tenant: a client made independently of the crate under test, and ordinary pods.

use hexabase_core::ids::WorkspaceId;
use hexabase_reconcile::TenantEndpoint;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;

use crate::support::{eventually, namespace, objects};

/// A client of the tenant as its administrator, made independently of the crate under test.
pub(crate) async fn tenant(client: &Client, id: &WorkspaceId, endpoint: &TenantEndpoint) -> Client {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace(id));
    // The last thing that vCluster writes; its API server answers before.
    let name = format!("vc-{id}");
    let data = eventually("the credentials of a tenant", || async { secrets.get(&name).await.ok()?.data }).await;
    let part = |name: &str| data[name].clone();
    let kubeconfig: Kubeconfig = serde_json::from_value(json!({
        "clusters": [{ "name": "t", "cluster": {
            "server": format!("https://{}:{}", endpoint.host, endpoint.port),
            "tls-server-name": endpoint.server_name,
            "certificate-authority-data": ByteString(endpoint.ca_pem.clone().into_bytes()),
        } }],
        "users": [{ "name": "t", "user": {
            "client-certificate-data": part("client-certificate"), "client-key-data": part("client-key"),
        } }],
        "contexts": [{ "name": "t", "context": { "cluster": "t", "user": "t" } }],
        "current-context": "t",
    }))
    .unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// Makes an ordinary pod (root, no resources) in a tenant, with a volume of its own if asked, and waits until it runs.
pub(crate) async fn running_pod(tenant: &Client, namespace: &str, name: &str, claim: Option<&str>) {
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": { "containers": [{
        "name": "main", "image": "docker.io/library/busybox:1.36", "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/busybox", "sleep", "3600"],
    }] } });
    if let Some(claim) = claim {
        let volume = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": claim },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } });
        let claims = objects(tenant, "v1", "PersistentVolumeClaim", Some(namespace));
        claims.create(&PostParams::default(), &serde_json::from_value(volume).unwrap()).await.unwrap();
        pod["spec"]["volumes"] = json!([{ "name": "v", "persistentVolumeClaim": { "claimName": claim } }]);
        pod["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "v", "mountPath": "/v" }]);
    }
    let pods = objects(tenant, "v1", "Pod", Some(namespace));
    // The namespace's ServiceAccount is made a moment after the namespace.
    eventually("the pod is admitted", || async {
        pods.create(&PostParams::default(), &serde_json::from_value(pod.clone()).unwrap()).await.ok()
    })
    .await;
    eventually("the pod runs", || async {
        let found = pods.get(name).await.ok()?;
        (found.data["status"]["phase"] == "Running").then_some(())
    })
    .await;
}
