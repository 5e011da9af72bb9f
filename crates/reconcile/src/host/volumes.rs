//! Volumes outlive their namespace: those of a removed workspace must not.

use hexabase_core::time::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use crate::apply::Cluster;
use crate::error::ReconcileError;
use crate::labels::Names;
use crate::manifest::Kind;
use crate::receipt::ObjectRef;

/// How long a provisioner may take to delete what it made, and Kubernetes to let go of it afterwards.
const PATIENCE_MILLIS: i64 = 30_000;
/// How long after its claim was made a volume is waited for that is on its way.
const MAKING_MILLIS: i64 = 40_000;
/// Annotations of a claim for which a provisioner was asked to make a volume.
const ASKED_FOR: [&str; 3] = [
    "volume.kubernetes.io/selected-node",
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
];

/// What is to happen to a volume whose claim is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its provisioner, or Kubernetes, is at it.
    Wait,
    /// Nobody else will.
    Delete,
    /// It was deleted long ago and is still there: reported, not waited for.
    GiveUp,
}

/// The volumes that belonged to claims of the workspace.
pub(crate) async fn of_workspace(host: &Cluster, names: &Names) -> Result<Vec<PersistentVolume>, ReconcileError> {
    let mut volumes: Vec<PersistentVolume> = host.list_as(Kind::PersistentVolume, None, "").await?;
    volumes.retain(|volume| {
        let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
        claim.is_some_and(|claim| claim.namespace.as_deref() == Some(names.namespace.as_str()))
    });
    Ok(volumes)
}

/// The same, as a receipt names them.
pub(crate) async fn objects(host: &Cluster, names: &Names) -> Result<Vec<ObjectRef>, ReconcileError> {
    let named = of_workspace(host, names).await?.into_iter().filter_map(|volume| volume.metadata.name);
    Ok(named.map(|name| Kind::PersistentVolume.object(None, &name)).collect())
}

/// A claim whose volume is just being made, if there is one. A provisioner that has begun does not stop when the claim
/// goes: its volume would appear when nobody looks any more.
pub(crate) async fn being_made(
    host: &Cluster,
    names: &Names,
    now: Timestamp,
) -> Result<Option<String>, ReconcileError> {
    let claims = host.list_as(Kind::PersistentVolumeClaim, Some(&names.namespace), "").await?;
    Ok(claims.into_iter().find(|claim| is_being_made(claim, now)).and_then(|claim| claim.metadata.name))
}

/// Deletes the claims whose volume is there or was never begun: with those that are being made one waits.
pub(crate) async fn delete_claims(host: &Cluster, names: &Names, now: Timestamp) -> Result<(), ReconcileError> {
    let namespace = Some(names.namespace.as_str());
    let claims: Vec<PersistentVolumeClaim> = host.list_as(Kind::PersistentVolumeClaim, namespace, "").await?;
    for claim in claims {
        let is_over = claim.metadata.deletion_timestamp.is_some() || is_being_made(&claim, now);
        if let Some(name) = claim.metadata.name.filter(|_| !is_over) {
            host.delete(Kind::PersistentVolumeClaim, namespace, &name, None).await?;
        }
    }
    Ok(())
}

fn is_being_made(claim: &PersistentVolumeClaim, now: Timestamp) -> bool {
    let annotations = claim.metadata.annotations.as_ref();
    let asked_for = annotations.is_some_and(|all| ASKED_FOR.iter().any(|name| all.contains_key(*name)));
    let bound = claim.spec.as_ref().is_some_and(|spec| spec.volume_name.is_some());
    let created = claim.metadata.creation_timestamp.as_ref();
    // Longer than that only where the provisioner does not answer.
    let recent = created.is_some_and(|created| now.millis_since(created.0.into()) < MAKING_MILLIS);
    asked_for && !bound && recent
}

/// Decides by the volume's own state.
pub(crate) fn fate(volume: &PersistentVolume, now: Timestamp) -> Fate {
    let older = |moment: Timestamp| now.millis_since(moment) > PATIENCE_MILLIS;
    if let Some(deleted) = &volume.metadata.deletion_timestamp {
        return if older(deleted.0.into()) { Fate::GiveUp } else { Fate::Wait };
    }
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    if policy != Some("Delete") {
        return Fate::Delete;
    }
    let status = volume.status.as_ref();
    let since = status.and_then(|status| status.last_phase_transition_time.as_ref());
    match since {
        Some(since) if !older(since.0.into()) => Fate::Wait,
        // A host that does not say since when: the provisioner gets until the next call.
        None if status.and_then(|status| status.phase.as_deref()) == Some("Bound") => Fate::Wait,
        _ => Fate::Delete,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn decide(metadata: Value, policy: &str, status: Value) -> Fate {
        let volume =
            json!({ "metadata": metadata, "spec": { "persistentVolumeReclaimPolicy": policy }, "status": status });
        let now = "2026-01-01T00:02:00Z".to_owned().try_into().unwrap();
        fate(&serde_json::from_value(volume).unwrap(), now)
    }

    #[test]
    fn a_volume_is_waited_for_while_its_provisioner_is_at_it() {
        let made = |annotations: Value, spec: Value, created: &str| {
            let metadata = json!({ "annotations": annotations, "creationTimestamp": created });
            let claim = serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap();
            is_being_made(&claim, "2026-01-01T00:02:00Z".to_owned().try_into().unwrap())
        };
        let asked = json!({ "volume.kubernetes.io/selected-node": "n" });
        assert!(made(asked.clone(), json!({}), "2026-01-01T00:01:40Z"));
        assert!(!made(asked.clone(), json!({}), "2026-01-01T00:01:00Z"));
        assert!(!made(asked, json!({ "volumeName": "v" }), "2026-01-01T00:01:40Z"));
        assert!(!made(json!({}), json!({}), "2026-01-01T00:01:40Z"));
    }

    #[test]
    fn a_provisioner_gets_its_time_and_no_more() {
        let released = |time: &str| json!({ "phase": "Released", "lastPhaseTransitionTime": time });
        assert_eq!(decide(json!({}), "Delete", released("2026-01-01T00:01:50Z")), Fate::Wait);
        assert_eq!(decide(json!({}), "Delete", released("2026-01-01T00:00:10Z")), Fate::Delete);
    }

    #[test]
    fn a_retained_volume_is_deleted_at_once_and_not_waited_for_for_ever() {
        assert_eq!(decide(json!({}), "Retain", json!({ "phase": "Released" })), Fate::Delete);
        let deleted = |time: &str| json!({ "deletionTimestamp": time });
        assert_eq!(decide(deleted("2026-01-01T00:01:50Z"), "Retain", json!({})), Fate::Wait);
        assert_eq!(decide(deleted("2026-01-01T00:00:00Z"), "Retain", json!({})), Fate::GiveUp);
    }
}
