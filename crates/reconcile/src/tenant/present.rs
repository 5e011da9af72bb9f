//! Showing a token to a tenant's API server, for what the server learns by refusing it.

use serde_json::json;

use super::client;
use crate::error::ReconcileError;
use crate::host::api_server::SERVER_NAME;

/// Shows `token` to the API server at `endpoint` (host and port), which proves itself by the authority `ca_pem`; returns the
/// status that it answers with.
///
/// # Errors
/// [`ReconcileError::Unreachable`] when it does not answer.
pub async fn present_token(endpoint: &str, ca_pem: &str, token: &str) -> Result<u16, ReconcileError> {
    let cluster = client(endpoint, SERVER_NAME, ca_pem, &json!({ "token": token })).await;
    let cluster = cluster.map_err(|text| ReconcileError::Configuration(text.into()))?;
    let request = http::Request::get("/api").body(Vec::new());
    let request = request.map_err(|error| ReconcileError::Configuration(error.into()))?;
    match cluster.client.request_text(request).await {
        Ok(_) => Ok(200),
        Err(kube::Error::Api(status)) => Ok(status.code),
        Err(source) => Err(ReconcileError::Unreachable { api: cluster.title, source: Box::new(source) }),
    }
}
