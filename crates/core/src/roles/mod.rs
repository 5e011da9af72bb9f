//! Roles: in the organisation, and what groups are given inside a workspace and in its projects.

mod presets;
mod rule;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use presets::rules;
pub use rule::{Access, InvalidRules, RoleScope, Rule, ServedResource, check, check_served};

use crate::names::RoleName;
use crate::words;

/// Most custom roles of one workspace, its projects' included.
pub const MAX_CUSTOM_ROLES: u64 = 200;
/// Most custom roles of one project, so that no project uses up what all of them share.
pub const MAX_CUSTOM_ROLES_OF_PROJECT: u64 = 50;
/// Most roles given in one workspace, its projects included.
pub const MAX_ROLE_ASSIGNMENTS: u64 = 1_000;
/// Most bindings that they come to: one for a role in the whole workspace, and for one in a project one in each project in
/// which it holds.
pub const MAX_BINDINGS: usize = 2_000;

words! {
    /// What a person may do in an organisation.
    OrganizationRole, "organization role" {
        /// Settings, people, billing, and every workspace's lifecycle.
        Admin = "admin",
        /// May be put into workspaces.
        Member = "member",
    }
}

impl OrganizationRole {
    /// The one of the two that may do more.
    #[must_use]
    pub const fn or_higher(self, other: Self) -> Self {
        match (self, other) {
            (Self::Member, Self::Member) => Self::Member,
            _ => Self::Admin,
        }
    }
}

words! {
    /// The ClusterRoles that the platform makes in every workspace.
    PresetClusterRole, "cluster role" {
        /// Administers the whole workspace.
        WorkspaceAdmin = "hexabase:workspace-admin",
        /// Reads and writes workloads, their configuration and secrets everywhere; no roles, quotas or namespaces.
        WorkspaceEditor = "hexabase:workspace-editor",
        /// Reads the whole workspace, without secrets, and changes nothing.
        WorkspaceViewer = "hexabase:workspace-viewer",
        /// Reads everything that Kubernetes itself serves but secrets, its administration included.
        WorkspaceAuditor = "hexabase:workspace-auditor",
    }
}

words! {
    /// A role in one project: a ClusterRole that every Kubernetes has ("Using RBAC Authorization", user-facing roles),
    /// bound in the project's namespace only.
    ProjectRole, "project role" {
        /// Everything in the namespace but its quota and the namespace itself.
        Admin = "admin",
        /// Everything but roles and bindings.
        Edit = "edit",
        /// Reads, without secrets.
        View = "view",
    }
}

words! {
    /// Where a custom role stands.
    RolePhase, "role phase" {
        /// Being made in the workspace, with the rights of whoever asked for it.
        Pending = "pending",
        /// As asked for.
        Ready = "ready",
        /// Kubernetes refused it; the message says why. What was accepted before holds on.
        Refused = "refused",
    }
}

/// A text that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} \"{text}\"; write {forms}")]
pub struct InvalidRole {
    what: &'static str,
    text: String,
    forms: &'static str,
}

macro_rules! references {
    ($($(#[$doc:meta])* $name:ident, $preset:ident, $prefix:literal, $what:literal, $forms:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum $name {
            /// One that is always there.
            Preset($preset),
            /// One that somebody made.
            Custom(RoleName),
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Preset(preset) => preset.fmt(f),
                    Self::Custom(name) => write!(f, concat!($prefix, "{}"), name),
                }
            }
        }

        impl FromStr for $name {
            type Err = InvalidRole;

            fn from_str(text: &str) -> Result<Self, InvalidRole> {
                if let Ok(preset) = text.parse() {
                    return Ok(Self::Preset(preset));
                }
                let custom = text.strip_prefix($prefix).and_then(|name| name.parse().ok());
                let refused = || InvalidRole { what: $what, text: text.to_owned(), forms: $forms };
                custom.map(Self::Custom).ok_or_else(refused)
            }
        }

        crate::text::via_text!($name: InvalidRole);
    )*};
}

references! {
    /// A role in the whole workspace, by the name of its ClusterRole there.
    ClusterRoleRef, PresetClusterRole, "hexabase:custom:", "role in a workspace",
        "hexabase:workspace-admin, -editor, -viewer or -auditor, or hexabase:custom:NAME";
    /// A role in one project, by the name of its Role there, or of the ClusterRole that is bound there.
    ProjectRoleRef, ProjectRole, "hexabase-custom-", "role in a project", "view, edit, admin or hexabase-custom-NAME";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_organisation_roles_the_admin_is_the_higher() {
        use OrganizationRole::{Admin, Member};
        assert_eq!(Member.or_higher(Member), Member);
        for (one, other) in [(Admin, Member), (Member, Admin), (Admin, Admin)] {
            assert_eq!(one.or_higher(other), Admin);
        }
    }

    #[test]
    fn a_role_is_known_by_its_name_in_the_workspace() {
        for text in ["hexabase:workspace-editor", "hexabase:custom:deployer"] {
            assert_eq!(text.parse::<ClusterRoleRef>().map(|role| role.to_string()), Ok(text.to_owned()));
            assert!(text.parse::<ProjectRoleRef>().is_err());
        }
        for text in ["view", "hexabase-custom-deployer"] {
            assert_eq!(text.parse::<ProjectRoleRef>().map(|role| role.to_string()), Ok(text.to_owned()));
            assert!(text.parse::<ClusterRoleRef>().is_err());
        }
        for text in ["", "cluster-admin", "hexabase:custom:", "hexabase:custom:view", "hexabase-custom-A"] {
            assert!(text.parse::<ClusterRoleRef>().is_err() && text.parse::<ProjectRoleRef>().is_err(), "{text}");
        }
    }
}
