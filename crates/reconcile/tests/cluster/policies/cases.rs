//! The rules, each with objects that pass and objects that fail: a file per policy, two for that of pods.

mod claims;
mod ingresses;
mod placement;
mod pods;
mod services;
mod volumes;

use serde_json::{Value, json};

/// Where the objects are tried.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// In a workspace on shared nodes.
    Shared,
    /// In one with nodes of its own, `pool-a`.
    Dedicated,
    /// They have no namespace.
    Cluster,
}

pub(super) struct Case {
    /// What a refusal says.
    pub(super) says: &'static str,
    pub(super) place: Place,
    pub(super) passes: Vec<Value>,
    pub(super) fails: Vec<Value>,
    /// What is none of its business; without it, all that fails, in a namespace that is no workspace's.
    pub(super) skipped: Option<Vec<Value>>,
}

fn case(says: &'static str, place: Place, passes: Vec<Value>, fails: Vec<Value>) -> Case {
    Case { says, place, passes, fails, skipped: None }
}

fn merged(mut base: Value, more: Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more);
    }
    base
}

pub(super) fn pod(more: Value) -> Value {
    labelled_pod(json!({}), more)
}

fn labelled_pod(labels: Value, more: Value) -> Value {
    let spec = json!({ "containers": [{ "name": "main", "image": "docker.io/library/busybox:1.36" }] });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "labels": labels }, "spec": merged(spec, more) })
}

fn container(more: Value) -> Value {
    pod(json!({ "containers": [merged(json!({ "name": "main", "image": "busybox" }), more)] }))
}

pub(super) fn service(more: Value) -> Value {
    let spec = merged(json!({ "ports": [{ "port": 80 }] }), more);
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": {}, "spec": spec })
}

pub(super) fn claim(more: Value) -> Value {
    let spec = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } } });
    json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {}, "spec": merged(spec, more) })
}

pub(super) fn volume(labels: Value, source: Value) -> Value {
    let spec = json!({ "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "1Mi" } });
    json!({ "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "labels": labels },
        "spec": merged(spec, source) })
}

pub(super) fn ingress(annotations: Value, more: Value) -> Value {
    let rule = |host: &str| json!({ "host": host, "http": { "paths": [path()] } });
    let spec = json!({ "ingressClassName": "web", "rules": [rule("www.shop.example"), rule("blog.example")] });
    json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "annotations": annotations },
        "spec": merged(spec, more) })
}

fn annotated(mut object: Value, name: &str, value: &str) -> Value {
    object["metadata"]["annotations"] = json!({ name: value });
    object
}

fn path() -> Value {
    json!({ "path": "/", "pathType": "Prefix", "backend": backend() })
}

fn backend() -> Value {
    json!({ "service": { "name": "web", "port": { "number": 80 } } })
}

/// Every rule; `given` is a runtime class that tenants may name, `kept` one that they may not, `own` the id of the workspace
/// on shared nodes.
pub(super) fn all(given: &str, kept: &str, own: &str) -> Vec<Case> {
    let all = [
        placement::all(),
        pods::all(given, kept, own),
        services::all(),
        claims::all(),
        volumes::all(),
        ingresses::all(),
    ];
    all.into_iter().flatten().collect()
}
