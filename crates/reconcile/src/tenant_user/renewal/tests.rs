use hexabase_testkit::kubernetes::FakeKubernetes;

use super::*;
use crate::connection::Host;
use crate::settings::HostSettings;

const ROBOT: &str = "/api/v1/namespaces/web/serviceaccounts/robot";
const SOON: Duration = Duration::from_millis(300);

/// A workspace with the ServiceAccount `robot`, whose uid is `u-1`, with this in its metadata.
async fn with_robot(more: Value) -> (FakeKubernetes, Cluster) {
    let server = FakeKubernetes::start().await.unwrap();
    let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
    let cluster = Host::connect(settings).await.unwrap().cluster;
    server.put("/api/v1/namespaces/web", json!({ "metadata": { "name": "web" } }));
    server.put(ROBOT, robot(&more));
    (server, cluster)
}

fn robot(more: &Value) -> Value {
    let mut metadata = json!({ "name": "robot", "namespace": "web", "uid": "u-1", "labels": { "app": "web" } });
    metadata.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata })
}

async fn renewal(cluster: &Cluster) -> Renewal<'_> {
    let found = cluster.get(Kind::ServiceAccount, Some("web"), "robot").await.unwrap().unwrap();
    Renewal::new(cluster, &found, "web", "robot")
}

fn uid(server: &FakeKubernetes) -> Option<String> {
    server.get(ROBOT).and_then(|robot| robot["metadata"]["uid"].as_str().map(ToOwned::to_owned))
}

#[tokio::test]
async fn a_service_account_is_made_anew_whoever_holds_it() {
    for (finalizers, forced) in [
        (json!([]), false),
        (json!(["example.com/hold"]), false),
        // Kubernetes' own finalizer is taken off at last, when nobody else does that.
        (json!(["orphan", "example.com/hold"]), true),
    ] {
        let (server, cluster) = with_robot(json!({ "finalizers": finalizers })).await;
        let mut renewal = renewal(&cluster).await;
        let missing = renewal.carry_out(SOON * 10).await.unwrap();
        assert!(missing.is_none(), "{missing:?}");
        assert_ne!(uid(&server).as_deref(), Some("u-1"), "{finalizers}");
        assert_eq!(server.get(ROBOT).unwrap()["metadata"]["labels"], json!({ "app": "web" }));
        assert_eq!(renewal.is_forced(), forced, "{finalizers}");
    }
}

#[tokio::test]
async fn one_whose_deletion_has_no_effect_is_an_error_and_stays() {
    for code in [403, 500, 503] {
        let (server, cluster) = with_robot(json!({})).await;
        server.refuse("DELETE", ROBOT, code);
        assert!(renewal(&cluster).await.carry_out(SOON).await.is_err(), "{code}");
        assert_eq!(uid(&server).as_deref(), Some("u-1"), "{code}");
    }
}

#[tokio::test]
async fn one_whose_deletion_is_answered_with_an_error_and_happens_is_made_anew() {
    let (server, cluster) = with_robot(json!({})).await;
    server.lose_the_answer("DELETE", ROBOT);
    let missing = renewal(&cluster).await.carry_out(SOON * 10).await.unwrap();
    assert!(missing.is_none(), "{missing:?}");
    assert!(uid(&server).is_some_and(|uid| uid != "u-1"));
}

#[tokio::test]
async fn one_that_cannot_be_made_again_is_told_with_all_that_it_was() {
    for code in [403, 500] {
        let (server, cluster) = with_robot(json!({})).await;
        server.refuse("POST", "/api/v1/namespaces/web/serviceaccounts", code);
        let mut renewal = renewal(&cluster).await;
        let missing = renewal.carry_out(SOON).await.unwrap().unwrap();
        assert_eq!((missing.ended, &missing.manifest, uid(&server)), (true, &renewal.again.json, None), "{code}");
    }
    // What does not let itself be freed vanishes later.
    let (server, cluster) = with_robot(json!({ "finalizers": ["example.com/hold"] })).await;
    server.refuse("PATCH", ROBOT, 403);
    let mut renewal = renewal(&cluster).await;
    let missing = renewal.carry_out(SOON).await.unwrap().unwrap();
    assert_eq!((missing.ended, &missing.manifest), (true, &renewal.again.json));
}

#[tokio::test]
async fn whoever_may_make_none_destroys_none() {
    let (server, cluster) = with_robot(json!({})).await;
    server.refuse("PATCH", "/api/v1/namespaces/web/serviceaccounts/hexabase-trial-u-1", 403);
    assert!(renewal(&cluster).await.rehearse().await.is_err_and(|error| error.is(403)));
}

#[tokio::test]
async fn what_it_is_given_after_it_was_read_is_not_lost() {
    let (server, cluster) = with_robot(json!({})).await;
    let mut renewal = renewal(&cluster).await;
    server.put(ROBOT, robot(&json!({ "annotations": { "note": "late" } })));
    assert!(renewal.carry_out(SOON * 10).await.unwrap().is_none());
    assert_ne!(uid(&server).as_deref(), Some("u-1"));
    assert_eq!(server.get(ROBOT).unwrap()["metadata"]["annotations"], json!({ "note": "late" }));
}

#[tokio::test]
async fn what_somebody_else_made_in_its_place_keeps_what_it_has_and_gets_what_it_lacks() {
    let (server, cluster) = with_robot(json!({ "annotations": { "note": "x", "other": "y" } })).await;
    let mut renewal = renewal(&cluster).await;
    let made = json!({ "uid": "u-2", "annotations": { "note": "newer" }, "labels": {} });
    server.put(ROBOT, robot(&made));
    assert!(renewal.carry_out(SOON * 10).await.unwrap().is_none());
    let metadata = server.get(ROBOT).unwrap()["metadata"].clone();
    assert_eq!((&metadata["uid"], &metadata["labels"]), (&json!("u-2"), &json!({ "app": "web" })));
    assert_eq!(metadata["annotations"], json!({ "note": "newer", "other": "y" }));
}

#[test]
fn a_service_account_is_made_anew_with_what_it_was_given_and_no_other_identity() {
    let found = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "robot", "namespace": "web", "uid": "u-1", "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": { "app": "web" }, "annotations": { "note": "x" },
            "finalizers": ["example.com/hold", "orphan"],
            "managedFields": [{ "manager": "kubectl" }],
            "ownerReferences": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "u-0" }] },
        "secrets": [{ "name": "robot-token" }], "imagePullSecrets": [{ "name": "registry" }],
        "automountServiceAccountToken": false,
    });
    let again = as_it_was(&serde_json::from_value(found).unwrap(), "web", "robot");
    let expected = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "robot", "namespace": "web", "labels": { "app": "web" }, "annotations": { "note": "x" },
            "ownerReferences": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "u-0" }],
            "finalizers": ["example.com/hold"] },
        "secrets": [{ "name": "robot-token" }], "imagePullSecrets": [{ "name": "registry" }],
        "automountServiceAccountToken": false,
    });
    assert_eq!(again.json, expected);
    let bare = json!({ "metadata": { "name": "default", "namespace": "web", "uid": "u-1" } });
    let again = as_it_was(&serde_json::from_value(bare).unwrap(), "web", "default");
    assert_eq!(again.json["metadata"], json!({ "name": "default", "namespace": "web", "labels": {} }));
}
