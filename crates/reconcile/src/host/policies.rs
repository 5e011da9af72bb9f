//! Step 2, third part: what the host admits from workspaces, whatever their control planes ask for.
//!
//! vCluster copies these fields from the tenant as they are; Pod Security and quotas say nothing about them. One set for
//! all workspaces: it chooses namespaces by the workspace label and is not removed with any of them.

use serde_json::{Map, Value, json};

use crate::labels::{MANAGED_BY, MANAGER, WORKSPACE};
use crate::manifest::{Kind, Manifest};

/// Resources, when they are looked at, and what must hold (a CEL expression and the sentence for whoever breaks it).
struct Policy {
    name: &'static str,
    resources: &'static str,
    operations: &'static [&'static str],
    rules: &'static [(&'static str, &'static str)],
}

const POLICIES: [Policy; 3] = [
    Policy {
        name: "hexabase-workspace-pods",
        resources: "pods",
        operations: &["CREATE"],
        rules: &[
            (
                "object.spec.?nodeName.orValue('') == ''",
                "a pod must not choose its node by name: that would pass over the plan's nodes",
            ),
            (
                "object.spec.?tolerations.orValue([]).all(t, t.?key.orValue('').startsWith('node.kubernetes.io/'))",
                "a pod may tolerate only taints of the form node.kubernetes.io/…",
            ),
            (
                "!object.spec.?priorityClassName.orValue('').startsWith('system-')",
                "a pod must not have a priority class of the system",
            ),
        ],
    },
    Policy {
        name: "hexabase-workspace-services",
        resources: "services",
        operations: &["CREATE", "UPDATE"],
        // CVE-2020-8554: whoever chooses addresses takes other people's traffic.
        rules: &[
            ("object.spec.?externalIPs.orValue([]).size() == 0", "a service must not have externalIPs"),
            ("object.spec.?loadBalancerIP.orValue('') == ''", "a service must not have a loadBalancerIP"),
        ],
    },
    Policy {
        name: "hexabase-workspace-volume-claims",
        resources: "persistentvolumeclaims",
        operations: &["CREATE"],
        rules: &[
            ("object.spec.?volumeName.orValue('') == ''", "a claim must not choose its volume by name"),
            ("!has(object.spec.selector)", "a claim must not choose its volume by label"),
        ],
    },
];

/// The policies and their bindings.
pub(crate) fn build() -> Vec<Manifest> {
    let mut labels = Map::new();
    labels.insert(MANAGED_BY.to_owned(), json!(MANAGER));
    POLICIES.iter().flat_map(|policy| [definition(policy, &labels), binding(policy, &labels)]).collect()
}

fn definition(policy: &Policy, labels: &Map<String, Value>) -> Manifest {
    let validations: Vec<Value> = policy
        .rules
        .iter()
        .map(|(expression, message)| json!({ "expression": expression, "message": message }))
        .collect();
    let body = json!({ "spec": {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "namespaceSelector": { "matchExpressions": [{ "key": WORKSPACE, "operator": "Exists" }] },
            "resourceRules": [{
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": policy.operations,
                "resources": [policy.resources],
            }],
        },
        "validations": validations,
    } });
    Manifest::new(Kind::ValidatingAdmissionPolicy, None, policy.name, labels, body)
}

fn binding(policy: &Policy, labels: &Map<String, Value>) -> Manifest {
    let body = json!({ "spec": { "policyName": policy.name, "validationActions": ["Deny"] } });
    Manifest::new(Kind::ValidatingAdmissionPolicyBinding, None, policy.name, labels, body)
}
