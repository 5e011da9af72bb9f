//! What an API token may be used for, and what tokens of Kubernetes' own ServiceAccounts there are.

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

words! {
    /// How somebody came by a token of a ServiceAccount inside a workspace.
    ServiceAccountTokenKind, "kind of token" {
        /// Asked for; it lives for a time, and Kubernetes keeps nothing of it.
        TokenRequest = "token_request",
        /// Written into a Secret by Kubernetes; it lives as long as that.
        Secret = "secret",
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
