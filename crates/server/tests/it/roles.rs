//! What of custom roles and explanations needs no workspace that judges; the rest is in the cluster suite.

use anyhow::{Context as _, Result};
use hexabase_backends::store::roles::{self, NewRole};
use hexabase_backends::store::{projects, workspaces};
use hexabase_core::ids::{Id as _, RoleId};
use hexabase_core::phases::ProjectPhase;
use hexabase_testkit::http::Answer;
use hexabase_testkit::tenant::FakeTenant;
use serde_json::{Value, json};

use crate::gateway::set_ready;
use crate::groups::put;
use crate::role_assignments::{give, logged, project, team};
use crate::support::{Person, Platform, items, problem, shop, text};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

fn path(workspace: &str) -> String {
    format!("/api/v1/workspaces/{workspace}/cluster-roles")
}

async fn make(person: &Person, workspace: &str, name: &str, rules: Value) -> Result<Answer> {
    person.api.post(&path(workspace), &json!({ "name": name, "rules": rules })).await
}

/// An API server that the platform takes for the workspace's own.
pub(crate) async fn answering(platform: &Platform, workspace: &str) -> Result<FakeTenant> {
    let tenant = FakeTenant::start().await?;
    set_ready(platform, workspace, &tenant.address(), &tenant.ca_pem).await?;
    Ok(tenant)
}

/// A project whose namespace is there.
async fn ready_project(
    platform: &Platform,
    person: &Person,
    workspace: &str,
    name: &str,
    parent: Option<&str>,
) -> Result<String> {
    let id = text(&project(person, workspace, name, parent).await?.expect(201)?.json()?["id"]);
    let store = platform.store().await?;
    let tx = store.begin().await?;
    projects::set_phase(&tx, &id.parse()?, ProjectPhase::Ready, platform.clock.now()).await?;
    tx.commit().await?;
    Ok(id)
}

/// Does what the worker does when Kubernetes has judged: it refused the role with these words, or accepted it.
async fn settle(platform: &Platform, person: &Person, workspace: &str, id: &str, refusal: Option<&str>) -> Result<()> {
    let store = platform.store().await?;
    let tx = store.begin().await?;
    let scope = workspaces::scope_for(&tx, &person.id.parse()?, &workspace.parse()?).await?.context("no scope")?;
    let role = roles::get(&tx, &scope, &id.parse()?).await?.context("no role")?;
    let noted = match refusal {
        Some(message) => roles::refuse(&tx, &role, message).await?,
        None => roles::accept(&tx, &role).await?,
    };
    anyhow::ensure!(noted, "{role:?}");
    Ok(tx.commit().await?)
}

/// Makes custom roles past every rule, of a project or of the whole workspace.
async fn fill(platform: &Platform, person: &Person, workspace: &str, project: Option<&str>, count: u64) -> Result<()> {
    let store = platform.store().await?;
    let tx = store.begin().await?;
    let scope = workspaces::scope_for(&tx, &person.id.parse()?, &workspace.parse()?).await?.context("no scope")?;
    let base = if project.is_some() { 1_000 } else { 2_000 };
    for number in 0..count {
        let new = NewRole {
            id: RoleId::from_parts(platform.clock.now(), base + number),
            project_id: project.map(str::parse).transpose()?,
            name: format!("r{number}").parse()?,
            rules: Vec::new(),
        };
        roles::insert(&tx, &scope, &new, platform.clock.now()).await?;
    }
    Ok(tx.commit().await?)
}

fn rule(api_groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!([{ "api_groups": api_groups, "resources": resources, "verbs": verbs }])
}

#[tokio::test]
async fn the_roles_that_are_always_there_are_told_with_their_rules() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let bob = platform.person("bob").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    let all = items(&bob.api.get(&path(&workspace)).await?);
    let names: Vec<String> = all.iter().map(|role| text(&role["name"])).collect();
    assert_eq!(names, ["workspace-admin", "workspace-editor", "workspace-viewer", "workspace-auditor"]);
    for role in &all {
        assert_eq!((&role["preset"], &role["phase"], &role["id"]), (&json!(true), &json!("ready"), &Value::Null));
        assert_eq!(text(&role["kubernetes_name"]), format!("hexabase:{}", text(&role["name"])));
        assert!(role["rules"].as_array().is_some_and(|rules| !rules.is_empty()));
    }
    let projects = format!("/api/v1/workspaces/{workspace}/projects");
    let web = text(&alice.api.post(&projects, &json!({ "name": "web" })).await?.expect(201)?.json()?["id"]);
    let all = items(&bob.api.get(&format!("{projects}/{web}/roles")).await?);
    let names: Vec<String> = all.iter().map(|role| text(&role["kubernetes_name"])).collect();
    assert_eq!(names, ["admin", "edit", "view"]);
    Ok(())
}

#[tokio::test]
async fn rules_that_lead_to_more_rights_are_refused_before_any_workspace_is_asked() -> Result<()> {
    let (_platform, alice, workspace) = shop().await?;
    for (rules, why) in [
        (json!([]), "1 to 50 rules"),
        (rule(&["*"], &["pods"], &["get"]), "\"*\""),
        (rule(&[""], &["*"], &["get"]), "\"*\""),
        (rule(&[""], &["pods"], &["*"]), "\"*\""),
        (rule(&[""], &["users"], &["impersonate"]), "impersonate"),
        (rule(&["rbac.authorization.k8s.io"], &["clusterroles"], &["bind"]), "bind"),
        (rule(&["rbac.authorization.k8s.io"], &["roles"], &["escalate"]), "escalate"),
        (rule(&["rbac.authorization.k8s.io"], &["rolebindings"], &["create"]), "roles and bindings"),
        (rule(&[""], &["resourcequotas"], &["update"]), "platform"),
        (rule(&[""], &["namespaces"], &["delete"]), "platform"),
    ] {
        let refused = problem(&make(&alice, &workspace, "reader", rules.clone()).await?, 422, "invalid");
        assert_eq!(refused["field"], "rules", "{rules}");
        assert!(text(&refused["detail"]).contains(why), "{rules}: {refused}");
    }
    let good = rule(&[""], &["pods"], &["get"]);
    for name in ["", "view", "cluster-admin", "workspace-admin", "hexabase-x", "system-x", "A", "a:b", &"a".repeat(41)]
    {
        let refused = problem(&make(&alice, &workspace, name, good.clone()).await?, 422, "invalid");
        assert_eq!(refused["field"], "name", "{name:?}");
    }
    let unknown = json!([{ "api_groups": [""], "resources": ["pods"], "verbs": ["get"], "nonResourceURLs": ["/"] }]);
    problem(&make(&alice, &workspace, "reader", unknown).await?, 422, "invalid");
    Ok(())
}

#[tokio::test]
async fn while_the_workspace_does_not_answer_no_role_is_made_and_nothing_is_explained() -> Result<()> {
    let (_platform, alice, workspace) = shop().await?;
    let refused = make(&alice, &workspace, "reader", rule(&[""], &["pods"], &["get"])).await?;
    let detail = text(&problem(&refused, 503, "unavailable")["detail"]);
    assert!(detail.contains("not ready yet"), "{detail}");
    assert!(!refused.header("retry-after").is_empty(), "{refused:?}");
    assert_eq!(items(&alice.api.get(&path(&workspace)).await?).len(), 4);
    let access = format!("/api/v1/workspaces/{workspace}/access");
    for question in ["explain?verb=get&resource=pods", "who-can?verb=get&resource=pods&namespace=web"] {
        problem(&alice.api.get(&format!("{access}/{question}")).await?, 503, "unavailable");
    }
    for (question, field) in [
        ("explain?verb=get&resource=po%20ds", "resource"),
        ("explain?verb=&resource=pods", "verb"),
        ("who-can?verb=get&resource=pods&namespace=%0a", "namespace"),
        ("who-can?verb=get&resource=pods&name=%3f", "name"),
    ] {
        let refused = problem(&alice.api.get(&format!("{access}/{question}")).await?, 422, "invalid");
        assert_eq!(refused["field"], field, "{question}");
    }
    problem(&alice.api.get(&format!("{access}/explain?verb=get")).await?, 422, "invalid");
    problem(&alice.api.get(&format!("{access}/explain?verb=get&resource=pods&as=root")).await?, 422, "invalid");
    Ok(())
}

#[tokio::test]
async fn whoever_is_no_member_has_no_rights_to_make_a_role_with() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let bob = platform.person("bob").await?;
    alice.add(&workspace, &bob.id, &["WSAdmins"]).await?.expect(201)?;
    // Alice administers the organisation, and has left the workspace.
    bob.remove(&workspace, &alice.id).await?.expect(204)?;
    let refused = make(&alice, &workspace, "reader", rule(&[""], &["pods"], &["get"])).await?;
    let detail = text(&problem(&refused, 403, "forbidden")["detail"]);
    assert!(detail.contains("add yourself to its members first"), "{detail}");
    let question = format!("/api/v1/workspaces/{workspace}/access/explain?verb=get&resource=pods&user={}", bob.id);
    problem(&alice.api.get(&question).await?, 403, "forbidden");
    Ok(())
}

#[tokio::test]
async fn a_role_of_a_project_is_judged_in_every_project_that_it_reaches() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let tenant = answering(&platform, &workspace).await?;
    let office = ready_project(&platform, &alice, &workspace, "office", None).await?;
    let desk = ready_project(&platform, &alice, &workspace, "desk", Some(&office)).await?;
    ready_project(&platform, &alice, &workspace, "elsewhere", None).await?;
    let make = async |name: &str| {
        let path = format!("/api/v1/workspaces/{workspace}/projects/{office}/roles");
        let body = json!({ "name": name, "rules": rule(&[""], &["configmaps"], &["get"]) });
        alice.api.post(&path, &body).await
    };
    let below = format!("{RBAC}/namespaces/desk/roles/hexabase-custom-writer");
    tenant.refuse("PATCH", &below, 403, "attempting to grant RBAC permissions not currently held");
    let refused = problem(&make("writer").await?, 403, "forbidden");
    assert!(text(&refused["detail"]).starts_with("in the project desk: attempting to grant"), "{refused}");
    tenant.refuse("PATCH", &below, 409, "the object has been modified");
    problem(&make("writer").await?, 503, "unavailable");

    tenant.agree();
    let made = make("writer").await?.expect(201)?.json()?;
    let asked = tenant.asked("PATCH");
    assert!(asked.iter().all(|asked| asked.query.contains("dryRun=All")), "{asked:?}");
    assert!(asked.iter().all(|asked| !asked.path.contains("elsewhere")), "{asked:?}");
    // Other rules take the same way.
    tenant.refuse("PATCH", &below, 403, "attempting to grant RBAC permissions not currently held");
    let path = format!("/api/v1/workspaces/{workspace}/projects/{office}/roles/{}", text(&made["id"]));
    let body = json!({ "rules": rule(&[""], &["configmaps"], &["get", "delete"]) });
    let request = alice.api.request(reqwest::Method::PUT, &path).json(&body);
    problem(&alice.api.send(request).await?, 403, "forbidden");
    // What is judged nowhere is made nowhere.
    tenant.agree();
    let mouse = project(&alice, &workspace, "mouse", Some(&desk)).await?.expect(201)?.json()?;
    assert_eq!(mouse["phase"], "creating");
    let refused = problem(&make("reader").await?, 409, "not_ready");
    assert!(text(&refused["detail"]).starts_with("the project mouse, which stands below, is creating"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn what_is_in_force_is_told_beside_what_was_asked_for() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let _tenant = answering(&platform, &workspace).await?;
    let old = rule(&[""], &["pods"], &["get"]);
    let made = make(&alice, &workspace, "reader", old.clone()).await?.expect(201)?.json()?;
    assert_eq!((&made["phase"], &made["rules"], &made["in_force"]), (&json!("pending"), &old, &json!([])));
    let one = format!("{}/{}", path(&workspace), text(&made["id"]));
    settle(&platform, &alice, &workspace, &text(&made["id"]), None).await?;
    assert_eq!(alice.api.get(&one).await?.expect(200)?.json()?["in_force"], old);
    let new = rule(&[""], &["pods"], &["get", "list"]);
    let request = alice.api.request(reqwest::Method::PUT, &one).json(&json!({ "rules": new }));
    alice.api.send(request).await?.expect(200)?;
    settle(&platform, &alice, &workspace, &text(&made["id"]), Some("not held")).await?;
    let told = alice.api.get(&one).await?.expect(200)?.json()?;
    assert_eq!((&told["phase"], &told["rules"], &told["in_force"]), (&json!("refused"), &new, &old));
    let preset = &items(&alice.api.get(&path(&workspace)).await?)[0];
    assert_eq!(preset["in_force"], preset["rules"]);
    Ok(())
}

#[tokio::test]
async fn a_role_that_was_refused_and_never_accepted_is_given_to_nobody() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let _tenant = answering(&platform, &workspace).await?;
    let team = team(&alice, &workspace).await?;
    let good = rule(&[""], &["pods"], &["get"]);
    let id = text(&make(&alice, &workspace, "reader", good.clone()).await?.expect(201)?.json()?["id"]);
    settle(&platform, &alice, &workspace, &id, Some("attempting to grant what is not held")).await?;
    let body = json!({ "group": team, "role": "hexabase:custom:reader" });
    let refused = problem(&give(&alice, &workspace, body.clone()).await?, 409, "role_refused");
    assert!(text(&refused["detail"]).ends_with("attempting to grant what is not held"), "{refused}");
    // Pending again, it can be given: it holds as soon as it is accepted.
    let one = format!("{}/{id}", path(&workspace));
    alice.api.send(alice.api.request(reqwest::Method::PUT, &one).json(&json!({ "rules": good }))).await?.expect(200)?;
    give(&alice, &workspace, body).await?.expect(201)?;
    let refused = problem(&alice.api.delete(&one).await?, 409, "role_in_use");
    assert!(text(&refused["detail"]).contains("it is given to team;"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn a_project_moves_only_where_the_custom_roles_in_it_go_on_to_mean_the_same() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let office = text(&project(&alice, &workspace, "office", None).await?.expect(201)?.json()?["id"]);
    let desk = text(&project(&alice, &workspace, "desk", Some(&office)).await?.expect(201)?.json()?["id"]);
    let other = text(&project(&alice, &workspace, "other", None).await?.expect(201)?.json()?["id"]);
    let store = platform.store().await?;
    let tx = store.begin().await?;
    let scope = workspaces::scope_for(&tx, &alice.id.parse()?, &workspace.parse()?).await?.context("no scope")?;
    for (number, (place, name)) in (3_000..).zip([(&office, "reader"), (&office, "writer"), (&other, "writer")]) {
        let new = NewRole {
            id: RoleId::from_parts(platform.clock.now(), number),
            project_id: Some(place.parse()?),
            name: name.parse()?,
            rules: Vec::new(),
        };
        roles::insert(&tx, &scope, &new, platform.clock.now()).await?;
    }
    tx.commit().await?;
    let put = async |id: &str, parent: Option<&str>| {
        let path = format!("/api/v1/workspaces/{workspace}/projects/{id}");
        alice.api.patch(&path, &json!({ "parent": parent })).await
    };
    // With as little as this it has room anywhere.
    let small = json!({ "quota": { "cpu": "1m", "memory": "1Mi", "storage": "0", "pods": 1, "services": 0,
        "persistent_volume_claims": 0, "objects": 0 } });
    for id in [&other, &desk] {
        let path = format!("/api/v1/workspaces/{workspace}/projects/{id}");
        alice.api.patch(&path, &small).await?.expect(200)?;
    }
    let refused = problem(&put(&other, Some(&office)).await?, 409, "name_taken");
    assert!(text(&refused["detail"]).contains("writer"), "{refused}");
    let team = team(&alice, &workspace).await?;
    let body = json!({ "group": team, "role": "hexabase-custom-reader", "project": desk });
    let given = text(&give(&alice, &workspace, body).await?.expect(201)?.json()?["id"]);
    let refused = problem(&put(&desk, None).await?, 409, "role_in_use");
    assert!(text(&refused["detail"]).contains("hexabase-custom-reader"), "{refused}");
    alice.api.delete(&format!("/api/v1/workspaces/{workspace}/role-assignments/{given}")).await?.expect(204)?;
    // Another role of the same name is another role.
    let body = json!({ "group": team, "role": "hexabase-custom-writer", "project": desk });
    let given = text(&give(&alice, &workspace, body).await?.expect(201)?.json()?["id"]);
    let refused = problem(&put(&desk, Some(&other)).await?, 409, "role_in_use");
    assert!(text(&refused["detail"]).contains("hexabase-custom-writer"), "{refused}");
    alice.api.delete(&format!("/api/v1/workspaces/{workspace}/role-assignments/{given}")).await?.expect(204)?;
    put(&desk, None).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_workspace_has_two_hundred_custom_roles_and_a_project_fifty() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let _tenant = answering(&platform, &workspace).await?;
    let web = ready_project(&platform, &alice, &workspace, "web", None).await?;
    fill(&platform, &alice, &workspace, Some(&web), 50).await?;
    let of_web = format!("/api/v1/workspaces/{workspace}/projects/{web}/roles");
    let good = rule(&[""], &["pods"], &["get"]);
    let body = json!({ "name": "more", "rules": good });
    let refused = problem(&alice.api.post(&of_web, &body).await?, 409, "limit_reached");
    assert!(
        text(&refused["detail"]).contains("a project has at most 50 custom roles, which nobody can raise"),
        "{refused}"
    );
    fill(&platform, &alice, &workspace, None, 149).await?;
    let last = make(&alice, &workspace, "last", good.clone()).await?.expect(201)?.json()?;
    let refused = problem(&make(&alice, &workspace, "more", good.clone()).await?, 409, "limit_reached");
    assert!(text(&refused["detail"]).contains("at most 200 custom roles, which nobody can raise"), "{refused}");
    alice.api.delete(&format!("{}/{}", path(&workspace), text(&last["id"]))).await?.expect(204)?;
    make(&alice, &workspace, "more", good).await?.expect(201)?;
    Ok(())
}

#[tokio::test]
async fn every_change_of_a_role_is_one_line_of_the_audit_log() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let _tenant = answering(&platform, &workspace).await?;
    let web = ready_project(&platform, &alice, &workspace, "web", None).await?;
    let good = rule(&[""], &["pods"], &["get"]);
    let id = text(&make(&alice, &workspace, "reader", good.clone()).await?.expect(201)?.json()?["id"]);
    settle(&platform, &alice, &workspace, &id, None).await?;
    let one = format!("{}/{id}", path(&workspace));
    let change = async |rules: &Value| {
        alice.api.send(alice.api.request(reqwest::Method::PUT, &one).json(&json!({ "rules": rules }))).await
    };
    // What it is already is no change.
    change(&good).await?.expect(200)?;
    change(&rule(&[""], &["pods"], &["list"])).await?.expect(200)?;
    alice.api.delete(&one).await?.expect(204)?;
    let of_web = format!("/api/v1/workspaces/{workspace}/projects/{web}/roles");
    let made = alice.api.post(&of_web, &json!({ "name": "reader", "rules": good })).await?.expect(201)?.json()?;
    alice.api.delete(&format!("/api/v1/workspaces/{workspace}/projects/{web}")).await?.expect(202)?;

    let log = logged(&platform, &alice, &[&id]).await?;
    let actions: Vec<&str> = log.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, ["role.created", "role.updated", "role.deleted"]);
    let log = logged(&platform, &alice, &[&text(&made["id"])]).await?;
    let actions: Vec<&str> = log.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, ["role.created", "role.deleted"], "it went with its project");
    assert_eq!(log[1].1.as_ref().map(|before| &before["project"]), Some(&json!("web")));
    Ok(())
}

/// Bob in the group `team`, which has `edit` in the project `web`.
async fn editor(platform: &Platform, alice: &Person, workspace: &str) -> Result<Person> {
    let bob = platform.person("bob").await?;
    alice.add(workspace, &bob.id, &[]).await?.expect(201)?;
    let team = team(alice, workspace).await?;
    put(alice, workspace, &team, &bob.id).await?.expect(204)?;
    let web = ready_project(platform, alice, workspace, "web", None).await?;
    give(alice, workspace, json!({ "group": team, "role": "edit", "project": web })).await?.expect(201)?;
    Ok(bob)
}

#[tokio::test]
async fn whoever_may_not_read_roles_is_answered_all_the_same() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let tenant = answering(&platform, &workspace).await?;
    let bob = editor(&platform, &alice, &workspace).await?;
    let ask = async |question: &str| {
        let path = format!("/api/v1/workspaces/{workspace}/access/{question}?verb=get&resource=pods&namespace=web");
        bob.api.get(&path).await?.expect(200)?.json()
    };
    let told = ask("explain").await?;
    let granted = |reasons: &Value| reasons.as_array().map_or(0, Vec::len);
    assert_eq!((&told["allowed"], granted(&told["unread"])), (&json!(true), 0), "{told}");
    assert!(
        told["because"].as_array().is_some_and(|all| all.iter().any(|one| one["grant"]["role"] == "edit")),
        "{told}"
    );

    tenant.refuse("GET", &format!("{RBAC}/clusterroles/edit"), 403, "clusterroles is forbidden");
    let told = ask("explain").await?;
    assert_eq!((&told["allowed"], granted(&told["unread"])), (&json!(true), 1), "{told}");
    assert_eq!(told["unread"][0]["path"], json!(["team"]));
    assert_eq!(
        (&told["unread"][0]["grant"]["role"], &told["unread"][0]["grant"]["rule"]),
        (&json!("edit"), &Value::Null)
    );
    assert!(
        told["because"].as_array().is_some_and(|all| all.iter().all(|one| one["grant"]["role"] != "edit")),
        "{told}"
    );
    let told = ask("who-can").await?;
    assert_eq!((&told["unread"][0]["group"], granted(&told["unread"])), (&json!("team"), 1), "{told}");
    assert!(told["grants"].as_array().is_some_and(|all| all.iter().all(|one| one["role"] != "edit")), "{told}");
    Ok(())
}

#[tokio::test]
async fn beside_everybody_who_may_stands_what_the_workspace_says_of_them() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let tenant = answering(&platform, &workspace).await?;
    let bob = editor(&platform, &alice, &workspace).await?;
    let ask = async || {
        let path = format!("/api/v1/workspaces/{workspace}/access/who-can?verb=list&resource=pods&namespace=web");
        alice.api.get(&path).await?.expect(200)?.json()
    };
    let told = ask().await?;
    assert!(text(&told["note"]).contains("given through Hexabase"), "{told}");
    let people = told["people"].as_array().context("nobody")?;
    let of_bob = people.iter().find(|person| person["user"] == bob.id).context("Bob")?;
    let mut groups: Vec<String> = of_bob["groups"].as_array().into_iter().flatten().map(text).collect();
    groups.sort();
    // By what everybody has, and by what his team has.
    assert_eq!((groups, &of_bob["allowed"]), (vec!["WorkspaceMembers".to_owned(), "team".to_owned()], &json!(true)));
    let asked = tenant.asked("POST");
    let about_bob = asked.iter().find(|asked| asked.body["spec"]["user"] == format!("hexabase:{}", bob.id));
    let spec = &about_bob.context("nobody asked about Bob")?.body["spec"];
    let named: Vec<String> = spec["groups"].as_array().into_iter().flatten().map(text).collect();
    assert!(
        named.contains(&"hexabase:team".to_owned()) && named.contains(&"system:authenticated".to_owned()),
        "{spec}"
    );

    tenant.answer(
        "POST",
        REVIEWS,
        201,
        json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "metadata": {}, "spec": {}, "status": { "allowed": false } }),
    );
    let told = ask().await?;
    assert!(told["people"].as_array().is_some_and(|all| all.iter().all(|one| one["allowed"] == false)), "{told}");
    tenant.refuse("POST", REVIEWS, 403, "subjectaccessreviews is forbidden");
    let told = ask().await?;
    assert_eq!(told["people"].as_array().map(Vec::len), Some(2), "{told}");
    assert!(told["people"].as_array().is_some_and(|all| all.iter().all(|one| one["allowed"].is_null())), "{told}");
    Ok(())
}
