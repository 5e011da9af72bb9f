use anyhow::{Context as _, Result};
use hexabase_backends::store::role_assignments::{self, RoleAssignment};
use hexabase_backends::store::{audit, groups, organizations, workspaces};
use hexabase_core::ids::{Id as _, RoleAssignmentId};
use hexabase_testkit::http::Answer;
use serde_json::{Value, json};

use crate::groups::{fill, id_of};
use crate::support::{Person, Platform, items, pass, problem, shop, text};

const EDITOR: &str = "hexabase:workspace-editor";

fn path(workspace: &str) -> String {
    format!("/api/v1/workspaces/{workspace}/role-assignments")
}

pub(crate) async fn give(person: &Person, workspace: &str, body: Value) -> Result<Answer> {
    person.api.post(&path(workspace), &body).await
}

pub(crate) async fn team(person: &Person, workspace: &str) -> Result<String> {
    let groups = format!("/api/v1/workspaces/{workspace}/groups");
    Ok(text(&person.api.post(&groups, &json!({ "name": "team" })).await?.expect(201)?.json()?["id"]))
}

pub(crate) async fn project(person: &Person, workspace: &str, name: &str, parent: Option<&str>) -> Result<Answer> {
    let projects = format!("/api/v1/workspaces/{workspace}/projects");
    person.api.post(&projects, &json!({ "name": name, "parent": parent })).await
}

/// What the audit log of her organisation holds of these subjects: action and what was there before.
pub(crate) async fn logged(
    platform: &Platform,
    person: &Person,
    subjects: &[&str],
) -> Result<Vec<(String, Option<Value>)>> {
    let store = platform.store().await?;
    let scope = organizations::scope_for(&store, &person.id.parse()?, &person.organization.parse()?).await?;
    let rows = audit::list(&store, &scope.context("no scope")?, &audit::AuditFilter::default(), 0, 500).await?;
    let about = rows.into_iter().filter(|row| subjects.contains(&row.entry.subject.as_str()));
    Ok(about.map(|row| (row.entry.action, row.entry.before)).collect())
}

/// Gives a role to each of so many groups past every rule, in a project or in the whole workspace.
async fn give_many(
    platform: &Platform,
    person: &Person,
    workspace: &str,
    project: Option<&str>,
    count: usize,
) -> Result<()> {
    let names: Vec<String> = (0..count).map(|number| format!("g{number}")).collect();
    fill(platform, person, workspace, &names, "").await?;
    let store = platform.store().await?;
    let tx = store.begin().await?;
    let scope = workspaces::scope_for(&tx, &person.id.parse()?, &workspace.parse()?).await?.context("no scope")?;
    let project_id = project.map(str::parse).transpose()?;
    let nodes = groups::nodes(&tx, &scope).await?;
    for (number, node) in nodes.iter().filter(|node| names.contains(&node.name.to_string())).enumerate() {
        let row = RoleAssignment {
            id: RoleAssignmentId::from_parts(platform.clock.now(), number as u64),
            group_id: node.id.clone(),
            project_id: project_id.clone(),
            role: if project.is_some() { "view".to_owned() } else { EDITOR.to_owned() },
            created_at: platform.clock.now(),
            expires_at: None,
        };
        role_assignments::insert(&tx, &scope, &row).await?;
    }
    Ok(tx.commit().await?)
}

#[tokio::test]
async fn a_new_workspace_has_two_roles_given_and_keeps_the_administrators() -> Result<()> {
    let (_platform, alice, workspace) = shop().await?;
    let mut given = items(&alice.api.get(&path(&workspace)).await?);
    // Made at the same moment, they are in no order.
    given.sort_by_key(|one| text(&one["group_name"]));
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
    assert_eq!(refused["detail"], "projects stand below it: d; delete them first");
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
    let refused = problem(&alice.api.delete(&one(2)).await?, 409, "project_in_use");
    assert!(
        text(&refused["detail"]).ends_with("below it: d; they are being deleted, wait until they are gone"),
        "{refused}"
    );
    Ok(())
}

#[tokio::test]
async fn a_role_is_given_for_a_duration_by_the_servers_clock() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let team = team(&alice, &workspace).await?;
    let now = platform.clock.now();
    let body = json!({ "group": team, "role": EDITOR, "expires_in": 28_800 });
    let given = give(&alice, &workspace, body).await?.expect(201)?.json()?;
    assert_eq!(given["expires_at"], json!(now.plus_seconds(28_800)));
    for (more, field) in [
        (json!({ "expires_in": 0 }), Some("expires_in")),
        (json!({ "expires_in": 60, "expires_at": now.plus_seconds(60) }), Some("expires_in")),
        (json!({ "expires_in": -1 }), None),
        (json!({ "expires_in": "8h" }), None),
    ] {
        let mut body = json!({ "group": team, "role": "hexabase:workspace-auditor" });
        body.as_object_mut().context("an object")?.extend(more.as_object().cloned().context("an object")?);
        let refused = problem(&give(&alice, &workspace, body).await?, 422, "invalid");
        assert_eq!(refused["field"].as_str(), field, "{more}");
    }
    Ok(())
}

#[tokio::test]
async fn a_workspace_gives_a_thousand_roles_and_no_more() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let team = team(&alice, &workspace).await?;
    // Beside the two that every workspace has.
    give_many(&platform, &alice, &workspace, None, 996).await?;
    give(&alice, &workspace, json!({ "group": team, "role": "hexabase:workspace-viewer" })).await?.expect(201)?;
    let last = give(&alice, &workspace, json!({ "group": team, "role": EDITOR })).await?.expect(201)?.json()?;
    let more = json!({ "group": team, "role": "hexabase:workspace-auditor" });
    let refused = problem(&give(&alice, &workspace, more.clone()).await?, 409, "limit_reached");
    assert!(text(&refused["detail"]).contains("1000 roles given, which nobody can raise"), "{refused}");
    alice.api.delete(&format!("{}/{}", path(&workspace), text(&last["id"]))).await?.expect(204)?;
    give(&alice, &workspace, more).await?.expect(201)?;
    Ok(())
}

#[tokio::test]
async fn roles_that_would_come_to_too_many_bindings_are_not_given() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let top = text(&project(&alice, &workspace, "top", None).await?.expect(201)?.json()?["id"]);
    for name in ["b", "c", "d"] {
        project(&alice, &workspace, name, Some(&top)).await?.expect(201)?;
    }
    // Four bindings each, and the two of every workspace.
    give_many(&platform, &alice, &workspace, Some(&top), 499).await?;
    let team = team(&alice, &workspace).await?;
    let refused = give(&alice, &workspace, json!({ "group": team, "role": "edit", "project": top })).await?;
    let refused = problem(&refused, 409, "limit_reached");
    assert!(text(&refused["detail"]).contains("2002 bindings"), "{refused}");
    assert!(text(&refused["detail"]).contains("at most 2000, which nobody can raise"), "{refused}");
    let refused = problem(&project(&alice, &workspace, "e", Some(&top)).await?, 409, "limit_reached");
    assert!(text(&refused["detail"]).contains("2497 bindings"), "{refused}");
    give(&alice, &workspace, json!({ "group": team, "role": EDITOR })).await?.expect(201)?;
    project(&alice, &workspace, "e", None).await?.expect(201)?;
    Ok(())
}

#[tokio::test]
async fn every_role_that_is_taken_away_leaves_a_line_in_the_log_also_with_its_project() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let team = team(&alice, &workspace).await?;
    let web = text(&project(&alice, &workspace, "web", None).await?.expect(201)?.json()?["id"]);
    let mut ids = Vec::new();
    for body in [
        json!({ "group": team, "role": EDITOR }),
        json!({ "group": team, "role": "view", "project": web }),
        json!({ "group": team, "role": "edit", "project": web }),
    ] {
        ids.push(text(&give(&alice, &workspace, body).await?.expect(201)?.json()?["id"]));
    }
    alice.api.delete(&format!("{}/{}", path(&workspace), ids[0])).await?.expect(204)?;
    alice.api.delete(&format!("/api/v1/workspaces/{workspace}/projects/{web}")).await?.expect(202)?;
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let log = logged(&platform, &alice, &ids).await?;
    let gone = log.iter().filter(|(action, _)| action == "role_assignment.deleted");
    let mut deleted: Vec<&Value> = gone.filter_map(|(_, before)| before.as_ref()).collect();
    deleted.sort_by_key(|before| text(&before["role"]));
    let told = |role: &str, project: Option<&str>| json!({ "group": "team", "role": role, "project": project, "expires_at": null });
    assert_eq!(deleted, [&told("edit", Some("web")), &told(EDITOR, None), &told("view", Some("web"))]);
    assert_eq!(log.len(), 6, "{log:?}");
    Ok(())
}
