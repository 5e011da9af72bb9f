//! The signed-in person.

use hexabase_core::ids::{OrganizationId, UserId};
use hexabase_core::roles::OrganizationRole;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The person who asks, and where they belong.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// Opaque id; with the prefix `hexabase:` it is the user name inside workspaces.
    #[schema(value_type = String, example = "usr-01ja2m4qk8v5x3c7d9ef")]
    pub id: UserId,
    /// Name for people.
    pub display_name: String,
    /// Address, when the identity provider gave one.
    pub email: Option<String>,
    /// Whether the identity provider says that the address belongs to the person.
    pub email_verified: bool,
    /// The organisations the person is in.
    pub organizations: Vec<Membership>,
}

/// One organisation the person is in.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Membership {
    /// The organisation.
    #[schema(value_type = String)]
    pub organization: OrganizationId,
    /// Its name.
    pub name: String,
    /// What the person may do there.
    #[schema(value_type = String, example = "admin")]
    pub role: OrganizationRole,
}
