use hexabase_testkit::kubernetes::FakeKubernetes;
use serde_json::{Map, json};

use super::*;
use crate::connection::Host;
use crate::labels::OUTDATED;
use crate::settings::HostSettings;

const CORE: &str = "/api/v1/namespaces/n";
const SET: &str = "/apis/apps/v1/namespaces/n/statefulsets/x";

/// A cluster with one namespace, and a client of it.
async fn cluster() -> (FakeKubernetes, Cluster) {
    let server = FakeKubernetes::start().await.unwrap();
    server.put(CORE, json!({ "metadata": { "name": "n" } }));
    let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
    let cluster = Host::connect(settings).await.unwrap().cluster;
    (server, cluster)
}

fn wanted(kind: Kind, body: Value) -> Manifest {
    Manifest::new(kind, Some("n"), "x", &Map::new(), body)
}

/// The object with these fields, as somebody has left it.
fn left(more: Value) -> Value {
    let mut object = json!({ "metadata": { "name": "x", "namespace": "n", "annotations": { "somebodys": "own" } } });
    object.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    object
}

/// A note of Kubernetes' about who wrote which fields.
fn entry(manager: &str, operation: &str, fields: Value) -> Value {
    json!({ "manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": fields })
}

#[tokio::test]
async fn what_somebody_added_goes_and_what_others_may_write_stays() {
    let (server, cluster) = cluster().await;
    let secrets = json!([{ "name": "of-the-host" }]);
    for (kind, path, body, added, kept) in [
        (Kind::Secret, "secrets", json!({ "data": { "a": "YQ==" } }), json!({ "data": { "b": "Yg==" } }), Value::Null),
        (Kind::Secret, "secrets", json!({ "data": { "a": "YQ==" } }), json!({ "immutable": false }), Value::Null),
        (
            Kind::ResourceQuota,
            "resourcequotas",
            json!({ "spec": { "hard": { "pods": "1" } } }),
            json!({ "spec": { "hard": { "pods": "9", "count/jobs.batch": "9" } } }),
            json!({ "status": { "hard": { "pods": "9" } } }),
        ),
        (
            Kind::ServiceAccount,
            "serviceaccounts",
            json!({}),
            json!({ "automountServiceAccountToken": false }),
            json!({ "imagePullSecrets": secrets }),
        ),
    ] {
        let path = format!("{CORE}/{path}/x");
        let mut found = left(added);
        found.as_object_mut().unwrap().extend(kept.as_object().cloned().unwrap_or_default());
        server.put(&path, found);
        let manifest = wanted(kind, body);
        cluster.apply_exactly(&manifest).await.unwrap();
        let object = server.get(&path).unwrap();
        for field in own_fields(kind) {
            assert_eq!(object.get(*field), manifest.json.get(*field), "{object}");
        }
        assert_eq!(object["metadata"]["annotations"]["somebodys"], "own");
        for (name, value) in kept.as_object().into_iter().flatten() {
            assert_eq!(&object[name], value);
        }
        let writes = server.writes();
        cluster.apply_exactly(&manifest).await.unwrap();
        assert_eq!(server.writes(), writes + 1, "what is as it should be is applied and no more");
    }
}

#[tokio::test]
async fn what_kubernetes_fills_in_is_told_from_what_somebody_wrote() {
    let (server, cluster) = cluster().await;
    let pods = |annotations: Value| json!({ "metadata": { "annotations": annotations } });
    let spec = json!({ "replicas": 1, "template": pods(json!({ "ours": "1" })) });
    let manifest = wanted(Kind::StatefulSet, json!({ "spec": spec }));
    let restarted = json!({ "f:template": { "f:metadata": { "f:annotations": { "f:restarted": {} } } } });
    let mut entries = vec![
        entry(MANAGER, "Apply", json!({ "f:spec": { "f:replicas": {} } })),
        entry("kube-controller-manager", "Update", json!({ "f:status": { "f:replicas": {} } })),
        entry("vcluster", "Update", json!({ "f:spec": restarted })),
        // As what cannot be applied is stopped.
        entry(MANAGER, "Update", json!({ "f:spec": { "f:replicas": {} } })),
    ];
    let mut found = left(json!({ "spec": {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "minReadySeconds": 5,
        "template": pods(json!({ "ours": "1", "restarted": "now" })),
    } }));
    found["metadata"]["managedFields"] = json!(entries);
    server.put(SET, found.clone());
    let writes = server.writes();
    cluster.apply_exactly(&manifest).await.unwrap();
    assert_eq!(server.writes(), writes + 1, "nobody wrote what is beside it");

    // Also who says that it was the platform.
    for manager in ["kubectl-patch", MANAGER] {
        entries.push(entry(manager, "Update", json!({ "f:spec": { "f:minReadySeconds": {} } })));
        found["metadata"]["managedFields"] = json!(entries);
        server.put(SET, found.clone());
        cluster.apply_exactly(&manifest).await.unwrap();
        let object = server.get(SET).unwrap();
        let template = pods(json!({ "ours": "1", "restarted": "now" }));
        assert_eq!(object["spec"], json!({ "replicas": 1, "template": template }), "{manager}");
        entries.pop();
        assert_eq!(object["metadata"]["managedFields"], json!(entries), "{manager}");
        assert_eq!(object["metadata"]["annotations"]["somebodys"], "own");
    }
}

#[tokio::test]
async fn whoever_goes_on_writing_into_a_workload_is_named_and_its_pods_are_not_made_anew_for_ever() {
    let (server, cluster) = cluster().await;
    let manifest = wanted(Kind::StatefulSet, json!({ "spec": { "replicas": 1 } }));
    let mut found = left(json!({ "spec": { "replicas": 1, "minReadySeconds": 5 } }));
    found["metadata"]["uid"] = json!("u");
    let added = entry("injector", "Update", json!({ "f:spec": { "f:minReadySeconds": {} } }));
    found["metadata"]["managedFields"] = json!([entry(MANAGER, "Apply", json!({ "f:spec": {} })), added]);
    for _ in 0..3 {
        server.put(SET, found.clone());
        cluster.apply_exactly(&manifest).await.unwrap();
        assert_eq!(server.get(SET).unwrap()["spec"], json!({ "replicas": 1 }));
    }
    server.put(SET, found);
    let writes = server.writes();
    let told = cluster.apply_exactly(&manifest).await.unwrap_err().to_string();
    let expected = "StatefulSet x: injector goes on writing into it on the host; it is left so for an hour and can be used; an \
                    operator of the host can exempt the namespace n";
    assert_eq!(told, expected);
    assert_eq!(server.writes(), writes + 1, "what is the platform's of it is applied all the same");
}

#[tokio::test]
async fn whoever_goes_on_marking_a_mounted_secret_immutable_ends_a_control_plane_three_times_and_no_more() {
    let (server, cluster) = cluster().await;
    let (secret, pod) = (format!("{CORE}/secrets/x"), format!("{CORE}/pods/p"));
    let metadata = json!({ "name": "p", "namespace": "n", "labels": { "app": "vcluster" } });
    let volumes = json!([{ "name": "v", "secret": { "secretName": "x" } }]);
    let runs = json!({ "metadata": metadata, "spec": { "containers": [], "volumes": volumes } });
    let marked = left(json!({ "data": { "a": "YQ==" }, "immutable": true }));
    let manifest = wanted(Kind::Secret, json!({ "data": { "a": "YQ==" } }));
    server.refuse("PUT", &secret, 422);
    let mut rounds = Vec::new();
    for _ in 0..5 {
        server.put(&pod, runs.clone());
        server.put(&secret, marked.clone());
        let made = cluster.apply_exactly(&manifest).await;
        let pod = server.get(&pod).unwrap();
        rounds.push((made.is_ok(), pod["metadata"]["annotations"].get(OUTDATED).is_some()));
    }
    assert_eq!(rounds, [(true, true), (true, true), (true, true), (false, false), (false, false)]);
    let beside = wanted(Kind::ConfigMap, json!({ "data": {} }));
    let told = cluster.apply_all_exactly([&manifest, &beside]).await.unwrap_err();
    assert!(matches!(told, ReconcileError::Contested { .. }), "{told}");
    assert!(server.get(&format!("{CORE}/configmaps/x")).is_some(), "nothing else is kept from its turn");
    // One that says something else is made anew all the same.
    server.refuse("PATCH", &secret, 422);
    assert!(cluster.apply_exactly(&manifest).await.unwrap_err().is(422));
    assert_eq!(server.get(&secret), None);
}

#[test]
fn those_are_named_who_wrote_what_is_the_platforms() {
    let status = entry("kube-controller-manager", "Update", json!({ "f:status": {} }));
    let ours = entry(MANAGER, "Apply", json!({ "f:spec": {}, "f:data": {} }));
    let edited = entry("kubectl-edit", "Update", json!({ "f:data": {}, "f:spec": { "f:hard": {} } }));
    let labels = entry("labeller", "Update", json!({ "f:metadata": {} }));
    let object = |entries: Value| {
        serde_json::from_value(json!({ "metadata": { "name": "x", "managedFields": entries } })).unwrap()
    };
    let found: DynamicObject = object(json!([status, ours, edited, labels]));
    for kind in [Kind::Secret, Kind::ResourceQuota, Kind::StatefulSet] {
        assert_eq!(others(&found, kind), "kubectl-edit");
    }
    assert_eq!(others(&object(json!([])), Kind::Secret), "somebody");
    let in_our_name = object(json!([entry(MANAGER, "Update", json!({ "f:data": {} }))]));
    assert!(others(&in_our_name, Kind::Secret).starts_with("a webhook"));
}

#[tokio::test]
async fn a_restart_of_the_pods_is_not_taken_back_by_what_names_no_annotation_of_them() {
    let (server, cluster) = cluster().await;
    let manifest = wanted(Kind::StatefulSet, json!({ "spec": { "replicas": 1, "template": { "spec": {} } } }));
    let restarted = json!({ "metadata": { "annotations": { "restarted": "now" } }, "spec": {} });
    let mut found = left(json!({ "spec": { "replicas": 1, "minReadySeconds": 5, "template": restarted } }));
    let added = entry("kubectl-patch", "Update", json!({ "f:spec": { "f:minReadySeconds": {} } }));
    found["metadata"]["managedFields"] = json!([added]);
    server.put(SET, found);
    cluster.apply_exactly(&manifest).await.unwrap();
    assert_eq!(server.get(SET).unwrap()["spec"], json!({ "replicas": 1, "template": restarted }));
}

#[tokio::test]
async fn what_was_made_so_that_nobody_can_change_it_is_made_anew() {
    for (kind, path, body, made) in [
        (
            Kind::ResourceQuota,
            "resourcequotas",
            json!({ "spec": { "hard": { "pods": "1" } } }),
            json!({ "spec": { "hard": { "pods": "1000" }, "scopes": ["Terminating"] } }),
        ),
        (Kind::Secret, "secrets", json!({ "data": { "a": "YQ==" } }), json!({ "immutable": true })),
    ] {
        let (server, cluster) = cluster().await;
        let path = format!("{CORE}/{path}/x");
        let mut found = left(made);
        found["metadata"]["finalizers"] = json!(["example.com/hold"]);
        server.put(&path, found);
        server.refuse("PUT", &path, 422);
        let manifest = wanted(kind, body);
        cluster.apply_exactly(&manifest).await.unwrap();
        let object = server.get(&path).unwrap();
        for field in own_fields(kind) {
            assert_eq!(object.get(*field), manifest.json.get(*field), "{object}");
        }
        assert_eq!(object["metadata"].get("deletionTimestamp"), None);
    }
}

#[tokio::test]
async fn a_control_plane_is_known_to_go_on_with_a_secret_of_before_before_that_is_made_anew() {
    let (server, cluster) = cluster().await;
    let secret = format!("{CORE}/secrets/x");
    for (name, mounted) in [("with", "x"), ("without", "y")] {
        let metadata = json!({ "name": name, "namespace": "n", "labels": { "app": "vcluster" } });
        let volumes = json!([{ "name": "v", "secret": { "secretName": mounted } }]);
        let pod = json!({ "metadata": metadata, "spec": { "containers": [], "volumes": volumes } });
        server.put(&format!("{CORE}/pods/{name}"), pod);
    }
    server.put(&secret, left(json!({ "immutable": true })));
    server.refuse("PUT", &secret, 422);
    server.refuse("DELETE", &secret, 403);
    let manifest = wanted(Kind::Secret, json!({ "data": { "a": "YQ==" } }));
    assert!(cluster.apply_exactly(&manifest).await.unwrap_err().is(403), "it is still there");
    let mark = |name: &str| {
        let pod = server.get(&format!("{CORE}/pods/{name}")).unwrap();
        pod["metadata"]["annotations"].get(OUTDATED).cloned()
    };
    assert_eq!((mark("with"), mark("without")), (Some(json!("Secret x")), None));
}

#[tokio::test]
async fn what_is_refused_for_another_reason_is_never_deleted() {
    let (server, cluster) = cluster().await;
    let services = format!("{CORE}/services/x");
    let quotas = format!("{CORE}/resourcequotas/x");
    let headless = left(json!({ "spec": { "clusterIP": "None" } }));
    let larger = left(json!({ "spec": { "hard": { "pods": "9" } } }));
    for (kind, path, found) in [(Kind::Service, &services, headless), (Kind::ResourceQuota, &quotas, larger)] {
        server.put(path, found);
        let before = server.get(path);
        server.refuse("PATCH", path, 422);
        let refused = cluster.apply_exactly(&wanted(kind, json!({ "spec": {} }))).await.unwrap_err();
        assert!(refused.is(422), "{refused}");
        assert_eq!(server.get(path), before);
    }
}

#[test]
fn another_way_of_writing_the_same_is_nothing_that_was_added() {
    let bent = |found: Value, wanted: Value| adds(&found, Some(&wanted));
    assert!(!bent(json!({ "pods": "1k" }), json!({ "pods": "1000", "nothing": null })));
    assert!(bent(json!({ "pods": "1k", "services": "1" }), json!({ "pods": "1000" })));
    assert!(bent(json!([{ "type": "Pod" }, { "type": "Pod" }]), json!([{ "type": "Pod" }])));
    assert!(bent(json!([{ "type": "Pod", "max": {} }]), json!([{ "type": "Pod" }])));
    assert!(adds(&json!(true), None) && !adds(&Value::Null, None));
}
