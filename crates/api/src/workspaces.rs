//! Workspaces: virtual clusters.

use hexabase_core::ids::{OrganizationId, WorkspaceId};
use hexabase_core::phases::{WorkspacePhase, WorkspaceStep};
use hexabase_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::plans::Price;

/// A new workspace.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceCreate {
    /// DNS label of 1 to 40 characters, unique among the organisation's living workspaces.
    #[schema(min_length = 1, max_length = 40, pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", example = "shop")]
    pub name: String,
    /// Id of a plan.
    #[schema(example = "standard")]
    pub plan: String,
    /// The version of the plan that an estimate has shown. If another one is offered by now, 409 `plan_changed` is answered and
    /// nothing done; without this, whichever is offered is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_version: Option<u32>,
}

/// Another plan for a workspace.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkspacePlanUpdate {
    /// Id of a plan; the workspace gets its newest version.
    #[schema(example = "premium")]
    pub plan: String,
    /// The version that an estimate has shown, as for a new workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_version: Option<u32>,
}

/// A plan that a workspace was to come under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanChange {
    /// Id of the plan.
    #[schema(example = "free")]
    pub plan: String,
    /// Its version.
    pub plan_version: u32,
    /// Why nothing came of it, as a sentence. While it is absent, what the workspace uses is being looked at.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refused: Option<String>,
}

/// Which workspaces are wanted, over all organisations.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WorkspaceQuery {
    /// Only those with exactly this name.
    pub name: Option<String>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Most items wanted, 1 to 200; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

/// How a workspace is deleted.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WorkspaceDeletion {
    /// For how many minutes the deletion can be undone; it begins at once when absent or 0.
    #[param(minimum = 0, maximum = 43200)]
    pub grace_minutes: Option<u32>,
}

/// When a workspace sleeps by itself, and what of it. Times of the day are UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SleepRule {
    /// After how many minutes without use, 5 to 43200; never when absent. A use is a request through the gateway, or one
    /// of the API that asks the workspace itself.
    #[schema(example = 60)]
    #[serde(default)]
    pub after_minutes: Option<u32>,
    /// Whether its pods go on while its control plane sleeps.
    #[serde(default)]
    pub keep_workloads: bool,
    /// At which time of every day it is put to sleep.
    #[schema(example = "20:00")]
    #[serde(default)]
    pub sleep_at: Option<String>,
    /// At which time of every day it is woken.
    #[schema(example = "07:30")]
    #[serde(default)]
    pub wake_at: Option<String>,
}

/// A workspace: one isolated virtual cluster under a plan.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Workspace {
    /// Opaque id, also the audience of its tokens.
    #[schema(value_type = String)]
    pub id: WorkspaceId,
    /// The organisation that owns it.
    #[schema(value_type = String)]
    pub organization: OrganizationId,
    /// Name for people.
    pub name: String,
    /// Id of its plan.
    pub plan: String,
    /// The version of the plan that it has.
    #[serde(default = "crate::plans::first")]
    pub plan_version: u32,
    /// What it costs per month by that very version, whether or not it is still offered. Told to admins of the organisation, of one
    /// workspace and not in lists; absent once it is deleted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub price: Option<Price>,
    /// A smaller plan that was asked for: it comes under that once no more can be used in it, if no more is used then. Absent once
    /// it has it, and when another plan is chosen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plan_change: Option<PlanChange>,
    /// Where it stands.
    #[schema(value_type = String, example = "ready")]
    pub phase: WorkspacePhase,
    /// What it is doing or what went wrong, as a sentence.
    pub message: Option<String>,
    /// Steps of creation, or of waking since then, in order, as far as begun.
    pub steps: Vec<Step>,
    /// What kubectl connects to.
    pub server: String,
    /// Issuer of the tokens it accepts.
    pub issuer: String,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it first became usable.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ready_at: Option<Timestamp>,
    /// When it sleeps by itself; never when absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sleep_rule: Option<SleepRule>,
    /// Until when its deletion can be undone, while it can.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub removal_at: Option<Timestamp>,
    /// When nothing of it was left.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deleted_at: Option<Timestamp>,
    /// What deletion removed (`removed`), what it left (`remaining`), and what was to be there and had been taken away by somebody else
    /// before (`missing`); present once deleted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub receipt: Option<serde_json::Value>,
}

/// Progress of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// Which step.
    #[schema(value_type = String, example = "virtual-cluster")]
    pub name: WorkspaceStep,
    /// `running` or `done`.
    pub state: String,
    /// What is being waited for.
    pub message: Option<String>,
    /// When it was begun; anew, if it was done before.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it was done.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}
