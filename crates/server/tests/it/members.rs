use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::support::{Person, Platform, items, problem, text};

fn members(workspace: &str) -> String {
    format!("/api/v1/workspaces/{workspace}/members")
}

async fn groups_of(asker: &Person, workspace: &str, user: &str) -> Result<(Value, Value)> {
    let rows = items(&asker.api.get(&members(workspace)).await?);
    let row = rows.iter().find(|row| row["user"] == user).with_context(|| format!("{user} is no member"))?;
    Ok((row["groups"].clone(), row["effective_groups"].clone()))
}

#[tokio::test]
async fn somebody_is_added_by_id_or_by_verified_address() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob, carol) =
        (platform.person("alice").await?, platform.person("bob").await?, platform.person("carol").await?);
    let workspace = alice.workspace("shop").await?;
    let added = alice.add(&workspace, &bob.id, &[]).await?.expect(201)?.json()?;
    assert_eq!((&added["user"], &added["groups"]), (&json!(bob.id), &json!(["WSUsers"])));
    assert_eq!(added["effective_groups"], json!(["WSUsers", "WorkspaceMembers"]));
    let by_address = json!({ "email": carol.email, "groups": ["WSAdmins"] });
    let added = alice.api.post(&members(&workspace), &by_address).await?.expect(201)?.json()?;
    assert_eq!((&added["user"], &added["display_name"]), (&json!(carol.id), &json!("Carol Example")));
    assert_eq!(items(&alice.api.get(&members(&workspace)).await?).len(), 3);
    for person in [&bob, &carol] {
        person.api.get(&format!("/api/v1/workspaces/{workspace}")).await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test]
async fn addresses_are_told_to_those_only_who_give_and_take_access() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob, carol) =
        (platform.person("alice").await?, platform.person("bob").await?, platform.person("carol").await?);
    let workspace = alice.workspace("shop").await?;
    // Whoever knows an id only does not learn the address by it.
    let by_id = alice.add(&workspace, &bob.id, &[]).await?.expect(201)?.json()?;
    assert_eq!((&by_id["user"], &by_id["email"]), (&json!(bob.id), &Value::Null));
    let by_address = json!({ "email": carol.email, "groups": ["WSAdmins"] });
    let by_address = alice.api.post(&members(&workspace), &by_address).await?.expect(201)?.json()?;
    assert_eq!(by_address["email"], carol.email);
    let told = async |asker: &Person| -> Result<Vec<String>> {
        let rows = items(&asker.api.get(&members(&workspace)).await?);
        Ok(rows.iter().map(|row| text(&row["email"])).filter(|email| !email.is_empty()).collect())
    };
    assert_eq!(told(&bob).await?, std::slice::from_ref(&bob.email));
    let all = [alice.email.clone(), bob.email.clone(), carol.email.clone()];
    for admin in [&alice, &carol] {
        assert_eq!(told(admin).await?, all);
    }
    Ok(())
}

#[tokio::test]
async fn adding_somebody_again_adds_the_groups() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let workspace = alice.workspace("shop").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    alice.add(&workspace, &bob.id, &["WSAdmins", "WSAdmins"]).await?.expect(201)?;
    let (groups, effective) = groups_of(&alice, &workspace, &bob.id).await?;
    assert_eq!(groups, json!(["WSAdmins", "WSUsers"]));
    assert_eq!(effective, json!(["WSAdmins", "WSUsers", "WorkspaceMembers"]));
    assert_eq!(items(&alice.api.get(&members(&workspace)).await?).len(), 2);
    Ok(())
}

#[tokio::test]
async fn whoever_has_not_signed_in_cannot_be_added() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    for body in [
        json!({ "email": "nobody@example.test" }),
        json!({ "email": "" }),
        json!({ "email": "%" }),
        json!({ "user": "usr-00000000000000000000" }),
        json!({ "user": "bob" }),
        json!({ "user": alice.organization }),
        json!({ "user": alice.id, "email": alice.email }),
        json!({}),
        json!({ "groups": [] }),
    ] {
        let refused = problem(&alice.api.post(&members(&workspace), &body).await?, 422, "invalid");
        assert_eq!(refused["field"], "user", "{body}");
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_group_is_refused_with_the_choices() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let workspace = alice.workspace("shop").await?;
    for group in ["wsadmins", "system:masters", "hexabase:WSAdmins", "", "WSAdmins "] {
        let refused = problem(&alice.add(&workspace, &bob.id, &[group]).await?, 422, "invalid");
        assert_eq!(refused["field"], "groups", "{group:?}");
        assert!(text(&refused["detail"]).contains("WSAdmins"), "{refused}");
    }
    // One good group beside a bad one gives nothing either.
    problem(&alice.add(&workspace, &bob.id, &["WSUsers", "x"]).await?, 422, "invalid");
    assert_eq!(items(&alice.api.get(&members(&workspace)).await?).len(), 1);
    problem(&bob.api.get(&format!("/api/v1/organizations/{}", alice.organization)).await?, 404, "not_found");
    Ok(())
}

#[tokio::test]
async fn a_member_who_is_no_admin_neither_adds_nor_removes() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob, carol) =
        (platform.person("alice").await?, platform.person("bob").await?, platform.person("carol").await?);
    let workspace = alice.workspace("shop").await?;
    alice.add(&workspace, &bob.id, &["WSUsers"]).await?.expect(201)?;
    assert_eq!(items(&bob.api.get(&members(&workspace)).await?).len(), 2);
    for answer in [
        bob.add(&workspace, &carol.id, &[]).await?,
        bob.add(&workspace, &bob.id, &["WSAdmins"]).await?,
        bob.remove(&workspace, &alice.id).await?,
        bob.remove(&workspace, &carol.id).await?,
    ] {
        let detail = text(&problem(&answer, 403, "forbidden")["detail"]);
        assert!(detail.contains("who has access") && detail.contains("WSAdmins"), "{detail}");
    }
    assert_eq!(groups_of(&alice, &workspace, &bob.id).await?.0, json!(["WSUsers"]));
    Ok(())
}

#[tokio::test]
async fn a_removed_member_sees_nothing_any_more() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let workspace = alice.workspace("shop").await?;
    alice.add(&workspace, &bob.id, &["WSAdmins"]).await?.expect(201)?;
    alice.remove(&workspace, &bob.id).await?.expect(204)?;
    problem(&bob.api.get(&format!("/api/v1/workspaces/{workspace}")).await?, 404, "not_found");
    problem(&bob.api.get(&members(&workspace)).await?, 404, "not_found");
    assert_eq!(items(&bob.api.get("/api/v1/workspaces").await?).len(), 0);
    // Twice: there is nobody to remove.
    problem(&alice.remove(&workspace, &bob.id).await?, 404, "not_found");
    // Coming back does not bring the old groups back.
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    assert_eq!(groups_of(&alice, &workspace, &bob.id).await?.0, json!(["WSUsers"]));
    Ok(())
}

#[tokio::test]
async fn a_member_may_leave() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let workspace = alice.workspace("shop").await?;
    alice.add(&workspace, &bob.id, &["WSUsers"]).await?.expect(201)?;
    bob.remove(&workspace, &bob.id).await?.expect(204)?;
    problem(&bob.api.get(&format!("/api/v1/workspaces/{workspace}")).await?, 404, "not_found");
    problem(&bob.api.get(&format!("/api/v1/organizations/{}", alice.organization)).await?, 404, "not_found");
    problem(&bob.remove(&workspace, &bob.id).await?, 404, "not_found");
    assert_eq!(items(&alice.api.get(&members(&workspace)).await?).len(), 1);
    Ok(())
}

#[tokio::test]
async fn the_last_administrator_cannot_be_removed() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let workspace = alice.workspace("shop").await?;
    alice.add(&workspace, &bob.id, &["WSUsers"]).await?.expect(201)?;
    let refused = problem(&alice.remove(&workspace, &alice.id).await?, 409, "last_admin");
    assert!(text(&refused["detail"]).contains("put somebody else there first"), "{refused}");
    alice.add(&workspace, &bob.id, &["WSAdmins"]).await?.expect(201)?;
    bob.remove(&workspace, &alice.id).await?.expect(204)?;
    problem(&bob.remove(&workspace, &bob.id).await?, 409, "last_admin");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_administrators_who_remove_each_other_at_once_leave_one() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
        for round in 0..5 {
            let workspace = alice.workspace(&format!("shop-{round}")).await?;
            alice.add(&workspace, &bob.id, &["WSAdmins"]).await?.expect(201)?;
            let answers = tokio::try_join!(alice.remove(&workspace, &bob.id), bob.remove(&workspace, &alice.id))?;
            let removed = [answers.0.status, answers.1.status].iter().filter(|status| **status == 204).count();
            assert_eq!(removed, 1, "{answers:?}");
            // She administers the organisation, so that she sees it in either case.
            assert_eq!(items(&alice.api.get(&members(&workspace)).await?).len(), 1);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_administrators_who_remove_each_other_at_once_one_succeeds_although_a_third_is_left() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let (alice, bob, carol) =
            (platform.person("alice").await?, platform.person("bob").await?, platform.person("carol").await?);
        let workspace = alice.workspace("shop").await?;
        for round in 0..10 {
            for person in [&bob, &carol] {
                alice.add(&workspace, &person.id, &["WSAdmins"]).await?.expect(201)?;
            }
            let (by_bob, by_carol) =
                tokio::try_join!(bob.remove(&workspace, &carol.id), carol.remove(&workspace, &bob.id))?;
            let statuses = [by_bob.status, by_carol.status];
            assert!(statuses == [204, 404] || statuses == [404, 204], "round {round}: {by_bob:?} {by_carol:?}");
            assert_eq!(items(&alice.api.get(&members(&workspace)).await?).len(), 2);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn people_who_are_added_at_once_do_not_exceed_the_plan() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let workspace = text(&alice.create_workspace("shop", "free").await?.expect(201)?.json()?["id"]);
        let mut people = Vec::new();
        for number in 0..5 {
            people.push(platform.person(&format!("person-{number}")).await?);
        }
        let answers =
            futures::future::try_join_all(people.iter().map(|person| alice.add(&workspace, &person.id, &[]))).await?;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 2, "{answers:?}");
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            let detail = text(&problem(answer, 409, "limit_reached")["detail"]);
            assert!(detail.contains("3 members"), "{detail}");
        }
        // Whoever is in already is not counted twice.
        alice.add(&workspace, &alice.id, &["WSUsers"]).await?.expect(201)?;
    }
    Ok(())
}

#[tokio::test]
async fn service_accounts_are_told_from_people_and_do_not_count_towards_the_plan() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob, carol, dora) = (
        platform.person("alice").await?,
        platform.person("bob").await?,
        platform.person("carol").await?,
        platform.person("dora").await?,
    );
    // Three people under this plan.
    let workspace = text(&alice.create_workspace("small", "free").await?.expect(201)?.json()?["id"]);
    let accounts = format!("/api/v1/organizations/{}/service-accounts", alice.organization);
    let mut programs = Vec::new();
    for name in ["one", "two", "three"] {
        let made = alice.api.post(&accounts, &json!({ "name": name })).await?.expect(201)?.json()?;
        programs.push(text(&made["id"]));
    }
    // However they come: programs first, people after them, and programs when it is full.
    for user in [&programs[0], &programs[1], &bob.id, &carol.id] {
        alice.add(&workspace, user, &[]).await?.expect(201)?;
    }
    problem(&alice.add(&workspace, &dora.id, &[]).await?, 409, "limit_reached");
    let added = alice.add(&workspace, &programs[2], &[]).await?.expect(201)?.json()?;
    assert_eq!(added["kind"], "service");
    let groups = items(&alice.api.get(&format!("/api/v1/workspaces/{workspace}/groups")).await?);
    let users = groups.iter().find(|group| group["name"] == "WSUsers").context("no group")?;
    let in_group = format!("/api/v1/workspaces/{workspace}/groups/{}/members", text(&users["id"]));
    for (path, people) in [(members(&workspace), 3), (in_group, 2)] {
        let rows = items(&alice.api.get(&path).await?);
        for row in &rows {
            let is_program = programs.contains(&text(&row["user"]));
            assert_eq!(row["kind"], if is_program { "service" } else { "person" }, "{row}");
        }
        assert_eq!(rows.iter().filter(|row| row["kind"] == "person").count(), people);
        assert_eq!(rows.len(), people + 3);
    }
    Ok(())
}
