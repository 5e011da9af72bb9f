use anyhow::{Context as _, Result};
use hexabase_backends::store::{audit, organizations};
use hexabase_testkit::http::Answer;
use serde_json::{Value, json};

use crate::groups::id_of;
use crate::support::{Person, Platform, items, pass, problem, shop, text};

const EDITOR: &str = "hexabase:workspace-editor";

fn path(workspace: &str) -> String {
    format!("/api/v1/workspaces/{workspace}/role-assignments")
}

async fn give(person: &Person, workspace: &str, body: Value) -> Result<Answer> {
    person.api.post(&path(workspace), &body).await
}

async fn team(person: &Person, workspace: &str) -> Result<String> {
    let groups = format!("/api/v1/workspaces/{workspace}/groups");
    Ok(text(&person.api.post(&groups, &json!({ "name": "team" })).await?.expect(201)?.json()?["id"]))
}

async fn project(person: &Person, workspace: &str, name: &str, parent: Option<&str>) -> Result<Answer> {
    let projects = format!("/api/v1/workspaces/{workspace}/projects");
    person.api.post(&projects, &json!({ "name": name, "parent": parent })).await
}

#[tokio::test]
async fn a_new_workspace_has_two_roles_given_and_keeps_the_administrators() -> Result<()> {
    let (_platform, alice, workspace) = shop().await?;
    let given = items(&alice.api.get(&path(&workspace)).await?);
    let told: Vec<(String, String)> = given.iter().map(|one| (text(&one["group_name"]), text(&one["role"]))).collect();
    let expected = [("WSAdmins", "hexabase:workspace-admin"), ("WorkspaceMembers", "hexabase:workspace-viewer")];
    assert_eq!(told, expected.map(|(group, role)| (group.to_owned(), role.to_owned())));
    let one = |number: usize| format!("{}/{}", path(&workspace), text(&given[number]["id"]));
    problem(&alice.api.delete(&one(0)).await?, 409, "default_assignment");
    alice.api.delete(&one(1)).await?.expect(204)?;
    problem(&alice.api.delete(&one(1)).await?, 404, "not_found");
    assert_eq!(items(&alice.api.get(&path(&workspace)).await?).len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_role_is_given_in_the_workspace_or_in_a_project() -> Result<()> {
    let (_platform, alice, workspace) = shop().await?;
    let team = team(&alice, &workspace).await?;
    let web = text(&project(&alice, &workspace, "web", None).await?.expect(201)?.json()?["id"]);
    let whole = give(&alice, &workspace, json!({ "group": team, "role": EDITOR })).await?.expect(201)?.json()?;
    assert_eq!(
        (&whole["group_name"], &whole["project"], &whole["expires_at"]),
        (&json!("team"), &Value::Null, &Value::Null)
    );
    let body = json!({ "group": team, "role": "edit", "project": web });
    let there = give(&alice, &workspace, body.clone()).await?.expect(201)?.json()?;
    assert_eq!((&there["project"], &there["project_name"]), (&json!(web), &json!("web")));
    problem(&give(&alice, &workspace, body).await?, 409, "already_given");
    let one = format!("{}/{}", path(&workspace), text(&there["id"]));
    assert_eq!(alice.api.get(&one).await?.expect(200)?.json()?, there);
    // What is given in the whole workspace is told with the group.
    let groups = items(&alice.api.get(&format!("/api/v1/workspaces/{workspace}/groups")).await?);
    let told = groups.iter().find(|group| group["id"] == json!(team)).context("the group")?;
    assert_eq!(told["cluster_roles"], json!([EDITOR]));
    let first = alice.api.get(&format!("{}?limit=3", path(&workspace))).await?;
    let cursor = text(&first.json()?["next_cursor"]);
    let second = alice.api.get(&format!("{}?limit=3&cursor={cursor}", path(&workspace))).await?;
    assert_eq!((items(&first).len(), items(&second)), (3, vec![there]));
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_given_is_refused_by_field() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let mallory = platform.person("mallory").await?;
    let other = mallory.workspace("shop").await?;
    let foreign = team(&mallory, &other).await?;
    let foreign_project = text(&project(&mallory, &other, "web", None).await?.expect(201)?.json()?["id"]);
    let team = team(&alice, &workspace).await?;
    let web = text(&project(&alice, &workspace, "web", None).await?.expect(201)?.json()?["id"]);
    for (body, field) in [
        (json!({ "group": foreign, "role": EDITOR }), "group"),
        (json!({ "group": "grp-00000000000000000000", "role": EDITOR }), "group"),
        (json!({ "group": "team", "role": EDITOR }), "group"),
        (json!({ "group": team, "role": "edit", "project": foreign_project }), "project"),
        (json!({ "group": team, "role": "edit", "project": "web" }), "project"),
        (json!({ "group": team, "role": "cluster-admin" }), "role"),
        (json!({ "group": team, "role": "system:masters" }), "role"),
        (json!({ "group": team, "role": "edit" }), "role"),
        (json!({ "group": team, "role": EDITOR, "project": web }), "role"),
        (json!({ "group": team, "role": "cluster-admin", "project": web }), "role"),
        (json!({ "group": team, "role": "hexabase:custom:absent" }), "role"),
        (json!({ "group": team, "role": "hexabase-custom-absent", "project": web }), "role"),
        (json!({ "group": team, "role": EDITOR, "expires_at": "2001-01-01T00:00:00Z" }), "expires_at"),
    ] {
        let refused = problem(&give(&alice, &workspace, body.clone()).await?, 422, "invalid");
        assert_eq!(refused["field"], field, "{body}: {refused}");
    }
    problem(
        &give(&alice, &workspace, json!({ "group": team, "role": EDITOR, "expires_at": "soon" })).await?,
        422,
        "invalid",
    );
    let bob = platform.person("bob").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    problem(&give(&bob, &workspace, json!({ "group": team, "role": EDITOR })).await?, 403, "forbidden");
    assert_eq!(items(&bob.api.get(&path(&workspace)).await?).len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_role_given_for_a_time_gives_nothing_afterwards_and_leaves_a_line_in_the_log() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let team = team(&alice, &workspace).await?;
    let now = platform.clock.now();
    problem(
        &give(&alice, &workspace, json!({ "group": team, "role": EDITOR, "expires_at": now })).await?,
        422,
        "invalid",
    );
    let body = json!({ "group": team, "role": EDITOR, "expires_at": now.plus_seconds(60) });
    let given = give(&alice, &workspace, body).await?.expect(201)?.json()?;
    assert_eq!(given["expires_at"], json!(now.plus_seconds(60)));
    let of_team = async || {
        let one = format!("/api/v1/workspaces/{workspace}/groups/{team}");
        anyhow::Ok(alice.api.get(&one).await?.expect(200)?.json()?["cluster_roles"].clone())
    };
    pass(&platform, 59);
    assert_eq!(of_team().await?, json!([EDITOR]));
    pass(&platform, 1);
    assert_eq!(of_team().await?, json!([]));
    // Nothing stands in the way of giving it again.
    let again = json!({ "group": team, "role": EDITOR });
    let again = give(&alice, &workspace, again).await?.expect(201)?.json()?;
    assert_ne!(again["id"], given["id"]);
    let store = platform.store().await?;
    let scope = organizations::scope_for(&store, &alice.id.parse()?, &alice.organization.parse()?).await?;
    let filter = audit::AuditFilter { subject: Some(text(&given["id"])), ..audit::AuditFilter::default() };
    let rows = audit::list(&store, &scope.context("no scope")?, &filter, 0, 10).await?;
    let told: Vec<(&str, &str)> =
        rows.iter().map(|row| (row.entry.action.as_str(), row.entry.actor.as_str())).collect();
    assert_eq!(told, [("role_assignment.created", alice.id.as_str()), ("role_assignment.expired", "system")]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_role_given_many_times_at_once_is_given_once() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let workspace = alice.workspace("shop").await?;
        let users = id_of(&alice, &workspace, "WSUsers").await?;
        let ask = |_| give(&alice, &workspace, json!({ "group": users, "role": EDITOR }));
        let answers = futures::future::try_join_all((0..6).map(ask)).await?;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{answers:?}");
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            problem(answer, 409, "already_given");
        }
    }
    Ok(())
}

#[tokio::test]
async fn projects_stand_below_projects_and_go_from_below() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let mallory = platform.person("mallory").await?;
    let other = mallory.workspace("shop").await?;
    let foreign = text(&project(&mallory, &other, "web", None).await?.expect(201)?.json()?["id"]);
    for parent in [foreign.as_str(), "prj-00000000000000000000", "web"] {
        let refused = problem(&project(&alice, &workspace, "api", Some(parent)).await?, 422, "invalid");
        assert_eq!(refused["field"], "parent");
    }
    let mut chain: Vec<String> = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let made = project(&alice, &workspace, name, chain.last().map(String::as_str)).await?.expect(201)?.json()?;
        assert_eq!(made["parent"], chain.last().map_or(Value::Null, |parent| json!(parent)));
        chain.push(text(&made["id"]));
    }
    problem(&project(&alice, &workspace, "e", Some(&chain[3])).await?, 409, "limit_reached");
    let one = |number: usize| format!("/api/v1/workspaces/{workspace}/projects/{}", chain[number]);
    let refused = problem(&alice.api.delete(&one(2)).await?, 409, "project_in_use");
    assert!(text(&refused["detail"]).contains("1 project"), "{refused}");
    let team = team(&alice, &workspace).await?;
    give(&alice, &workspace, json!({ "group": team, "role": "view", "project": chain[3] })).await?.expect(201)?;
    alice.api.delete(&one(3)).await?.expect(202)?;
    // What was given in it is gone with it, and nothing more can be given or put there.
    assert_eq!(items(&alice.api.get(&path(&workspace)).await?).len(), 2);
    let late = give(&alice, &workspace, json!({ "group": team, "role": "view", "project": chain[3] })).await?;
    assert_eq!(problem(&late, 422, "invalid")["field"], "project");
    let late = project(&alice, &workspace, "e", Some(&chain[3])).await?;
    assert_eq!(problem(&late, 422, "invalid")["field"], "parent");
    // Until its namespace is gone it still stands below its parent.
    problem(&alice.api.delete(&one(2)).await?, 409, "project_in_use");
    Ok(())
}
