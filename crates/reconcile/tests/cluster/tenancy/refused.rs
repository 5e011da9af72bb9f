//! What a tenant's own API server takes and the host does not: nothing of it comes to be, and the tenant is told why.

use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use crate::inside::running_pod;
use crate::support::{eventually, objects};

/// No project: inside, nothing is counted there and nothing is given to containers that say nothing.
const UNCOUNTED: &str = "default";
/// One that its people make themselves.
const OPEN: &str = "open";
/// A volume of theirs.
const FOLDER: &str = "folder";

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

    /// In a namespace that its people have opened to everything: that of the host stays as it is.
    pub(super) async fn by_the_level_of_the_host(&self) {
        let labels = json!({ "pod-security.kubernetes.io/enforce": "privileged" });
        let open = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": OPEN, "labels": labels } });
        let namespaces = objects(self.tenant, "v1", "Namespace", None);
        namespaces.create(&PostParams::default(), &serde_json::from_value(open).unwrap()).await.unwrap();
        let accounts = objects(self.tenant, "v1", "ServiceAccount", Some(OPEN));
        eventually("the ServiceAccount is there", || async { accounts.get_opt("default").await.unwrap() }).await;
        for (name, spec, control) in [
            ("networked", pod(json!({ "hostNetwork": true })), "hostNetwork=true"),
            ("foldered", pod(json!({ "volumes": [{ "name": "v", "hostPath": { "path": "/" } }] })), "hostPath volumes"),
            ("ported", container(json!({ "ports": [{ "containerPort": 80, "hostPort": 8080 }] })), "hostPort 8080"),
            ("privileged", container(json!({ "securityContext": { "privileged": true } })), "privileged=true"),
        ] {
            let words = ["violates PodSecurity \"baseline", control];
            self.refused(OPEN, ("Pod", name), spec, &words).await;
        }
        self.volumes_stay_inside().await;
        namespaces.delete(OPEN, &DeleteParams::default()).await.unwrap();
    }

    /// A folder of a node, as a volume that is claimed: neither comes to the host.
    async fn volumes_stay_inside(&self) {
        let claim_of = json!({ "namespace": OPEN, "name": "of-a-folder" });
        let spec = json!({ "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "1Mi" },
            "hostPath": { "path": "/" }, "claimRef": claim_of });
        let volume = json!({ "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": FOLDER },
            "spec": spec });
        let inside = objects(self.tenant, "v1", "PersistentVolume", None);
        inside.create(&PostParams::default(), &serde_json::from_value(volume).unwrap()).await.unwrap();
        let claim = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } },
            "volumeName": FOLDER });
        self.refused(OPEN, ("PersistentVolumeClaim", "of-a-folder"), claim, &["choose its volume by name"]).await;
        let on_host = objects(self.host, "v1", "PersistentVolume", None);
        assert!(on_host.get_opt(FOLDER).await.unwrap().is_none());
        let marker = format!("vcluster.loft.sh/managed-by={}-x-{}", self.place, self.place.trim_start_matches("hxb-"));
        let brought = on_host.list_metadata(&ListParams::default().labels(&marker)).await.unwrap();
        assert_eq!(brought.items.len(), 0, "{brought:?}");
        // vCluster itself deletes volumes that nobody claims.
        let _ = inside.delete(FOLDER, &DeleteParams::default()).await;
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
