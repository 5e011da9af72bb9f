//! Who may do what inside a workspace, and why.

use hexabase_core::ids::{RoleAssignmentId, UserId};
use hexabase_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::roles::RoleRule;

/// What is asked about somebody.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExplainQuery {
    /// Id of a member; the caller when absent.
    pub user: Option<String>,
    /// The verb, such as `delete`.
    pub verb: String,
    /// The resource as kubectl knows it: `pods`, `deploy`, `deployments.apps`, `pods/log`.
    pub resource: String,
    /// The namespace; all of them when absent.
    pub namespace: Option<String>,
    /// The object; all of them when absent.
    pub name: Option<String>,
}

/// What is asked about everybody.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhoCanQuery {
    /// The verb, such as `delete`.
    pub verb: String,
    /// The resource as kubectl knows it: `pods`, `deploy`, `deployments.apps`, `pods/log`.
    pub resource: String,
    /// The namespace; all of them when absent.
    pub namespace: Option<String>,
    /// The object; all of them when absent.
    pub name: Option<String>,
}

/// What was asked about, as Kubernetes knows it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AccessAsked {
    /// The verb.
    pub verb: String,
    /// The API group; empty for the core group.
    pub api_group: String,
    /// The plural name, with the subresource after a slash.
    pub resource: String,
    /// The namespace; absent for all of them, and for what is in none.
    pub namespace: Option<String>,
    /// The object; absent for all of them.
    pub name: Option<String>,
}

/// A role given to a group, where it is asked about.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AccessGrant {
    /// The role assignment.
    #[schema(value_type = String)]
    pub assignment: RoleAssignmentId,
    /// The group's name.
    pub group: String,
    /// The role's name in the workspace.
    pub role: String,
    /// The project in which it is given, which may be one above; absent for the whole workspace.
    pub project: Option<String>,
    /// From when on it gives nothing any more.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// The rule of the role that allows it; absent when you may not read what the role allows.
    pub rule: Option<RoleRule>,
}

/// Why somebody may.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AccessReason {
    /// Names from a group the person was put into up to the one with the role.
    pub path: Vec<String>,
    /// The role.
    pub grant: AccessGrant,
}

/// Whether somebody may, and why.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AccessExplanation {
    /// Who.
    #[schema(value_type = String)]
    pub user: UserId,
    /// What.
    pub asked: AccessAsked,
    /// The workspace's own verdict.
    pub allowed: bool,
    /// Its reason: the binding that allows it. Where `because` is empty it is one that the workspace's people have made
    /// themselves.
    pub kubernetes: Option<String>,
    /// What is given through the platform and allows it. Not empty with a verdict of no: it was given or taken a moment ago.
    pub because: Vec<AccessReason>,
    /// What is given through the platform and may allow it or not: what these roles allow you may not read.
    #[serde(default)]
    pub unread: Vec<AccessReason>,
}

/// Somebody who may, by what is given through the platform.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AccessHolder {
    /// The person.
    #[schema(value_type = String)]
    pub user: UserId,
    /// Name for people.
    pub display_name: String,
    /// Address, when known.
    pub email: Option<String>,
    /// Names of the groups through which.
    pub groups: Vec<String>,
    /// The workspace's own verdict about the person. Absent when you may not ask it about others, or there are more than 500.
    #[serde(default)]
    pub allowed: Option<bool>,
}

/// Who may, as far as it is given through the platform: whom the workspace's people have bound inside it by other means is not
/// among them.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AccessHolders {
    /// What.
    pub asked: AccessAsked,
    /// Roles that allow it.
    pub grants: Vec<AccessGrant>,
    /// Roles that may allow it or not: what they allow you may not read.
    #[serde(default)]
    pub unread: Vec<AccessGrant>,
    /// Everybody in a group with a role that allows it.
    pub people: Vec<AccessHolder>,
    /// What this answer does not tell, as a sentence.
    #[serde(default)]
    pub note: String,
}
