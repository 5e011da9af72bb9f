//! Where a person is signed in.

use hexabase_core::ids::SessionId;
use hexabase_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A signed-in browser or device.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Opaque id.
    #[schema(value_type = String)]
    pub id: SessionId,
    /// `browser` or `device`.
    #[schema(example = "browser")]
    pub kind: String,
    /// What a person recognises it by.
    #[schema(example = "Firefox on Linux")]
    pub label: String,
    /// Whether it is the one that asks.
    pub current: bool,
    /// When it signed in.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The address from which it signed in, or from which its sign-in was confirmed.
    pub created_from: Option<String>,
    /// When it was last used, within five minutes.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: Timestamp,
    /// The address from which it was last used.
    pub last_seen_from: Option<String>,
    /// When it ends unless it is used before; use moves this, up to a limit.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// How many sessions were ended.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SessionsEnded {
    /// How many.
    pub ended: usize,
}
