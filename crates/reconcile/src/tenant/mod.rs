//! Inside the tenant: one file per step, or part of one, each with a pure `build`; `rights.rs` has what all do with roles,
//! policies and bindings.

pub(crate) mod access;
pub(crate) mod bounds;
pub(crate) mod makers;
mod present;
pub(crate) mod projects;
pub(crate) mod rights;

pub use present::believes_token;

use std::time::Duration;

use k8s_openapi::ByteString;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Map, Value, json};

use crate::apply::Cluster;
use crate::exact::fights::Fights;
use crate::host::api_server::Credentials;
use crate::labels::{MANAGED_BY, MANAGER};
use crate::status::TenantEndpoint;

/// Longest time for a connection and for an answer.
const CONNECT: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_secs(10);

/// A client of the tenant's API server as its administrator.
pub(crate) async fn connect(endpoint: &TenantEndpoint, credentials: &Credentials) -> Result<Cluster, String> {
    let user = json!({
        "client-certificate-data": ByteString(credentials.certificate.clone()),
        "client-key-data": ByteString(credentials.key.clone()),
    });
    client(&format!("{}:{}", endpoint.host, endpoint.port), &endpoint.server_name, &credentials.ca, &user).await
}

/// A client of the tenant's API server at `address` (host and port) as `user`, as a kubeconfig describes one. Of no answer is
/// more read than `bounds.rs` says.
pub(crate) async fn client(address: &str, server_name: &str, ca_pem: &str, user: &Value) -> Result<Cluster, String> {
    let (host, port) = address.rsplit_once(':').ok_or("an address without a port")?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let kubeconfig: Kubeconfig = serde_json::from_value(json!({
        "clusters": [{ "name": "tenant", "cluster": {
            "server": format!("https://{host}:{port}"),
            "certificate-authority-data": ByteString(ca_pem.as_bytes().to_vec()),
            "tls-server-name": server_name,
        } }],
        "users": [{ "name": "user", "user": user }],
        "contexts": [{ "name": "tenant", "context": { "cluster": "tenant", "user": "user" } }],
        "current-context": "tenant",
    }))
    .map_err(|error| error.to_string())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|error| error.to_string())?;
    limit(&mut config, CONNECT, ANSWER);
    let client = bounds::client(config).map_err(|error| error.to_string())?;
    Ok(Cluster { client, title: "the tenant's API server", fights: Fights::default() })
}

/// A call either succeeds soon or is repeated by the worker, not by the client.
pub(crate) fn limit(config: &mut Config, connect: Duration, answer: Duration) {
    config.default_retry = false;
    config.connect_timeout = Some(connect);
    config.read_timeout = Some(answer);
    config.write_timeout = Some(answer);
    config.reset_reader_on_write = true;
}

/// The label of everything the platform owns in a tenant.
fn labels() -> Map<String, Value> {
    let mut labels = Map::new();
    labels.insert(MANAGED_BY.to_owned(), json!(MANAGER));
    labels
}

/// Selects everything the platform owns in a tenant.
fn owned() -> String {
    format!("{MANAGED_BY}={MANAGER}")
}

/// The prefixed group of a token, as RBAC knows it.
fn subject(group: &str) -> Value {
    json!([{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
        "name": format!("{}{group}", crate::host::authentication::PREFIX) }])
}
