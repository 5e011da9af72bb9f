//! What of a workspace stands on the host.

use std::collections::BTreeSet;

use futures::FutureExt;
use hexabase_core::ids::WorkspaceId;
use k8s_openapi::api::core::v1::PersistentVolume;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;

use crate::apply::{Cluster, in_parallel};
use crate::error::ReconcileError;
use crate::host::namespace::{annotation, belongs_to};
use crate::host::volumes;
use crate::labels::{self, MANAGED_BY, MANAGER, Names, PART, PART_CHART, PROJECT, RENDERING, SYNCED_BY, WORKSPACE};
use crate::manifest::{Kind, label, label_of};
use crate::receipt::{Inventory, Lasting, ObjectRef};

/// Kinds without a namespace that the platform or vCluster makes for a workspace.
pub(crate) const CLUSTER_SCOPED: [Kind; 6] = [
    Kind::ClusterRoleBinding,
    Kind::ClusterRole,
    Kind::PersistentVolume,
    Kind::StorageClass,
    Kind::IngressClass,
    Kind::PriorityClass,
];

/// An object that was found.
type Found = (Kind, ObjectMeta);

/// Kinds of what is in a namespace. Endpoints repeat their Services and are left out.
pub(crate) fn kinds() -> impl Iterator<Item = Kind> {
    let told = |kind: &Kind| kind.is_namespaced() && !matches!(kind, Kind::Endpoints | Kind::EndpointSlice);
    Kind::ALL.iter().copied().filter(told)
}

/// Everything in the workspace's namespace.
pub(crate) async fn namespaced(host: &Cluster, names: &Names) -> Result<BTreeSet<ObjectRef>, ReconcileError> {
    Ok(objects(&in_namespace(host, names).await?, names))
}

/// The same with the metadata of each.
async fn in_namespace(host: &Cluster, names: &Names) -> Result<Vec<Found>, ReconcileError> {
    let kinds: Vec<Kind> = kinds().collect();
    let namespace = Some(names.namespace.as_str());
    let calls = kinds.iter().map(|kind| host.list_metadata(*kind, namespace, "").boxed()).collect();
    let lists = in_parallel(calls).await?;
    let of_kind = |(kind, found): (Kind, Vec<ObjectMeta>)| found.into_iter().map(move |metadata| (kind, metadata));
    Ok(kinds.iter().copied().zip(lists).flat_map(of_kind).collect())
}

fn objects<'a>(found: impl IntoIterator<Item = &'a Found>, names: &Names) -> BTreeSet<ObjectRef> {
    let named = found.into_iter().filter_map(|(kind, metadata)| Some((*kind, metadata.name.as_deref()?)));
    named.map(|(kind, name)| kind.object(Some(&names.namespace), name)).collect()
}

/// Everything that the workspace has on the host, and what of it is to last.
pub(crate) async fn take(host: &Cluster, names: &Names) -> Result<Inventory, ReconcileError> {
    let namespace = Kind::Namespace.object(None, &names.namespace);
    let rendering = host.get(Kind::Namespace, None, &names.namespace).await?.as_ref().and_then(rendering_of);
    let found = in_namespace(host, names).await?;
    let lasting = found.iter().filter(|(kind, metadata)| lasts(*kind, metadata, names));
    let (chart, own): (Vec<&Found>, Vec<&Found>) =
        lasting.partition(|(_, metadata)| label_of(metadata, PART) == Some(PART_CHART));
    let (chart, mut own) = (objects(chart, names), objects(own, names));
    own.insert(namespace.clone());
    let mut all = objects(&found, names);
    all.insert(namespace);
    let global = cluster_scoped(host, names).await?;
    all.extend(global.into_iter().map(|(kind, name)| kind.object(None, &name)));
    all.extend(volumes::objects(host, names).await?);
    let sorted = |objects: BTreeSet<ObjectRef>| objects.into_iter().collect::<Vec<_>>();
    let lasting = Lasting { own: sorted(own), chart: sorted(chart), rendering };
    Ok(Inventory { all: sorted(all), lasting })
}

/// What of this is not there any more, sorted. Of the chart nothing is missed once it is rendered in another way, nor where there is
/// no namespace that says how: what that one had no more, the platform has taken away.
pub(crate) async fn missing(
    host: &Cluster,
    names: &Names,
    lasting: &Lasting,
) -> Result<Vec<ObjectRef>, ReconcileError> {
    let namespace = host.get(Kind::Namespace, None, &names.namespace).await?;
    let rendering = namespace.as_ref().and_then(rendering_of);
    let is_same = rendering.is_some() && rendering == lasting.rendering;
    let mut found = namespaced(host, names).await?;
    found.extend(namespace.map(|_| Kind::Namespace.object(None, &names.namespace)));
    let wanted: BTreeSet<&ObjectRef> = lasting.own.iter().chain(lasting.chart.iter().filter(|_| is_same)).collect();
    Ok(wanted.into_iter().filter(|object| !found.contains(*object)).cloned().collect())
}

fn rendering_of(namespace: &DynamicObject) -> Option<String> {
    annotation(namespace, RENDERING).map(ToOwned::to_owned)
}

/// Whether the platform applied what has this metadata, and takes it away with all the rest only.
fn lasts(kind: Kind, metadata: &ObjectMeta, names: &Names) -> bool {
    // Kubernetes makes these of what was applied, with the same labels.
    let is_made_of_it = matches!(kind, Kind::Pod | Kind::PersistentVolumeClaim);
    let is_ours = label_of(metadata, MANAGED_BY) == Some(MANAGER)
        && label_of(metadata, WORKSPACE) == Some(names.name.as_str())
        // A tenant may write any label on what vCluster brings here.
        && label_of(metadata, SYNCED_BY).is_none();
    // What a project has goes with it.
    is_ours && !is_made_of_it && label_of(metadata, PROJECT).is_none()
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
    async fn what_another_rendering_of_the_chart_has_no_more_is_not_missed_and_what_the_platform_makes_is() {
        let id: WorkspaceId = "ws-0123456789abcdefghjk".parse().unwrap();
        let names = Names::of(&id);
        let server = FakeKubernetes::start().await.unwrap();
        let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
        let host = Host::connect(settings).await.unwrap();
        let namespace = format!("/api/v1/namespaces/{}", names.namespace);
        let rendered = |rendering: &str| {
            let metadata = json!({ "name": names.namespace, "annotations": { RENDERING: rendering } });
            server.put(&namespace, json!({ "metadata": metadata }));
        };
        let (secret, service) = (format!("{namespace}/secrets/authn"), format!("{namespace}/services/api"));
        let own = json!({ MANAGED_BY: MANAGER, WORKSPACE: names.name });
        let of_chart = json!({ MANAGED_BY: MANAGER, WORKSPACE: names.name, PART: PART_CHART });
        rendered("1");
        server.put(&secret, json!({ "metadata": { "name": "authn", "labels": own } }));
        server.put(&service, json!({ "metadata": { "name": "api", "labels": of_chart } }));
        // Kubernetes gives it the labels of what it makes it for.
        let pod = format!("{namespace}/pods/api-0");
        server.put(&pod, json!({ "metadata": { "name": "api-0", "labels": of_chart } }));

        let Inventory { all, lasting } = host.inventory(&id).await.unwrap();
        let told = |objects: &[ObjectRef]| -> Vec<String> {
            objects.iter().map(|object| format!("{} {}", object.kind, object.name)).collect()
        };
        let namespace_itself = format!("Namespace {}", names.namespace);
        assert_eq!(told(&lasting.own), [namespace_itself.as_str(), "Secret authn"]);
        assert_eq!((told(&lasting.chart), all.len()), (vec!["Service api".to_owned()], 4));
        let missing = async || told(&host.missing(&id, &lasting).await.unwrap());
        assert_eq!(missing().await, Vec::<String>::new());
        for path in [&secret, &service, &pod] {
            server.remove(path);
        }
        assert_eq!(missing().await, ["Secret authn", "Service api"]);
        rendered("2");
        assert_eq!(missing().await, ["Secret authn"]);
        server.remove(&namespace);
        assert_eq!(missing().await, [namespace_itself.as_str(), "Secret authn"]);
    }

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
