use anyhow::{Context as _, Result};
use hexabase_backends::store::groups::{self, Group};
use hexabase_backends::store::{audit, organizations, workspaces};
use hexabase_core::ids::{GroupId, Id as _};
use hexabase_testkit::http::Answer;
use serde_json::{Value, json};

use crate::support::{Person, Platform, claims, items, problem, shop, text};

fn path(workspace: &str) -> String {
    format!("/api/v1/workspaces/{workspace}/groups")
}

async fn create(person: &Person, workspace: &str, name: &str, parent: Option<&str>) -> Result<Answer> {
    person.api.post(&path(workspace), &json!({ "name": name, "parent": parent })).await
}

pub(crate) async fn made(person: &Person, workspace: &str, name: &str, parent: Option<&str>) -> Result<String> {
    Ok(text(&create(person, workspace, name, parent).await?.expect(201)?.json()?["id"]))
}

/// The id of a group that is there.
pub(crate) async fn id_of(person: &Person, workspace: &str, name: &str) -> Result<String> {
    let all = items(&person.api.get(&path(workspace)).await?);
    let found = all.iter().find(|group| group["name"] == name);
    Ok(text(&found.with_context(|| format!("no group {name} in {all:?}"))?["id"]))
}

async fn change(person: &Person, workspace: &str, group: &str, body: Value) -> Result<Answer> {
    person.api.patch(&format!("{}/{group}", path(workspace)), &body).await
}

pub(crate) async fn put(person: &Person, workspace: &str, group: &str, user: &str) -> Result<Answer> {
    person.api.put(&format!("{}/{group}/members/{user}", path(workspace))).await
}

pub(crate) async fn take_out(person: &Person, workspace: &str, group: &str, user: &str) -> Result<Answer> {
    person.api.delete(&format!("{}/{group}/members/{user}", path(workspace))).await
}

async fn effective(person: &Person, workspace: &str, user: &str) -> Result<Value> {
    let all = items(&person.api.get(&format!("/api/v1/workspaces/{workspace}/members")).await?);
    let found = all.iter().find(|member| member["user"] == user).context("not a member")?;
    Ok(found["effective_groups"].clone())
}

#[tokio::test]
async fn a_group_is_made_renamed_moved_and_deleted() -> Result<()> {
    let (_platform, alice, workspace) = shop().await?;
    let developers = create(&alice, &workspace, "developers", None).await?.expect(201)?.json()?;
    assert_eq!(developers["display_name"], "developers");
    assert_eq!((&developers["parent"], &developers["is_default"]), (&Value::Null, &json!(false)));
    let developers = text(&developers["id"]);
    let backend = made(&alice, &workspace, "backend", Some(&developers)).await?;
    let renamed = change(&alice, &workspace, &backend, json!({ "display_name": "裏方" })).await?.expect(200)?.json()?;
    assert_eq!((&renamed["name"], &renamed["display_name"]), (&json!("backend"), &json!("裏方")));
    assert_eq!(renamed["parent"], json!(developers), "a new name is no new place");
    let moved = change(&alice, &workspace, &backend, json!({ "parent": null })).await?.expect(200)?.json()?;
    assert_eq!((&moved["parent"], &moved["display_name"]), (&Value::Null, &json!("裏方")));
    let one = format!("{}/{backend}", path(&workspace));
    assert_eq!(alice.api.get(&one).await?.expect(200)?.json()?, moved);
    alice.api.delete(&one).await?.expect(204)?;
    problem(&alice.api.get(&one).await?, 404, "not_found");
    problem(&alice.api.delete(&one).await?, 404, "not_found");
    Ok(())
}

#[tokio::test]
async fn a_name_that_breaks_a_rule_or_looks_like_another_is_refused() -> Result<()> {
    let (_platform, alice, workspace) = shop().await?;
    for name in ["", "system:masters", "System", "a:b", "-x", "グループ", &"a".repeat(64)] {
        let refused = problem(&create(&alice, &workspace, name, None).await?, 422, "invalid");
        assert_eq!(refused["field"], "name", "{name:?}");
    }
    for name in ["WSAdmins", "wsadmins", "WORKSPACEMEMBERS"] {
        problem(&create(&alice, &workspace, name, None).await?, 409, "name_taken");
    }
    for parent in ["grp-00000000000000000000", "nonsense", ""] {
        let refused = problem(&create(&alice, &workspace, "team", Some(parent)).await?, 422, "invalid");
        assert_eq!(refused["field"], "parent");
    }
    let team = made(&alice, &workspace, "team", None).await?;
    let blank = change(&alice, &workspace, &team, json!({ "display_name": "" })).await?;
    assert_eq!(problem(&blank, 422, "invalid")["field"], "display_name");
    problem(&change(&alice, &workspace, &team, json!({ "name": "other" })).await?, 422, "invalid");
    Ok(())
}

#[tokio::test]
async fn the_groups_of_every_workspace_can_be_renamed_but_neither_moved_nor_deleted() -> Result<()> {
    let (_platform, alice, workspace) = shop().await?;
    for name in ["WorkspaceMembers", "WSAdmins", "WSUsers"] {
        let id = id_of(&alice, &workspace, name).await?;
        problem(&alice.api.delete(&format!("{}/{id}", path(&workspace))).await?, 409, "default_group");
        let team = made(&alice, &workspace, &format!("above-{name}"), None).await?;
        problem(&change(&alice, &workspace, &id, json!({ "parent": team })).await?, 409, "default_group");
        change(&alice, &workspace, &id, json!({ "display_name": "Everybody" })).await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_group_that_something_hangs_on_is_not_deleted() -> Result<()> {
    let (_platform, alice, workspace) = shop().await?;
    let top = made(&alice, &workspace, "top", None).await?;
    let below = made(&alice, &workspace, "below", Some(&top)).await?;
    let one = |id: &str| format!("{}/{id}", path(&workspace));
    let refused = problem(&alice.api.delete(&one(&top)).await?, 409, "group_in_use");
    assert!(text(&refused["detail"]).contains("below it: below"), "{refused}");
    let roles = format!("/api/v1/workspaces/{workspace}/role-assignments");
    let body = json!({ "group": below, "role": "hexabase:workspace-editor" });
    let given = text(&alice.api.post(&roles, &body).await?.expect(201)?.json()?["id"]);
    let refused = problem(&alice.api.delete(&one(&below)).await?, 409, "group_in_use");
    assert!(text(&refused["detail"]).contains("hexabase:workspace-editor"), "{refused}");
    alice.api.delete(&format!("{roles}/{given}")).await?.expect(204)?;
    alice.api.delete(&one(&below)).await?.expect(204)?;
    alice.api.delete(&one(&top)).await?.expect(204)?;
    Ok(())
}

#[tokio::test]
async fn members_of_a_group_are_told_with_the_way_that_leads_to_it() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let (bob, carol) = (platform.person("bob").await?, platform.person("carol").await?);
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    let developers = made(&alice, &workspace, "developers", None).await?;
    let backend = made(&alice, &workspace, "backend", Some(&developers)).await?;
    let database = made(&alice, &workspace, "database", Some(&backend)).await?;
    for group in [&database, &database, &backend] {
        put(&alice, &workspace, group, &bob.id).await?.expect(204)?;
    }
    put(&alice, &workspace, &developers, &alice.id).await?.expect(204)?;
    // Whoever has no access to the workspace cannot be in a group of it, and is not told apart from nobody.
    for user in [carol.id.as_str(), "usr-00000000000000000000", "nonsense"] {
        problem(&put(&alice, &workspace, &backend, user).await?, 404, "not_found");
    }
    let members = items(&alice.api.get(&format!("{}/{developers}/members", path(&workspace))).await?);
    assert_eq!(members.len(), 2, "{members:?}");
    let of_bob = members.iter().find(|member| member["user"] == bob.id).context("Bob")?;
    assert_eq!(of_bob["direct"], false);
    assert_eq!(of_bob["paths"], json!([["backend", "developers"], ["database", "backend", "developers"]]));
    let of_alice = members.iter().find(|member| member["user"] == alice.id).context("Alice")?;
    assert_eq!((&of_alice["direct"], &of_alice["paths"]), (&json!(true), &json!([["developers"]])));

    let first = alice.api.get(&format!("{}/{developers}/members?limit=1", path(&workspace))).await?;
    let cursor = text(&first.json()?["next_cursor"]);
    let second = alice.api.get(&format!("{}/{developers}/members?limit=1&cursor={cursor}", path(&workspace))).await?;
    assert_eq!([items(&first), items(&second)].concat(), members);
    assert!(second.json()?.get("next_cursor").is_none());

    take_out(&alice, &workspace, &database, &bob.id).await?.expect(204)?;
    take_out(&alice, &workspace, &database, &bob.id).await?.expect(204)?;
    let expected = json!(["WSUsers", "WorkspaceMembers", "backend", "developers"]);
    assert_eq!(effective(&alice, &workspace, &bob.id).await?, expected);
    Ok(())
}

#[tokio::test]
async fn a_token_names_the_groups_of_the_moment_in_which_it_was_made() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let bob = platform.person("bob").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    let team = made(&alice, &workspace, "team", None).await?;
    let lead = made(&alice, &workspace, "lead", Some(&team)).await?;
    put(&alice, &workspace, &lead, &bob.id).await?.expect(204)?;
    let groups = async || anyhow::Ok(claims(&bob.workspace_token(&platform, &workspace).await?)?["groups"].clone());
    assert_eq!(groups().await?, json!(["WSUsers", "WorkspaceMembers", "lead", "team"]));
    let admins = id_of(&alice, &workspace, "WSAdmins").await?;
    change(&alice, &workspace, &lead, json!({ "parent": admins })).await?.expect(200)?;
    assert_eq!(groups().await?, json!(["WSAdmins", "WSUsers", "WorkspaceMembers", "lead"]));
    // And so is what he may do through the API.
    create(&bob, &workspace, "of-bob", None).await?.expect(201)?;
    take_out(&alice, &workspace, &lead, &bob.id).await?.expect(204)?;
    problem(&create(&bob, &workspace, "again", None).await?, 403, "forbidden");
    Ok(())
}

#[tokio::test]
async fn no_way_leads_to_a_workspace_without_an_administrator() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let bob = platform.person("bob").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    let admins = id_of(&alice, &workspace, "WSAdmins").await?;
    problem(&take_out(&alice, &workspace, &admins, &alice.id).await?, 409, "last_admin");
    // Bob becomes one by a group below it, and then he is the only one.
    let board = made(&alice, &workspace, "board", Some(&admins)).await?;
    put(&alice, &workspace, &board, &bob.id).await?.expect(204)?;
    take_out(&alice, &workspace, &admins, &alice.id).await?.expect(204)?;
    problem(&take_out(&alice, &workspace, &board, &bob.id).await?, 409, "last_admin");
    problem(&change(&alice, &workspace, &board, json!({ "parent": null })).await?, 409, "last_admin");
    problem(&alice.api.delete(&format!("{}/{board}", path(&workspace))).await?, 409, "last_admin");
    problem(&alice.remove(&workspace, &bob.id).await?, 409, "last_admin");
    assert_eq!(effective(&alice, &workspace, &bob.id).await?[0], "WSAdmins");
    put(&alice, &workspace, &admins, &alice.id).await?.expect(204)?;
    alice.api.delete(&format!("{}/{board}", path(&workspace))).await?.expect(204)?;
    Ok(())
}

#[tokio::test]
async fn only_those_who_manage_access_change_groups() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let bob = platform.person("bob").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    let team = made(&alice, &workspace, "team", None).await?;
    for answer in [
        create(&bob, &workspace, "mine", None).await?,
        change(&bob, &workspace, &team, json!({ "display_name": "Mine" })).await?,
        put(&bob, &workspace, &team, &bob.id).await?,
        take_out(&bob, &workspace, &team, &bob.id).await?,
        bob.api.delete(&format!("{}/{team}", path(&workspace))).await?,
    ] {
        let detail = text(&problem(&answer, 403, "forbidden")["detail"]);
        assert!(detail.contains("who has access") && detail.contains("WSAdmins"), "{detail}");
    }
    assert_eq!(items(&bob.api.get(&path(&workspace)).await?).len(), 4);
    bob.api.get(&format!("{}/{team}/members", path(&workspace))).await?.expect(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_administrators_who_take_each_other_out_of_the_group_at_once_one_succeeds() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let (alice, bob, carol) =
            (platform.person("alice").await?, platform.person("bob").await?, platform.person("carol").await?);
        let workspace = alice.workspace("shop").await?;
        let admins = id_of(&alice, &workspace, "WSAdmins").await?;
        let board = made(&alice, &workspace, "board", Some(&admins)).await?;
        for person in [&bob, &carol] {
            alice.add(&workspace, &person.id, &[]).await?.expect(201)?;
            put(&alice, &workspace, &board, &person.id).await?.expect(204)?;
        }
        // From now on nobody but these two is in the group, or below it.
        take_out(&alice, &workspace, &admins, &alice.id).await?.expect(204)?;
        for round in 0..10 {
            let (by_bob, by_carol) = tokio::try_join!(
                take_out(&bob, &workspace, &board, &carol.id),
                take_out(&carol, &workspace, &board, &bob.id)
            )?;
            let statuses = [by_bob.status, by_carol.status];
            assert!(statuses == [204, 403] || statuses == [403, 204], "round {round}: {by_bob:?} {by_carol:?}");
            let left = items(&alice.api.get(&format!("{}/{admins}/members", path(&workspace))).await?);
            assert_eq!(left.len(), 1, "round {round}: {left:?}");
            for person in [&bob, &carol] {
                put(&alice, &workspace, &board, &person.id).await?.expect(204)?;
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn moves_at_once_leave_a_forest_of_bounded_depth() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let workspace = alice.workspace("shop").await?;
        let mut ids = Vec::new();
        for number in 0..12 {
            ids.push(made(&alice, &workspace, &format!("g{number:02}"), None).await?);
        }
        // Everything below its neighbour, all at once: every one of these alone is fine, all together are a ring.
        let below = |number: usize| {
            let parent = json!({ "parent": ids[(number + 1) % ids.len()] });
            change(&alice, &workspace, &ids[number], parent)
        };
        let answers = futures::future::try_join_all((0..ids.len()).map(below)).await?;
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            let code = text(&answer.json()?["code"]);
            assert!(answer.status == 409 && ["group_cycle", "limit_reached"].contains(&code.as_str()), "{answer:?}");
        }
        assert!(answers.iter().any(|answer| answer.status == 200) && answers.iter().any(|answer| answer.status == 409));
        let all = items(&alice.api.get(&path(&workspace)).await?);
        for group in &all {
            let mut depth = 1;
            let mut parent = group["parent"].clone();
            while let Some(above) = all.iter().find(|other| other["id"] == parent) {
                depth += 1;
                assert!(depth <= 8, "{all:?}");
                parent = above["parent"].clone();
            }
        }
    }
    Ok(())
}

/// Puts groups into the database past every rule, as many as it takes to be near a limit.
pub(crate) async fn fill(
    platform: &Platform,
    person: &Person,
    workspace: &str,
    names: &[String],
    user: &str,
) -> Result<()> {
    let store = platform.store().await?;
    let tx = store.begin().await?;
    let scope = workspaces::scope_for(&tx, &person.id.parse()?, &workspace.parse()?).await?.context("no scope")?;
    for (number, name) in names.iter().enumerate() {
        let id = GroupId::from_parts(platform.clock.now(), 1_000 + number as u64);
        let display_name = name.parse()?;
        groups::insert(
            &tx,
            &scope,
            &Group { id: id.clone(), name: name.parse()?, display_name, parent_id: None, is_default: false },
        )
        .await?;
        if !user.is_empty() {
            groups::add_member(&tx, &scope, &id, &user.parse()?).await?;
        }
    }
    Ok(tx.commit().await?)
}

#[tokio::test]
async fn groups_that_no_token_could_carry_are_refused_when_they_are_given_and_never_at_sign_in() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let bob = platform.person("bob").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    // With WSUsers and WorkspaceMembers, 199.
    let names: Vec<String> = (0..197).map(|number| format!("g{number}")).collect();
    fill(&platform, &alice, &workspace, &names, &bob.id).await?;
    let two = made(&alice, &workspace, "two", None).await?;
    let one = made(&alice, &workspace, "one", Some(&two)).await?;
    let refused = problem(&put(&alice, &workspace, &one, &bob.id).await?, 409, "limit_reached");
    assert!(text(&refused["detail"]).contains("201 groups"), "{refused}");
    assert!(text(&refused["detail"]).contains("at most 200, which nobody can raise"), "{refused}");
    problem(&alice.add(&workspace, &bob.id, &["one"]).await?, 409, "limit_reached");
    put(&alice, &workspace, &two, &bob.id).await?.expect(204)?;
    // 200 it is: nothing may be put above any of them.
    let roof = made(&alice, &workspace, "roof", None).await?;
    problem(&change(&alice, &workspace, &two, json!({ "parent": roof })).await?, 409, "limit_reached");
    let wall = id_of_any(&alice, &workspace, "g7").await?;
    change(&alice, &workspace, &two, json!({ "parent": wall })).await?.expect(200)?;
    let named = claims(&bob.workspace_token(&platform, &workspace).await?)?["groups"].clone();
    assert_eq!(named.as_array().map(Vec::len), Some(200));
    Ok(())
}

/// As [`id_of`], over all pages.
async fn id_of_any(person: &Person, workspace: &str, name: &str) -> Result<String> {
    let mut page = person.api.get(&format!("{}?limit=200", path(workspace))).await?;
    loop {
        if let Some(group) = items(&page).iter().find(|group| group["name"] == name) {
            return Ok(text(&group["id"]));
        }
        let cursor = text(&page.json()?["next_cursor"]);
        anyhow::ensure!(!cursor.is_empty(), "no group {name}");
        page = person.api.get(&format!("{}?limit=200&cursor={cursor}", path(workspace))).await?;
    }
}

#[tokio::test]
async fn long_names_count_by_their_bytes() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let bob = platform.person("bob").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    let names: Vec<String> = (0..129).map(|number| format!("{number:a>63}")).collect();
    fill(&platform, &alice, &workspace, &names, &bob.id).await?;
    let long = made(&alice, &workspace, &"z".repeat(63), None).await?;
    let refused = problem(&put(&alice, &workspace, &long, &bob.id).await?, 409, "limit_reached");
    assert!(text(&refused["detail"]).contains("bytes"), "{refused}");
    bob.workspace_token(&platform, &workspace).await?;
    Ok(())
}

#[tokio::test]
async fn a_workspace_has_a_thousand_groups_and_no_more() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    // Beside the three that every workspace has.
    let names: Vec<String> = (0..996).map(|number| format!("g{number}")).collect();
    fill(&platform, &alice, &workspace, &names, "").await?;
    made(&alice, &workspace, "last", None).await?;
    let refused = problem(&create(&alice, &workspace, "more", None).await?, 409, "limit_reached");
    assert!(text(&refused["detail"]).contains("1000 groups, which nobody can raise"), "{refused}");
    let id = id_of_any(&alice, &workspace, "last").await?;
    alice.api.delete(&format!("{}/{id}", path(&workspace))).await?.expect(204)?;
    made(&alice, &workspace, "more", None).await?;
    Ok(())
}

#[tokio::test]
async fn every_change_of_a_group_is_one_line_of_the_audit_log_and_no_change_is_none() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let team = made(&alice, &workspace, "team", None).await?;
    let top = made(&alice, &workspace, "top", None).await?;
    change(&alice, &workspace, &team, json!({ "display_name": "Team" })).await?.expect(200)?;
    change(&alice, &workspace, &team, json!({ "display_name": "Team" })).await?.expect(200)?;
    change(&alice, &workspace, &team, json!({})).await?.expect(200)?;
    change(&alice, &workspace, &team, json!({ "parent": top, "display_name": "The team" })).await?.expect(200)?;
    for _ in 0..2 {
        put(&alice, &workspace, &team, &alice.id).await?.expect(204)?;
    }
    for _ in 0..2 {
        take_out(&alice, &workspace, &team, &alice.id).await?.expect(204)?;
    }
    put(&alice, &workspace, &team, &alice.id).await?.expect(204)?;
    alice.api.delete(&format!("{}/{team}", path(&workspace))).await?.expect(204)?;
    let store = platform.store().await?;
    let scope = organizations::scope_for(&store, &alice.id.parse()?, &alice.organization.parse()?).await?;
    let filter = audit::AuditFilter { subject: Some(team.clone()), ..audit::AuditFilter::default() };
    let rows = audit::list(&store, &scope.context("no scope")?, &filter, 0, 100).await?;
    let actions: Vec<&str> = rows.iter().map(|row| row.entry.action.as_str()).collect();
    let expected = [
        "group.created",
        "group.renamed",
        "group.moved",
        "group.member_added",
        "group.member_removed",
        "group.member_added",
        "group.deleted",
    ];
    assert_eq!(actions, expected);
    assert!(rows.iter().all(|row| row.entry.actor == alice.id));
    let moved = &rows[2].entry;
    assert_eq!(moved.before, Some(json!({ "name": "team", "display_name": "Team", "parent": null })));
    assert_eq!(moved.after, Some(json!({ "name": "team", "display_name": "The team", "parent": "top" })));
    let gone = rows.last().and_then(|row| row.entry.before.clone()).context("nothing was there")?;
    assert_eq!((&gone["name"], &gone["members"]), (&json!("team"), &json!([alice.id])));
    Ok(())
}
