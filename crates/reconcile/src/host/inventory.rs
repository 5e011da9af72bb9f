//! What of a workspace stands on the host.

use std::collections::BTreeSet;

use futures::FutureExt;

use crate::apply::{Cluster, in_parallel};
use crate::error::ReconcileError;
use crate::labels::{Names, SYNCED_BY, WORKSPACE};
use crate::manifest::Kind;
use crate::receipt::ObjectRef;

/// Kinds without a namespace that the platform or vCluster makes for a workspace.
const CLUSTER_SCOPED: [Kind; 6] = [
    Kind::ClusterRoleBinding,
    Kind::ClusterRole,
    Kind::PersistentVolume,
    Kind::StorageClass,
    Kind::IngressClass,
    Kind::PriorityClass,
];

/// Everything in the workspace's namespace. Endpoints repeat their Services and are left out.
pub(crate) async fn namespaced(host: &Cluster, names: &Names) -> Result<BTreeSet<ObjectRef>, ReconcileError> {
    let told = |kind: &Kind| kind.is_namespaced() && !matches!(kind, Kind::Endpoints | Kind::EndpointSlice);
    let kinds = Kind::ALL.iter().copied().filter(told);
    let calls = kinds.map(|kind| list(host, kind, Some(names.namespace.as_str()), "").boxed()).collect();
    let lists = in_parallel(calls).await?;
    Ok(lists.into_iter().flatten().map(|(kind, name)| kind.object(Some(&names.namespace), &name)).collect())
}

/// Cluster-scoped objects with the workspace's label or vCluster's marker, and the roles that a chart may have made.
pub(crate) async fn cluster_scoped(host: &Cluster, names: &Names) -> Result<BTreeSet<(Kind, String)>, ReconcileError> {
    let selectors = [format!("{WORKSPACE}={}", names.name), format!("{SYNCED_BY}={}", names.cluster_marker())];
    let queries = CLUSTER_SCOPED.iter().flat_map(|kind| selectors.iter().map(move |selector| (*kind, selector)));
    let lists = in_parallel(queries.map(|(kind, selector)| list(host, kind, None, selector).boxed()).collect()).await?;
    let mut objects: BTreeSet<(Kind, String)> = lists.into_iter().flatten().collect();
    let mut role = format!("vc-{}-v-{}", names.name, names.namespace);
    role.truncate(63);
    for kind in [Kind::ClusterRole, Kind::ClusterRoleBinding] {
        if host.get(kind, None, &role).await?.is_some() {
            objects.insert((kind, role.clone()));
        }
    }
    Ok(objects)
}

async fn list(
    host: &Cluster,
    kind: Kind,
    namespace: Option<&str>,
    selector: &str,
) -> Result<Vec<(Kind, String)>, ReconcileError> {
    let names = host.list_names(kind, namespace, selector).await?;
    Ok(names.into_iter().map(|name| (kind, name)).collect())
}
