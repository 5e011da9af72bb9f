//! Groups of a workspace.

use hexabase_core::ids::GroupId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A group of workspace members.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// Opaque id.
    #[schema(value_type = String)]
    pub id: GroupId,
    /// Immutable name, as tokens carry it; with the prefix `hexabase:` it is the group inside the workspace.
    pub name: String,
    /// Name for people.
    pub display_name: String,
    /// The group it stands below.
    #[schema(value_type = Option<String>)]
    pub parent: Option<GroupId>,
    /// ClusterRoles given to it directly.
    pub cluster_roles: Vec<String>,
}
