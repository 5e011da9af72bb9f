use anyhow::{Context as _, Result};
use hexabase_backends::store::{audit, organizations};
use hexabase_testkit::http::Answer;
use serde_json::{Value, json};

use crate::support::{Person, Platform, items, problem, text};

fn projects(workspace: &str) -> String {
    format!("/api/v1/workspaces/{workspace}/projects")
}

async fn create(person: &Person, workspace: &str, body: Value) -> Result<Answer> {
    person.api.post(&projects(workspace), &body).await
}

#[tokio::test]
async fn a_new_project_has_an_equal_part_of_its_plan_unless_asked_otherwise() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let web = create(&alice, &workspace, json!({ "name": "web" })).await?.expect(201)?.json()?;
    assert_eq!((web["phase"].as_str(), web["workspace"].as_str()), (Some("creating"), Some(&*workspace)));
    let part = json!({
        "cpu": "400m", "memory": "819Mi", "storage": "5Gi", "pods": 5, "services": 5, "load_balancers": 0,
        "persistent_volume_claims": 5, "objects": 50,
    });
    assert_eq!((&web["quota"], &web["available"]), (&part, &part));
    assert_eq!((&web["labels"], &web["pod_security"]), (&json!({}), &json!("restricted")));
    assert_eq!(web["network"], "isolated");
    let asked = json!({ "cpu": "250m", "memory": "512Mi", "pods": 7, "services": 1 });
    let api = create(&alice, &workspace, json!({ "name": "api", "quota": asked })).await?.expect(201)?.json()?;
    let quota = json!({
        "cpu": "250m", "memory": "512Mi", "storage": "5Gi", "pods": 7, "services": 1, "load_balancers": 0,
        "persistent_volume_claims": 5, "objects": 50,
    });
    assert_eq!(api["quota"], quota);
    let same = alice.api.get(&format!("{}/{}", projects(&workspace), text(&api["id"]))).await?.expect(200)?.json()?;
    assert_eq!(same, api);
    assert_eq!(items(&alice.api.get(&projects(&workspace)).await?).len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_quota_above_the_plans_is_refused_with_what_the_plan_allows() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    for (field, value, allowed) in [
        ("cpu", json!("4001m"), "allows, which is 4"),
        ("cpu", json!("5"), "5 of cpu is more than the plan standard allows, which is 4"),
        ("memory", json!("8193Mi"), "allows, which is 8Gi"),
        ("storage", json!("1Ti"), "allows, which is 50Gi; an admin of the organization can"),
        ("pods", json!(51), "pods must be from 1 to 50"),
        ("pods", json!(0), "from 1 to 50"),
        ("load_balancers", json!(1), "from 0 to 0, which the plan standard allows; an admin of the organization can"),
        ("objects", json!(501), "from 0 to 500"),
    ] {
        let answer = create(&alice, &workspace, json!({ "name": "web", "quota": { field: value } })).await?;
        let body = problem(&answer, 422, "invalid");
        assert_eq!(body["field"], format!("quota.{field}"));
        assert!(text(&body["detail"]).contains(allowed), "{body}");
    }
    for (field, value) in [
        ("cpu", json!("")),
        ("cpu", json!("-1")),
        ("cpu", json!("1 core")),
        ("cpu", json!("1e400")),
        ("memory", json!("1GB")),
        ("memory", json!("99999999999999999999999999")),
        ("storage", json!("NaN")),
    ] {
        let answer = create(&alice, &workspace, json!({ "name": "web", "quota": { field: value } })).await?;
        assert_eq!(problem(&answer, 422, "invalid")["field"], format!("quota.{field}"), "{value}");
    }
    for quota in [json!({ "pods": -1 }), json!({ "pods": 1.5 }), json!({ "pods": "5" }), json!({ "gpu": 1 }), json!([])]
    {
        problem(&create(&alice, &workspace, json!({ "name": "web", "quota": quota })).await?, 422, "invalid");
    }
    assert_eq!(items(&alice.api.get(&projects(&workspace)).await?).len(), 0);
    Ok(())
}

#[tokio::test]
async fn a_name_that_breaks_a_rule_is_refused_with_the_rule() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    for name in [
        "",
        "Web",
        "-web",
        "web-",
        "we b",
        "wéb",
        "web.prod",
        "default",
        "kube-system",
        "kube-x",
        "hexabase-system",
        "prj-1",
        "we\u{0}b",
        &"a".repeat(41),
    ] {
        let body = problem(&create(&alice, &workspace, json!({ "name": name })).await?, 422, "invalid");
        assert_eq!(body["field"], "name", "{name:?}");
    }
    create(&alice, &workspace, json!({ "name": "web" })).await?.expect(201)?;
    let taken = problem(&create(&alice, &workspace, json!({ "name": "web" })).await?, 409, "name_taken");
    assert!(text(&taken["detail"]).contains("web"), "{taken}");
    let other = alice.workspace("other").await?;
    create(&alice, &other, json!({ "name": "web" })).await?.expect(201)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn projects_that_are_asked_for_at_once_do_not_exceed_the_plan() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let workspace = text(&alice.create_workspace("shop", "free").await?.expect(201)?.json()?["id"]);
        let ask = |number: usize| create(&alice, &workspace, json!({ "name": format!("web-{number}") }));
        let answers = futures::future::try_join_all((0..6).map(ask)).await?;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 2, "{answers:?}");
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            let detail = text(&problem(answer, 409, "limit_reached")["detail"]);
            assert!(detail.contains("2 projects"), "{detail}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_member_who_is_no_admin_looks_at_projects_and_changes_none() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let workspace = alice.workspace("shop").await?;
    let web = text(&create(&alice, &workspace, json!({ "name": "web" })).await?.expect(201)?.json()?["id"]);
    alice.add(&workspace, &bob.id, &["WSUsers"]).await?.expect(201)?;
    assert_eq!(items(&bob.api.get(&projects(&workspace)).await?).len(), 1);
    bob.api.get(&format!("{}/{web}", projects(&workspace))).await?.expect(200)?;
    for answer in [
        create(&bob, &workspace, json!({ "name": "mine" })).await?,
        bob.api.delete(&format!("{}/{web}", projects(&workspace))).await?,
    ] {
        let detail = text(&problem(&answer, 403, "forbidden")["detail"]);
        assert!(detail.contains("projects") && detail.contains("WSAdmins"), "{detail}");
    }
    alice.add(&workspace, &bob.id, &["WSAdmins"]).await?.expect(201)?;
    create(&bob, &workspace, json!({ "name": "mine" })).await?.expect(201)?;
    Ok(())
}

#[tokio::test]
async fn deleting_twice_is_deleting_once() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let web = text(&create(&alice, &workspace, json!({ "name": "web" })).await?.expect(201)?.json()?["id"]);
    let path = format!("{}/{web}", projects(&workspace));
    let first = alice.api.delete(&path).await?.expect(202)?.json()?;
    assert_eq!(first["phase"], "deleting");
    assert_eq!(alice.api.delete(&path).await?.expect(202)?.json()?, first);
    // Until it is gone its name is taken: the namespace is still there.
    problem(&create(&alice, &workspace, json!({ "name": "web" })).await?, 409, "name_taken");
    Ok(())
}

#[tokio::test]
async fn projects_come_in_pages() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    for number in 0..5 {
        create(&alice, &workspace, json!({ "name": format!("web-{number}") })).await?.expect(201)?;
    }
    let all = items(&alice.api.get(&projects(&workspace)).await?);
    let first = alice.api.get(&format!("{}?limit=4", projects(&workspace))).await?;
    let cursor = text(&first.json()?["next_cursor"]);
    let second = alice.api.get(&format!("{}?limit=4&cursor={cursor}", projects(&workspace))).await?;
    assert!(second.json()?.get("next_cursor").is_none());
    assert_eq!([items(&first), items(&second)].concat(), all);
    // A cursor is no key: with it, a stranger sees nothing.
    let bob = platform.person("bob").await?;
    problem(&bob.api.get(&format!("{}?cursor={cursor}", projects(&workspace))).await?, 404, "not_found");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_loses_the_right_to_it_deletes_no_project_afterwards() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
        let workspace = alice.workspace("shop").await?;
        for round in 0..8 {
            alice.add(&workspace, &bob.id, &["WSAdmins"]).await?.expect(201)?;
            let made = create(&alice, &workspace, json!({ "name": format!("web-{round}") })).await?.expect(201)?;
            let one = format!("{}/{}", projects(&workspace), text(&made.json()?["id"]));
            let (deleted, removed) = tokio::try_join!(bob.api.delete(&one), alice.remove(&workspace, &bob.id))?;
            removed.expect(204)?;
            assert!([202, 403, 404].contains(&deleted.status), "{deleted:?}");
        }
        // Whatever came first, the log tells of nothing that he did while he was no member.
        let store = platform.store().await?;
        let scope = organizations::scope_for(&store, &alice.id.parse()?, &alice.organization.parse()?).await?;
        let rows = audit::list(&store, &scope.context("no scope")?, &audit::AuditFilter::default(), 0, 500).await?;
        let mut member = false;
        for entry in rows.into_iter().map(|row| row.entry) {
            match entry.action.as_str() {
                "member.added" => member = true,
                "member.removed" => member = false,
                _ => assert!(member || entry.actor != bob.id, "{entry:?}"),
            }
        }
    }
    Ok(())
}
