//! What the tenant's API server demands of pods in namespaces that say nothing themselves.
//!
//! vCluster's own setting puts one level on every namespace, those of projects with a level of their own included, so it is not
//! used. Format: Kubernetes, "Enforce Pod Security Standards by Configuring the Built-in Admission Controller".

use serde_json::{Value, json};

/// The file's name, in the Secret that holds the API server's other configuration.
pub(crate) const KEY: &str = "admission.yaml";

/// The API server's `AdmissionConfiguration`. What it lets pass, because somebody gave their namespace a weaker label, the host
/// refuses all the same.
pub(crate) fn configuration() -> Value {
    let security = json!({
        "apiVersion": "pod-security.admission.config.k8s.io/v1",
        "kind": "PodSecurityConfiguration",
        "defaults": { "enforce": "baseline", "enforce-version": "latest" },
    });
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{ "name": "PodSecurity", "configuration": security }],
    })
}
