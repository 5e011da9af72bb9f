//! Groups of a workspace.

use hexabase_core::ids::{GroupId, UserId};
use hexabase_core::users::UserKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::nullable::present;

/// A new group. Nobody is in it at first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupCreate {
    /// 1 to 63 ASCII letters, digits, `-`, `_` and `.`; it never changes, because tokens carry it.
    #[schema(min_length = 1, max_length = 63, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$", example = "developers")]
    pub name: String,
    /// Name for people; the same when absent.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Id of the group to stand below: whoever is in this one is in that one too. At the top when absent.
    #[serde(default)]
    pub parent: Option<String>,
}

/// What is to change about a group; what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupUpdate {
    /// Name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Id of the group to stand below; `null` puts it at the top.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub parent: Option<Option<String>>,
}

/// A group of workspace members.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// Opaque id.
    #[schema(value_type = String)]
    pub id: GroupId,
    /// Immutable name, as tokens carry it; with the prefix `hexabase:` it is the group inside the workspace.
    pub name: String,
    /// Name for people.
    pub display_name: String,
    /// The group it stands below.
    #[schema(value_type = Option<String>)]
    pub parent: Option<GroupId>,
    /// ClusterRoles given to it directly.
    pub cluster_roles: Vec<String>,
    /// Whether every workspace has it; such a group can be neither moved nor deleted.
    #[serde(default)]
    pub is_default: bool,
}

/// Somebody who counts as a member of a group.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct GroupMember {
    /// The person.
    #[schema(value_type = String)]
    pub user: UserId,
    /// `person`, or `service` for a service account.
    #[schema(value_type = String, example = "person")]
    pub kind: UserKind,
    /// Name for people.
    pub display_name: String,
    /// Address, when known.
    pub email: Option<String>,
    /// Whether the person was put into this very group.
    pub direct: bool,
    /// Why: names from a group the person was put into up to this one, shortest way first.
    pub paths: Vec<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_the_top_is_not_the_same_as_no_change() {
        let read = |text: &str| serde_json::from_str::<GroupUpdate>(text).unwrap().parent;
        assert_eq!(read("{}"), None);
        assert_eq!(read(r#"{"parent":null}"#), Some(None));
        assert_eq!(read(r#"{"parent":"grp-1"}"#), Some(Some("grp-1".to_owned())));
        let top = GroupUpdate { parent: Some(None), ..GroupUpdate::default() };
        assert_eq!(serde_json::to_string(&top).unwrap(), r#"{"parent":null}"#);
    }
}
