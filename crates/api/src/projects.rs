//! Projects: namespaces with a quota inside a workspace.

use std::collections::BTreeMap;

use hexabase_core::ids::{ProjectId, WorkspaceId};
use hexabase_core::phases::ProjectPhase;
use hexabase_core::projects::{NetworkIsolation, PodSecurity};
use hexabase_core::quota::Amounts;
use hexabase_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::nullable::present;

/// A new project.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectCreate {
    /// DNS label of 1 to 40 characters; also the namespace's name.
    #[schema(min_length = 1, max_length = 40, pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", example = "web")]
    pub name: String,
    /// Its share. What is absent is, at the top, an equal part of the plan (`default_project` of the workspace's quota), below
    /// another project half of what that has left and, as far as is known, does not use.
    #[serde(default)]
    pub quota: Option<ProjectQuotaCreate>,
    /// Id of the project to stand below: the roles given there hold in this one too, and its share is one of that one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Labels of its namespace, for the project's own use: none of Kubernetes' or the platform's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Which pods are let in: `restricted` or `baseline`; `restricted` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "restricted")]
    pub pod_security: Option<PodSecurity>,
    /// Whom its pods can talk to in the workspace: `isolated`, no other project, or `open`, all that are open too; `isolated`
    /// when absent. The workspace's DNS and API server and the public internet they reach either way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "isolated")]
    pub network: Option<NetworkIsolation>,
}

/// What is to change about a project; what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectUpdate {
    /// Its share: larger, if as much is left where it comes from; smaller, if as much was not given to projects below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<ProjectQuotaCreate>,
    /// Id of the project to stand below; `null` puts it at the top.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub parent: Option<Option<String>>,
    /// Labels of its namespace, in place of all that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Which pods are let in: `restricted` or `baseline`. Those that run stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "restricted")]
    pub pod_security: Option<PodSecurity>,
    /// Whom its pods can talk to in the workspace: `isolated` or `open`. Holds for those that run within a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "isolated")]
    pub network: Option<NetworkIsolation>,
}

/// A project's share, as asked for. Amounts are Kubernetes quantities.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectQuotaCreate {
    /// CPU.
    pub cpu: Option<String>,
    /// Memory.
    pub memory: Option<String>,
    /// Storage.
    pub storage: Option<String>,
    /// Pods.
    pub pods: Option<u32>,
    /// Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<u32>,
    /// Services that are reached from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancers: Option<u32>,
    /// Claims of volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claims: Option<u32>,
    /// Secrets, and as many ConfigMaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u32>,
}

/// What a project or a workspace may use. Amounts are Kubernetes quantities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProjectQuota {
    /// CPU.
    pub cpu: String,
    /// Memory.
    pub memory: String,
    /// Storage of volume claims.
    pub storage: String,
    /// Pods.
    pub pods: u32,
    /// Services.
    #[serde(default)]
    pub services: u32,
    /// Services that are reached from outside.
    #[serde(default)]
    pub load_balancers: u32,
    /// Claims of volumes.
    #[serde(default)]
    pub persistent_volume_claims: u32,
    /// Secrets, and as many ConfigMaps.
    #[serde(default)]
    pub objects: u32,
}

impl From<Amounts> for ProjectQuota {
    fn from(amounts: Amounts) -> Self {
        let Amounts { cpu, memory, storage, pods, services, load_balancers, persistent_volume_claims, objects } =
            amounts;
        Self {
            cpu: cpu.to_string(),
            memory: memory.to_string(),
            storage: storage.to_string(),
            pods,
            services,
            load_balancers,
            persistent_volume_claims,
            objects,
        }
    }
}

/// A project: one namespace of a workspace.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Project {
    /// Opaque id.
    #[schema(value_type = String)]
    pub id: ProjectId,
    /// The workspace it is in.
    #[schema(value_type = String)]
    pub workspace: WorkspaceId,
    /// Its name and the name of its namespace.
    pub name: String,
    /// The project it stands below.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub parent: Option<ProjectId>,
    /// Where it stands.
    #[schema(value_type = String, example = "ready")]
    pub phase: ProjectPhase,
    /// Its share of the plan, or of that of the project it stands below.
    pub quota: ProjectQuota,
    /// What is left of that for its own namespace, and to be given to projects below it.
    #[serde(default)]
    pub available: ProjectQuota,
    /// Labels of its namespace.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Which pods are let in.
    #[serde(default = "baseline")]
    #[schema(value_type = String, example = "restricted")]
    pub pod_security: PodSecurity,
    /// Whom its pods can talk to in the workspace.
    #[serde(default = "open")]
    #[schema(value_type = String, example = "isolated")]
    pub network: NetworkIsolation,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// What every project had before there was a choice.
fn baseline() -> PodSecurity {
    PodSecurity::Baseline
}

/// The same.
fn open() -> NetworkIsolation {
    NetworkIsolation::Open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_the_top_is_not_the_same_as_no_change() {
        let read = |text: &str| serde_json::from_str::<ProjectUpdate>(text).unwrap().parent;
        assert_eq!((read("{}"), read(r#"{"parent":null}"#)), (None, Some(None)));
        let quota = ProjectQuotaCreate { services: Some(3), ..ProjectQuotaCreate::default() };
        let update = ProjectUpdate { quota: Some(quota), ..ProjectUpdate::default() };
        let text = r#"{"quota":{"cpu":null,"memory":null,"storage":null,"pods":null,"services":3}}"#;
        assert_eq!(serde_json::to_string(&update).unwrap(), text);
    }
}
