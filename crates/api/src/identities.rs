//! The identities that the signed-in person signs in with.

use hexabase_core::ids::IdentityId;
use hexabase_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who the person is at an identity provider.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Identity {
    /// Opaque id.
    #[schema(value_type = String, example = "idn-01ja2m4qk8v5x3c7d9ef")]
    pub id: IdentityId,
    /// Id of the provider in the settings; absent when it is no longer configured.
    pub provider: Option<String>,
    /// Name of the provider for people; its issuer when it is no longer configured.
    pub provider_name: String,
    /// The provider's issuer. For GitHub its address.
    pub issuer: String,
    /// The person there; with the issuer, the key. For GitHub the account's number.
    pub subject: String,
    /// Name for people, as the provider told it last.
    pub display_name: Option<String>,
    /// Address, as the provider told it last.
    pub email: Option<String>,
    /// Whether the provider says that the address belongs to the person.
    pub email_verified: bool,
    /// Whether name and address of the person are those of this identity. It is the oldest.
    pub primary: bool,
    /// When it was linked.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the person last signed in with it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}
