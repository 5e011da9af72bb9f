//! Plans.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a workspace may use and what it costs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// Readable, stable name.
    #[schema(example = "standard")]
    pub id: String,
    /// Name for people.
    pub display_name: String,
    /// What a workspace may use, over all its projects.
    pub limits: Limits,
    /// Price of a workspace per month, in minor units of the currency.
    pub price_minor: i64,
    /// ISO 4217 code.
    #[schema(example = "USD")]
    pub currency: String,
    /// Whether a workspace can have nodes of its own.
    pub dedicated_nodes: bool,
}

/// What a workspace may use. Amounts are Kubernetes quantities.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Limits {
    /// CPU.
    #[schema(example = "4")]
    pub cpu: String,
    /// Memory.
    #[schema(example = "8Gi")]
    pub memory: String,
    /// Storage of volume claims.
    #[schema(example = "50Gi")]
    pub storage: String,
    /// Pods.
    pub pods: u32,
    /// Projects.
    pub projects: u32,
    /// People with access; service accounts do not count.
    pub members: u32,
    /// Living workspaces of one organisation under this plan.
    pub workspaces: u32,
}

impl From<hexabase_core::plans::Limits> for Limits {
    fn from(limits: hexabase_core::plans::Limits) -> Self {
        let hexabase_core::plans::Limits { cpu, memory, storage, pods, projects, members, workspaces } = limits;
        Self {
            cpu: cpu.to_string(),
            memory: memory.to_string(),
            storage: storage.to_string(),
            pods,
            projects,
            members,
            workspaces,
        }
    }
}

impl From<hexabase_core::plans::Plan> for Plan {
    fn from(plan: hexabase_core::plans::Plan) -> Self {
        Self {
            id: plan.id,
            display_name: plan.display_name,
            limits: plan.limits.into(),
            price_minor: plan.price.amount_minor,
            currency: plan.price.currency,
            dedicated_nodes: plan.dedicated_nodes,
        }
    }
}
