use hexabase_core::projects::NetworkIsolation;
use hexabase_testkit::kubernetes::FakeKubernetes;
use serde_json::json;

use super::*;
use crate::desired::{DesiredProject, Placement};
use crate::labels::{OBJECT_NAME, OBJECT_NAMESPACE};
use crate::settings::HostSettings;

#[tokio::test]
async fn what_was_applied_is_taken_to_be_so_only_while_the_control_plane_starts() {
    let server = FakeKubernetes::start().await.unwrap();
    let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
    let host = Host::connect(settings).await.unwrap();
    let desired = crate::golden::desired();
    let pod = |ready: &str| -> Pod {
        let condition = json!({ "type": "Ready", "status": ready });
        serde_json::from_value(json!({ "metadata": {}, "status": { "conditions": [condition] } })).unwrap()
    };
    assert!(!host.was_applied(&desired));
    for starting in [None, Some(pod("False"))] {
        host.note_applied(&desired, starting.as_ref());
        assert!(host.was_applied(&desired));
    }
    host.note_applied(&desired, Some(&pod("True")));
    assert!(!host.was_applied(&desired), "what is up is looked at as a whole each time");
    host.note_applied(&desired, None);
    host.forget_applied(&desired);
    assert!(!host.was_applied(&desired), "what was stopped is started by applying it");

    host.note_applied(&desired, None);
    let placement = Placement { insists: Some(Timestamp::from_seconds(1)), ..Placement::default() };
    let again = DesiredWorkspace { fence: 8, proof: Some("a.b.c".into()), placement, ..desired.clone() };
    assert!(host.was_applied(&again), "what differs with every look is nothing that is applied");
    let placement = Placement { dedicated: true, ..Placement::default() };
    for another in [
        DesiredWorkspace { organization: None, ..desired.clone() },
        DesiredWorkspace { limits: hexabase_core::plans::seed().remove(0).limits, ..desired.clone() },
        DesiredWorkspace { smaller: Some(desired.limits.clone()), ..desired.clone() },
        DesiredWorkspace { kubernetes: Some("v1.34.1".parse().unwrap()), ..desired.clone() },
        DesiredWorkspace { projects: Vec::new(), ..desired.clone() },
        DesiredWorkspace { placement, ..desired.clone() },
    ] {
        assert!(!host.was_applied(&another), "{another:?}");
    }
}

#[tokio::test]
async fn while_the_control_plane_starts_the_same_wish_is_not_applied_anew_and_another_one_is_at_once() {
    let server = FakeKubernetes::start().await.unwrap();
    let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
    let host = Host::connect(settings).await.unwrap();
    let desired = crate::golden::desired();
    let names = Names::of(&desired.id);
    let namespace = format!("/api/v1/namespaces/{}", names.namespace);
    server.put(&namespace, json!({ "metadata": { "name": names.namespace } }));
    let labels = json!({ "app": "vcluster", "release": names.name });
    let metadata = json!({ "name": "control-plane-0", "namespace": names.namespace, "labels": labels });
    server.put(&format!("{namespace}/pods/control-plane-0"), json!({ "metadata": metadata }));

    host.note_applied(&desired, None);
    let mut ledger = Ledger::default();
    assert!(host.host_side(&desired, &names, None, &mut ledger).await.unwrap().is_none());
    assert!(ledger.finish().has_done(WorkspaceStep::Authentication));
    assert_eq!(server.writes(), 0);

    let limits = hexabase_core::plans::seed().remove(0).limits;
    let built = limits::build(&limits, &host.settings.endpoint, &names, &serde_json::Map::new());
    let lower = DesiredWorkspace { limits, ..desired.clone() };
    host.host_side(&lower, &names, None, &mut Ledger::default()).await.unwrap();
    let quota = server.get(&format!("{namespace}/resourcequotas/{}", limits::NAME)).unwrap();
    assert_eq!(quota["spec"]["hard"], built[0].json["spec"]["hard"]);
    assert!(!host.was_applied(&desired), "the host has a part of what was wanted meanwhile");

    host.note_applied(&desired, None);
    let mut more = desired.clone();
    more.projects.push(DesiredProject {
        id: "prj-0123456789abcdefghj0".parse().unwrap(),
        name: "bank".parse().unwrap(),
        network: NetworkIsolation::Isolated,
        ..desired.projects[0].clone()
    });
    host.host_side(&more, &names, None, &mut Ledger::default()).await.unwrap();
    let policies = format!("/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies", names.namespace);
    assert!(server.get(&format!("{policies}/hexabase-project-prj-0123456789abcdefghj0")).is_some());
}

#[tokio::test]
async fn a_quota_that_was_raised_on_the_host_is_put_right_and_only_one_that_is_being_lowered_spares_what_is_used() {
    let server = FakeKubernetes::start().await.unwrap();
    let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
    let host = Host::connect(settings).await.unwrap();
    let mut desired = crate::golden::desired();
    let names = Names::of(&desired.id);
    let namespace = format!("/api/v1/namespaces/{}", names.namespace);
    server.put(&namespace, json!({ "metadata": { "name": names.namespace } }));
    let path = format!("{namespace}/resourcequotas/{}", limits::NAME);
    for (smaller, expected) in [(None, "6500m"), (Some(hexabase_core::plans::seed().remove(0).limits), "50")] {
        let (hard, used) = (json!({ "limits.cpu": "99" }), json!({ "limits.cpu": "50" }));
        let metadata = json!({ "name": limits::NAME });
        server.put(&path, json!({ "metadata": metadata, "spec": { "hard": hard }, "status": { "used": used } }));
        desired.smaller = smaller;
        host.limits(&desired, &names, ControlPlane::Runs).await.unwrap();
        assert_eq!(server.get(&path).unwrap()["spec"]["hard"]["limits.cpu"], expected);
    }
}

#[tokio::test]
async fn a_plan_that_is_too_small_is_refused_without_the_name_of_any_pod() {
    let server = FakeKubernetes::start().await.unwrap();
    let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
    let host = Host::connect(settings).await.unwrap();
    let mut desired = crate::golden::desired();
    let names = Names::of(&desired.id);
    let namespace = format!("/api/v1/namespaces/{}", names.namespace);
    server.put(&namespace, json!({ "metadata": { "name": names.namespace } }));
    let inside = json!({ OBJECT_NAMESPACE: "web", OBJECT_NAME: "front" });
    let metadata = json!({ "name": "front-x-web", "namespace": names.namespace, "annotations": inside });
    let container = json!({ "name": "c", "resources": { "limits": { "cpu": "50" } } });
    let pod = json!({ "metadata": metadata, "spec": { "containers": [container] } });
    server.put(&format!("{namespace}/pods/front-x-web"), pod);
    let built = limits::build(&desired.limits, &host.settings.endpoint, &names, &serde_json::Map::new());
    let mut used = built[0].json["spec"]["hard"].clone();
    for (name, number) in used.as_object_mut().unwrap() {
        *number = json!(if name == "limits.cpu" { "50" } else { "0" });
    }
    let path = format!("{namespace}/resourcequotas/{}", limits::NAME);
    server.put(&path, json!({ "metadata": { "name": limits::NAME }, "status": { "used": used } }));
    desired.smaller = Some(hexabase_core::plans::seed().remove(0).limits);
    let (_, counted) = host.limits(&desired, &names, ControlPlane::Runs).await.unwrap();
    let told = "the plan would allow less than is used in the workspace: 1 of cpu, of which 47500m is used";
    assert_eq!(counted.fit, Some(Fit::Exceeds(told.to_owned())));
}

#[tokio::test]
async fn a_host_that_does_not_tell_its_storage_classes_holds_up_the_limits_only() {
    let server = FakeKubernetes::start().await.unwrap();
    let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
    let mut host = Host::connect(settings).await.unwrap();
    host.settings.storage_class = Some("fast".to_owned());
    let desired = crate::golden::desired();
    let names = Names::of(&desired.id);
    server.refuse("GET", "/apis/storage.k8s.io/v1/storageclasses", 403);

    let stage = host.namespace(&desired, &names, &mut Ledger::default()).await.unwrap();
    assert_eq!(stage, Some(None));
    let made = server.get(&format!("/api/v1/namespaces/{}", names.namespace)).unwrap();
    assert_eq!(made["metadata"]["annotations"][labels::STORAGE_CLASSES], "fast");
    let refused = host.storage_classes().await.unwrap_err();
    assert!(matches!(refused, ReconcileError::Refused { code: 403, .. }), "{refused}");
}
