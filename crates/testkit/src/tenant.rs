//! A workspace's API server as its people ask it, over TLS: it says yes to everything, until a test says otherwise, and
//! remembers what it was asked. What was deleted is not there any more. It judges nothing: that is for the suites on a real
//! cluster.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderName};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The name in the certificate of every workspace's API server.
const NAME: &str = "kubernetes";

/// A running API server; ends when dropped.
#[derive(Debug)]
pub struct FakeTenant {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// PEM of the authority behind its certificate.
    pub ca_pem: String,
    state: Shared,
    server: JoinHandle<()>,
}

type Shared = Arc<Mutex<Talk>>;

/// What is answered other than by a yes, and what was asked.
#[derive(Debug, Default)]
struct Talk {
    answers: Vec<(String, String, u16, Value)>,
    asked: Vec<Asked>,
}

/// A request that arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Its query.
    pub query: String,
    /// The token with which it was asked; empty for none.
    pub token: String,
    /// How the answer may be compressed; empty for not at all.
    pub encoding: String,
    /// Its body.
    pub body: Value,
}

impl FakeTenant {
    /// Starts one on a free port.
    pub async fn start() -> anyhow::Result<Self> {
        // A second test in the same process finds it installed.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&key)?;
        let ca_pem = certificate.pem();
        let chain = vec![CertificateDer::from_pem_slice(ca_pem.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?;
        let tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        let listener = Tls { tcp: TcpListener::bind("127.0.0.1:0").await?, acceptor: TlsAcceptor::from(Arc::new(tls)) };
        let address = listener.tcp.local_addr()?;
        let state = Shared::default();
        let router = Router::new().fallback(handle).with_state(Arc::clone(&state));
        let server = tokio::spawn(async move {
            // Ends with the task.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { host: address.ip().to_string(), port: address.port(), ca_pem, state, server })
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// From now on requests with this method for this path are answered so; a creation goes by the path of what it makes, too.
    pub fn answer(&self, method: &str, path: &str, status: u16, body: Value) {
        lock(&self.state).answers.push((method.to_owned(), path.to_owned(), status, body));
    }

    /// From now on requests with this method for this path are refused in these words.
    pub fn refuse(&self, method: &str, path: &str, status: u16, message: &str) {
        let body = json!({ "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
            "message": message, "reason": "Forbidden", "code": status });
        self.answer(method, path, status, body);
    }

    /// Forgets every answer that was told.
    pub fn agree(&self) {
        lock(&self.state).answers.clear();
    }

    /// The requests with this method, in order.
    pub fn asked(&self, method: &str) -> Vec<Asked> {
        lock(&self.state).asked.iter().filter(|asked| asked.method == method).cloned().collect()
    }
}

impl Drop for FakeTenant {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(state: &Shared) -> MutexGuard<'_, Talk> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.tcp.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

async fn handle(State(state): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = header(AUTHORIZATION).strip_prefix("Bearer ").unwrap_or_default().to_owned();
    let encoding = header(ACCEPT_ENCODING).to_owned();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (method, path) = (method.to_string(), uri.path().to_owned());
    let (status, answer) = {
        let mut talk = lock(&state);
        let query = uri.query().unwrap_or_default().to_owned();
        let (asked_method, asked_path) = (method.clone(), path.clone());
        talk.asked.push(Asked { method: asked_method, path: asked_path, query, token, encoding, body: body.clone() });
        let made = body["metadata"]["name"].as_str().filter(|_| method == "POST").map(|name| format!("{path}/{name}"));
        // What was told last counts.
        let is_asked = |told: &str| told == path || Some(told) == made.as_deref();
        let told = talk.answers.iter().rev().find(|told| told.0 == method && is_asked(&told.1));
        let told = told.map(|(_, _, status, body)| (*status, body.clone()));
        let (status, answer) = told.unwrap_or_else(|| yes(&method, &path, body));
        if method == "DELETE" && status < 300 {
            let gone = json!({ "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
                "message": format!("{path} not found"), "reason": "NotFound", "code": 404 });
            talk.answers.push(("GET".to_owned(), path, 404, gone));
        }
        (status, answer)
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match answer {
        // What is no object is no JSON either: a log.
        Value::String(text) => (status, text).into_response(),
        answer => (status, Json(answer)).into_response(),
    }
}

fn yes(method: &str, path: &str, mut body: Value) -> (u16, Value) {
    match (method, path) {
        ("GET", "/api") => (200, served("", &CORE)),
        ("GET", "/apis") => (200, served("apps", &APPS)),
        ("GET", path) => (200, role(path.rsplit('/').next().unwrap_or_default())),
        ("POST", path) if path.ends_with("accessreviews") => {
            body["status"] = json!({ "allowed": true, "reason": "RBAC: allowed" });
            (201, body)
        }
        ("DELETE", _) => (200, json!({ "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success" })),
        _ => (200, body),
    }
}

type Served = (&'static str, bool, &'static [&'static str], &'static [&'static str]);

const CORE: [Served; 3] = [
    ("pods", true, &["get", "list", "create", "delete"], &["log"]),
    ("configmaps", true, &["get", "list", "create", "update", "patch", "delete"], &[]),
    ("nodes", false, &["get", "list"], &[]),
];
const APPS: [Served; 1] = [("deployments", true, &["get", "list", "patch"], &["scale"])];

/// A little of what every Kubernetes serves, as aggregated discovery tells it.
fn served(group: &str, resources: &[Served]) -> Value {
    let resource = |(name, namespaced, verbs, below): &Served| {
        let scope = if *namespaced { "Namespaced" } else { "Cluster" };
        let below: Vec<Value> =
            below.iter().map(|below| json!({ "subresource": below, "verbs": ["get", "patch"] })).collect();
        json!({ "resource": name, "scope": scope, "singularResource": name.trim_end_matches('s'), "verbs": verbs,
            "subresources": below })
    };
    let resources: Vec<Value> = resources.iter().map(resource).collect();
    json!({ "apiVersion": "apidiscovery.k8s.io/v2", "kind": "APIGroupDiscoveryList", "metadata": {}, "items": [
        { "metadata": { "name": group }, "versions": [{ "version": "v1", "resources": resources }] },
    ] })
}

/// A ClusterRole with which pods can be read.
fn role(name: &str) -> Value {
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": name },
        "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"] }] })
}
