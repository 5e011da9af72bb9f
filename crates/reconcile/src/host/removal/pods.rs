//! The end of what runs: the control plane, so that nothing new is made, and every pod.

use hexabase_core::time::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::apply::Cluster;
use crate::error::ReconcileError;
use crate::labels::Names;
use crate::manifest::Kind;

/// Seconds that a pod gets to end.
const GRACE: u32 = 1;
/// A pod that should have ended this long ago is not waited for.
pub(crate) const STUCK_MILLIS: i64 = 30_000;

/// Scales the control plane to nothing; gives the name of a part for which Kubernetes may still make pods and claims,
/// because it has not taken notice yet.
pub(crate) async fn stop(host: &Cluster, names: &Names) -> Result<Option<String>, ReconcileError> {
    let namespace = Some(names.namespace.as_str());
    let mut stopping = None;
    for kind in [Kind::StatefulSet, Kind::Deployment] {
        for object in host.list(kind, namespace, "").await? {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            if is_stopped(&object) {
                continue;
            }
            stopping = Some(format!("{} {name}", kind.as_str()));
            if wants_none(&object) {
                continue;
            }
            match host.merge(kind, namespace, name, &json!({ "spec": { "replicas": 0 } })).await {
                Err(error) if error.is(404) => {}
                other => other?,
            }
        }
    }
    Ok(stopping)
}

/// Whether Kubernetes knows that no pod is wanted.
fn is_stopped(workload: &DynamicObject) -> bool {
    let observed = workload.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
    // For what is being deleted nothing is made, and not every change is noticed.
    wants_none(workload) && (observed >= workload.metadata.generation || workload.metadata.deletion_timestamp.is_some())
}

fn wants_none(workload: &DynamicObject) -> bool {
    workload.data.pointer("/spec/replicas").and_then(Value::as_i64) == Some(0)
}

/// Ends all pods; gives the name of one that is still there.
pub(super) async fn end_pods(
    host: &Cluster,
    names: &Names,
    pods: &[Pod],
    now: Timestamp,
) -> Result<Option<String>, ReconcileError> {
    for pod in pods {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        if let Some(grace) = next_grace(pod, now) {
            host.delete(Kind::Pod, Some(&names.namespace), name, Some(grace)).await?;
        }
    }
    Ok(pods.first().and_then(|pod| pod.metadata.name.clone()))
}

/// With how much grace a pod is to be deleted now, if at all.
fn next_grace(pod: &Pod, now: Timestamp) -> Option<u32> {
    match &pod.metadata.deletion_timestamp {
        None => Some(GRACE),
        // The deletion timestamp is the moment when the pod's grace ends.
        Some(ends) if now.millis_since(ends.0.into()) > STUCK_MILLIS => Some(0),
        // Deleted by somebody else with a longer grace than ours.
        Some(_) if pod.metadata.deletion_grace_period_seconds.unwrap_or(0) > i64::from(GRACE) => Some(GRACE),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grace(metadata: Value) -> Option<u32> {
        let now: Timestamp = "2026-01-01T00:01:00Z".to_owned().try_into().unwrap();
        next_grace(&serde_json::from_value(json!({ "metadata": metadata })).unwrap(), now)
    }

    #[test]
    fn a_pod_is_ended_soon_and_one_that_does_not_end_is_not_waited_for() {
        assert_eq!(grace(json!({})), Some(GRACE));
        let deleted =
            |time: &str, seconds: i64| json!({ "deletionTimestamp": time, "deletionGracePeriodSeconds": seconds });
        assert_eq!(grace(deleted("2026-01-01T00:00:59Z", 1)), None);
        assert_eq!(grace(deleted("2026-01-01T00:01:20Z", 30)), Some(GRACE));
        assert_eq!(grace(deleted("2026-01-01T00:00:29Z", 1)), Some(0));
    }

    #[test]
    fn a_workload_is_stopped_once_kubernetes_took_notice() {
        let stopped = |replicas: i64, observed: Value| {
            let workload = json!({ "metadata": { "generation": 2 }, "spec": { "replicas": replicas },
                "status": { "observedGeneration": observed } });
            is_stopped(&serde_json::from_value(workload).unwrap())
        };
        assert!(stopped(0, json!(2)));
        assert!(!stopped(0, json!(1)) && !stopped(0, Value::Null) && !stopped(1, json!(2)));
        let deleted = json!({ "metadata": { "generation": 3, "deletionTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "replicas": 0 }, "status": { "observedGeneration": 2 } });
        assert!(is_stopped(&serde_json::from_value(deleted).unwrap()));
    }
}
