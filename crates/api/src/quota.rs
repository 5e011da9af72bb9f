//! What is left of a workspace's plan.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::projects::ProjectQuota;

/// What a workspace's plan allows, and how much of it is left, to be known before anything is asked for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WorkspaceQuota {
    /// Id of the plan.
    pub plan: String,
    /// The version of the plan that the workspace has.
    pub plan_version: u32,
    /// What all projects may use together.
    pub limit: ProjectQuota,
    /// What projects at the top were given of it; what they gave to projects below them is part of that.
    pub given: ProjectQuota,
    /// What can still be given. A project's own share tells what is left of that (`available`).
    pub left: ProjectQuota,
    /// What is used in the workspace, in its projects and outside of them, without what its control plane takes: of CPU and memory what
    /// is requested or what is allowed, whichever is more; of objects no more than pods use. Up to a minute old while a
    /// worker runs; `null` while it is not counted, as while the workspace sleeps or the host does not answer.
    pub used: Option<ProjectQuota>,
    /// What the next project at the top gets that asks for nothing.
    pub default_project: ProjectQuota,
    /// Projects.
    pub projects: Count,
    /// People with access; service accounts do not count.
    pub members: Count,
}

/// A number that is limited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Count {
    /// The most.
    pub limit: u32,
    /// How many there are.
    pub used: u64,
}

/// What all workspaces of an organisation may use together, and how much of it is left.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OrganizationQuota {
    /// What the platform's operator allows; `null` when it is whatever the plans give.
    pub limit: Option<ProjectQuota>,
    /// What the plans of all living workspaces give.
    pub given: ProjectQuota,
    /// What the plans of more workspaces, or larger ones, can give.
    pub left: Option<ProjectQuota>,
}
