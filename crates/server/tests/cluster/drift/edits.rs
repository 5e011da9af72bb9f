//! Merge patches for what is the platform's: each adds something or changes something, most do both.

use serde_json::{Value, json};

fn group(name: &str) -> Value {
    json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name })
}

fn everything() -> Value {
    json!({ "rules": [{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }] })
}

fn larger_quota() -> Value {
    json!({ "spec": { "hard": { "pods": "1000", "count/jobs.batch": "1000" } } })
}

fn other_limits() -> Value {
    json!({ "spec": { "limits": [{ "type": "PersistentVolumeClaim", "max": { "storage": "1Ti" } }] } })
}

/// For an object of each kind on the host. None makes pods anew.
pub(super) fn on_the_host(id: &str) -> Vec<(String, Value)> {
    let (namespace, account) = (format!("hxb-{id}"), format!("vc-{id}"));
    let port = |name: &str, port: u32| json!({ "name": name, "port": port, "targetPort": 8443, "protocol": "TCP" });
    let own = json!({ "kind": "ServiceAccount", "name": account, "namespace": namespace });
    let labels = json!({ "hexabase.ai/workspace": null, "pod-security.kubernetes.io/enforce": "privileged" });
    vec![
        ("resourcequota/hexabase".to_owned(), larger_quota()),
        ("limitrange/hexabase".to_owned(), other_limits()),
        ("networkpolicy/hexabase-dns".to_owned(), json!({ "spec": { "ingress": [{}] } })),
        ("secret/hexabase-authn".to_owned(), json!({ "data": { "more": "e30=", "admission.yaml": "e30=" } })),
        (format!("secret/vc-config-{id}"), json!({ "data": { "more": "e30=" } })),
        (format!("serviceaccount/{account}"), json!({ "automountServiceAccountToken": true })),
        (format!("role/{account}"), everything()),
        (format!("rolebinding/{account}"), json!({ "subjects": [own, group("everybody")] })),
        (
            format!("service/{id}"),
            json!({ "spec": { "sessionAffinity": "ClientIP", "ports": [port("https", 443), port("more", 444)] } }),
        ),
        (format!("statefulset/{id}"), json!({ "spec": { "minReadySeconds": 1, "revisionHistoryLimit": 3 } })),
        (format!("namespace/{namespace}"), json!({ "metadata": { "labels": labels } })),
    ]
}

/// For what the control plane has mounted, which nobody can change any more afterwards.
pub(super) fn for_good(id: &str) -> Vec<(String, Value)> {
    let fixed = json!({ "data": { "more": "e30=" }, "immutable": true });
    vec![("secret/hexabase-authn".to_owned(), fixed.clone()), (format!("secret/vc-config-{id}"), fixed)]
}

/// For those inside the workspace.
pub(super) fn in_the_tenant() -> Vec<(String, Value)> {
    let check = "hexabase-token-makers-are-true";
    let excluded = json!([{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["secrets"] }]);
    let ignored = json!({ "failurePolicy": "Ignore", "matchConstraints": { "excludeResourceRules": excluded } });
    let elsewhere = json!({ "matchResources": { "namespaceSelector": { "matchLabels": { "x": "y" } } } });
    let subjects = json!([group("hexabase:WSAdmins"), group("everybody")]);
    vec![
        ("clusterrole/hexabase:workspace-viewer".to_owned(), everything()),
        ("clusterrolebinding/hexabase:workspace-admin:WSAdmins".to_owned(), json!({ "subjects": subjects })),
        (format!("validatingadmissionpolicy/{check}"), json!({ "spec": ignored })),
        (format!("validatingadmissionpolicybinding/{check}"), json!({ "spec": elsewhere })),
    ]
}

/// For those in a project.
pub(super) fn in_the_project() -> Vec<(String, Value)> {
    let subjects = json!([group("hexabase:WSUsers"), group("everybody")]);
    let labels = json!({ "pod-security.kubernetes.io/enforce": "privileged" });
    vec![
        ("resourcequota/hexabase-quota".to_owned(), larger_quota()),
        ("limitrange/hexabase-limits".to_owned(), other_limits()),
        ("rolebinding/hexabase:view:WSUsers".to_owned(), json!({ "subjects": subjects })),
        ("namespace/web".to_owned(), json!({ "metadata": { "labels": labels } })),
    ]
}
