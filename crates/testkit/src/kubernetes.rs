//! A Kubernetes API in memory, as far as a worker talks to its host: get, list by label and by the node of a pod, create, apply,
//! merge, replace, evict, resize, delete with finalizers. What a real API server does beyond that is for the suites on a real
//! cluster.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// When everything that is being deleted was deleted, until it is told another time.
const DELETED_AT: &str = "2026-01-01T00:00:00Z";

/// A running API server with no objects at first; ends when dropped.
#[derive(Debug)]
pub struct FakeKubernetes {
    state: Shared,
    folder: TempDir,
    server: JoinHandle<()>,
}

type Shared = Arc<Mutex<Objects>>;

/// Objects by path, such as `/api/v1/namespaces/x`.
#[derive(Debug, Default)]
struct Objects {
    all: BTreeMap<String, Value>,
    version: u64,
    broken: bool,
    /// Requests that are refused: method, path and status.
    refused: Vec<(String, String, u16)>,
    /// Requests that are carried out and answered with an error: method and path.
    lost: Vec<(String, String)>,
    /// Requests that would change something.
    writes: usize,
    /// What time it is.
    time: Option<String>,
}

/// Which objects of a collection are asked for.
#[derive(Debug, Default)]
struct Selector {
    labels: String,
    fields: String,
}

/// A status and a body.
type Answer = (u16, Value);

impl FakeKubernetes {
    /// Starts one on a free port.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Shared::default();
        let router = Router::new().fallback(handle).with_state(Arc::clone(&state));
        let server = tokio::spawn(async move {
            // Ends with the task.
            let _ = axum::serve(listener, router).await;
        });
        let folder = tempfile::Builder::new().prefix("hexabase-kubernetes-").tempdir()?;
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{ "name": "fake", "cluster": { "server": format!("http://{address}") } }],
            "users": [{ "name": "nobody", "user": {} }],
            "contexts": [{ "name": "fake", "context": { "cluster": "fake", "user": "nobody" } }],
        });
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string()).context("writing a kubeconfig")?;
        Ok(Self { state, folder, server })
    }

    /// A kubeconfig that leads to it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// The object at `path`.
    pub fn get(&self, path: &str) -> Option<Value> {
        lock(&self.state).all.get(path).cloned()
    }

    /// Puts an object at `path`, as somebody else would.
    pub fn put(&self, path: &str, object: Value) {
        lock(&self.state).write(path, object);
    }

    /// Takes the object at `path` away at once, with everything in it if it is a namespace.
    pub fn remove(&self, path: &str) {
        let below = format!("{path}/");
        lock(&self.state).all.retain(|other, _| other != path && !other.starts_with(&below));
    }

    /// From now on a request with this method for this path is answered with this status.
    pub fn refuse(&self, method: &str, path: &str, code: u16) {
        lock(&self.state).refused.push((method.to_owned(), path.to_owned(), code));
    }

    /// From now on a request with this method for this path is carried out, and answered as if nobody knew.
    pub fn lose_the_answer(&self, method: &str, path: &str) {
        lock(&self.state).lost.push((method.to_owned(), path.to_owned()));
    }

    /// How many requests there were that would change something.
    pub fn writes(&self) -> usize {
        lock(&self.state).writes
    }

    /// From now on what is deleted is deleted at this moment.
    pub fn set_time(&self, moment: &str) {
        lock(&self.state).time = Some(moment.to_owned());
    }

    /// From now on every request is answered with 500, or no longer.
    pub fn set_broken(&self, broken: bool) {
        lock(&self.state).broken = broken;
    }
}

impl Drop for FakeKubernetes {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(state: &Shared) -> std::sync::MutexGuard<'_, Objects> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn handle(State(state): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let content_type = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let parameter = |wanted: &str| {
        let mut all = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        all.find_map(|(name, value)| (name == wanted).then(|| value.into_owned())).unwrap_or_default()
    };
    let selector = Selector { labels: parameter("labelSelector"), fields: parameter("fieldSelector") };
    let (status, answer) = lock(&state).answer(method.as_str(), uri.path(), &selector, content_type, body);
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(answer)).into_response()
}

fn failure(code: u16, reason: &str, message: String) -> Answer {
    let status = json!({ "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code });
    (code, status)
}

fn absent(path: &str) -> Answer {
    failure(404, "NotFound", format!("{path} not found"))
}

/// How many parts the path has behind the group and the version: an object has an even number, a collection an odd one.
fn is_object(path: &str) -> bool {
    let parts = path.trim_matches('/').split('/').count();
    let group = if path.starts_with("/apis/") { 3 } else { 2 };
    parts.saturating_sub(group).is_multiple_of(2)
}

/// The path of the namespace that `path` lies in.
fn namespace_of(path: &str) -> Option<String> {
    let (_, rest) = path.split_once("/namespaces/")?;
    let (namespace, _) = rest.split_once('/')?;
    Some(format!("/api/v1/namespaces/{namespace}"))
}

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

fn has_finalizers(object: &Value) -> bool {
    object.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|all| !all.is_empty())
}

fn is_ending(object: &Value) -> bool {
    text(object, "/metadata/deletionTimestamp").is_some()
}

/// Whether the labels are as a selector of the forms `a=b`, `a!=b` and `a`, separated by commas, wants them.
fn is_selected(object: &Value, selector: &str) -> bool {
    let labels = object.pointer("/metadata/labels");
    let label = |name: &str| labels.and_then(|labels| labels.get(name)).and_then(Value::as_str);
    selector.split(',').filter(|term| !term.is_empty()).all(|term| match term.split_once('=') {
        Some((name, value)) => match name.strip_suffix('!') {
            Some(name) => label(name) != Some(value),
            None => label(name) == Some(value),
        },
        None => label(term).is_some(),
    })
}

/// Whether the fields of a pod are as a selector of the forms `a.b=c` and `a.b!=c` wants them. Other fields are not looked at.
fn is_selected_by_field(object: &Value, selector: &str) -> bool {
    selector.split(',').filter_map(|term| term.split_once('=')).all(|(name, value)| {
        let (name, equal) = name.strip_suffix('!').map_or((name, true), |name| (name, false));
        let pointer = match name {
            "spec.nodeName" => "/spec/nodeName",
            "status.phase" => "/status/phase",
            _ => return true,
        };
        (text(object, pointer).unwrap_or_default() == value) == equal
    })
}

/// Whether the object at `path` is in a collection: that of one namespace, or of all of them.
fn is_inside(path: &str, collection: &str) -> bool {
    let Some((place, _)) = path.rsplit_once('/') else { return false };
    let in_a_namespace = || {
        let (group, rest) = place.split_once("/namespaces/")?;
        let (_, plural) = rest.split_once('/')?;
        Some(collection.strip_prefix(group)?.strip_prefix('/')? == plural)
    };
    place == collection || in_a_namespace().unwrap_or(false)
}

/// RFC 7396; an apply is the same as far as it is used here, since it never says null.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (name, value) in patch {
        if value.is_null() {
            target.as_object_mut().map(|target| target.remove(&name));
        } else {
            merge(&mut target[name.as_str()], value);
        }
    }
}

impl Objects {
    fn answer(&mut self, method: &str, path: &str, selector: &Selector, content_type: &str, body: Value) -> Answer {
        if self.broken {
            return failure(500, "InternalError", "the server is out of order".to_owned());
        }
        self.writes += usize::from(method != "GET");
        if let Some((.., code)) = self.refused.iter().find(|refused| refused.0 == method && refused.1 == path) {
            return failure(*code, "Forbidden", format!("{method} {path} is refused"));
        }
        let answer = self.carry_out(method, path, selector, content_type, body);
        if self.lost.iter().any(|lost| lost.0 == method && lost.1 == path) {
            return failure(504, "Timeout", format!("{method} {path} took too long"));
        }
        answer
    }

    fn carry_out(&mut self, method: &str, path: &str, selector: &Selector, content_type: &str, body: Value) -> Answer {
        match (method, is_object(path)) {
            ("GET", _) if path == "/version" => (200, version()),
            ("GET", true) => self.all.get(path).map_or_else(|| absent(path), |found| (200, found.clone())),
            ("GET", false) => self.list(path, selector),
            ("POST", _) if path.ends_with("/eviction") => {
                self.delete(path.trim_end_matches("/eviction"), &body["deleteOptions"])
            }
            ("POST", false) => self.create(path, body),
            ("PATCH", _) if path.ends_with("/resize") => self.resize(path.trim_end_matches("/resize"), &body),
            ("PATCH", true) if content_type.starts_with("application/apply-patch") => self.apply(path, body),
            ("PATCH", true) => self.patch(path, body),
            ("PUT", true) => self.replace(path, body),
            ("DELETE", true) => self.delete(path, &body),
            _ => failure(405, "MethodNotAllowed", format!("{method} {path} is not known here")),
        }
    }

    fn now(&self) -> Value {
        json!(self.time.as_deref().unwrap_or(DELETED_AT))
    }

    /// Stores an object with what the server gives it.
    fn write(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        let metadata = &mut object["metadata"];
        if metadata["uid"].is_null() {
            metadata["uid"] = json!(format!("uid-{}", self.version));
        }
        metadata["resourceVersion"] = json!(self.version.to_string());
        self.all.insert(path.to_owned(), object.clone());
        object
    }

    fn list(&self, path: &str, selector: &Selector) -> Answer {
        let found = self.all.iter().filter(|(other, object)| {
            let selected = is_selected(object, &selector.labels) && is_selected_by_field(object, &selector.fields);
            is_inside(other, path) && selected
        });
        let items: Vec<Value> = found.map(|(_, object)| object.clone()).collect();
        (200, json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": items }))
    }

    fn create(&mut self, collection: &str, object: Value) -> Answer {
        let path = format!("{collection}/{}", text(&object, "/metadata/name").unwrap_or_default());
        if self.all.contains_key(&path) {
            return failure(409, "AlreadyExists", format!("{path} already exists"));
        }
        match namespace_of(&path) {
            Some(namespace) if !self.all.contains_key(&namespace) => absent(&namespace),
            _ => (201, self.write(&path, object)),
        }
    }

    fn apply(&mut self, path: &str, object: Value) -> Answer {
        let uid = text(&object, "/metadata/uid");
        let Some(mut found) = self.all.get(path).cloned() else {
            if let Some(uid) = uid {
                return failure(409, "Conflict", format!("uid mismatch: no existing object was found for {uid}"));
            }
            let collection = path.rsplit_once('/').map_or(path, |(collection, _)| collection);
            return self.create(collection, object);
        };
        if uid.is_some_and(|uid| text(&found, "/metadata/uid") != Some(uid)) {
            return failure(422, "Invalid", "metadata.uid: field is immutable".to_owned());
        }
        merge(&mut found, object);
        (200, self.write(path, found))
    }

    fn patch(&mut self, path: &str, patch: Value) -> Answer {
        let Some(mut found) = self.all.get(path).cloned() else { return absent(path) };
        let read = text(&patch, "/metadata/resourceVersion");
        if read.is_some_and(|read| text(&found, "/metadata/resourceVersion") != Some(read)) {
            return failure(409, "Conflict", format!("{path} has been modified"));
        }
        merge(&mut found, patch);
        let written = self.write(path, found);
        self.end(path);
        (200, written)
    }

    /// Changes what the containers of a pod may use that the patch names. Another uid than the pod's is refused as a change of it.
    fn resize(&mut self, path: &str, patch: &Value) -> Answer {
        let Some(mut pod) = self.all.get(path).cloned() else { return absent(path) };
        if text(patch, "/metadata/uid").is_some_and(|uid| text(&pod, "/metadata/uid") != Some(uid)) {
            return failure(422, "Invalid", "metadata.uid: field is immutable".to_owned());
        }
        let containers = pod.pointer_mut("/spec/containers").and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let mut named = patch["spec"]["containers"].as_array().into_iter().flatten();
            if let Some(named) = named.find(|named| named["name"] == container["name"]) {
                merge(&mut container["resources"], named["resources"].clone());
            }
        }
        (200, self.write(path, pod))
    }

    fn replace(&mut self, path: &str, object: Value) -> Answer {
        let Some(found) = self.all.get(path) else { return absent(path) };
        let differs = |field: &str| text(&object, field).is_some_and(|read| text(found, field) != Some(read));
        if differs("/metadata/uid") || differs("/metadata/resourceVersion") {
            return failure(409, "Conflict", format!("{path} has been modified"));
        }
        (200, self.write(path, object))
    }

    fn delete(&mut self, path: &str, options: &Value) -> Answer {
        let Some(mut found) = self.all.get(path).cloned() else { return absent(path) };
        let only = |field: &str| options["preconditions"][field].as_str();
        let differs = |field: &str| only(field).is_some_and(|read| found["metadata"][field].as_str() != Some(read));
        if differs("uid") || differs("resourceVersion") {
            return failure(409, "Conflict", format!("{path} is not the one that was read"));
        }
        if !is_ending(&found) {
            found["metadata"]["deletionTimestamp"] = self.now();
            self.write(path, found.clone());
        }
        self.end(path);
        (200, found)
    }

    /// Takes away what is being deleted and nothing holds any more; then its namespace, if that waited for it.
    fn end(&mut self, path: &str) {
        if !self.all.get(path).is_some_and(|object| is_ending(object) && !has_finalizers(object)) {
            return;
        }
        let inside: Vec<String> =
            self.all.keys().filter(|other| namespace_of(other).as_deref() == Some(path)).cloned().collect();
        let now = self.now();
        for child in &inside {
            match self.all.get_mut(child) {
                Some(object) if is_ending(object) && has_finalizers(object) => {}
                Some(object) if has_finalizers(object) => object["metadata"]["deletionTimestamp"] = now.clone(),
                _ => drop(self.all.remove(child)),
            }
        }
        if inside.iter().any(|child| self.all.contains_key(child)) {
            let message = "Some content in the namespace has finalizers remaining";
            if let Some(namespace) = self.all.get_mut(path) {
                namespace["status"]["conditions"] =
                    json!([{ "type": "NamespaceFinalizersRemaining", "status": "True", "message": message }]);
            }
            return;
        }
        self.all.remove(path);
        if let Some(namespace) = namespace_of(path) {
            self.end(&namespace);
        }
    }
}

fn version() -> Value {
    json!({ "major": "1", "minor": "35", "gitVersion": "v1.35.4", "gitCommit": "", "gitTreeState": "", "buildDate": "",
        "goVersion": "", "compiler": "", "platform": "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> Objects {
        let mut objects = Objects::default();
        let made = objects.create("/api/v1/namespaces", json!({ "metadata": { "name": "x", "labels": { "a": "b" } } }));
        assert_eq!(made.0, 201);
        objects
    }

    #[test]
    fn an_apply_makes_what_is_missing_unless_it_names_a_uid() {
        let mut objects = objects();
        let named = |uid: &str| json!({ "metadata": { "name": "y", "uid": uid } });
        assert_eq!(objects.apply("/api/v1/namespaces/y", named("uid-1")).0, 409);
        assert_eq!(objects.apply("/api/v1/namespaces/y", json!({ "metadata": { "name": "y" } })).0, 201);
        assert_eq!(objects.apply("/api/v1/namespaces/y", named("uid-1")).0, 422);
    }

    #[test]
    fn a_namespace_goes_with_its_last_finalizer() {
        let mut objects = objects();
        let held = json!({ "metadata": { "name": "held", "finalizers": ["example.com/hold"] } });
        assert_eq!(objects.create("/api/v1/namespaces/x/configmaps", held).0, 201);
        let free = json!({ "metadata": { "name": "free" } });
        assert_eq!(objects.create("/apis/apps/v1/namespaces/x/deployments", free).0, 201);
        objects.delete("/api/v1/namespaces/x", &Value::Null);
        let paths: Vec<&str> = objects.all.keys().map(String::as_str).collect();
        assert_eq!(paths, ["/api/v1/namespaces/x", "/api/v1/namespaces/x/configmaps/held"]);
        objects.patch("/api/v1/namespaces/x/configmaps/held", json!({ "metadata": { "finalizers": [] } }));
        assert!(objects.all.is_empty());
    }

    #[test]
    fn lists_are_of_one_collection_and_choose_by_label() {
        let mut objects = objects();
        objects.create("/api/v1/namespaces/x/pods", json!({ "metadata": { "name": "p" } }));
        let selector = |labels: &str, fields: &str| Selector { labels: labels.to_owned(), fields: fields.to_owned() };
        let count = |labels: &str| {
            objects.list("/api/v1/namespaces", &selector(labels, "")).1["items"].as_array().map_or(0, Vec::len)
        };
        assert_eq!((count(""), count("a=b"), count("a"), count("a=b,c"), count("a=c")), (1, 1, 1, 0, 0));
        assert_eq!((count("a!=b"), count("a!=c"), count("c!=b")), (0, 1, 1));
        let count = |path: &str| objects.list(path, &selector("", "")).1["items"].as_array().map_or(0, Vec::len);
        assert_eq!((count("/api/v1/pods"), count("/api/v1/namespaces/y/pods"), count("/apis/x/v1/pods")), (1, 0, 0));
        let placed =
            json!({ "metadata": { "name": "q" }, "spec": { "nodeName": "one" }, "status": { "phase": "Failed" } });
        objects.create("/api/v1/namespaces/x/pods", placed);
        let count = |fields: &str| {
            objects.list("/api/v1/pods", &selector("", fields)).1["items"].as_array().map_or(0, Vec::len)
        };
        assert_eq!((count("spec.nodeName=one"), count("spec.nodeName=two"), count("type=Opaque")), (1, 0, 2));
        assert_eq!((count("spec.nodeName=one,status.phase!=Failed"), count("status.phase!=Failed")), (0, 1));
    }

    #[test]
    fn a_resize_changes_the_containers_that_it_names_and_of_these_what_it_says() {
        let mut objects = objects();
        let limits = |cpu: &str| json!({ "limits": { "cpu": cpu, "memory": "2Gi" } });
        let container = |name: &str, cpu: &str| json!({ "name": name, "image": "i", "resources": limits(cpu) });
        let spec = json!({ "containers": [container("a", "2"), container("b", "2")] });
        objects.create("/api/v1/namespaces/x/pods", json!({ "metadata": { "name": "p" }, "spec": spec }));
        let mut resize = |name: &str, metadata: Value| {
            let named = json!({ "name": "b", "resources": { "limits": { "cpu": "1" } } });
            let body = json!({ "metadata": metadata, "spec": { "containers": [named] } });
            let path = format!("/api/v1/namespaces/x/pods/{name}/resize");
            objects.carry_out("PATCH", &path, &Selector::default(), "application/strategic-merge-patch+json", body)
        };
        assert_eq!((resize("q", json!({})).0, resize("p", json!({ "uid": "another" })).0), (404, 422));
        let resized = resize("p", json!({})).1;
        assert_eq!(resized["spec"]["containers"], json!([container("a", "2"), container("b", "1")]));
    }

    #[test]
    fn an_eviction_ends_the_pod_that_is_meant_and_no_other() {
        let mut objects = objects();
        objects.create("/api/v1/namespaces/x/pods", json!({ "metadata": { "name": "p", "uid": "u" } }));
        let evict = |objects: &mut Objects, uid: &str| {
            let body = json!({ "deleteOptions": { "preconditions": { "uid": uid } } });
            let path = "/api/v1/namespaces/x/pods/p/eviction";
            objects.carry_out("POST", path, &Selector::default(), "application/json", body).0
        };
        assert_eq!((evict(&mut objects, "other"), objects.all.len()), (409, 2));
        assert_eq!((evict(&mut objects, "u"), objects.all.len()), (200, 1));
    }
}
