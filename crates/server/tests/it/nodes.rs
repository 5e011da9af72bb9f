//! Nodes of a workspace's own, as far as they are asked for and shown. What the worker does is played here.

use anyhow::{Context as _, Result};
use hexabase_backends::store::workspaces as rows;
use hexabase_backends::store::{Store, host_nodes};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::nodes::{NodeClass, NodeState};
use hexabase_testkit::http::Answer;
use serde_json::{Value, json};

use crate::support::{Person, Platform, problem, shop, text};

fn at(workspace: &str) -> String {
    format!("/api/v1/workspaces/{workspace}/nodes")
}

async fn put(person: &Person, path: &str, body: Value) -> Result<Answer> {
    person.api.send(person.api.request(reqwest::Method::PUT, path).json(&body)).await
}

async fn under(person: &Person, workspace: &str, plan: &str) -> Result<Answer> {
    put(person, &format!("/api/v1/workspaces/{workspace}/plan"), json!({ "plan": plan })).await
}

/// Offers so many nodes.
async fn offer(store: &Store, platform: &Platform, many: usize) -> Result<()> {
    let tx = store.begin().await?;
    for number in 0..many {
        host_nodes::offer(&tx, &format!("node-{number}").parse()?, platform.clock.now()).await?;
    }
    Ok(tx.commit().await?)
}

/// Alice's workspace under a plan that gives nodes.
async fn premium() -> Result<(Platform, Person, String)> {
    let (platform, alice, workspace) = shop().await?;
    under(&alice, &workspace, "premium").await?.expect(200)?;
    Ok((platform, alice, workspace))
}

#[tokio::test]
async fn a_workspace_asks_for_as_many_nodes_as_its_plan_gives_and_sees_what_it_got() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let refused = put(&alice, &at(&workspace), json!({ "count": 1 })).await?;
    assert!(
        text(&problem(&refused, 409, "limit_reached")["detail"])
            .contains("an admin of the organization can choose another plan")
    );
    under(&alice, &workspace, "premium").await?.expect(200)?;
    let store = platform.store().await?;
    offer(&store, &platform, 2).await?;
    let seen = alice.api.get(&at(&workspace)).await?.expect(200)?.json()?;
    let empty = json!({ "wanted": 0, "limit": 3, "available": 2, "placed": "shared", "message": null, "nodes": [] });
    assert_eq!(seen, empty);
    problem(&put(&alice, &at(&workspace), json!({ "count": 4 })).await?, 409, "limit_reached");
    problem(&put(&alice, &at(&workspace), json!({ "count": -1 })).await?, 422, "invalid");
    let asked = put(&alice, &at(&workspace), json!({ "count": 2 })).await?.expect(202)?.json()?;
    assert_eq!((&asked["wanted"], &asked["available"]), (&json!(2), &json!(1)));

    // What a worker finds.
    let (id, now): (WorkspaceId, _) = (workspace.parse()?, platform.clock.now());
    let tx = store.begin().await?;
    let name = host_nodes::claim(&tx, &id, now).await?.context("no node")?;
    host_nodes::set_state(&tx, &id, &name, NodeState::Ready, None, now).await?;
    rows::set_placed(&tx, &id, NodeClass::Dedicated, now).await?;
    rows::note_nodes_message(&tx, &id, Some("1 of 2 nodes")).await?;
    tx.commit().await?;
    let seen = alice.api.get(&at(&workspace)).await?.expect(200)?.json()?;
    let node = json!({ "name": "node-0", "state": "ready", "message": null, "claimed_at": now });
    assert_eq!((&seen["nodes"], &seen["placed"]), (&json!([node]), &json!("dedicated")));
    assert_eq!(seen["message"], "1 of 2 nodes");
    Ok(())
}

#[tokio::test]
async fn asking_twice_changes_nothing_and_the_log_says_who_asked() -> Result<()> {
    let (_platform, alice, workspace) = premium().await?;
    for _ in 0..2 {
        put(&alice, &at(&workspace), json!({ "count": 1 })).await?.expect(202)?;
    }
    let log = format!("/api/v1/organizations/{}/audit?action=workspace.nodes_changed", alice.organization);
    let found = alice.api.get(&log).await?.expect(200)?.json()?;
    let records = found["items"].as_array().context("no records")?;
    assert_eq!(records.len(), 1, "{found}");
    assert_eq!((&records[0]["before"], &records[0]["after"]), (&json!({ "count": 0 }), &json!({ "count": 1 })));
    assert_eq!(records[0]["actor"], json!(alice.id));
    Ok(())
}

#[tokio::test]
async fn a_plan_with_fewer_nodes_than_the_workspace_has_asked_for_is_refused() -> Result<()> {
    let (_platform, alice, workspace) = premium().await?;
    put(&alice, &at(&workspace), json!({ "count": 1 })).await?.expect(202)?;
    let refused = under(&alice, &workspace, "standard").await?;
    let detail = text(&problem(&refused, 409, "quota_in_use")["detail"]);
    let told =
        ["gives 0 nodes of its own", "members of WSAdmins", "an admin of the organization can choose another plan"];
    assert!(told.iter().all(|words| detail.contains(words)), "{detail}");
    put(&alice, &at(&workspace), json!({ "count": 0 })).await?.expect(202)?;
    under(&alice, &workspace, "standard").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_plan_with_fewer_nodes_than_the_workspace_still_has_is_refused() -> Result<()> {
    let (platform, alice, workspace) = premium().await?;
    let store = platform.store().await?;
    offer(&store, &platform, 1).await?;
    // A worker gave it the node, and has not got it back: what is bound to it stays there.
    let (id, now): (WorkspaceId, _) = (workspace.parse()?, platform.clock.now());
    let tx = store.begin().await?;
    let name = host_nodes::claim(&tx, &id, now).await?.context("no node")?;
    host_nodes::set_state(&tx, &id, &name, NodeState::Draining, None, now).await?;
    rows::set_placed(&tx, &id, NodeClass::Dedicated, now).await?;
    tx.commit().await?;
    let refused = under(&alice, &workspace, "standard").await?;
    assert!(text(&problem(&refused, 409, "quota_in_use")["detail"]).contains("still has 1"));
    let tx = store.begin().await?;
    host_nodes::give_back(&tx, &id, &name).await?;
    tx.commit().await?;
    let refused = under(&alice, &workspace, "standard").await?;
    assert!(text(&problem(&refused, 409, "quota_in_use")["detail"]).contains("still placed"));
    let tx = store.begin().await?;
    rows::set_placed(&tx, &id, NodeClass::Shared, now).await?;
    tx.commit().await?;
    under(&alice, &workspace, "standard").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn nodes_are_seen_by_members_and_asked_for_by_admins_of_a_workspace_that_stays() -> Result<()> {
    let (platform, alice, workspace) = premium().await?;
    let bob = platform.person("bob").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    bob.api.get(&at(&workspace)).await?.expect(200)?;
    problem(&put(&bob, &at(&workspace), json!({ "count": 1 })).await?, 403, "forbidden");
    alice.api.delete(&format!("/api/v1/workspaces/{workspace}")).await?.expect(202)?;
    problem(&put(&alice, &at(&workspace), json!({ "count": 1 })).await?, 409, "workspace_deleted");
    Ok(())
}
