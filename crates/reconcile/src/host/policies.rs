//! Step 2, third part: what the host admits from workspaces, whatever their control planes ask for.
//!
//! vCluster copies these fields from the tenant as they are, and whoever has got into a control plane asks for them directly.
//! One set for all workspaces: it chooses namespaces by their name, which nobody can take off as a label, and is not removed with
//! any of them. What differs between workspaces stands in annotations of their namespaces, over which vCluster has no right, and
//! is read there: classes of storage and runtimes and the pool of nodes from `labels.rs`, and what an operator writes by hand
//! (`hexabase.ai/ingress-domains`, `hexabase.ai/ingress-classes`, `hexabase.ai/ingress-annotations`, `hexabase.ai/kept-annotations`).
//! Some rules repeat Pod Security: they hold also while the label of a namespace says otherwise.
//!
//! To add a rule: a line in `policies/`, a golden file, cases in `tests/cluster/policies/cases/` that pass, fail and are skipped.

mod objects;
mod pods;
mod workloads;

use serde_json::{Map, Value, json};

use crate::labels::{MANAGED_BY, MANAGER};
use crate::manifest::{Kind, Manifest};

/// One policy. Expressions are CEL.
struct Policy {
    name: &'static str,
    targets: &'static [Target],
    /// Which objects it is about: those in namespaces of workspaces, or, of a kind without namespaces, those of which this
    /// holds.
    only: Option<&'static str>,
    /// Names for parts of the rules.
    variables: &'static [(&'static str, &'static str)],
    /// What must hold, and the sentence for whoever breaks it.
    rules: &'static [(&'static str, &'static str)],
}

/// Resources, and when they are looked at.
struct Target {
    group: &'static str,
    resource: &'static str,
    operations: &'static [&'static str],
}

const UPDATE: &[&str] = &["UPDATE"];
const WRITE: &[&str] = &["CREATE", "UPDATE"];

/// What is in a namespace of a workspace.
const IN_A_WORKSPACE: &str = "request.namespace.startsWith('hxb-ws-')";

const POLICIES: [&Policy; 7] = [
    &pods::PODS,
    &pods::STATUS,
    &workloads::WORKLOADS,
    &objects::SERVICES,
    &objects::VOLUME_CLAIMS,
    &objects::VOLUMES,
    &objects::INGRESSES,
];

/// The policies and their bindings.
pub(crate) fn build() -> Vec<Manifest> {
    let mut labels = Map::new();
    labels.insert(MANAGED_BY.to_owned(), json!(MANAGER));
    POLICIES.iter().flat_map(|policy| [definition(policy, &labels), binding(policy, &labels)]).collect()
}

/// With what Kubernetes adds by itself, so that a policy which is as it should be is not written again.
fn definition(policy: &Policy, labels: &Map<String, Value>) -> Manifest {
    let rules = policy.targets.iter().map(|target| {
        json!({
            "apiGroups": [target.group],
            "apiVersions": ["v1"],
            "operations": target.operations,
            "resources": [target.resource],
            "scope": "*",
        })
    });
    let variables = policy.variables.iter().map(|(name, is)| json!({ "name": name, "expression": is }));
    let validations =
        policy.rules.iter().map(|(expression, message)| json!({ "expression": expression, "message": message }));
    let mut spec = json!({
        "failurePolicy": "Fail",
        "matchConstraints": {
            "matchPolicy": "Equivalent",
            "namespaceSelector": {},
            "objectSelector": {},
            "resourceRules": rules.collect::<Value>(),
        },
        "matchConditions": [{ "name": "of-a-workspace", "expression": policy.only.unwrap_or(IN_A_WORKSPACE) }],
        "validations": validations.collect::<Value>(),
    });
    // An empty list is not stored.
    if !policy.variables.is_empty() {
        spec["variables"] = variables.collect();
    }
    Manifest::new(Kind::ValidatingAdmissionPolicy, None, policy.name, labels, json!({ "spec": spec }))
}

fn binding(policy: &Policy, labels: &Map<String, Value>) -> Manifest {
    let body = json!({ "spec": { "policyName": policy.name, "validationActions": ["Deny"] } });
    Manifest::new(Kind::ValidatingAdmissionPolicyBinding, None, policy.name, labels, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::{NODE_POOL, Names, POOL_LABEL, RUNTIME_CLASSES, STORAGE_CLASSES, SYNCED_BY};

    fn text(policy: &Policy) -> String {
        let variables = policy.variables.iter().map(|(_, expression)| *expression);
        let rules = policy.rules.iter().map(|(expression, _)| *expression);
        policy.only.into_iter().chain(variables).chain(rules).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_rules_read_the_annotations_and_labels_that_the_platform_and_vcluster_write() {
        let named = |name: &str| format!("[?'{name}']");
        for (policy, name) in [
            (&pods::PODS, RUNTIME_CLASSES),
            (&pods::PODS, NODE_POOL),
            (&pods::PODS, SYNCED_BY),
            (&objects::VOLUME_CLAIMS, STORAGE_CLASSES),
            (&objects::VOLUMES, SYNCED_BY),
            (&objects::SERVICES, SYNCED_BY),
        ] {
            assert!(text(policy).contains(&named(name)), "{}: {name}", policy.name);
        }
        assert!(text(&pods::PODS).contains(&format!("'{POOL_LABEL}'")));
        let names = Names::of(&"ws-0123456789abcdefghjk".parse().unwrap());
        let namespace = &names.namespace;
        assert!(IN_A_WORKSPACE.contains(&format!("startsWith('{}')", &namespace[..7])));
        assert!(text(&pods::PODS).contains("'hxb-' + ") && *namespace == format!("hxb-{}", names.name));
        let by_account =
            [&objects::SERVICES, &objects::VOLUMES, &objects::VOLUME_CLAIMS, &pods::STATUS, &workloads::WORKLOADS];
        for policy in by_account {
            let account = text(policy).split("startsWith('").nth(1).unwrap().split('\'').next().unwrap().to_owned();
            assert!(format!("system:serviceaccount:{namespace}:vc-x").starts_with(&account), "{account}");
        }
    }

    #[test]
    fn every_variable_is_used_and_every_one_that_is_used_is_there() {
        for policy in POLICIES {
            let text = text(policy);
            for (name, _) in policy.variables {
                assert!(text.contains(&format!("variables.{name}")), "{}: {name}", policy.name);
            }
            for used in text.split("variables.").skip(1) {
                let name: String = used.chars().take_while(char::is_ascii_alphanumeric).collect();
                assert!(policy.variables.iter().any(|(known, _)| *known == name), "{}: {name}", policy.name);
            }
        }
    }
}
