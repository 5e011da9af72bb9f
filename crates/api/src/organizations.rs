//! Organisations.

use hexabase_core::ids::{OrganizationId, UserId, WorkspaceId};
use hexabase_core::roles::OrganizationRole;
use hexabase_core::time::Timestamp;
use hexabase_core::users::UserKind;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A new organisation.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationCreate {
    /// Name for people, 1 to 80 characters; need not be unique.
    #[schema(min_length = 1, max_length = 80)]
    pub name: String,
}

/// What is to be changed of an organisation.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationUpdate {
    /// Name for people, 1 to 80 characters; need not be unique.
    #[schema(min_length = 1, max_length = 80)]
    pub name: String,
}

/// To whom an organisation is handed over.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationTransfer {
    /// Id of a member, who becomes an admin; the caller becomes a member.
    #[schema(example = "usr-01ja2m4qk8v5x3c7d9ef")]
    pub user: String,
}

/// An organisation: the unit of billing and of user management.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Organization {
    /// Opaque id.
    #[schema(value_type = String)]
    pub id: OrganizationId,
    /// Name for people.
    pub name: String,
    /// Whether it was made at the person's first sign-in.
    pub personal: bool,
    /// What the caller may do there.
    #[schema(value_type = String, example = "admin")]
    pub role: OrganizationRole,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A person in an organisation.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OrganizationMember {
    /// The person.
    #[schema(value_type = String)]
    pub user: UserId,
    /// `person`, or `service` for a service account.
    #[schema(value_type = String, example = "person")]
    pub kind: UserKind,
    /// Name for people.
    pub display_name: String,
    /// Address, when known; told to admins only, and to the person.
    pub email: Option<String>,
    /// What the person may do.
    #[schema(value_type = String, example = "member")]
    pub role: OrganizationRole,
}

/// What ended with a person's membership, besides access.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OrganizationMemberRemoved {
    /// How many tokens of service accounts were revoked, because the person had made them.
    pub tokens_ended: usize,
    /// Where the person was given tokens of ServiceAccounts inside a workspace, which end with nothing of this; absent when
    /// nowhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_behind: Vec<TokensLeftBehind>,
}

/// A workspace inside which somebody who is out of the organisation was given tokens, also one of which they were no member any
/// more.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TokensLeftBehind {
    /// Id of the workspace.
    #[schema(value_type = String)]
    pub workspace: WorkspaceId,
    /// Its name.
    pub name: String,
    /// Of how many ServiceAccounts. Secrets that hold a token are not among them: the workspace knows of those.
    pub service_accounts: u64,
}

/// What is to be changed of a person's membership.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationMemberUpdate {
    /// What the person may do.
    #[schema(value_type = String, example = "admin")]
    pub role: OrganizationRole,
}

/// Which people of an organisation are wanted.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OrganizationMemberQuery {
    /// Only those in whose name or address this text is, whatever its capitals. Addresses are found by admins only.
    pub search: Option<String>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Most items wanted, 1 to 200; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}
