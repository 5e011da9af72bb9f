//! Roles inside a workspace: the ones that are always there, and those that people make.

use hexabase_core::ids::{GroupId, ProjectId, RoleAssignmentId, RoleId};
use hexabase_core::roles::{RolePhase, Rule};
use hexabase_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One rule of a role, as Kubernetes has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleRule {
    /// API groups; the empty text is the core group.
    #[schema(example = json!(["apps"]))]
    pub api_groups: Vec<String>,
    /// Plural names; a subresource stands after a slash.
    #[schema(example = json!(["deployments", "deployments/scale"]))]
    pub resources: Vec<String>,
    /// Verbs.
    #[schema(example = json!(["get", "patch"]))]
    pub verbs: Vec<String>,
    /// Only objects with these names; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
}

impl From<Rule> for RoleRule {
    fn from(rule: Rule) -> Self {
        let Rule { api_groups, resources, verbs, resource_names } = rule;
        Self { api_groups, resources, verbs, resource_names }
    }
}

impl From<RoleRule> for Rule {
    fn from(rule: RoleRule) -> Self {
        let RoleRule { api_groups, resources, verbs, resource_names } = rule;
        Self { api_groups, resources, verbs, resource_names }
    }
}

/// A new custom role.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleCreate {
    /// DNS label of 1 to 40 characters.
    #[schema(min_length = 1, max_length = 40, pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", example = "deployer")]
    pub name: String,
    /// What it allows: nothing that you may not do yourself, no `*`, nothing that leads to more rights.
    #[schema(min_items = 1, max_items = 50)]
    pub rules: Vec<RoleRule>,
}

/// Other rules for a custom role.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleUpdate {
    /// All of them, in place of those before.
    #[schema(min_items = 1, max_items = 50)]
    pub rules: Vec<RoleRule>,
}

/// A role that can be given to groups.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Role {
    /// Opaque id; absent for a role that is always there.
    #[schema(value_type = Option<String>)]
    pub id: Option<RoleId>,
    /// Its name.
    pub name: String,
    /// The name of the ClusterRole or Role in the workspace; what an assignment names.
    pub kubernetes_name: String,
    /// The project it belongs to, which may be one above; absent for one of the whole workspace.
    #[schema(value_type = Option<String>)]
    pub project: Option<ProjectId>,
    /// Whether it is always there.
    pub preset: bool,
    /// What it allows; for `view`, `edit` and `admin` that is Kubernetes' to say, and empty here.
    pub rules: Vec<RoleRule>,
    /// What holds at this moment: the rules that Kubernetes accepted last, which are others than `rules` while those are
    /// pending or when they were refused; empty when none ever were accepted.
    #[serde(default)]
    pub in_force: Vec<RoleRule>,
    /// `pending`, `ready` or `refused`.
    #[schema(value_type = String, example = "ready")]
    pub phase: RolePhase,
    /// Why it was refused, in Kubernetes' words. What was accepted before holds on.
    pub message: Option<String>,
}

/// A role to be given to a group.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleAssignmentCreate {
    /// Id of the group.
    pub group: String,
    /// The role's name in the workspace: `hexabase:workspace-editor`, `hexabase:custom:deployer`; in a project `view`, `edit`,
    /// `admin`, `hexabase-custom-deployer`.
    #[schema(example = "edit")]
    pub role: String,
    /// Id of the project in which it holds, and below which; the whole workspace when absent.
    #[serde(default)]
    pub project: Option<String>,
    /// From when on it gives nothing any more; for good when this and `expires_in` are absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// In how many seconds from now it ends, by the server's clock, in place of `expires_at`.
    #[serde(default)]
    #[schema(minimum = 1, example = 28800)]
    pub expires_in: Option<u32>,
}

/// A role given to a group.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RoleAssignment {
    /// Opaque id.
    #[schema(value_type = String)]
    pub id: RoleAssignmentId,
    /// Id of the group.
    #[schema(value_type = String)]
    pub group: GroupId,
    /// The group's name.
    pub group_name: String,
    /// The role's name in the workspace.
    pub role: String,
    /// Id of the project in which it holds, and below which; absent for the whole workspace.
    #[schema(value_type = Option<String>)]
    pub project: Option<ProjectId>,
    /// The project's name.
    pub project_name: Option<String>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// From when on it gives nothing any more.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}
