//! Showing a token to a tenant's API server, to learn whether it believes it.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::client;
use crate::error::ReconcileError;
use crate::host::api_server::SERVER_NAME;
use crate::host::authentication::PREFIX;

/// Whether the API server at `endpoint` (host and port), which proves itself by the authority `ca_pem`, believes that the
/// bearer of `token` is `subject`. It is asked by the bearer, so that nobody else's rights are needed; one that lets nobody
/// ask who they are is taken for one that does not believe.
///
/// # Errors
/// [`ReconcileError::Unreachable`] when it does not answer.
pub async fn believes_token(endpoint: &str, ca_pem: &str, token: &str, subject: &str) -> Result<bool, ReconcileError> {
    let cluster = client(endpoint, SERVER_NAME, ca_pem, &json!({ "token": token })).await;
    let cluster = cluster.map_err(|text| ReconcileError::Configuration(text.into()))?;
    let reviews: Api<SelfSubjectReview> = Api::all(cluster.client);
    match reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await {
        Ok(review) => {
            let name = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
            Ok(name == Some(format!("{PREFIX}{subject}")))
        }
        // vCluster lets whoever is refused through as nobody, who may not ask.
        Err(kube::Error::Api(status)) if [401, 403].contains(&status.code) => Ok(false),
        Err(source) => Err(ReconcileError::Unreachable { api: cluster.title, source: Box::new(source) }),
    }
}
