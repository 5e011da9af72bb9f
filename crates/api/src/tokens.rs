//! API tokens.

use hexabase_core::ids::{ApiTokenId, UserId, WorkspaceId};
use hexabase_core::time::Timestamp;
use hexabase_core::tokens::TokenAccess;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A new token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiTokenCreate {
    /// What it will be recognised by, 1 to 80 characters; need not be unique.
    #[schema(min_length = 1, max_length = 80, example = "deploy from the pipeline")]
    pub name: String,
    /// `read` or `write`: whether it may change anything.
    #[schema(value_type = String, example = "write")]
    pub access: TokenAccess,
    /// Id of the only workspace it is to be good for; without one it is good wherever its owner is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// When it is to end, at most a year ahead.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// A token, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ApiToken {
    /// Opaque id.
    #[schema(value_type = String)]
    pub id: ApiTokenId,
    /// Name for people.
    pub name: String,
    /// The first characters of the secret.
    #[schema(example = "hxb_Zt9q")]
    pub prefix: String,
    /// `read` or `write`.
    #[schema(value_type = String, example = "write")]
    pub access: TokenAccess,
    /// The only workspace it is good for.
    #[schema(value_type = Option<String>)]
    pub workspace: Option<WorkspaceId>,
    /// Who made it: its owner, or for a service account an admin. When that person leaves the organization, it ends.
    #[schema(value_type = String)]
    pub created_by: UserId,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// When it was last used, within five minutes.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// The address from which it was last used.
    pub last_used_from: Option<String>,
}

/// A token that was just made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ApiTokenCreated {
    /// The token.
    #[serde(flatten)]
    pub token: ApiToken,
    /// What to send as `Authorization: Bearer …`. Told this once: the answer to the same request sent again lacks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}
