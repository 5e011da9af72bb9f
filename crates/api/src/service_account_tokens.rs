//! Tokens of Kubernetes' ServiceAccounts that people came by inside a workspace.

use hexabase_core::time::Timestamp;
use hexabase_core::tokens::ServiceAccountTokenKind;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Whose tokens are asked for.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ServiceAccountTokenQuery {
    /// Id of the person or service account, who need not be a member any more.
    pub user: String,
}

/// A token of a ServiceAccount. Those that somebody asked for count as one: Kubernetes keeps nothing of them.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServiceAccountToken {
    /// `token_request` for those that were asked for, as with `kubectl create token`; `secret` for one in a Secret.
    #[schema(value_type = String, example = "token_request")]
    pub kind: ServiceAccountTokenKind,
    /// The namespace.
    pub namespace: String,
    /// The ServiceAccount in it.
    pub service_account: String,
    /// The Secret that holds it.
    pub secret: Option<String>,
    /// When the first was made.
    #[schema(value_type = String, format = DateTime)]
    pub first_created_at: Timestamp,
    /// When the last was made.
    #[schema(value_type = String, format = DateTime)]
    pub last_created_at: Timestamp,
    /// Whether the ServiceAccount is known to be there no more, so that nobody accepts it.
    pub gone: bool,
}

/// The tokens that one person came by.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServiceAccountTokens {
    /// By namespace and ServiceAccount.
    pub items: Vec<ServiceAccountToken>,
    /// Why Secrets are not among them, in Kubernetes' words: you may not list them there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets_unread: Option<String>,
}

/// Which tokens are to end.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceAccountTokenRevoke {
    /// Id of whose.
    pub user: String,
    /// In which namespace; in all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Of which ServiceAccount of that namespace; of all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// `next_cursor` of the answer before, to go on where that ended; absent at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What came of it. One request ends a handful: ask again with `next_cursor`, and with another `Idempotency-Key`, until there is
/// none.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServiceAccountTokensRevoked {
    /// What has ended. With the tokens of a ServiceAccount that was made anew go all of it, whoever has them.
    pub ended: Vec<ServiceAccountToken>,
    /// What has not, or not without harm.
    pub failed: Vec<ServiceAccountTokenFailure>,
    /// Pods that hold tokens which are refused now: restart them. Those that have a Secret with a token mounted or among their
    /// environment variables are not looked for.
    pub pods: Vec<PodToRestart>,
    /// How many of the tokens that were asked for have not been tried yet. What has failed is not among them.
    pub remaining: u64,
    /// Opaque; give it as `cursor` to go on with those. Absent when none is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A token that has not ended, or a ServiceAccount that is not as it was.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServiceAccountTokenFailure {
    /// The token.
    pub token: ServiceAccountToken,
    /// What went wrong, often in Kubernetes' words.
    pub message: String,
}

/// A pod that holds a token which is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PodToRestart {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}
