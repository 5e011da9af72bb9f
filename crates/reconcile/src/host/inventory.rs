//! What of a workspace stands on the host.

use std::collections::BTreeSet;

use futures::FutureExt;
use hexabase_core::ids::WorkspaceId;
use k8s_openapi::api::core::v1::PersistentVolume;

use crate::apply::{Cluster, in_parallel};
use crate::error::ReconcileError;
use crate::host::namespace::belongs_to;
use crate::labels::{self, MANAGED_BY, MANAGER, Names, SYNCED_BY, WORKSPACE};
use crate::manifest::{Kind, label};
use crate::receipt::ObjectRef;

/// Kinds without a namespace that the platform or vCluster makes for a workspace.
pub(crate) const CLUSTER_SCOPED: [Kind; 6] = [
    Kind::ClusterRoleBinding,
    Kind::ClusterRole,
    Kind::PersistentVolume,
    Kind::StorageClass,
    Kind::IngressClass,
    Kind::PriorityClass,
];

/// Kinds of what is in a namespace. Endpoints repeat their Services and are left out.
pub(crate) fn kinds() -> impl Iterator<Item = Kind> {
    let told = |kind: &Kind| kind.is_namespaced() && !matches!(kind, Kind::Endpoints | Kind::EndpointSlice);
    Kind::ALL.iter().copied().filter(told)
}

/// Everything in the workspace's namespace.
pub(crate) async fn namespaced(host: &Cluster, names: &Names) -> Result<BTreeSet<ObjectRef>, ReconcileError> {
    let calls = kinds().map(|kind| list(host, kind, Some(names.namespace.as_str()), "").boxed()).collect();
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

/// The workspaces of which something stands on the host: a namespace, an object without one, or a volume. Whose they are
/// the host cannot say: another installation on it uses the same labels.
pub(crate) async fn workspaces(host: &Cluster) -> Result<BTreeSet<WorkspaceId>, ReconcileError> {
    let owned = format!("{MANAGED_BY}={MANAGER},{WORKSPACE}");
    let mut found = BTreeSet::new();
    // All of them: one that lost its labels is still a workspace's.
    for namespace in host.list(Kind::Namespace, None, "").await? {
        let named = namespace.metadata.name.as_deref().and_then(labels::workspace_of);
        found.extend(named.filter(|id| belongs_to(&namespace, id.as_str())));
    }
    for kind in CLUSTER_SCOPED {
        for object in host.list(kind, None, &owned).await? {
            found.extend(label(&object, WORKSPACE).and_then(|id| id.parse().ok()));
        }
        for object in host.list(kind, None, SYNCED_BY).await? {
            let (namespace, _) =
                label(&object, SYNCED_BY).and_then(|marker| marker.split_once("-x-")).unwrap_or_default();
            found.extend(labels::workspace_of(namespace));
        }
    }
    for volume in host.list_as::<PersistentVolume>(Kind::PersistentVolume, None, "").await? {
        let claim = volume.spec.and_then(|spec| spec.claim_ref).and_then(|claim| claim.namespace);
        found.extend(claim.as_deref().and_then(labels::workspace_of));
    }
    Ok(found)
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

#[cfg(test)]
mod tests {
    use hexabase_testkit::kubernetes::FakeKubernetes;
    use serde_json::{Value, json};

    use super::*;
    use crate::connection::Host;
    use crate::settings::HostSettings;

    #[tokio::test]
    async fn whatever_stands_on_the_host_tells_its_workspace_and_what_only_looks_so_does_not() {
        let id = |digit: char| -> WorkspaceId { format!("ws-0000000000000000000{digit}").parse().unwrap() };
        let ours = |id: &WorkspaceId| json!({ MANAGED_BY: MANAGER, WORKSPACE: id.as_str() });
        let named = |name: &str, labels: Value| json!({ "metadata": { "name": name, "labels": labels } });
        let server = FakeKubernetes::start().await.unwrap();
        let put = |collection: &str, object: Value| {
            server.put(&format!("{collection}/{}", object["metadata"]["name"].as_str().unwrap()), object);
        };
        let (namespaces, roles) = ("/api/v1/namespaces", "/apis/rbac.authorization.k8s.io/v1/clusterroles");
        put(namespaces, named(&Names::of(&id('1')).namespace, ours(&id('1'))));
        put(roles, named("of-the-chart", ours(&id('2'))));
        put(roles, named("synced", json!({ SYNCED_BY: Names::of(&id('3')).cluster_marker() })));
        put(
            "/api/v1/persistentvolumes",
            json!({ "metadata": { "name": "disk" },
            "spec": { "claimRef": { "namespace": Names::of(&id('4')).namespace, "name": "data" } } }),
        );
        // Somebody took its labels off.
        put(
            namespaces,
            json!({ "metadata": { "name": Names::of(&id('7')).namespace, "annotations": { labels::FENCE: "3" } } }),
        );
        // A name alone, labels alone, somebody else's vCluster.
        put(namespaces, named(&Names::of(&id('5')).namespace, json!({})));
        put(namespaces, named("elsewhere", ours(&id('6'))));
        put(roles, named("foreign", json!({ SYNCED_BY: "team-x-prod" })));

        let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
        let found = Host::connect(settings).await.unwrap().workspaces().await.unwrap();
        assert_eq!(found, [id('1'), id('2'), id('3'), id('4'), id('7')]);
    }
}
