//! What an API token may be used for.

use serde::{Deserialize, Serialize};

use crate::ids::WorkspaceId;
use crate::words;

words! {
    /// Whether a token may change anything.
    TokenAccess, "token access" {
        /// It may look.
        Read = "read",
        /// It may look and change.
        Write = "write",
    }
}

/// What an API token may be used for: never more than its owner may do, often less.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenScope {
    /// Whether it may change anything.
    pub access: TokenAccess,
    /// The only workspace it is good for; every other one is to it as if it did not exist.
    pub workspace: Option<WorkspaceId>,
}
