//! What of custom roles needs no workspace that answers; the rest is in the cluster suite.

use anyhow::Result;
use hexabase_testkit::http::Answer;
use serde_json::{Value, json};

use crate::support::{Person, items, problem, shop, text};

fn path(workspace: &str) -> String {
    format!("/api/v1/workspaces/{workspace}/cluster-roles")
}

async fn make(person: &Person, workspace: &str, name: &str, rules: Value) -> Result<Answer> {
    person.api.post(&path(workspace), &json!({ "name": name, "rules": rules })).await
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
    assert!(refused.header("retry-after") != "", "{refused:?}");
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
