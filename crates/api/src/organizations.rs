//! Organisations.

use hexabase_core::ids::{OrganizationId, UserId};
use hexabase_core::roles::OrganizationRole;
use hexabase_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A new organisation.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationCreate {
    /// Name for people, 1 to 80 characters; need not be unique.
    #[schema(min_length = 1, max_length = 80)]
    pub name: String,
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
    /// Name for people.
    pub display_name: String,
    /// Address, when known.
    pub email: Option<String>,
    /// What the person may do.
    #[schema(value_type = String, example = "member")]
    pub role: OrganizationRole,
}
