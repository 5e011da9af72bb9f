//! Roles: in the organisation, and the preset roles inside a workspace.

use crate::words;

words! {
    /// What a person may do in an organisation.
    OrganizationRole, "organisation role" {
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
        /// Reads the whole workspace, without secrets, and changes nothing.
        WorkspaceViewer = "hexabase:workspace-viewer",
    }
}

/// One rule of a role, as in `rbac.authorization.k8s.io/v1` `PolicyRule`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// API groups; `""` is the core group.
    pub api_groups: Vec<&'static str>,
    /// Resources and subresources.
    pub resources: Vec<&'static str>,
    /// Verbs.
    pub verbs: Vec<&'static str>,
}

const READ: [&str; 3] = ["get", "list", "watch"];

/// The rules of a preset ClusterRole.
///
/// The admin owns the virtual cluster: who may run pods and make tokens in every namespace can act as any ServiceAccount
/// there, the tenant's own controllers included. That the verbs `escalate`, `bind` and `impersonate` are missing keeps
/// accidents small, it is no boundary; the boundary is the host. The viewer's list is closed: Secrets, tokens and exec are
/// not on it.
pub fn rules(role: PresetClusterRole) -> Vec<Rule> {
    match role {
        PresetClusterRole::WorkspaceAdmin => vec![Rule {
            api_groups: vec!["*"],
            resources: vec!["*"],
            verbs: vec!["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"],
        }],
        PresetClusterRole::WorkspaceViewer => {
            let read = |group, resources: &[&'static str]| Rule {
                api_groups: vec![group],
                resources: resources.to_vec(),
                verbs: READ.to_vec(),
            };
            vec![
                read(
                    "",
                    &[
                        "bindings",
                        "configmaps",
                        "endpoints",
                        "events",
                        "limitranges",
                        "namespaces",
                        "nodes",
                        "persistentvolumeclaims",
                        "persistentvolumes",
                        "pods",
                        "pods/log",
                        "pods/status",
                        "replicationcontrollers",
                        "resourcequotas",
                        "serviceaccounts",
                        "services",
                    ],
                ),
                read("apps", &["controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets"]),
                read("autoscaling", &["horizontalpodautoscalers"]),
                read("batch", &["cronjobs", "jobs"]),
                read("discovery.k8s.io", &["endpointslices"]),
                read("events.k8s.io", &["events"]),
                read("metrics.k8s.io", &["nodes", "pods"]),
                read("networking.k8s.io", &["ingressclasses", "ingresses", "networkpolicies"]),
                read("policy", &["poddisruptionbudgets"]),
                read("rbac.authorization.k8s.io", &["clusterrolebindings", "clusterroles", "rolebindings", "roles"]),
                read("storage.k8s.io", &["storageclasses", "volumeattachments"]),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_viewer_reads_no_secret_and_changes_nothing() {
        for rule in rules(PresetClusterRole::WorkspaceViewer) {
            assert!(!rule.resources.iter().any(|resource| *resource == "*" || *resource == "secrets"));
            assert!(rule.verbs.iter().all(|verb| READ.contains(verb)));
        }
    }

    #[test]
    fn of_two_organisation_roles_the_admin_is_the_higher() {
        use OrganizationRole::{Admin, Member};
        assert_eq!(Member.or_higher(Member), Member);
        for (one, other) in [(Admin, Member), (Member, Admin), (Admin, Admin)] {
            assert_eq!(one.or_higher(other), Admin);
        }
    }

    #[test]
    fn no_preset_role_names_a_verb_that_escalates() {
        for role in PresetClusterRole::ALL {
            for rule in rules(*role) {
                for verb in ["*", "escalate", "bind", "impersonate"] {
                    assert!(!rule.verbs.contains(&verb));
                }
            }
        }
    }
}
