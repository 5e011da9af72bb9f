//! People with access to a workspace.

use hexabase_core::ids::UserId;
use hexabase_core::users::UserKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A person to be given access. Exactly one of `user` and `email` is given.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberAdd {
    /// Id of a person who has signed in before.
    #[serde(default)]
    pub user: Option<String>,
    /// Verified address of a person who has signed in before.
    #[serde(default)]
    pub email: Option<String>,
    /// Names of groups; `WSUsers` when empty.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// A person with access to a workspace.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// The person.
    #[schema(value_type = String)]
    pub user: UserId,
    /// `person`, or `service` for a service account.
    #[schema(value_type = String, example = "person")]
    pub kind: UserKind,
    /// Name for people.
    pub display_name: String,
    /// Address, when known and to be told: one's own, and to those who give and take access.
    pub email: Option<String>,
    /// Names of the groups the person was put into.
    pub groups: Vec<String>,
    /// Those and all groups above them: what the person's token says.
    pub effective_groups: Vec<String>,
}
