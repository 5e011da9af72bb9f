//! The live feed, `GET /api/v1/events` (server-sent events).

use hexabase_core::ids::{OrganizationId, WorkspaceId};
use hexabase_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that happened. The event's SSE id is its place in the feed; give it back as `Last-Event-ID` to resume.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Place in the feed.
    pub sequence: i64,
    /// What happened, such as `workspace.progress`.
    pub kind: String,
    /// The organisation it happened in.
    #[schema(value_type = String)]
    pub organization: OrganizationId,
    /// The workspace it happened in.
    #[schema(value_type = Option<String>)]
    pub workspace: Option<WorkspaceId>,
    /// Id of what it happened to.
    pub subject: String,
    /// Details, by kind.
    pub data: serde_json::Value,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}
