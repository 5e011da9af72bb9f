//! Showing a token to a tenant's API server, for what the server learns by refusing it.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;

use super::{ANSWER, CONNECT, limit};
use crate::error::ReconcileError;
use crate::host::api_server::SERVER_NAME;

/// Shows `token` to the API server at `endpoint` (host and port), which proves itself by the authority `ca_pem`; returns the
/// status that it answers with.
///
/// # Errors
/// [`ReconcileError::Unreachable`] when it does not answer.
pub async fn present_token(endpoint: &str, ca_pem: &str, token: &str) -> Result<u16, ReconcileError> {
    let configuration = |error: Box<dyn std::error::Error + Send + Sync>| ReconcileError::Configuration(error);
    let (host, port) = endpoint.rsplit_once(':').unwrap_or((endpoint, "443"));
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let kubeconfig: Kubeconfig = serde_json::from_value(json!({
        "clusters": [{ "name": "tenant", "cluster": {
            "server": format!("https://{host}:{port}"),
            "certificate-authority-data": k8s_openapi::ByteString(ca_pem.as_bytes().to_vec()),
            "tls-server-name": SERVER_NAME,
        } }],
        "users": [{ "name": "bearer", "user": { "token": token } }],
        "contexts": [{ "name": "tenant", "context": { "cluster": "tenant", "user": "bearer" } }],
        "current-context": "tenant",
    }))
    .map_err(|error| configuration(error.into()))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|error| configuration(error.into()))?;
    limit(&mut config, CONNECT, ANSWER);
    let client = Client::try_from(config).map_err(|error| configuration(error.into()))?;
    let request = http::Request::get("/api").body(Vec::new()).map_err(|error| configuration(error.into()))?;
    match client.request_text(request).await {
        Ok(_) => Ok(200),
        Err(kube::Error::Api(status)) => Ok(status.code),
        Err(source) => Err(ReconcileError::Unreachable { api: "the tenant's API server", source: Box::new(source) }),
    }
}
