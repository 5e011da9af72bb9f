use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use hexabase_backends::store::workspaces as rows;
use serde_json::{Value, json};

use crate::support::{Person, Platform, items, pass, problem, text};

pub(crate) fn workspaces_of(person: &Person) -> String {
    format!("/api/v1/organizations/{}/workspaces", person.organization)
}

fn workspace(id: &str) -> String {
    format!("/api/v1/workspaces/{id}")
}

/// What the worker does last.
async fn finish_deletion(platform: &Platform, id: &str) -> Result<()> {
    let store = platform.store().await?;
    let tx = store.begin().await?;
    rows::set_deleted(&tx, &id.parse()?, &json!({ "removed": [] }), platform.clock.now()).await?;
    Ok(tx.commit().await?)
}

#[tokio::test]
async fn a_new_workspace_is_being_created_with_its_default_groups() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let made = alice.create_workspace("shop", "standard").await?.expect(201)?.json()?;
    let id = text(&made["id"]);
    assert_eq!((made["phase"].as_str(), made["plan"].as_str()), (Some("creating"), Some("standard")));
    assert_eq!(made["organization"], alice.organization);
    assert_eq!(made["server"], format!("{}/k8s/{id}", platform.url));
    assert_eq!(made["issuer"], platform.issuer(&id));
    assert_eq!(made["ready_at"], Value::Null);
    assert_eq!(alice.api.get(&workspace(&id)).await?.expect(200)?.json()?, made);

    let groups = items(&alice.api.get(&format!("{}/groups", workspace(&id))).await?);
    let find = |name: &str| groups.iter().find(|group| group["name"] == name).cloned().unwrap_or_default();
    let (top, admins, users) = (find("WorkspaceMembers"), find("WSAdmins"), find("WSUsers"));
    assert_eq!(groups.len(), 3);
    assert_eq!((&top["parent"], &admins["parent"], &users["parent"]), (&Value::Null, &top["id"], &top["id"]));
    assert_eq!(admins["cluster_roles"], json!(["hexabase:workspace-admin"]));
    assert_eq!(top["cluster_roles"], json!(["hexabase:workspace-viewer"]));
    assert_eq!(users["cluster_roles"], json!([]));

    let members = items(&alice.api.get(&format!("{}/members", workspace(&id))).await?);
    assert_eq!(members.len(), 1);
    assert_eq!((&members[0]["user"], &members[0]["groups"]), (&json!(alice.id), &json!(["WSAdmins"])));
    assert_eq!(members[0]["effective_groups"], json!(["WSAdmins", "WorkspaceMembers"]));
    Ok(())
}

#[tokio::test]
async fn a_kubeconfig_names_the_plugin_and_holds_no_secret() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let id = alice.workspace("shop").await?;
    let answer = alice.api.get(&format!("{}/kubeconfig", workspace(&id))).await?.expect(200)?;
    assert_eq!(answer.header("content-type"), "application/yaml");
    let kubeconfig = answer.json()?;
    assert_eq!(kubeconfig["clusters"][0]["cluster"]["server"], format!("{}/k8s/{id}", platform.url));
    let exec = &kubeconfig["users"][0]["user"]["exec"];
    assert_eq!(exec["command"], "hxb");
    assert_eq!(kubeconfig["users"][0]["user"].as_object().map(serde_json::Map::len), Some(1));
    // The context is called by the name, which a workspace of another organisation may have as well.
    let name = format!("hexabase-{id}");
    let context = json!({ "name": "hexabase-shop", "context": { "cluster": name, "user": name } });
    assert_eq!((&kubeconfig["contexts"], &kubeconfig["current-context"]), (&json!([context]), &json!("hexabase-shop")));
    assert_eq!([&kubeconfig["clusters"][0]["name"], &kubeconfig["users"][0]["name"]], [&name, &name]);
    for secret in [alice.api.token(), alice.tokens.refresh_token.as_deref().unwrap_or_default(), "PRIVATE KEY"] {
        assert!(!answer.text.contains(secret));
    }
    Ok(())
}

#[tokio::test]
async fn the_free_plan_gives_one_workspace() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    alice.create_workspace("one", "free").await?.expect(201)?;
    let refused = problem(&alice.create_workspace("two", "free").await?, 409, "limit_reached");
    let detail = text(&refused["detail"]);
    assert!(detail.contains("plan free allows 1 workspace"), "{detail}");
    assert!(detail.contains("delete one or choose another plan"), "it says what to do: {detail}");
    assert!(detail.contains("the platform's operator"), "and who can raise it: {detail}");
    alice.create_workspace("two", "standard").await?.expect(201)?;
    Ok(())
}

#[tokio::test]
async fn a_deleted_workspace_counts_until_nothing_of_it_is_left() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let id = text(&alice.create_workspace("shop", "free").await?.expect(201)?.json()?["id"]);
    alice.api.delete(&workspace(&id)).await?.expect(202)?;
    problem(&alice.create_workspace("next", "free").await?, 409, "limit_reached");
    problem(&alice.create_workspace("shop", "standard").await?, 409, "name_taken");
    finish_deletion(&platform, &id).await?;
    let next = text(&alice.create_workspace("shop", "free").await?.expect(201)?.json()?["id"]);
    assert_ne!(next, id, "ids are not used again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workspaces_that_are_asked_for_at_once_do_not_exceed_the_plan() -> Result<()> {
    for one in Platform::start_on_each_engine().await? {
        let two = one.replica().await?;
        let alice = one.person("alice").await?;
        let there = two.nobody().with_token(alice.api.token());
        for (plan, limit) in [("free", 1), ("standard", 10)] {
            let body = |number: usize| json!({ "name": format!("{plan}-{number}"), "plan": plan });
            let path = workspaces_of(&alice);
            let ask = |number: usize| {
                let (api, path, body) =
                    (if number.is_multiple_of(2) { &alice.api } else { &there }, &path, body(number));
                async move { api.post(path, &body).await }
            };
            let answers = futures::future::try_join_all((0..limit + 5).map(ask)).await?;
            let made = answers.iter().filter(|answer| answer.status == 201).count();
            assert_eq!(made, limit, "{plan}: {answers:?}");
            for answer in answers.iter().filter(|answer| answer.status != 201) {
                problem(answer, 409, "limit_reached");
            }
        }
        assert_eq!(items(&alice.api.get(&workspaces_of(&alice)).await?).len(), 11);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_workspaces_with_one_name_that_are_asked_for_at_once_one_is_made() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let answers = futures::future::try_join_all((0..8).map(|_| alice.create_workspace("shop", "standard"))).await?;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{answers:?}");
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            problem(answer, 409, "name_taken");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_name_is_taken_once_in_an_organization_and_free_in_others() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    alice.workspace("shop").await?;
    let refused = problem(&alice.create_workspace("shop", "standard").await?, 409, "name_taken");
    assert!(text(&refused["detail"]).contains("shop"), "{refused}");
    bob.workspace("shop").await?;
    Ok(())
}

#[tokio::test]
async fn a_name_that_breaks_a_rule_is_refused_with_the_rule() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for name in [
        "",
        "Shop",
        "-shop",
        "shop-",
        "sh op",
        "shöp",
        "shop.prod",
        "shop_1",
        "ws-1",
        "platform",
        "default",
        "new",
        " shop",
        "shop\n",
        "../shop",
        "\u{ff53}hop",
        &"a".repeat(41),
        &"a".repeat(5000),
    ] {
        let body = problem(&alice.create_workspace(name, "standard").await?, 422, "invalid");
        assert_eq!(body["field"], "name", "{name:?}");
        assert!(text(&body["detail"]).contains("workspace name"), "{body}");
    }
    for name in ["a", "0", "a-b", &"a".repeat(40), "xn--shp-0na"] {
        alice.create_workspace(name, "standard").await?.expect(201)?;
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_plan_is_refused_with_the_choices() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for plan in ["gold", "", "Free", "free "] {
        let body = problem(&alice.create_workspace("shop", plan).await?, 422, "invalid");
        assert_eq!(body["field"], "plan");
        assert!(text(&body["detail"]).contains("free, standard, premium"), "{body}");
    }
    Ok(())
}

#[tokio::test]
async fn the_plans_say_what_they_allow_and_cost() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let plans = items(&alice.api.get("/api/v1/plans").await?);
    let ids: Vec<String> = plans.iter().map(|plan| text(&plan["id"])).collect();
    assert_eq!(ids, ["free", "standard", "premium"]);
    assert_eq!(plans[0]["limits"]["workspaces"], 1);
    assert_eq!((&plans[1]["limits"]["memory"], &plans[1]["price_minor"]), (&json!("8Gi"), &json!(4900)));
    Ok(())
}

#[tokio::test]
async fn a_list_comes_in_pages() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for number in 0..7 {
        alice.workspace(&format!("shop-{number}")).await?;
    }
    for path in [workspaces_of(&alice), "/api/v1/workspaces".to_owned()] {
        let all: Vec<Value> = items(&alice.api.get(&path).await?);
        assert_eq!(all.len(), 7);
        let mut found = Vec::new();
        let mut sizes = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = alice.api.get(&format!("{path}?limit=3{cursor}")).await?;
            let rows = items(&page);
            sizes.push(rows.len());
            found.extend(rows);
            match page.json()?["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(sizes, [3, 3, 1]);
        assert_eq!(found, all);
        // A page that is exactly full is the last one.
        assert!(alice.api.get(&format!("{path}?limit=7")).await?.json()?.get("next_cursor").is_none());
    }
    Ok(())
}

#[tokio::test]
async fn a_cursor_or_limit_that_no_list_gave_out_is_refused() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let id = alice.workspace("shop").await?;
    let projects = format!("{}/projects", workspace(&id));
    for path in [workspaces_of(&alice), "/api/v1/workspaces".to_owned(), projects] {
        for query in [
            "cursor=",
            "cursor=x",
            "cursor=%00",
            "cursor=d3MtMQ",
            "cursor=b3JnLTAwMDAwMDAwMDAwMDAwMDAwMDAw",
            "limit=0",
            "limit=201",
            "limit=-1",
            "limit=ten",
            "limit=",
            "limit=1&limit=2",
            "limit=99999999999999999999",
            "page=2",
            "offset=1",
        ] {
            problem(&alice.api.get(&format!("{path}?{query}")).await?, 422, "invalid");
        }
    }
    Ok(())
}

#[tokio::test]
async fn workspaces_are_found_by_their_exact_name() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let id = alice.workspace("shop").await?;
    alice.workspace("shop-2").await?;
    bob.workspace("shop").await?;
    let found: Vec<String> =
        items(&alice.api.get("/api/v1/workspaces?name=shop").await?).iter().map(|row| text(&row["id"])).collect();
    assert_eq!(found, [id]);
    for name in ["Shop", "shop%25", "sho_", "%27%20or%201=1--"] {
        assert_eq!(items(&alice.api.get(&format!("/api/v1/workspaces?name={name}")).await?).len(), 0, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn deleting_twice_is_deleting_once() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let id = alice.workspace("shop").await?;
    let first = alice.api.delete(&workspace(&id)).await?.expect(202)?.json()?;
    assert_eq!(first["phase"], "deleting");
    pass(&platform, 5);
    let second = alice.api.delete(&workspace(&id)).await?.expect(202)?.json()?;
    assert_eq!(second, first);
    finish_deletion(&platform, &id).await?;
    let third = alice.api.delete(&workspace(&id)).await?.expect(202)?.json()?;
    assert_eq!(third["phase"], "deleted");
    Ok(())
}

#[tokio::test]
async fn a_deleted_workspace_stays_as_a_record_for_admins_of_the_organization() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let id = alice.workspace("shop").await?;
    alice.add(&id, &bob.id, &["WSAdmins"]).await?.expect(201)?;
    let project = alice.api.post(&format!("{}/projects", workspace(&id)), &json!({ "name": "web" })).await?;
    let project = format!("{}/projects/{}", workspace(&id), text(&project.expect(201)?.json()?["id"]));
    bob.api.delete(&workspace(&id)).await?.expect(202)?;
    assert_eq!(bob.api.get(&workspace(&id)).await?.expect(200)?.json()?["phase"], "deleting");
    finish_deletion(&platform, &id).await?;
    let record = alice.api.get(&workspace(&id)).await?.expect(200)?.json()?;
    assert_eq!(record["phase"], "deleted");
    assert!(record["receipt"].is_object() && record["deleted_at"].is_string(), "{record}");
    // Also those in which nothing is.
    for list in ["removed", "remaining", "forced", "returned", "missing"] {
        assert!(record["receipt"][list].is_array(), "{list}: {record}");
    }
    assert_eq!(alice.api.get(&project).await?.expect(200)?.json()?["phase"], "deleted");
    // Bob was in the organisation through this workspace only.
    for path in [&workspace(&id), &project, &format!("/api/v1/organizations/{}", alice.organization)] {
        problem(&bob.api.get(path).await?, 404, "not_found");
    }
    problem(&bob.api.delete(&workspace(&id)).await?, 404, "not_found");
    assert_eq!(items(&bob.api.get("/api/v1/organizations").await?).len(), 1);
    for path in [workspaces_of(&alice), "/api/v1/workspaces".to_owned()] {
        assert_eq!(items(&alice.api.get(&path).await?).len(), 0);
    }
    Ok(())
}

#[tokio::test]
async fn a_member_who_is_no_admin_cannot_delete_the_workspace() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let id = alice.workspace("shop").await?;
    alice.add(&id, &bob.id, &[]).await?.expect(201)?;
    assert_eq!(bob.api.get(&workspace(&id)).await?.expect(200)?.json()?["phase"], "creating");
    let refused = problem(&bob.api.delete(&workspace(&id)).await?, 403, "forbidden");
    let detail = text(&refused["detail"]);
    assert!(detail.contains("delete this workspace") && detail.contains("WSAdmins"), "{detail}");
    let restored = bob.api.post(&format!("{}/restore", workspace(&id)), &json!({})).await?;
    let detail = text(&problem(&restored, 403, "forbidden")["detail"]);
    assert!(detail.starts_with("you may not restore this workspace; "), "{detail}");
    alice.add(&id, &bob.id, &["WSAdmins"]).await?.expect(201)?;
    bob.api.delete(&workspace(&id)).await?.expect(202)?;
    Ok(())
}

#[tokio::test]
async fn nothing_is_made_in_a_workspace_that_is_being_deleted() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let id = alice.workspace("shop").await?;
    alice.api.delete(&workspace(&id)).await?.expect(202)?;
    problem(&alice.add(&id, &bob.id, &[]).await?, 409, "workspace_deleted");
    let project = alice.api.post(&format!("{}/projects", workspace(&id)), &json!({ "name": "web" })).await?;
    problem(&project, 409, "workspace_deleted");
    Ok(())
}

#[tokio::test]
async fn ids_sort_by_age_and_are_never_equal() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(alice.workspace(&format!("shop-{number}")).await?);
        pass(&platform, 1);
    }
    let sorted: BTreeSet<_> = ids.iter().cloned().collect();
    assert_eq!(sorted.into_iter().collect::<Vec<_>>(), ids);
    let listed: Vec<String> =
        items(&alice.api.get(&workspaces_of(&alice)).await?).iter().map(|row| text(&row["id"])).collect();
    assert_eq!(listed, ids);
    listed.first().context("no workspace")?;
    Ok(())
}
