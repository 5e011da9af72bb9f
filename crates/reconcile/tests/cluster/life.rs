//! From nothing to ready, twice the same, drift, and back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hexabase_core::ids::{OrganizationId, WorkspaceId};
use hexabase_core::phases::{ProjectPhase, WorkspaceStep};
use hexabase_core::plans;
use hexabase_core::projects::{PodSecurity, ProjectLabels};
use hexabase_reconcile::{DesiredWorkspace, Fit, Host, ReconcileError};
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::inside::tenant;
use crate::support::{
    cleaned, client, desired, eventually, host, host_with, namespace, objects, project, ready, remove, until, versions,
};

const RBAC: &str = "rbac.authorization.k8s.io/v1";
const ADMISSION: &str = "admissionregistration.k8s.io/v1";
const MUTATION: &str = "admissionregistration.k8s.io/v1beta1";
const HOST_KINDS: [(&str, &str); 10] = [
    ("v1", "ResourceQuota"),
    ("v1", "LimitRange"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("apps/v1", "StatefulSet"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    (RBAC, "Role"),
    (RBAC, "RoleBinding"),
    ("v1", "Namespace"),
];
const TENANT_KINDS: [(&str, &str); 8] = [
    (MUTATION, "MutatingAdmissionPolicy"),
    (ADMISSION, "ValidatingAdmissionPolicy"),
    (RBAC, "ClusterRole"),
    (RBAC, "ClusterRoleBinding"),
    ("v1", "Namespace"),
    ("v1", "ResourceQuota"),
    ("v1", "LimitRange"),
    (RBAC, "RoleBinding"),
];

async fn replace(client: &Client, api_version: &str, kind: &str, namespace: Option<&str>, name: &str, patch: Value) {
    let api = objects(client, api_version, kind, namespace);
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_comes_to_life_stays_as_it_is_is_repaired_and_goes() {
    let host = host().await;
    let mut wanted = desired();
    wanted.projects = vec![project("shop"), project("blog")];
    wanted.projects[0].labels = BTreeMap::from([("first".to_owned(), "yes".to_owned())]).try_into().unwrap();
    let (id, organization) = (wanted.id.clone(), wanted.organization.clone().unwrap());
    let runner = host.clone();
    cleaned(&host, vec![id.clone()], async move {
        let client = client().await;
        let observed = ready(&runner, &wanted).await;
        let phases: Vec<ProjectPhase> = observed.projects.iter().map(|(_, phase)| *phase).collect();
        assert_eq!(phases, [ProjectPhase::Ready, ProjectPhase::Ready]);
        let inside = tenant(&client, &id, &observed.tenant.unwrap()).await;
        let place = namespace(&id);

        // Twice: not one resource version moves. Status writers may move one at the same moment, so it may take a few
        // tries; a reconciler that writes would never pass.
        eventually("a call that changes nothing", || async {
            let snapshot = || async {
                let mut all = versions(&client, None, &HOST_KINDS[9..]).await;
                all.retain(|name, _| name.ends_with(&place));
                all.extend(versions(&client, Some(&place), &HOST_KINDS[..9]).await);
                all.extend(
                    versions(&inside, None, &TENANT_KINDS).await.into_iter().map(|(k, v)| (format!("t {k}"), v)),
                );
                all
            };
            let before = snapshot().await;
            assert!(before.len() > 25, "{before:?}");
            ready(&runner, &wanted).await;
            let after = snapshot().await;
            (before == after).then_some(())
        })
        .await;

        as_designed(&client, &id, &organization).await;
        is_bound(&client, &runner, &wanted).await;

        drift(&client, &inside, &place).await;
        ready(&runner, &wanted).await;
        repaired(&client, &inside, &place).await;
        policy_is_held(&client, &runner, &wanted).await;

        // A lower fence is refused; a higher one locks the others out.
        wanted.fence = 5;
        ready(&runner, &wanted).await;
        wanted.fence = 4;
        let refused = runner.reconcile(&wanted).await;
        assert!(matches!(refused, Err(ReconcileError::Fenced { own: 4, found: 5, .. })), "{refused:?}");
        wanted.fence = 5;

        ready(&runner, &wanted).await;
        a_larger_plan_changes_quotas_in_place(&client, &inside, &runner, &mut wanted).await;
        ready_only_once_tokens_are_believed(&runner, &wanted).await;

        rights_end_although_the_host_refuses(&inside, &mut wanted).await;

        // A project goes; a name that is taken is not.
        let namespaces: Api<Namespace> = Api::all(inside.clone());
        let taken = serde_json::from_value(json!({ "metadata": { "name": "taken" } })).unwrap();
        namespaces.create(&PostParams::default(), &taken).await.unwrap();
        wanted.projects[1].present = false;
        wanted.projects.push(project("taken"));
        let phase = |observed: &hexabase_reconcile::Observed, place: usize| {
            observed.projects.get(place).map(|(_, phase)| *phase)
        };
        let observed =
            until(&runner, &wanted, "blog gone", |observed| phase(observed, 1) == Some(ProjectPhase::Deleted)).await;
        assert!(observed.is_done(WorkspaceStep::Access));
        let (step, reason, _) = observed.waiting().unwrap();
        assert_eq!(step, WorkspaceStep::Projects);
        assert!(reason.contains("taken"), "{reason}");
        assert_eq!(phase(&observed, 2), Some(ProjectPhase::Creating));
        assert!(namespaces.get_opt("blog").await.unwrap().is_none());
        let taken = namespaces.get("taken").await.unwrap();
        assert!(!taken.metadata.labels.unwrap().contains_key("hexabase.ai/project"));

        let receipt = remove(&runner, &id, 6).await;
        assert_eq!(receipt.remaining, []);
        for expected in
            ["StatefulSet", "Pod", "PersistentVolumeClaim", "PersistentVolume", "Namespace", "NetworkPolicy"]
        {
            assert!(receipt.removed.iter().any(|object| object.kind == expected), "{expected}: {receipt:#?}");
        }
        assert!(runner.workspaces().await.unwrap().iter().all(|other| *other != id));
        assert_eq!(remove(&runner, &id, 6).await.removed, []);
    })
    .await;
}

/// What all workspaces share is put right as well, within less than a minute. What is added changes nothing: other tests rely
/// on the policy meanwhile.
async fn policy_is_held(client: &Client, host: &Host, wanted: &DesiredWorkspace) {
    let (name, policies) = ("hexabase-workspace-volumes", "ValidatingAdmissionPolicy");
    let found = objects(client, ADMISSION, policies, None).get(name).await.unwrap();
    let mut conditions = found.data["spec"]["matchConditions"].clone();
    conditions.as_array_mut().unwrap().push(json!({ "name": "always", "expression": "true" }));
    replace(client, ADMISSION, policies, None, name, json!({ "spec": { "matchConditions": conditions } })).await;
    let bindings = objects(client, ADMISSION, "ValidatingAdmissionPolicyBinding", None);
    let selector = json!({ "namespaceSelector": { "matchExpressions": [] } });
    let beside = json!({ "spec": { "matchResources": selector } });
    replace(client, ADMISSION, "ValidatingAdmissionPolicyBinding", None, name, beside).await;
    let start = Instant::now();
    eventually("the policy is held", || async {
        host.reconcile(wanted).await.ok()?;
        let policy = objects(client, ADMISSION, policies, None).get(name).await.ok()?;
        let binding = bindings.get(name).await.ok()?;
        let only = policy.data.pointer("/spec/matchConditions").and_then(Value::as_array).map(Vec::len);
        (only == Some(1) && binding.data.pointer("/spec/matchResources").is_none()).then_some(())
    })
    .await;
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

/// Nothing of the control plane is made anew for it.
async fn a_larger_plan_changes_quotas_in_place(
    host: &Client,
    inside: &Client,
    runner: &Host,
    wanted: &mut DesiredWorkspace,
) {
    let place = namespace(&wanted.id);
    let pods = objects(host, "v1", "Pod", Some(&place));
    let control_plane = || async {
        let found = pods.list(&ListParams::default().labels("app=vcluster")).await.unwrap();
        found.items.into_iter().map(|pod| pod.metadata.uid).collect::<Vec<_>>()
    };
    let before = control_plane().await;
    assert_eq!(before.len(), 1);
    wanted.limits = plans::seed().remove(2).limits;
    let shop = &mut wanted.projects[0];
    shop.limits.services = 12;
    shop.labels = BTreeMap::from([("team".to_owned(), "shop".to_owned())]).try_into().unwrap();
    shop.pod_security = PodSecurity::Restricted;
    ready(runner, wanted).await;
    let quota = objects(host, "v1", "ResourceQuota", Some(&place)).get("hexabase").await.unwrap();
    assert_eq!(
        (&quota.data["spec"]["hard"]["pods"], &quota.data["spec"]["hard"]["secrets"]),
        (&json!("254"), &json!("2820"))
    );
    let quota = objects(inside, "v1", "ResourceQuota", Some("shop")).get("hexabase-quota").await.unwrap();
    assert_eq!(quota.data["spec"]["hard"]["services"], "12");
    let labels = objects(inside, "v1", "Namespace", None).get("shop").await.unwrap().metadata.labels.unwrap();
    assert_eq!(
        (labels["team"].as_str(), labels["pod-security.kubernetes.io/enforce"].as_str()),
        ("shop", "restricted")
    );
    assert!(!labels.contains_key("first"), "with which it was created: {labels:?}");
    assert_eq!(control_plane().await, before);
    // A label that nobody wants any more goes.
    wanted.projects[0].labels = ProjectLabels::default();
    wanted.projects[0].pod_security = PodSecurity::Baseline;
    ready(runner, wanted).await;
    let labels = objects(inside, "v1", "Namespace", None).get("shop").await.unwrap().metadata.labels.unwrap();
    assert!(!labels.contains_key("team"), "{labels:?}");
    // Less again: that it is enough is known once the host lets in no more.
    wanted.smaller = Some(plans::seed().remove(1).limits);
    let observed = until(runner, wanted, "known to fit", |observed| observed.fit.is_some()).await;
    assert_eq!(observed.fit, Some(Fit::Fits));
    let quota = objects(host, "v1", "ResourceQuota", Some(&place)).get("hexabase").await.unwrap();
    assert_eq!(quota.data["status"]["hard"]["pods"], "54");
    wanted.smaller = None;
    ready(runner, wanted).await;
}

/// This workspace's issuer cannot be reached, so that no token is believed.
async fn ready_only_once_tokens_are_believed(host: &Host, wanted: &DesiredWorkspace) {
    let wanted = DesiredWorkspace { proof: Some("not.a.token".into()), ..wanted.clone() };
    let observed = host.reconcile(&wanted).await.unwrap();
    let (step, reason, _) = observed.waiting().unwrap();
    assert_eq!(step, WorkspaceStep::Access);
    assert!(reason.starts_with("the API server does not believe the platform's tokens yet"), "{reason}");
    assert!(observed.projects.iter().all(|(_, phase)| *phase == ProjectPhase::Ready), "{:?}", observed.projects);
}

/// A host object that cannot be applied shows why, and does not keep a right alive.
async fn rights_end_although_the_host_refuses(inside: &Client, wanted: &mut DesiredWorkspace) {
    let refused = host_with(|settings| settings.storage_class = Some("another".to_owned())).await;
    let (group, role) = wanted.cluster_roles.remove(0);
    let bindings = objects(inside, RBAC, "ClusterRoleBinding", None);
    eventually("the right has ended", || async {
        let observed = refused.reconcile(wanted).await.ok()?;
        let (step, reason, _) = observed.waiting().unwrap();
        assert_eq!(step, WorkspaceStep::VirtualCluster);
        assert!(reason.contains("StatefulSet") && reason.contains("Forbidden"), "{reason}");
        bindings.get_opt(&format!("{role}:{group}")).await.ok()?.is_none().then_some(())
    })
    .await;
    wanted.cluster_roles.push((group, role));
}

/// What the design promises of the real objects.
async fn as_designed(client: &Client, id: &WorkspaceId, organization: &OrganizationId) {
    let place = namespace(id);
    let set = objects(client, "apps/v1", "StatefulSet", Some(&place)).get(id.as_str()).await.unwrap();
    let labels = set.metadata.labels.unwrap();
    assert_eq!(labels["hexabase.ai/workspace"], id.as_str());
    assert_eq!(labels["hexabase.ai/organization"], organization.as_str());
    let container = &set.data["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "ghcr.io/loft-sh/vcluster-oss:0.36.1");
    assert_eq!(container["startupProbe"]["periodSeconds"], 1);
    let service = objects(client, "v1", "Service", Some(&place)).get(id.as_str()).await.unwrap();
    let ports = service.data["spec"]["ports"].as_array().unwrap();
    assert!(ports.iter().all(|port| port["name"] == "https"), "the kubelets' API is offered: {ports:?}");
    // The policies were there first.
    let policies = objects(client, "networking.k8s.io/v1", "NetworkPolicy", Some(&place));
    for policy in policies.list(&ListParams::default()).await.unwrap().items {
        let (name, made) = (policy.metadata.name, policy.metadata.creation_timestamp.unwrap());
        assert!(made.0 <= set.metadata.creation_timestamp.as_ref().unwrap().0, "{name:?}");
    }
    for kind in ["ClusterRole", "ClusterRoleBinding"] {
        let roles = objects(client, RBAC, kind, None).list_metadata(&ListParams::default()).await.unwrap();
        assert!(!roles.items.iter().any(|role| role.metadata.name.as_deref().unwrap().contains(id.as_str())), "{kind}");
    }
}

/// Its control plane may use less than it started with, and nobody noticed; there is room for the next start all the same.
async fn is_bound(client: &Client, runner: &Host, wanted: &DesiredWorkspace) {
    let place = namespace(&wanted.id);
    let pods = objects(client, "v1", "Pod", Some(&place));
    eventually("the control plane is bound", || async {
        if let Some(unbound) = ready(runner, wanted).await.unbound {
            runner.bind(&wanted.id, &unbound).await;
        }
        let found = pods.list(&ListParams::default().labels("app=vcluster")).await.ok()?;
        let [pod] = &found.items[..] else { return None };
        let (asked, running) = (&pod.data["spec"]["containers"][0], &pod.data["status"]["containerStatuses"][0]);
        assert_eq!(running["restartCount"], 0, "{running}");
        let limit = |container: &Value| container["resources"]["limits"]["cpu"] == "1";
        (limit(asked) && limit(running)).then_some(())
    })
    .await;
    let quotas = objects(client, "v1", "ResourceQuota", Some(&place));
    eventually("the host counts two cores and those of its DNS", || async {
        let quota = quotas.get("hexabase").await.ok()?;
        (quota.data["status"]["used"]["limits.cpu"] == "2500m").then_some(())
    })
    .await;
}

/// Everything that somebody might bend.
async fn drift(client: &Client, inside: &Client, namespace: &str) {
    let place = Some(namespace);
    let delete = DeleteParams::default();
    replace(client, "v1", "ResourceQuota", place, "hexabase", json!({ "spec": { "hard": { "pods": "1" } } })).await;
    objects(client, "networking.k8s.io/v1", "NetworkPolicy", place)
        .delete("hexabase-default-deny", &delete)
        .await
        .unwrap();
    // What an apply of ours leaves alone: everybody is let in.
    let open = json!({ "spec": { "ingress": [{}] } });
    replace(client, "networking.k8s.io/v1", "NetworkPolicy", place, "hexabase-dns", open).await;
    // Without the labels, too, by which the platform's objects are found, and that say whose the namespace is.
    let lost = json!({ "hexabase.ai/workspace": null, "hexabase.ai/organization": null });
    let greedy = json!({ "metadata": { "labels": lost, "annotations": {
        "hexabase.ai/storage-classes": "everything", "hexabase.ai/runtime-classes": "everything",
    } } });
    replace(client, "v1", "Namespace", None, namespace, greedy).await;
    objects(client, "v1", "LimitRange", place).delete("hexabase", &delete).await.unwrap();
    replace(client, "v1", "Secret", place, "hexabase-authn", json!({ "data": { "config.yaml": "e30=" } })).await;

    let viewer = "hexabase:workspace-viewer";
    let everything = json!({ "rules": [{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }] });
    replace(inside, RBAC, "ClusterRole", None, viewer, everything).await;
    let aggregation = json!({ "aggregationRule": { "clusterRoleSelectors": [{ "matchLabels": { "x": "y" } }] } });
    replace(inside, RBAC, "ClusterRole", None, "hexabase:workspace-admin", aggregation).await;

    let ignored = json!({ "spec": { "failurePolicy": "Ignore" } });
    replace(inside, MUTATION, "MutatingAdmissionPolicy", None, "hexabase-token-makers", ignored).await;
    // What an apply of ours leaves alone: a condition that never holds, and namespaces that there are not.
    let name = "hexabase-token-makers-are-true";
    let policies = objects(inside, ADMISSION, "ValidatingAdmissionPolicy", None);
    let mut conditions = policies.get(name).await.unwrap().data["spec"]["matchConditions"].clone();
    conditions.as_array_mut().unwrap().push(json!({ "name": "never", "expression": "false" }));
    let never = json!({ "spec": { "matchConditions": conditions } });
    replace(inside, ADMISSION, "ValidatingAdmissionPolicy", None, name, never).await;
    let excluded = json!([{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["secrets"] }]);
    let excluded = json!({ "spec": { "matchConstraints": { "excludeResourceRules": excluded } } });
    replace(inside, ADMISSION, "ValidatingAdmissionPolicy", None, name, excluded).await;
    let elsewhere = json!({ "spec": { "matchResources": { "namespaceSelector": { "matchLabels": { "x": "y" } } } } });
    replace(inside, MUTATION, "MutatingAdmissionPolicyBinding", None, "hexabase-token-makers", elsewhere).await;
    let checks = objects(inside, ADMISSION, "ValidatingAdmissionPolicyBinding", None);
    checks.delete("hexabase-token-makers-are-true", &delete).await.unwrap();

    let bindings = objects(inside, RBAC, "ClusterRoleBinding", None);
    let name = "hexabase:workspace-viewer:WorkspaceMembers";
    bindings.delete(name, &delete).await.unwrap();
    for (name, managed) in [(name, false), ("extra", true)] {
        let mut binding = json!({ "apiVersion": RBAC, "kind": "ClusterRoleBinding", "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" } });
        if managed {
            binding["metadata"]["labels"] = json!({ "app.kubernetes.io/managed-by": "hexabase" });
        }
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    }
    let privileged = json!({ "metadata": { "labels": {
        "pod-security.kubernetes.io/enforce": "privileged", "hexabase.ai/project": null,
    } } });
    replace(inside, "v1", "Namespace", None, "shop", privileged).await;
    objects(inside, "v1", "ResourceQuota", Some("shop")).delete("hexabase-quota", &delete).await.unwrap();
}

async fn repaired(client: &Client, inside: &Client, namespace: &str) {
    let place = Some(namespace);
    let quota = objects(client, "v1", "ResourceQuota", place).get("hexabase").await.unwrap();
    assert_eq!(quota.data.pointer("/spec/hard/pods"), Some(&json!("54")));
    objects(client, "networking.k8s.io/v1", "NetworkPolicy", place).get("hexabase-default-deny").await.unwrap();
    let dns = objects(client, "networking.k8s.io/v1", "NetworkPolicy", place).get("hexabase-dns").await.unwrap();
    assert_eq!(dns.data.pointer("/spec/ingress"), None);
    let found = objects(client, "v1", "Namespace", None).get(namespace).await.unwrap().metadata;
    let (labels, annotations) = (found.labels.unwrap(), found.annotations.unwrap());
    assert_eq!(labels["hexabase.ai/workspace"], namespace.trim_start_matches("hxb-"));
    assert_eq!(labels["hexabase.ai/organization"], annotations["hexabase.ai/owner"]);
    assert_ne!(annotations["hexabase.ai/storage-classes"], "everything");
    assert_eq!(annotations["hexabase.ai/runtime-classes"], "");
    objects(client, "v1", "LimitRange", place).get("hexabase").await.unwrap();
    let secret = objects(client, "v1", "Secret", place).get("hexabase-authn").await.unwrap();
    assert_ne!(secret.data["data"]["config.yaml"], "e30=");

    let roles = objects(inside, RBAC, "ClusterRole", None);
    let viewer = roles.get("hexabase:workspace-viewer").await.unwrap();
    assert!(!viewer.data["rules"].to_string().contains("secrets") && !viewer.data["rules"].to_string().contains('*'));
    let admin = roles.get("hexabase:workspace-admin").await.unwrap();
    assert_eq!(admin.data.get("aggregationRule"), None);
    assert!(admin.data["rules"].to_string().contains("deletecollection"));

    let marks = objects(inside, MUTATION, "MutatingAdmissionPolicy", None).get("hexabase-token-makers").await.unwrap();
    assert_eq!(marks.data["spec"]["failurePolicy"], "Fail");
    let marked = objects(inside, MUTATION, "MutatingAdmissionPolicyBinding", None);
    let marked = marked.get("hexabase-token-makers").await.unwrap();
    assert_eq!(marked.data.pointer("/spec/matchResources/namespaceSelector/matchLabels"), None, "{marked:?}");
    let policies = objects(inside, ADMISSION, "ValidatingAdmissionPolicy", None);
    let policy = policies.get("hexabase-token-makers-are-true").await.unwrap();
    assert_eq!(policy.data["spec"]["matchConditions"].as_array().map(Vec::len), Some(1), "{policy:?}");
    assert_eq!(policy.data.pointer("/spec/matchConstraints/excludeResourceRules"), None);
    let checks = objects(inside, ADMISSION, "ValidatingAdmissionPolicyBinding", None);
    checks.get("hexabase-token-makers-are-true").await.unwrap();

    let bindings = objects(inside, RBAC, "ClusterRoleBinding", None);
    assert!(bindings.get_opt("extra").await.unwrap().is_none());
    let members = bindings.get("hexabase:workspace-viewer:WorkspaceMembers").await.unwrap();
    assert_eq!(members.data["roleRef"]["name"], "hexabase:workspace-viewer");
    assert_eq!(members.data["subjects"][0]["name"], "hexabase:WorkspaceMembers");
    let shop = objects(inside, "v1", "Namespace", None).get("shop").await.unwrap();
    let labels = shop.metadata.labels.unwrap();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "baseline");
    assert!(labels["hexabase.ai/project"].starts_with("prj-"));
    objects(inside, "v1", "ResourceQuota", Some("shop")).get("hexabase-quota").await.unwrap();
}
