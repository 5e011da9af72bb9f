//! Nodes of a workspace's own.

use hexabase_core::nodes::{NodeClass, NodeState};
use hexabase_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How many nodes of its own a workspace is to have.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceNodesUpdate {
    /// The number, as many as its plan gives at most; 0 for shared nodes only.
    #[schema(example = 2)]
    pub count: u32,
}

/// The nodes of a workspace's own, and on which nodes its pods are.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WorkspaceNodes {
    /// How many it is to have.
    pub wanted: u32,
    /// How many its plan gives.
    pub limit: u32,
    /// How many more it could have at this moment.
    pub available: u32,
    /// On which nodes new pods of it are put: `shared`, or `dedicated` for its own.
    #[schema(value_type = String, example = "dedicated")]
    pub placed: NodeClass,
    /// What keeps it from being where it is to be, as a sentence.
    pub message: Option<String>,
    /// Those that it has.
    pub nodes: Vec<Node>,
}

/// A node of the host that a workspace has for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// `claimed` until it can be used, then `ready`; `draining` until nothing of the workspace is left there and it is given back.
    #[schema(value_type = String, example = "ready")]
    pub state: NodeState,
    /// What stands in the way.
    pub message: Option<String>,
    /// Since when the workspace has it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub claimed_at: Option<Timestamp>,
}
