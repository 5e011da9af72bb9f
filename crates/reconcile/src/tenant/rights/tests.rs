use hexabase_core::names::GroupName;
use hexabase_core::phases::ProjectPhase;
use hexabase_core::projects::{NetworkIsolation, PodSecurity, ProjectLabels};
use hexabase_core::quota::Amounts;
use hexabase_core::roles::{ClusterRoleRef, PresetClusterRole, ProjectRole, ProjectRoleRef, Rule};
use hexabase_testkit::kubernetes::FakeKubernetes;

use super::*;
use crate::connection::Host;
use crate::desired::{CustomRole, DesiredProject, ProjectGrant};
use crate::labels::PROJECT;
use crate::settings::HostSettings;
use crate::tenant::{access, makers, projects};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// A tenant with nothing in it, and a client of it.
async fn tenant() -> (FakeKubernetes, Cluster) {
    let server = FakeKubernetes::start().await.unwrap();
    let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
    let cluster = Host::connect(settings).await.unwrap().cluster;
    (server, cluster)
}

fn wanted() -> Vec<(GroupName, ClusterRoleRef)> {
    let given = [("WSAdmins", PresetClusterRole::WorkspaceAdmin), ("WSUsers", PresetClusterRole::WorkspaceViewer)];
    given.into_iter().map(|(group, role)| (group.parse().unwrap(), ClusterRoleRef::Preset(role))).collect()
}

fn deployer() -> CustomRole {
    let rules: Vec<Rule> =
        serde_json::from_value(json!([{ "api_groups": [""], "resources": ["pods"], "verbs": ["get"] }])).unwrap();
    CustomRole { name: "deployer".parse().unwrap(), rules }
}

fn project(name: &str) -> DesiredProject {
    DesiredProject {
        id: "prj-0123456789abcdefghjk".parse().unwrap(),
        name: name.parse().unwrap(),
        present: true,
        limits: Amounts::of(|_| 1),
        labels: ProjectLabels::default(),
        pod_security: PodSecurity::Baseline,
        network: NetworkIsolation::Open,
        grants: vec![ProjectGrant { group: "team".parse().unwrap(), role: ProjectRoleRef::Preset(ProjectRole::Edit) }],
        custom_roles: vec![deployer()],
    }
}

fn binding(name: &str, more: Value) -> Value {
    let mut metadata = json!({ "name": name, "labels": { MANAGED_BY: MANAGER } });
    metadata.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    json!({ "metadata": metadata, "roleRef": { "kind": "ClusterRole", "name": "cluster-admin" } })
}

fn cluster_wide(name: &str) -> String {
    format!("{RBAC}/clusterrolebindings/{name}")
}

fn inside(namespace: &str, plural: &str, name: &str) -> String {
    format!("{RBAC}/namespaces/{namespace}/{plural}/{name}")
}

/// What a project's namespace may use.
fn quota(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/resourcequotas/{}", projects::QUOTA)
}

/// What Kubernetes does with a new quota.
fn count(server: &FakeKubernetes, namespace: &str) {
    let mut object = server.get(&quota(namespace)).unwrap();
    let hard = object["spec"]["hard"].clone();
    object["status"] = json!({ "hard": hard });
    server.put(&quota(namespace), object);
}

/// Makes the projects, up to where nothing is missing.
async fn made(server: &FakeKubernetes, tenant: &Cluster, wanted: &[DesiredProject]) {
    projects::progress(tenant, wanted).await.unwrap();
    wanted.iter().for_each(|project| count(server, project.name.as_str()));
    projects::progress(tenant, wanted).await.unwrap();
}

#[tokio::test]
async fn nobody_has_a_right_in_a_new_project_and_it_is_not_ready_before_its_quota_counts() {
    let (server, tenant) = tenant().await;
    let (shop, right) = ([project("shop")], inside("shop", "rolebindings", "hexabase:edit:team"));
    let found = projects::progress(&tenant, &shop).await.unwrap();
    assert_eq!((found.phases[0].1, &found.rights), (ProjectPhase::Creating, &Progress::Done));
    let Progress::Wait { reason, .. } = found.progress else { panic!("{:?}", found.progress) };
    assert_eq!(reason, "project shop: ResourceQuota hexabase-quota: is not counted yet");
    assert_eq!(server.get(&right), None);

    count(&server, "shop");
    let found = projects::progress(&tenant, &shop).await.unwrap();
    assert_eq!((found.phases[0].1, found.progress), (ProjectPhase::Ready, Progress::Done));
    assert!(server.get(&right).is_some());

    // Of one that was ready already the quota that is to be counted anew keeps nobody out.
    let more = [DesiredProject { limits: Amounts::of(|_| 2), ..project("shop") }];
    assert_eq!(projects::progress(&tenant, &more).await.unwrap().phases[0].1, ProjectPhase::Ready);

    let blog = [DesiredProject { id: "prj-0123456789abcdefghj0".parse().unwrap(), ..project("blog") }];
    server.refuse("PATCH", &quota("blog"), 403);
    for _ in 0..2 {
        assert_eq!(projects::progress(&tenant, &blog).await.unwrap().phases[0].1, ProjectPhase::Creating);
    }
    assert_eq!(server.get(&inside("blog", "rolebindings", "hexabase:edit:team")), None);
}

#[tokio::test]
async fn a_run_without_changes_writes_no_role_and_no_binding() {
    let (server, tenant) = tenant().await;
    let custom = [deployer()];
    assert_eq!(access::progress(&tenant, &wanted(), &custom).await.unwrap(), Progress::Done);
    made(&server, &tenant, &[project("shop")]).await;
    let projects::Found { progress, phases, .. } = projects::progress(&tenant, &[project("shop")]).await.unwrap();
    assert_eq!((progress, phases[0].1), (Progress::Done, ProjectPhase::Ready));
    assert!(server.get(&inside("shop", "rolebindings", "hexabase:edit:team")).is_some());
    assert!(server.get(&inside("shop", "roles", "hexabase-custom-deployer")).is_some());

    let before = server.writes();
    access::progress(&tenant, &wanted(), &custom).await.unwrap();
    assert_eq!(server.writes(), before);
    projects::progress(&tenant, &[project("shop")]).await.unwrap();
    // The namespace and its two limits; of these Kubernetes alone knows whether they are the same.
    assert_eq!(server.writes(), before + 3);

    let bent = cluster_wide("hexabase:workspace-viewer:WSUsers");
    let mut object = server.get(&bent).unwrap();
    object["subjects"][0]["name"] = json!("nobody");
    server.put(&bent, object);
    access::progress(&tenant, &wanted(), &custom).await.unwrap();
    assert_eq!(server.get(&bent).unwrap()["subjects"][0]["name"], "hexabase:WSUsers");
    assert_eq!(server.writes(), before + 4);
}

#[tokio::test]
async fn a_right_that_was_taken_away_ends_although_another_object_is_refused() {
    for code in [403, 500] {
        let (server, tenant) = tenant().await;
        server
            .put(&cluster_wide("hexabase:workspace-editor:gone"), binding("hexabase:workspace-editor:gone", json!({})));
        server
            .put(&cluster_wide("hexabase:workspace-editor:held"), binding("hexabase:workspace-editor:held", json!({})));
        server.refuse("DELETE", &cluster_wide("hexabase:workspace-editor:held"), code);
        server.refuse("PATCH", &format!("{RBAC}/clusterroles/hexabase:workspace-admin"), code);
        let progress = access::progress(&tenant, &wanted(), &[]).await.unwrap();
        let Progress::Wait { reason, .. } = progress else { panic!("{progress:?}") };
        assert!(
            code == 500 || reason.contains("hexabase:workspace-editor:held"),
            "the first of them is told: {reason}"
        );
        assert_eq!(server.get(&cluster_wide("hexabase:workspace-editor:gone")), None);
        for name in ["hexabase:workspace-admin:WSAdmins", "hexabase:workspace-viewer:WSUsers"] {
            assert!(server.get(&cluster_wide(name)).is_some(), "{name}");
        }
    }
}

#[tokio::test]
async fn a_project_that_is_refused_something_loses_its_rights_and_holds_up_no_other() {
    let (server, tenant) = tenant().await;
    let both = [project("shop"), DesiredProject { id: "prj-0123456789abcdefghj0".parse().unwrap(), ..project("blog") }];
    made(&server, &tenant, &both).await;
    server.put(&inside("shop", "rolebindings", "hexabase:admin:gone"), {
        let mut extra = binding("hexabase:admin:gone", json!({}));
        extra["metadata"]["namespace"] = json!("shop");
        extra
    });
    server.refuse("PATCH", "/api/v1/namespaces/shop", 403);
    let projects::Found { progress, rights, phases } = projects::progress(&tenant, &both).await.unwrap();
    assert_eq!(rights, Progress::Done, "what is refused is no right");
    let Progress::Wait { reason, .. } = progress else { panic!("{progress:?}") };
    assert!(reason.starts_with("project shop: apply Namespace shop: "), "{reason}");
    let phases: Vec<ProjectPhase> = phases.into_iter().map(|(_, phase)| phase).collect();
    assert_eq!(phases, [ProjectPhase::Creating, ProjectPhase::Ready]);
    assert_eq!(server.get(&inside("shop", "rolebindings", "hexabase:admin:gone")), None);
    assert!(server.get(&inside("shop", "rolebindings", "hexabase:edit:team")).is_some());
}

#[tokio::test]
async fn a_right_in_a_project_that_cannot_be_taken_away_is_told_apart_from_what_else_it_waits_for() {
    let (server, tenant) = tenant().await;
    let shop = [project("shop")];
    made(&server, &tenant, &shop).await;
    let path = inside("shop", "rolebindings", "hexabase:admin:gone");
    let mut extra = binding("hexabase:admin:gone", json!({}));
    extra["metadata"]["namespace"] = json!("shop");
    server.put(&path, extra);
    server.refuse("DELETE", &path, 500);
    let found = projects::progress(&tenant, &shop).await.unwrap();
    assert!(matches!(found.rights, Progress::Wait { .. }), "{found:?}");
    assert_eq!(found.phases[0].1, ProjectPhase::Creating);

    // Nobody has a right in what is not there, or not ours.
    let other = [project("other")];
    server.refuse("POST", "/api/v1/namespaces", 403);
    let found = projects::progress(&tenant, &other).await.unwrap();
    assert!(matches!(found.progress, Progress::Wait { .. }), "{found:?}");
    assert_eq!(found.rights, Progress::Done);
    server.put("/api/v1/namespaces/other", json!({ "metadata": { "name": "other" } }));
    assert_eq!(projects::progress(&tenant, &other).await.unwrap().rights, Progress::Done);
}

#[tokio::test]
async fn nobodys_finalizer_keeps_a_right_alive() {
    let (server, tenant) = tenant().await;
    let held = json!({ "finalizers": ["example.com/hold"] });
    let name = "hexabase:workspace-editor:gone";
    server.put(&cluster_wide(name), binding(name, held.clone()));
    assert_eq!(access::progress(&tenant, &wanted(), &[]).await.unwrap(), Progress::Done);
    assert_eq!(server.get(&cluster_wide(name)), None);

    // One that stays all the same is waited for.
    server.put(&cluster_wide(name), binding(name, held.clone()));
    server.refuse("PATCH", &cluster_wide(name), 403);
    let progress = access::progress(&tenant, &wanted(), &[]).await.unwrap();
    assert!(matches!(&progress, Progress::Wait { reason, .. } if reason.contains(name)), "{progress:?}");

    // Nor in a project that is going, whose namespace it holds up.
    made(&server, &tenant, &[project("shop")]).await;
    let path = inside("shop", "rolebindings", "hexabase:edit:team");
    let mut object = server.get(&path).unwrap();
    object["metadata"]["finalizers"] = held["finalizers"].clone();
    object["metadata"]["namespace"] = json!("shop");
    server.put(&path, object);
    projects::progress(&tenant, &[DesiredProject { present: false, ..project("shop") }]).await.unwrap();
    assert_eq!(server.get(&path), None);
}

#[tokio::test]
async fn a_project_that_goes_takes_its_namespace_along_also_without_the_label_but_none_that_is_not_its_own() {
    let (server, tenant) = tenant().await;
    let (path, going) = ("/api/v1/namespaces/shop", [DesiredProject { present: false, ..project("shop") }]);
    made(&server, &tenant, &[project("shop")]).await;
    let mut object = server.get(path).unwrap();
    assert!(object["metadata"]["labels"].as_object_mut().unwrap().remove(PROJECT).is_some());
    object["metadata"]["managedFields"] = json!([{ "manager": MANAGER }]);
    server.put(path, object);
    assert_eq!(projects::progress(&tenant, &going).await.unwrap().phases[0].1, ProjectPhase::Deleting);
    assert_eq!(server.get(path), None);
    assert_eq!(server.get(&inside("shop", "rolebindings", "hexabase:edit:team")), None);
    assert_eq!(projects::progress(&tenant, &going).await.unwrap().phases[0].1, ProjectPhase::Deleted);

    let (anothers, team) = (json!({ PROJECT: "prj-0123456789abcdefghj0" }), "hexabase:edit:team");
    for (labels, manager) in [(json!({}), "kubectl-create"), (anothers, MANAGER)] {
        let metadata = json!({ "name": "shop", "labels": labels, "managedFields": [{ "manager": manager }] });
        server.put(path, json!({ "metadata": metadata }));
        server.put(&inside("shop", "rolebindings", team), binding(team, json!({ "namespace": "shop" })));
        assert_eq!(projects::progress(&tenant, &going).await.unwrap().phases[0].1, ProjectPhase::Deleted);
        assert!(server.get(path).is_some(), "{manager}");
        assert_eq!(server.get(&inside("shop", "rolebindings", team)), None, "nobody has a right of ours in it");
    }
}

#[tokio::test]
async fn a_role_that_nobody_accepted_is_not_left_standing_under_the_name_of_one_that_is_asked_for() {
    let (server, tenant) = tenant().await;
    let name = "hexabase:custom:deployer";
    let role = access::cluster_role(name, &deployer().rules);
    server.put(&format!("{RBAC}/clusterroles/{name}"), role.json);
    access::progress(&tenant, &wanted(), &[]).await.unwrap();
    assert_eq!(server.get(&format!("{RBAC}/clusterroles/{name}")), None);
}

#[tokio::test]
async fn what_the_platform_wrote_goes_also_without_its_label_and_nothing_else_does() {
    let (server, tenant) = tenant().await;
    let writer = |manager: &str| json!({ "labels": {}, "managedFields": [{ "manager": manager }] });
    for (name, manager) in [
        ("hexabase:workspace-editor:gone", MANAGER),
        ("hexabase:workspace-editor:own", "kubectl"),
        ("by-hand", MANAGER),
    ] {
        server.put(&cluster_wide(name), binding(name, writer(manager)));
    }
    access::progress(&tenant, &wanted(), &[]).await.unwrap();
    let left = ["hexabase:workspace-editor:gone", "hexabase:workspace-editor:own", "by-hand"]
        .map(|name| server.get(&cluster_wide(name)).is_some());
    assert_eq!(left, [false, true, true]);
    // One that is wanted gets it back.
    let path = cluster_wide("hexabase:workspace-viewer:WSUsers");
    let mut object = server.get(&path).unwrap();
    object["metadata"]["labels"] = json!({});
    server.put(&path, object);
    access::progress(&tenant, &wanted(), &[]).await.unwrap();
    assert_eq!(server.get(&path).unwrap()["metadata"]["labels"][MANAGED_BY], MANAGER);
}

#[tokio::test]
async fn the_policies_that_mark_tokens_are_written_when_they_differ_and_not_otherwise() {
    let (older, old) = tenant().await;
    let (server, tenant) = tenant().await;
    assert_eq!(makers::progress(&old, "v1.33.1").await.unwrap(), Progress::Done);
    assert_eq!(older.writes(), 0, "what it does not serve is not asked of it");
    assert_eq!(makers::progress(&tenant, "v1.35.4").await.unwrap(), Progress::Done);
    assert_eq!(server.writes(), 4);
    makers::progress(&tenant, "v1.35.4").await.unwrap();
    assert_eq!(server.writes(), 4);

    let policies = "/apis/admissionregistration.k8s.io";
    let mark = format!("{policies}/v1beta1/mutatingadmissionpolicies/hexabase-token-makers");
    let checked = format!("{policies}/v1/validatingadmissionpolicybindings/hexabase-token-makers-are-true");
    let made = server.get(&mark).unwrap();
    let mut bent = made.clone();
    bent["spec"]["matchConditions"][1]["expression"] = json!("false");
    bent["metadata"]["labels"] = json!({});
    server.put(&mark, bent);
    server.remove(&checked);
    makers::progress(&tenant, "v1.35.4").await.unwrap();
    let restored = server.get(&mark).unwrap();
    assert_eq!((&restored["spec"], &restored["metadata"]["labels"]), (&made["spec"], &made["metadata"]["labels"]));
    assert!(server.get(&checked).is_some());
    assert_eq!(server.writes(), 6);
}

#[tokio::test]
async fn what_somebody_put_beside_a_policy_or_its_binding_is_taken_away() {
    let (server, tenant) = tenant().await;
    makers::progress(&tenant, "v1.35.4").await.unwrap();
    let policies = "/apis/admissionregistration.k8s.io/v1";
    let check = format!("{policies}/validatingadmissionpolicies/hexabase-token-makers-are-true");
    let checked = format!("{policies}/validatingadmissionpolicybindings/hexabase-token-makers-are-true");
    let never = json!({ "name": "never", "expression": "false" });
    let elsewhere = json!({ "namespaceSelector": { "matchLabels": { "x": "y" } } });
    for (path, field, value) in [
        (&check, "/spec/matchConstraints/excludeResourceRules", json!([{ "resources": ["*"] }])),
        (&check, "/spec/paramKind", json!({ "kind": "ConfigMap" })),
        (&checked, "/spec/matchResources", elsewhere),
    ] {
        let made = server.get(path).unwrap();
        let mut bent = made.clone();
        let (place, name) = field.rsplit_once('/').unwrap();
        bent.pointer_mut(place).unwrap()[name] = value;
        server.put(path, bent);
        assert_eq!(makers::progress(&tenant, "v1.35.4").await.unwrap(), Progress::Done);
        let restored = server.get(path).unwrap();
        assert_eq!(
            (&restored["spec"], &restored["metadata"]["uid"]),
            (&made["spec"], &made["metadata"]["uid"]),
            "{field}"
        );
    }
    // One that is as it should be is not written again.
    let before = server.writes();
    makers::progress(&tenant, "v1.35.4").await.unwrap();
    assert_eq!(server.writes(), before);

    // As Kubernetes merges: a condition more is nobody's business in an apply.
    let found = tenant.list(Kind::ValidatingAdmissionPolicy, None, &owned()).await.unwrap();
    let [_, [policy, _]] = makers::build(makers::IN_BETA);
    let mut bent = found.into_iter().next().unwrap();
    assert!(is_as_wanted(&bent, &policy));
    bent.data["spec"]["matchConditions"].as_array_mut().unwrap().push(never);
    assert!(!is_as_wanted(&bent, &policy));
    straighten(&tenant, &bent, &policy).await.unwrap();
    assert_eq!(server.get(&check).unwrap()["spec"], policy.json["spec"]);
}

#[test]
fn what_fills_one_namespace_hides_nothing_in_another_and_what_is_left_over_is_told() {
    let mut found = Found::nothing(Kind::RoleBinding, &[Some("shop"), Some("zzz")]);
    for number in 0..5_000 {
        for full in ["aaa", "shop"] {
            found.note(full, &format!("hexabase:admin:{number}"), None);
        }
    }
    found.note("shop", "hexabase:edit:team", Some(true));
    found.note("zzz", "hexabase:admin:gone", None);
    let in_place = |name: &str| (found.places[name].objects.len(), found.rest(&found.places[name]) == Progress::Done);
    assert_eq!((in_place("shop"), in_place("zzz")), ((MOST_SURPLUS + 1, false), (1, true)));
    assert!(!found.places.contains_key("aaa"), "it is no project");
    found.is_all = false;
    assert!(matches!(found.rest(&found.places["zzz"]), Progress::Wait { .. }));
}

#[tokio::test]
async fn a_right_is_not_over_while_more_than_one_look_takes_away_is_there() {
    let (server, tenant) = tenant().await;
    let names: Vec<String> = (0..=MOST_SURPLUS).map(|number| format!("hexabase:workspace-editor:{number}")).collect();
    for name in &names {
        server.put(&cluster_wide(name), binding(name, json!({})));
    }
    let progress = access::progress(&tenant, &wanted(), &[]).await.unwrap();
    assert!(matches!(progress, Progress::Wait { .. }), "{progress:?}");
    assert_eq!(access::progress(&tenant, &wanted(), &[]).await.unwrap(), Progress::Done);
    assert!(names.iter().all(|name| server.get(&cluster_wide(name)).is_none()));
}

#[test]
fn labels_that_somebody_added_are_no_difference() {
    let manifest = access::cluster_role("hexabase:custom:deployer", &deployer().rules);
    let mut found: DynamicObject = serde_json::from_value(manifest.json.clone()).unwrap();
    let labels = found.metadata.labels.get_or_insert_default();
    labels.insert("a".to_owned(), "b".to_owned());
    assert!(is_as_wanted(&found, &manifest));
    found.data["aggregationRule"] = json!({ "clusterRoleSelectors": [] });
    assert!(!is_as_wanted(&found, &manifest));
    found.data["aggregationRule"] = Value::Null;
    assert!(is_as_wanted(&found, &manifest));
    found.metadata = ObjectMeta::default();
    assert!(!is_as_wanted(&found, &manifest));
}
