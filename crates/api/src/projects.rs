//! Projects: namespaces with a quota inside a workspace.

use hexabase_core::ids::{ProjectId, WorkspaceId};
use hexabase_core::phases::ProjectPhase;
use hexabase_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A new project.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectCreate {
    /// DNS label of 1 to 40 characters; also the namespace's name.
    #[schema(min_length = 1, max_length = 40, pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", example = "web")]
    pub name: String,
    /// What it may use; what is absent comes from the plan.
    #[serde(default)]
    pub quota: Option<ProjectQuotaCreate>,
    /// Id of the project to stand below: the roles given there hold in this one too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// What a new project may use. Amounts are Kubernetes quantities.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectQuotaCreate {
    /// CPU, at most the plan's.
    pub cpu: Option<String>,
    /// Memory, at most the plan's.
    pub memory: Option<String>,
    /// Storage, at most the plan's.
    pub storage: Option<String>,
    /// Pods, at most the plan's.
    pub pods: Option<u32>,
}

/// What a project may use. Amounts are Kubernetes quantities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProjectQuota {
    /// CPU.
    pub cpu: String,
    /// Memory.
    pub memory: String,
    /// Storage of volume claims.
    pub storage: String,
    /// Pods.
    pub pods: u32,
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
    /// What it may use.
    pub quota: ProjectQuota,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}
