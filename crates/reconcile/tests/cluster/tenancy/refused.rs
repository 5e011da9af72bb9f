//! What a tenant's own API server takes and the host does not: nothing of it comes to be, and the tenant is told why.

use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use crate::inside::running_pod;
use crate::support::{eventually, objects};

/// No project: inside, nothing is counted there and nothing is given to containers that say nothing.
const UNCOUNTED: &str = "default";

/// A workspace from both sides.
pub(super) struct Sides<'a> {
    pub(super) host: &'a Client,
    pub(super) tenant: &'a Client,
    /// Its namespace on the host.
    pub(super) place: &'a str,
}

impl Sides<'_> {
    /// Makes an object inside, of which the tenant is to read these words and nothing is to be on the host.
    async fn refused(&self, namespace: &str, (kind, name): (&str, &str), spec: Value, words: &[&str]) {
        let object = json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name }, "spec": spec });
        let api = objects(self.tenant, "v1", kind, Some(namespace));
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        let events: Api<Event> = Api::namespaced(self.tenant.clone(), namespace);
        let about = ListParams::default().fields(&format!("involvedObject.name={name}"));
        eventually(&format!("the tenant reads of {name}"), || async {
            let found = events.list(&about).await.ok()?.items;
            let mut texts = found.iter().filter_map(|event| event.message.as_deref());
            texts.any(|text| words.iter().all(|word| text.contains(*word))).then_some(())
        })
        .await;
        let on_host = objects(self.host, "v1", kind, Some(self.place));
        let synced = on_host.list_metadata(&ListParams::default()).await.unwrap();
        let is_there = synced.items.iter().any(|object| object.metadata.name.as_deref().unwrap().starts_with(name));
        assert!(!is_there, "{name}");
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// In a project, what the host's rules refuse.
    pub(super) async fn by_rules(&self) {
        let term = json!({ "matchExpressions": [{ "key": "kubernetes.io/hostname", "operator": "Exists" }] });
        let wish = json!({ "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [term] } });
        let claim = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } },
            "storageClassName": "" });
        let cases = [
            ("Pod", "tolerant", pod(json!({ "tolerations": [{ "operator": "Exists" }] })), "tolerate only"),
            (
                "Pod",
                "choosy",
                pod(json!({ "nodeSelector": { "kubernetes.io/hostname": "devhost" } })),
                "select nodes only by",
            ),
            ("Pod", "wishful", pod(json!({ "affinity": { "nodeAffinity": wish } })), "prefer nodes only by"),
            (
                "Pod",
                "mounter",
                pod(json!({ "volumes": [{ "name": "v", "nfs": { "server": "192.0.2.1", "path": "/" } }] })),
                "mount only claims",
            ),
            ("PersistentVolumeClaim", "classless", claim, "storage class that the host gives"),
        ];
        for (kind, name, spec, expected) in cases {
            self.refused("shop", (kind, name), spec, &[expected]).await;
        }
        // The host is asked about a service before the tenant has it.
        let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "greedy" },
            "spec": { "ports": [{ "port": 80 }], "externalIPs": ["192.0.2.1"] } });
        let services = objects(self.tenant, "v1", "Service", Some("shop"));
        let refused = services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await;
        assert!(refused.as_ref().is_err_and(|error| error.to_string().contains("externalIPs")), "{refused:?}");
        assert!(services.get_opt("greedy").await.unwrap().is_none());
    }

    /// Outside of all projects it is the host alone that holds a workspace to its plan, by its quota and its defaults.
    pub(super) async fn by_the_plan(&self) {
        for kind in ["ResourceQuota", "LimitRange"] {
            let inside = objects(self.tenant, "v1", kind, Some(UNCOUNTED));
            assert_eq!(inside.list_metadata(&ListParams::default()).await.unwrap().items.len(), 0, "{kind}");
        }
        running_pod(self.tenant, UNCOUNTED, "silent", None).await;
        let pods = objects(self.host, "v1", "Pod", Some(self.place)).list(&ListParams::default()).await.unwrap();
        let is_it = |name: Option<&str>| name.is_some_and(|name| name.starts_with("silent-x-default-x-"));
        let pod = pods.items.iter().find(|pod| is_it(pod.metadata.name.as_deref())).unwrap();
        let limits = json!({ "cpu": "400m", "memory": "819Mi", "ephemeral-storage": "1Gi" });
        assert_eq!(pod.data["spec"]["containers"][0]["resources"]["limits"], limits);
        // The plan gives four cores.
        let large = container(json!({ "resources": { "limits": { "cpu": "5", "memory": "64Mi" } } }));
        let words = ["exceeded quota: hexabase", "limits.cpu=5"];
        self.refused(UNCOUNTED, ("Pod", "large"), large, &words).await;
    }
}

/// A pod with one container of this kind.
fn container(more: Value) -> Value {
    json!({ "containers": [merged(json!({ "name": "main", "image": "docker.io/library/busybox:1.36" }), more)] })
}

fn pod(more: Value) -> Value {
    merged(container(json!({})), more)
}

fn merged(mut base: Value, more: Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}
