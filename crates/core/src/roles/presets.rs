//! The rules of the preset ClusterRoles.

use super::{PresetClusterRole, Rule};

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// The ClusterRoles that every Kubernetes has for people ("Using RBAC Authorization", user-facing roles).
const FOR_PEOPLE: [&str; 3] = ["admin", "edit", "view"];

/// Resources of an API group.
type Resources = (&'static str, &'static [&'static str]);

/// What a viewer reads. The list is closed: Secrets, tokens and exec are not on it.
const VIEWED: [Resources; 11] = [
    (
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
    ("apps", &["controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets"]),
    ("autoscaling", &["horizontalpodautoscalers"]),
    ("batch", &["cronjobs", "jobs"]),
    ("discovery.k8s.io", &["endpointslices"]),
    ("events.k8s.io", &["events"]),
    ("metrics.k8s.io", &["nodes", "pods"]),
    ("networking.k8s.io", &["ingressclasses", "ingresses", "networkpolicies"]),
    ("policy", &["poddisruptionbudgets"]),
    ("rbac.authorization.k8s.io", &["clusterrolebindings", "clusterroles", "rolebindings", "roles"]),
    ("storage.k8s.io", &["storageclasses", "volumeattachments"]),
];

/// What an auditor reads beside that: how the workspace itself is administered.
const AUDITED: [Resources; 14] = [
    ("", &["componentstatuses", "namespaces/status", "podtemplates", "resourcequotas/status"]),
    (
        "admissionregistration.k8s.io",
        &[
            "mutatingwebhookconfigurations",
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "validatingwebhookconfigurations",
        ],
    ),
    ("apiextensions.k8s.io", &["customresourcedefinitions"]),
    ("apiregistration.k8s.io", &["apiservices"]),
    (
        "apps",
        &["daemonsets/status", "deployments/scale", "deployments/status", "statefulsets/scale", "statefulsets/status"],
    ),
    ("batch", &["cronjobs/status", "jobs/status"]),
    ("certificates.k8s.io", &["certificatesigningrequests"]),
    ("coordination.k8s.io", &["leases"]),
    ("flowcontrol.apiserver.k8s.io", &["flowschemas", "prioritylevelconfigurations"]),
    ("networking.k8s.io", &["ingresses/status", "ipaddresses", "servicecidrs"]),
    ("node.k8s.io", &["runtimeclasses"]),
    ("policy", &["poddisruptionbudgets/status"]),
    ("scheduling.k8s.io", &["priorityclasses"]),
    ("storage.k8s.io", &["csidrivers", "csinodes", "csistoragecapacities"]),
];

/// What an editor changes.
const EDITED: [Resources; 6] = [
    (
        "",
        &[
            "configmaps",
            "persistentvolumeclaims",
            "pods",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "secrets",
            "serviceaccounts",
            "services",
        ],
    ),
    (
        "apps",
        &[
            "daemonsets",
            "deployments",
            "deployments/rollback",
            "deployments/scale",
            "replicasets",
            "replicasets/scale",
            "statefulsets",
            "statefulsets/scale",
        ],
    ),
    ("autoscaling", &["horizontalpodautoscalers"]),
    ("batch", &["cronjobs", "jobs"]),
    ("networking.k8s.io", &["ingresses", "networkpolicies"]),
    ("policy", &["poddisruptionbudgets"]),
];

fn rule((group, resources): &Resources, verbs: &[&str]) -> Rule {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Rule { api_groups: owned(&[group]), resources: owned(resources), verbs: owned(verbs), resource_names: Vec::new() }
}

/// The rules of a preset ClusterRole.
///
/// The admin owns the virtual cluster: who may run pods and make tokens in every namespace can act as any ServiceAccount
/// there, the tenant's own controllers included. That the verbs `escalate`, `bind` and `impersonate` are missing keeps
/// accidents small, it is no boundary; the boundary is the host. Kubernetes' own roles for people are the exception: they
/// hold `impersonate` for ServiceAccounts, and without `bind` nobody could give them by kubectl. The same holds for the editor, who runs pods everywhere,
/// with one step more. An auditor reads no custom resources: RBAC cannot say "all but Secrets".
pub fn rules(role: PresetClusterRole) -> Vec<Rule> {
    let read = |resources: &[Resources]| resources.iter().map(|of_group| rule(of_group, &READ)).collect::<Vec<Rule>>();
    match role {
        PresetClusterRole::WorkspaceAdmin => {
            let roles = rule(&("rbac.authorization.k8s.io", &["clusterroles"]), &["bind"]);
            let names = FOR_PEOPLE.iter().map(|name| (*name).to_owned()).collect();
            let everything = rule(&("*", &["*"]), &[READ.as_slice(), &WRITE].concat());
            vec![everything, Rule { resource_names: names, ..roles }]
        }
        PresetClusterRole::WorkspaceViewer => read(&VIEWED),
        PresetClusterRole::WorkspaceAuditor => [read(&VIEWED), read(&AUDITED)].concat(),
        PresetClusterRole::WorkspaceEditor => {
            let mut rules = read(&VIEWED);
            rules.push(rule(&("", &["secrets"]), &READ));
            // Exec and port-forward are a GET over WebSocket, a POST over SPDY.
            rules.push(rule(&("", &["pods/attach", "pods/exec", "pods/portforward"]), &["get", "create"]));
            rules.push(rule(&("", &["pods/eviction"]), &["create"]));
            rules.push(rule(&("", &["pods/ephemeralcontainers"]), &["get", "patch", "update"]));
            rules.extend(EDITED.iter().map(|of_group| rule(of_group, &WRITE)));
            rules
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Access;
    use super::*;

    fn allows(role: PresetClusterRole, verb: &str, api_group: &str, resource: &str) -> bool {
        let access = Access { verb, api_group, resource, name: None };
        rules(role).iter().any(|rule| rule.allows(&access))
    }

    #[test]
    fn viewer_and_auditor_read_no_secret_and_change_nothing() {
        for role in [PresetClusterRole::WorkspaceViewer, PresetClusterRole::WorkspaceAuditor] {
            for rule in rules(role) {
                assert!(!rule.resources.iter().any(|resource| resource.contains('*') || resource.contains("secret")));
                assert!(rule.verbs.iter().all(|verb| READ.contains(&verb.as_str())));
            }
        }
        assert!(allows(PresetClusterRole::WorkspaceAuditor, "list", "rbac.authorization.k8s.io", "clusterroles"));
        assert!(allows(PresetClusterRole::WorkspaceAuditor, "list", "events.k8s.io", "events"));
    }

    #[test]
    fn no_preset_role_names_a_verb_that_escalates_but_the_admin_may_bind_the_roles_that_are_for_people() {
        let is_for_people = |rule: &Rule| rule.verbs == ["bind"] && rule.resource_names == FOR_PEOPLE;
        let admin = rules(PresetClusterRole::WorkspaceAdmin);
        assert_eq!(admin.iter().filter(|rule| is_for_people(rule)).count(), 1);
        for role in PresetClusterRole::ALL {
            let is_exception = |rule: &Rule| *role == PresetClusterRole::WorkspaceAdmin && is_for_people(rule);
            for rule in rules(*role).into_iter().filter(|rule| !is_exception(rule)) {
                for verb in ["*", "escalate", "bind", "impersonate"] {
                    assert!(!rule.verbs.iter().any(|held| held == verb));
                }
            }
        }
    }

    #[test]
    fn the_editor_changes_work_and_neither_rights_nor_limits() {
        let editor = |verb, group, resource| allows(PresetClusterRole::WorkspaceEditor, verb, group, resource);
        for (group, resource) in [("", "pods"), ("", "secrets"), ("", "configmaps"), ("apps", "deployments")] {
            for verb in ["get", "list", "create", "patch", "delete"] {
                assert!(editor(verb, group, resource), "{verb} {resource}");
            }
        }
        for (group, resource) in [
            ("", "namespaces"),
            ("", "nodes"),
            ("", "resourcequotas"),
            ("", "limitranges"),
            ("", "serviceaccounts/token"),
            ("rbac.authorization.k8s.io", "roles"),
            ("rbac.authorization.k8s.io", "clusterrolebindings"),
            ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
        ] {
            for verb in WRITE {
                assert!(!editor(verb, group, resource), "{verb} {resource}");
            }
        }
    }
}
