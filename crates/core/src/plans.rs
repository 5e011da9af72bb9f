//! Plans: what a workspace may use and what it costs.

use serde::{Deserialize, Serialize};

use crate::quantity::{Bytes, Cpu};

/// A plan's readable, stable name, such as `standard`.
pub type PlanId = String;

/// What a workspace under a plan may use, over all its projects together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// CPU that its pods may request and use.
    pub cpu: Cpu,
    /// Memory that its pods may request and use.
    pub memory: Bytes,
    /// Storage that its volume claims may request.
    pub storage: Bytes,
    /// Pods.
    pub pods: u32,
    /// Projects.
    pub projects: u32,
    /// People with access; service accounts do not count.
    pub members: u32,
    /// Living workspaces of one organisation under this plan.
    pub workspaces: u32,
}

/// What one project may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectLimits {
    /// CPU that its pods may request and use.
    pub cpu: Cpu,
    /// Memory that its pods may request and use.
    pub memory: Bytes,
    /// Storage that its volume claims may request.
    pub storage: Bytes,
    /// Pods.
    pub pods: u32,
}

/// An amount of money per month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Integer minor units: cents, or yen.
    pub amount_minor: i64,
    /// ISO 4217, three upper-case letters.
    pub currency: String,
}

/// What an organisation chooses when it creates a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Readable, stable name.
    pub id: PlanId,
    /// Name for people.
    pub display_name: String,
    /// What a workspace may use.
    pub limits: Limits,
    /// What a workspace costs per month.
    pub price: Price,
    /// Whether nodes of its own can be given to a workspace.
    pub dedicated_nodes: bool,
    /// Whether new workspaces may choose it.
    pub active: bool,
    /// Place in lists, lowest first.
    pub display_order: i32,
}

/// What the tenant's own control plane needs on the host, on top of the plan: measured at about 0.5 GiB idle.
pub const CONTROL_PLANE_MEMORY: Bytes = Bytes::from_mebibytes(2048 + 512);
/// CPU of the tenant's own control plane and its DNS, on top of the plan.
pub const CONTROL_PLANE_CPU: Cpu = Cpu::from_millis(2500);
/// Storage of the tenant's own control plane, on top of the plan.
pub const CONTROL_PLANE_STORAGE: Bytes = Bytes::from_gibibytes(5);
/// Pods of the tenant's own control plane, on top of the plan.
pub const CONTROL_PLANE_PODS: u32 = 4;

/// The plans of a new installation.
pub fn seed() -> Vec<Plan> {
    let price = |amount_minor| Price { amount_minor, currency: "USD".to_owned() };
    let plan = |id: &str, name: &str, order, limits, amount, dedicated_nodes| Plan {
        id: id.to_owned(),
        display_name: name.to_owned(),
        limits,
        price: price(amount),
        dedicated_nodes,
        active: true,
        display_order: order,
    };
    vec![
        plan(
            "free",
            "Free",
            1,
            Limits {
                cpu: Cpu::from_millis(1000),
                memory: Bytes::from_gibibytes(2),
                storage: Bytes::from_gibibytes(5),
                pods: 10,
                projects: 2,
                members: 3,
                workspaces: 1,
            },
            0,
            false,
        ),
        plan(
            "standard",
            "Standard",
            2,
            Limits {
                cpu: Cpu::from_millis(4000),
                memory: Bytes::from_gibibytes(8),
                storage: Bytes::from_gibibytes(50),
                pods: 50,
                projects: 10,
                members: 50,
                workspaces: 10,
            },
            4900,
            false,
        ),
        plan(
            "premium",
            "Premium",
            3,
            Limits {
                cpu: Cpu::from_millis(16_000),
                memory: Bytes::from_gibibytes(64),
                storage: Bytes::from_gibibytes(500),
                pods: 250,
                projects: 50,
                members: 1_000,
                workspaces: 50,
            },
            49_900,
            // Told once nodes can be given to a workspace.
            false,
        ),
    ]
}
