//! What is deleted ahead of the namespace, because it takes its time.

use futures::FutureExt;
use hexabase_core::time::Timestamp;

use super::finalizers::is_held;
use crate::apply::{Cluster, in_parallel};
use crate::error::ReconcileError;
use crate::host::volumes;
use crate::labels::Names;
use crate::manifest::Kind;

/// Kinds after which others may have to clean up elsewhere, such as a load balancer of the cloud: these are deleted first, so
/// that whoever holds them has as long as possible. Network policies are not: they bind pods that still end.
const CLEANED_UP_AFTER: [Kind; 10] = [
    Kind::Service,
    Kind::Ingress,
    Kind::ConfigMap,
    Kind::Secret,
    Kind::ServiceAccount,
    Kind::Role,
    Kind::RoleBinding,
    Kind::PodDisruptionBudget,
    Kind::LimitRange,
    Kind::ResourceQuota,
];

/// Deletes what others may have to clean up after, while the pods end.
pub(super) async fn begin_clean_up(host: &Cluster, names: &Names) -> Result<(), ReconcileError> {
    let namespace = names.namespace.as_str();
    let lists = CLEANED_UP_AFTER.iter().map(|kind| host.list_metadata(*kind, Some(namespace), "").boxed()).collect();
    for (kind, found) in CLEANED_UP_AFTER.into_iter().zip(in_parallel(lists).await?) {
        for metadata in found {
            let concerns = matches!(kind, Kind::Service | Kind::Ingress) || is_held(&metadata);
            if let Some(name) = metadata.name.filter(|_| concerns && metadata.deletion_timestamp.is_none()) {
                host.delete(kind, Some(namespace), &name, None).await?;
            }
        }
    }
    Ok(())
}

/// Deletes claims, and workloads that somebody holds, once Kubernetes makes nothing for them any more. Pods that still end keep
/// their claims; whoever else holds something is asked before these have ended.
pub(super) async fn begin_release(host: &Cluster, names: &Names, now: Timestamp) -> Result<(), ReconcileError> {
    volumes::delete_claims(host, names, now).await?;
    let namespace = Some(names.namespace.as_str());
    for kind in [Kind::StatefulSet, Kind::Deployment] {
        for metadata in host.list_metadata(kind, namespace, "").await? {
            if is_held(&metadata)
                && metadata.deletion_timestamp.is_none()
                && let Some(name) = metadata.name
            {
                host.delete(kind, namespace, &name, None).await?;
            }
        }
    }
    Ok(())
}

/// Deletes what Kubernetes lets go of only after a moment. It begins to empty a namespace after five seconds; what is
/// still there then costs eight more.
pub(super) async fn unprotect(host: &Cluster, names: &Names) -> Result<(), ReconcileError> {
    let namespace = Some(names.namespace.as_str());
    for kind in [Kind::StatefulSet, Kind::Deployment, Kind::PersistentVolumeClaim] {
        for name in host.list_names(kind, namespace, "").await? {
            host.delete(kind, namespace, &name, None).await?;
        }
    }
    Ok(())
}
