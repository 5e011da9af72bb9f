//! Plans: versions, what a choice costs, and workspaces that come under another one.

use anyhow::{Context as _, Result};
use hexabase_app::plan_terms::{self, PlanTerms};
use hexabase_backends::store::workspaces;
use hexabase_core::quantity::{Bytes, Cpu};
use hexabase_core::quota::Amounts;
use hexabase_testkit::http::Answer;
use serde_json::{Value, json};

use crate::gateway::set_ready;
use crate::roles::answering;
use crate::support::{Person, Platform, items, problem, text};

fn terms(id: &str, price_minor: i64) -> Result<PlanTerms> {
    Ok(serde_json::from_value(json!({
        "id": id, "display_name": "Plan", "price_minor": price_minor, "currency": "USD", "display_order": 9,
        "sleep_after_minutes": 90,
        "limits": {
            "cpu": "4", "memory": "8Gi", "storage": "50Gi", "pods": 50, "load_balancers": 1, "projects": 10, "members": 50,
            "workspaces": 10,
        },
    }))?)
}

async fn set_plan(person: &Person, workspace: &str, plan: &str) -> Result<Answer> {
    let path = format!("/api/v1/workspaces/{workspace}/plan");
    person.api.send(person.api.request(reqwest::Method::PUT, &path).json(&json!({ "plan": plan }))).await
}

async fn estimate(person: &Person, query: &str) -> Result<Answer> {
    person.api.get(&format!("/api/v1/organizations/{}/estimate?{query}", person.organization)).await
}

async fn project(person: &Person, workspace: &str, name: &str, quota: Value) -> Result<Answer> {
    let path = format!("/api/v1/workspaces/{workspace}/projects");
    person.api.post(&path, &json!({ "name": name, "quota": quota })).await
}

#[tokio::test]
async fn a_workspace_keeps_its_version_until_its_owner_chooses_the_plan_again() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let (store, clock) = (platform.store().await?, &platform.clock);
        let shop = alice.workspace("shop").await?;
        plan_terms::add_version(&store, clock, &terms("standard", 5_900)?, "ada").await?;
        let offered = items(&alice.api.get("/api/v1/plans").await?);
        let standard = offered.iter().find(|plan| plan["id"] == "standard").context("it is offered")?;
        assert_eq!((&standard["version"], &standard["price_minor"]), (&json!(2), &json!(5_900)));
        assert_eq!((&standard["limits"]["load_balancers"], &standard["sleep_after_minutes"]), (&json!(1), &json!(90)));
        let version = async |id: &str| {
            let found = alice.api.get(&format!("/api/v1/workspaces/{id}")).await?.expect(200)?.json()?;
            anyhow::Ok(found["plan_version"].clone())
        };
        assert_eq!(version(&shop).await?, json!(1));
        let next = alice.workspace("next").await?;
        assert_eq!(version(&next).await?, json!(2));
        for (id, minutes) in [(&shop, Value::Null), (&next, json!(90))] {
            let found = alice.api.get(&format!("/api/v1/workspaces/{id}")).await?.expect(200)?.json()?;
            assert_eq!(found["sleep_rule"]["after_minutes"], minutes, "where it begins");
        }
        // Both versions count as one plan, and as what they cost.
        let found = estimate(&alice, "plan=standard").await?.expect(200)?.json()?;
        assert_eq!(found["now"], json!([{ "price_minor": 4_900 + 5_900, "currency": "USD" }]));
        assert_eq!((&found["workspaces"], &found["plan"]["version"]), (&json!(3), &json!(2)));
        let changed = set_plan(&alice, &shop, "standard").await?.expect(200)?.json()?;
        assert_eq!((&changed["plan"], &changed["plan_version"]), (&json!("standard"), &json!(2)));
        // No rule of the workspace's own waits longer than the plan it is under.
        let path = format!("/api/v1/workspaces/{shop}");
        let found = alice.api.get(&path).await?.expect(200)?.json()?;
        assert_eq!(found["sleep_rule"]["after_minutes"], json!(90));
        let log = format!("/api/v1/organizations/{}/audit?action=workspace.plan_changed", alice.organization);
        let told = items(&alice.api.get(&log).await?);
        assert_eq!(told[0]["after"]["sleep_rule"]["after_minutes"], json!(90), "{told:?}");
        let rule = async |rule: Value| {
            let request = alice.api.request(reqwest::Method::PUT, &format!("{path}/sleep-rule")).json(&rule);
            alice.api.send(request).await
        };
        for longer in [json!({}), json!({ "after_minutes": 91 })] {
            assert_eq!(problem(&rule(longer).await?, 422, "invalid")["field"], "after_minutes");
        }
        rule(json!({ "after_minutes": 60, "keep_workloads": true })).await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_retired_plan_is_not_offered_and_its_workspaces_go_on() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let (store, clock) = (platform.store().await?, &platform.clock);
    let made = plan_terms::create(&store, clock, &terms("team", 100)?, "ada").await?;
    assert_eq!((made.version, plan_terms::create(&store, clock, &terms("team", 1)?, "bob").await.is_err()), (1, true));
    let shop = text(&alice.create_workspace("shop", "team").await?.expect(201)?.json()?["id"]);
    plan_terms::set_retired(&store, clock, "team", true, "ada").await?;
    let refused = problem(&alice.create_workspace("next", "team").await?, 422, "invalid");
    let choices = "choose one of free, standard, premium";
    assert!(text(&refused["detail"]).starts_with("the plan team is retired"), "{refused}");
    assert!(text(&refused["detail"]).ends_with(choices), "{refused}");
    let refused = problem(&set_plan(&alice, &shop, "team").await?, 422, "invalid");
    assert!(
        text(&refused["detail"]).starts_with("the workspace is under the plan team already, which is retired"),
        "{refused}"
    );
    let refused = problem(&set_plan(&alice, &shop, "teams").await?, 422, "invalid");
    assert_eq!(refused["detail"], format!("there is no such plan; {choices}"));
    project(&alice, &shop, "web", Value::Null).await?.expect(201)?;
    let quota = alice.api.get(&format!("/api/v1/workspaces/{shop}/quota")).await?.expect(200)?.json()?;
    assert_eq!((&quota["plan"], &quota["plan_version"]), (&json!("team"), &json!(1)));
    let all = plan_terms::list(&store).await?;
    let (record, versions) = all.iter().find(|(record, _)| record.plan.id == "team").context("it is listed")?;
    assert_eq!((record.plan.active, versions.as_slice()), (false, [(1, 1)].as_slice()));
    plan_terms::set_retired(&store, clock, "team", false, "ada").await?;
    alice.create_workspace("next", "team").await?.expect(201)?;
    Ok(())
}

#[tokio::test]
async fn a_workspace_tells_those_who_pay_for_it_what_its_own_version_costs() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let (store, clock) = (platform.store().await?, &platform.clock);
    plan_terms::create(&store, clock, &terms("team", 100)?, "ada").await?;
    let made = alice.create_workspace("shop", "team").await?.expect(201)?.json()?;
    let shop = text(&made["id"]);
    // Neither is offered any more.
    plan_terms::add_version(&store, clock, &terms("team", 200)?, "ada").await?;
    plan_terms::set_retired(&store, clock, "team", true, "ada").await?;
    let path = format!("/api/v1/workspaces/{shop}");
    let price = json!({ "price_minor": 100, "currency": "USD" });
    let found = alice.api.get(&path).await?.expect(200)?.json()?;
    assert_eq!((&found["plan_version"], &found["price"], &made["price"]), (&json!(1), &price, &price));
    // Whoever administers it does not pay for it.
    alice.add(&shop, &bob.id, &["WSAdmins"]).await?.expect(201)?;
    let theirs = bob.api.get(&path).await?.expect(200)?.json()?;
    assert_eq!((&theirs["plan_version"], theirs.get("price")), (&json!(1), None));
    assert_eq!(items(&alice.api.get("/api/v1/workspaces").await?)[0].get("price"), None);
    let changed = set_plan(&alice, &shop, "standard").await?.expect(200)?.json()?;
    assert_eq!(changed["price"]["price_minor"], 4_900);
    Ok(())
}

#[tokio::test]
async fn what_a_choice_costs_is_known_before_it_is_made_to_those_who_may_make_it() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let nothing = estimate(&alice, "plan=standard").await?.expect(200)?.json()?;
    assert_eq!((&nothing["now"], &nothing["workspaces"]), (&json!([]), &json!(1)));
    assert_eq!(nothing["then"], json!([{ "price_minor": 4_900, "currency": "USD" }]));
    let shop = alice.workspace("shop").await?;
    let larger = estimate(&alice, &format!("plan=premium&workspace={shop}")).await?.expect(200)?.json()?;
    assert_eq!(larger["now"], json!([{ "price_minor": 4_900, "currency": "USD" }]));
    assert_eq!(larger["then"], json!([{ "price_minor": 49_900, "currency": "USD" }]));
    assert_eq!(problem(&estimate(&alice, "plan=gold").await?, 422, "invalid")["field"], "plan");
    problem(&estimate(&alice, "plan=free&workspace=ws-00000000000000000000").await?, 404, "not_found");
    problem(&estimate(&alice, "").await?, 422, "invalid");
    // Of another organisation's workspace nothing is said.
    let theirs = bob.workspace("shop").await?;
    problem(&estimate(&alice, &format!("plan=free&workspace={theirs}")).await?, 404, "not_found");
    alice.add(&shop, &bob.id, &["WSAdmins"]).await?.expect(201)?;
    let path = format!("/api/v1/organizations/{}/estimate?plan=free", alice.organization);
    let refused = problem(&bob.api.get(&path).await?, 403, "forbidden");
    assert!(text(&refused["detail"]).contains("what its workspaces cost"), "{refused}");
    let refused = problem(&set_plan(&bob, &shop, "premium").await?, 403, "forbidden");
    assert!(text(&refused["detail"]).contains("an admin of the organization"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn whoever_chooses_what_they_were_shown_gets_that_or_nothing() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let (store, clock) = (platform.store().await?, &platform.clock);
    let shop = alice.workspace("shop").await?;
    let shown = estimate(&alice, "plan=standard").await?.expect(200)?.json()?["plan"]["version"].clone();
    plan_terms::add_version(&store, clock, &terms("standard", 5_900)?, "ada").await?;
    let create = async |version: Value| {
        let body = json!({ "name": "next", "plan": "standard", "plan_version": version });
        alice.api.post(&format!("/api/v1/organizations/{}/workspaces", alice.organization), &body).await
    };
    let change = async |version: Value| {
        let body = json!({ "plan": "standard", "plan_version": version });
        let path = format!("/api/v1/workspaces/{shop}/plan");
        alice.api.send(alice.api.request(reqwest::Method::PUT, &path).json(&body)).await
    };
    for refused in [create(shown.clone()).await?, change(shown.clone()).await?, create(json!(3)).await?] {
        let refused = problem(&refused, 409, "plan_changed");
        assert!(text(&refused["detail"]).contains("version 2 is offered now"), "{refused}");
    }
    let shown = estimate(&alice, "plan=standard").await?.expect(200)?.json()?["plan"]["version"].clone();
    let made = create(shown.clone()).await?.expect(201)?.json()?;
    let changed = change(shown).await?.expect(200)?.json()?;
    assert_eq!((&made["plan_version"], &changed["plan_version"]), (&json!(2), &json!(2)));
    Ok(())
}

#[tokio::test]
async fn a_workspace_that_costs_nothing_sleeps_after_an_hour_unless_its_owner_says_sooner() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let plans = items(&alice.api.get("/api/v1/plans").await?);
    let minutes: Vec<&Value> = plans.iter().map(|plan| &plan["sleep_after_minutes"]).collect();
    assert_eq!(minutes, [&json!(60), &Value::Null, &Value::Null]);
    let made = alice.create_workspace("small", "free").await?.expect(201)?.json()?;
    let shown = alice.api.get(&format!("/api/v1/workspaces/{}", text(&made["id"]))).await?.expect(200)?.json()?;
    assert_eq!(shown["sleep_rule"]["after_minutes"], 60);
    let rule = async |rule: Value| {
        let path = format!("/api/v1/workspaces/{}/sleep-rule", text(&made["id"]));
        alice.api.send(alice.api.request(reqwest::Method::PUT, &path).json(&rule)).await
    };
    for longer in [json!({}), json!({ "after_minutes": 61 })] {
        let refused = problem(&rule(longer).await?, 422, "invalid");
        assert_eq!(refused["field"], "after_minutes");
        assert!(text(&refused["detail"]).contains("give from 5 to 60 minutes"), "{refused}");
    }
    assert_eq!(rule(json!({ "after_minutes": 30 })).await?.expect(200)?.json()?["sleep_rule"]["after_minutes"], 30);
    // A plan that says nothing gives no rule.
    let shop = alice.workspace("shop").await?;
    let shown = alice.api.get(&format!("/api/v1/workspaces/{shop}")).await?.expect(200)?.json()?;
    assert_eq!(shown["sleep_rule"], Value::Null);
    Ok(())
}

#[tokio::test]
async fn a_plan_that_is_too_small_is_refused_with_what_uses_it() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let shop = alice.workspace("shop").await?;
    let large = json!({ "cpu": "3", "memory": "6Gi" });
    let web = text(&project(&alice, &shop, "web", large).await?.expect(201)?.json()?["id"]);
    let refused = problem(&set_plan(&alice, &shop, "free").await?, 409, "quota_in_use");
    assert_eq!(
        refused["detail"],
        "the plan free is too small: 1 of cpu is less than the 3 given to web (3); 2Gi of memory is less than the 6Gi given to \
         web (6Gi); lower these first, which members of WSAdmins can"
    );
    let smaller = json!({ "quota": { "cpu": "500m", "memory": "1Gi", "storage": "1Gi" } });
    alice.api.patch(&format!("/api/v1/workspaces/{shop}/projects/{web}"), &smaller).await?.expect(200)?;
    for name in ["two", "three"] {
        let tiny = json!({ "cpu": "100m", "memory": "64Mi", "storage": "1Gi", "pods": 1, "services": 1, "objects": 1 });
        project(&alice, &shop, name, tiny).await?.expect(201)?;
    }
    let refused = problem(&set_plan(&alice, &shop, "free").await?, 409, "quota_in_use");
    assert!(
        text(&refused["detail"]).contains("allows 2 projects and the workspace has 3; members of WSAdmins"),
        "{refused}"
    );
    // And back: a larger one always has room.
    let larger = set_plan(&alice, &shop, "premium").await?.expect(200)?.json()?;
    assert_eq!(larger["plan"], "premium");
    let quota = alice.api.get(&format!("/api/v1/workspaces/{shop}/quota")).await?.expect(200)?.json()?;
    assert_eq!((&quota["limit"]["cpu"], &quota["left"]["cpu"]), (&json!("16"), &json!("15300m")));
    // Only one workspace of an organisation is free.
    let other = alice.workspace("other").await?;
    set_plan(&alice, &other, "free").await?.expect(200)?;
    let third = alice.workspace("third").await?;
    let refused = problem(&set_plan(&alice, &third, "free").await?, 409, "limit_reached");
    assert!(text(&refused["detail"]).contains("plan free allows 1 workspace"), "{refused}");
    alice.add(&third, &bob.id, &[]).await?.expect(201)?;
    alice.api.delete(&format!("/api/v1/workspaces/{third}")).await?.expect(202)?;
    problem(&set_plan(&alice, &third, "premium").await?, 409, "workspace_deleted");
    Ok(())
}

#[tokio::test]
async fn nobody_is_told_to_lower_the_share_of_a_project_that_is_leaving() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let shop = alice.workspace("shop").await?;
    let mut ids = Vec::new();
    for name in ["web", "def"] {
        let made = project(&alice, &shop, name, json!({ "cpu": "1500m" })).await?.expect(201)?.json()?;
        ids.push(text(&made["id"]));
    }
    let says = [
        "; lower web first, which members of WSAdmins can, and wait until the deletion of def is over",
        "; wait until the deletion of web, def is over",
    ];
    for (id, first) in ids.iter().rev().zip(says) {
        alice.api.delete(&format!("/api/v1/workspaces/{shop}/projects/{id}")).await?.expect(202)?;
        let refused = problem(&set_plan(&alice, &shop, "free").await?, 409, "quota_in_use");
        assert!(text(&refused["detail"]).ends_with(first), "{refused}");
    }
    Ok(())
}

/// What the worker does with what the host counted.
async fn note_used(platform: &Platform, workspace: &str, cpu: u64) -> Result<()> {
    let store = platform.store().await?;
    let tx = store.begin().await?;
    let used = Amounts { cpu: Cpu::from_millis(cpu), ..Amounts::NONE };
    workspaces::note_used(&tx, &workspace.parse()?, Some(&used)).await?;
    Ok(tx.commit().await?)
}

#[tokio::test]
async fn a_plan_that_is_too_small_for_what_runs_is_refused_although_no_project_has_it() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let shop = alice.workspace("shop").await?;
    set_ready(&platform, &shop, "127.0.0.1:1", "PEM").await?;
    note_used(&platform, &shop, 3_000).await?;
    let refused = problem(&set_plan(&alice, &shop, "free").await?, 409, "quota_in_use");
    assert!(text(&refused["detail"]).contains("1 of cpu, of which 3 is used; end some"), "{refused}");
    // A larger one has room for it, whatever is known.
    set_plan(&alice, &shop, "premium").await?.expect(200)?;
    note_used(&platform, &shop, 100).await?;
    // How much that was has no word: it is had once the host lets in no more.
    let asked = set_plan(&alice, &shop, "free").await?.expect(200)?.json()?;
    assert_eq!((&asked["plan"], &asked["plan_change"]["plan"]), (&json!("premium"), &json!("free")), "{asked}");
    let seen = alice.api.get(&format!("/api/v1/workspaces/{shop}")).await?.expect(200)?.json()?;
    assert_eq!(
        (&seen["plan"], &seen["plan_change"]),
        (&json!("premium"), &json!({ "plan": "free", "plan_version": 1 }))
    );
    // Choosing what it has takes that back.
    let kept = set_plan(&alice, &shop, "premium").await?.expect(200)?.json()?;
    assert_eq!((&kept["plan"], &kept["plan_change"]), (&json!("premium"), &Value::Null));
    Ok(())
}

#[tokio::test]
async fn a_plan_that_is_too_small_for_what_runs_is_refused_with_everything_that_is_too_much_and_its_pods() -> Result<()>
{
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let shop = alice.workspace("shop").await?;
    let tenant = answering(&platform, &shop).await?;
    let list = |items: Value| json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": items });
    let pod = |namespace: &str, name: &str, cpu: &str| {
        let resources = json!({ "limits": { "cpu": cpu } });
        json!({ "metadata": { "name": name, "namespace": namespace },
            "spec": { "containers": [{ "name": "c", "resources": resources }] } })
    };
    tenant.answer("GET", "/api/v1/pods", 200, list(json!([pod("default", "job", "1"), pod("web", "front", "2")])));
    let claim = json!({ "metadata": { "name": "data", "namespace": "web" },
        "spec": { "resources": { "requests": { "storage": "40Gi" } } } });
    tenant.answer("GET", "/api/v1/persistentvolumeclaims", 200, list(json!([claim])));
    let service = |namespace: &str, name: &str| json!({ "metadata": { "name": name, "namespace": namespace } });
    let services = json!([service("default", "kubernetes"), service("web", "front")]);
    tenant.answer("GET", "/api/v1/services", 200, list(services));
    let store = platform.store().await?;
    let tx = store.begin().await?;
    let (cpu, storage) = (Cpu::from_millis(3_000), Bytes::from_gibibytes(40));
    let used = Amounts { cpu, storage, pods: 2, services: 11, ..Amounts::NONE };
    workspaces::note_used(&tx, &shop.parse()?, Some(&used)).await?;
    tx.commit().await?;
    let refused = problem(&set_plan(&alice, &shop, "free").await?, 409, "quota_in_use");
    for part in [
        "1 of cpu, of which 3 is used, most of it by the pods web/front (2), default/job (1); ",
        " of storage, of which 40Gi is used, most of it by the claims web/data (40Gi); ",
        "10 of services, of which 11 is used, most of it by the services web/front; end some of that",
    ] {
        assert!(text(&refused["detail"]).contains(part), "{refused}");
    }
    // As it is known before anything is asked for.
    let quota = alice.api.get(&format!("/api/v1/workspaces/{shop}/quota")).await?.expect(200)?.json()?;
    assert_eq!((&quota["used"]["cpu"], &quota["used"]["pods"]), (&json!("3"), &json!(2)));
    // Not of pods, of which there are few.
    assert!(!text(&refused["detail"]).contains("of pods"), "{refused}");
    // What was counted before its host stopped answering says nothing about now.
    let tx = store.begin().await?;
    workspaces::note_used(&tx, &shop.parse()?, None).await?;
    tx.commit().await?;
    let quota = alice.api.get(&format!("/api/v1/workspaces/{shop}/quota")).await?.expect(200)?.json()?;
    assert_eq!(quota["used"], Value::Null);
    let asked = set_plan(&alice, &shop, "free").await?.expect(200)?.json()?;
    assert_eq!((&asked["plan"], &asked["plan_change"]["plan"]), (&json!("standard"), &json!("free")), "{asked}");
    Ok(())
}

#[tokio::test]
async fn what_is_made_once_stays_under_every_plan() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let (store, clock) = (platform.store().await?, &platform.clock);
    let shop = alice.workspace("shop").await?;
    let newer = PlanTerms { kubernetes: Some("v1.36.0".parse()?), ..terms("newer", 1)? };
    plan_terms::create(&store, clock, &newer, "ada").await?;
    let refused = problem(&set_plan(&alice, &shop, "newer").await?, 409, "plan_immutable");
    assert!(text(&refused["detail"]).contains("gives v1.36.0"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workspaces_that_come_under_a_plan_at_once_do_not_exceed_it() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let mut made = Vec::new();
        for number in 0..4 {
            made.push(alice.workspace(&format!("shop-{number}")).await?);
        }
        let ask = |id: &String| {
            let (alice, id) = (&alice, id.clone());
            async move { set_plan(alice, &id, "free").await }
        };
        let answers = futures::future::try_join_all(made.iter().map(ask)).await?;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
    }
    Ok(())
}
