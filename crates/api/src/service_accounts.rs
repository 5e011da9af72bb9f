//! Service accounts.

use hexabase_core::ids::UserId;
use hexabase_core::roles::OrganizationRole;
use hexabase_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::organizations::TokensLeftBehind;

/// A new service account.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceAccountCreate {
    /// Name for people, 1 to 80 characters; need not be unique.
    #[schema(min_length = 1, max_length = 80, example = "pipeline")]
    pub name: String,
    /// `member` or `admin`; `member` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "member")]
    pub role: Option<OrganizationRole>,
}

/// What did not end with a service account.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServiceAccountDeleted {
    /// Where it was given tokens of Kubernetes' own ServiceAccounts inside a workspace; absent when nowhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_behind: Vec<TokensLeftBehind>,
}

/// A program of an organisation: it has tokens and may be put into workspaces and groups, but cannot sign in.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServiceAccount {
    /// Opaque id, of the same kind as a person's.
    #[schema(value_type = String)]
    pub id: UserId,
    /// Name for people.
    pub name: String,
    /// What it may do in the organisation; absent when its membership was taken away.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "member")]
    pub role: Option<OrganizationRole>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}
