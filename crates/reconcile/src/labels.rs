//! Names and labels of everything the platform makes.

use hexabase_core::ids::{OrganizationId, WorkspaceId};
use serde_json::{Map, Value, json};

/// The field manager of every server-side apply, and the value of [`MANAGED_BY`].
pub(crate) const MANAGER: &str = "hexabase";
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub(crate) const WORKSPACE: &str = "hexabase.ai/workspace";
pub(crate) const ORGANIZATION: &str = "hexabase.ai/organization";
pub(crate) const PROJECT: &str = "hexabase.ai/project";
/// Annotation inside a tenant: who made a Secret with a token.
pub(crate) const CREATED_BY: &str = "hexabase.ai/created-by";
/// Says that an object comes from the chart, and may be pruned when the chart no longer has it.
pub(crate) const PART: &str = "hexabase.ai/part";
pub(crate) const PART_CHART: &str = "virtual-cluster";
/// Annotation of the host namespace: the highest fence that has written.
pub(crate) const FENCE: &str = "hexabase.ai/fence";
/// Annotation of the host namespace, written together with the fence: whose it is, or [`NOBODY`]. The label of the same can be
/// lost without anybody else coming into the namespace.
pub(crate) const OWNER: &str = "hexabase.ai/owner";
/// What [`OWNER`] says of a workspace that was made ahead and that nobody has. No id of an organization is such a word.
pub(crate) const NOBODY: &str = "nobody";
/// Annotation of the host namespace: which rendering of the chart was applied and pruned last.
pub(crate) const RENDERING: &str = "hexabase.ai/rendering";
/// Annotations of the host namespace: what the workspace may ask of the host, separated by commas. The host's admission
/// policies read them, and others that only an operator writes (`host/policies.rs`); what they do not name is refused.
pub(crate) const STORAGE_CLASSES: &str = "hexabase.ai/storage-classes";
pub(crate) const RUNTIME_CLASSES: &str = "hexabase.ai/runtime-classes";
/// Annotation of the host namespace, and taint of nodes of the host: the workspace whose nodes these are. The value of the
/// annotation is the only one that its pods may tolerate, and select by [`POOL_LABEL`].
pub(crate) const NODE_POOL: &str = "hexabase.ai/node-pool";
/// Label of nodes of the host: the workspace whose pods are put there. Because of its prefix the API server's admission plugin
/// NodeRestriction lets no kubelet write it about its own node; nor [`NODE_OFFER`].
pub(crate) const POOL_LABEL: &str = "hexabase.node-restriction.kubernetes.io/pool";
/// Label by which an operator offers a node of the host to workspaces, with the value [`OFFERED`].
pub(crate) const NODE_OFFER: &str = "hexabase.node-restriction.kubernetes.io/offered-to";
pub(crate) const OFFERED: &str = "workspaces";
/// Annotation of a control plane's pod: what it has mounted was made anew, and it does not see that.
pub(crate) const OUTDATED: &str = "hexabase.ai/outdated";
/// Annotations by which vCluster says which object of the tenant's it has brought to the host.
pub(crate) const OBJECT_NAME: &str = "vcluster.loft.sh/object-name";
pub(crate) const OBJECT_NAMESPACE: &str = "vcluster.loft.sh/object-namespace";
pub(crate) const OBJECT_UID: &str = "vcluster.loft.sh/object-uid";
/// vCluster's marker on everything it brings to the host.
pub(crate) const SYNCED_BY: &str = "vcluster.loft.sh/managed-by";

/// The names of one workspace on the host. The id's alphabet makes them safe.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// The vCluster, its Service, its workload, its Helm release.
    pub(crate) name: String,
    pub(crate) namespace: String,
}

impl Names {
    pub(crate) fn of(id: &WorkspaceId) -> Self {
        Self { name: id.as_str().to_owned(), namespace: format!("hxb-{id}") }
    }

    /// Value of [`SYNCED_BY`] on cluster-scoped objects.
    pub(crate) fn cluster_marker(&self) -> String {
        format!("{}-x-{}", self.namespace, self.name)
    }
}

/// The workspace whose namespace on the host is called so.
pub(crate) fn workspace_of(namespace: &str) -> Option<WorkspaceId> {
    namespace.strip_prefix("hxb-")?.parse().ok()
}

/// The labels of every host object of a workspace; of one that is nobody's yet without whose it is.
pub(crate) fn of_workspace(id: &WorkspaceId, organization: Option<&OrganizationId>) -> Map<String, Value> {
    let mut labels = Map::new();
    labels.insert(MANAGED_BY.to_owned(), json!(MANAGER));
    labels.insert(WORKSPACE.to_owned(), json!(id.as_str()));
    if let Some(organization) = organization {
        labels.insert(ORGANIZATION.to_owned(), json!(organization.as_str()));
    }
    labels
}
