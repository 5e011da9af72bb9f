//! Nodes of a workspace's own, with a worker and a host in memory.

use anyhow::{Context as _, Result};
use hexabase_app::{audit, nodes, organizations, workspaces};
use hexabase_backends::store::host_nodes;
use hexabase_core::ids::WorkspaceId;
use hexabase_core::nodes::{NodeClass, NodeState};
use hexabase_core::phases::WorkspacePhase;
use hexabase_testkit::on_both_engines;
use serde_json::{Value, json};

use crate::support::{Stage, eventually, namespace};

/// Labels of nodes; their taint, which is the namespace's annotation as well.
const LABEL: &str = "hexabase.node-restriction.kubernetes.io/pool";
const OFFER: &str = "hexabase.node-restriction.kubernetes.io/offered-to";
const POOL: &str = "hexabase.ai/node-pool";

fn at(name: &str) -> String {
    format!("/api/v1/nodes/{name}")
}

fn put_node(stage: &Stage, name: &str, labels: Value) {
    let status = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
    let metadata = json!({ "name": name, "labels": labels });
    stage.kubernetes.put(&at(name), json!({ "metadata": metadata, "spec": {}, "status": status }));
}

/// A host with a shared node and so many that are offered, and a workspace under a plan that gives nodes.
async fn offered(stage: &Stage, many: usize) -> Result<()> {
    put_node(stage, "shared", json!({}));
    for number in 0..many {
        put_node(stage, &format!("own-{number}"), json!({ OFFER: "workspaces" }));
    }
    workspaces::change_plan(&stage.app, &stage.alice, &stage.id, "premium".into()).await?;
    Ok(())
}

/// What a node says of itself: label and taint.
fn said(stage: &Stage, name: &str) -> Result<(Value, Value)> {
    let node = stage.kubernetes.get(&at(name)).context("no node")?;
    Ok((node["metadata"]["labels"][LABEL].clone(), node["spec"]["taints"][0]["value"].clone()))
}

fn pool(stage: &Stage, id: &WorkspaceId) -> Value {
    let found = stage.kubernetes.get(&namespace(id)).unwrap_or_default();
    found["metadata"]["annotations"][POOL].clone()
}

/// What happened to the workspace's nodes, by the log.
async fn log(stage: &Stage) -> Result<Vec<String>> {
    let organization = stage.row().await?.organization_id;
    let rows = audit::list(&stage.app, &stage.alice, &organization, &Default::default(), 0, 100).await?;
    let of_nodes = |action: &String| action.contains("node") || action == "workspace.placed";
    Ok(rows.into_iter().map(|row| row.entry.action).filter(of_nodes).collect())
}

on_both_engines! {
    async fn a_workspace_gets_a_node_moves_there_and_back_and_gives_it_back(store: TestStore) {
        let stage = Stage::set(store).await?;
        offered(&stage, 1).await?;
        let worker = stage.work().await?;
        eventually("the offer", async || {
            Ok((nodes::get(&stage.app, &stage.alice, &stage.id).await?.available == 1).then_some(()))
        })
        .await?;
        eventually("an empty node", async || Ok((said(&stage, "own-0")? == (json!("free"), json!("free"))).then_some(()))).await?;
        nodes::set(&stage.app, &stage.alice, &stage.id, 1).await?;
        stage.until("the move", |row| row.placed == NodeClass::Dedicated).await?;
        let own = json!(stage.id.as_str());
        assert_eq!(said(&stage, "own-0")?, (own.clone(), own.clone()));
        eventually("the namespace's pool", async || Ok((pool(&stage, &stage.id) == own).then_some(()))).await?;
        let found = nodes::get(&stage.app, &stage.alice, &stage.id).await?;
        assert_eq!((found.wanted, found.limit, found.available, found.nodes.len()), (1, 3, 0, 1));
        assert_eq!((found.nodes[0].name.as_str(), found.nodes[0].state), ("own-0", NodeState::Ready));

        nodes::set(&stage.app, &stage.alice, &stage.id, 0).await?;
        stage.until("the way back", |row| row.placed == NodeClass::Shared).await?;
        eventually("the return", async || {
            Ok(nodes::get(&stage.app, &stage.alice, &stage.id).await?.nodes.is_empty().then_some(()))
        })
        .await?;
        assert_eq!(said(&stage, "own-0")?, (json!("free"), json!("free")));
        eventually("the offer anew", async || {
            Ok((nodes::get(&stage.app, &stage.alice, &stage.id).await?.available == 1).then_some(()))
        })
        .await?;
        eventually("no pool", async || Ok((pool(&stage, &stage.id) == json!("")).then_some(()))).await?;
        worker.stop().await?;
        let expected = [
            "workspace.nodes_changed", "workspace.nodes_claimed", "workspace.placed", "workspace.nodes_changed",
            "workspace.nodes_draining", "workspace.placed", "workspace.nodes_returned",
        ];
        assert_eq!(log(&stage).await?, expected);
    }

    async fn a_node_is_offered_only_while_it_is_empty(store: TestStore) {
        let stage = Stage::set(store).await?;
        offered(&stage, 2).await?;
        let spec = json!({ "nodeName": "own-0", "containers": [] });
        let pod = json!({ "metadata": { "name": "web", "namespace": "team" }, "spec": spec });
        stage.kubernetes.put("/api/v1/namespaces/team/pods/web", pod);
        let worker = stage.work().await?;
        let offers = eventually("an offer", async || {
            let all = nodes::all(&stage.app.store).await?;
            Ok((!all.is_empty()).then_some(all))
        })
        .await?;
        worker.stop().await?;
        let names: Vec<&str> = offers.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["own-1"]);
        assert_eq!(said(&stage, "own-0")?, (json!("free"), json!("free")), "nobody else is to come");
    }

    async fn a_workspace_whose_name_on_the_host_is_somebody_elses_gets_no_node(store: TestStore) {
        let stage = Stage::set(store).await?;
        offered(&stage, 0).await?;
        let labels = json!({ "app.kubernetes.io/managed-by": "hexabase", "hexabase.ai/workspace": stage.id.as_str(),
            "hexabase.ai/organization": "org-0123456789abcdefghjk" });
        stage.kubernetes.put(&stage.namespace(), json!({ "metadata": { "name": "x", "labels": labels } }));
        put_node(&stage, "own-0", json!({ OFFER: "workspaces", LABEL: "free" }));
        let mut node = stage.kubernetes.get(&at("own-0")).context("no node")?;
        node["spec"]["taints"] = json!([{ "key": POOL, "value": "free", "effect": "NoSchedule" }]);
        stage.kubernetes.put(&at("own-0"), node);
        let tx = stage.app.store.begin().await?;
        host_nodes::offer(&tx, &"own-0".parse()?, stage.app.clock.now()).await?;
        tx.commit().await?;
        nodes::set(&stage.app, &stage.alice, &stage.id, 1).await?;
        let worker = stage.work().await?;
        let is_told = |text: &String| text.contains("does not say that it belongs");
        stage.until("a sentence", |row| row.message.as_ref().is_some_and(is_told)).await?;
        worker.stop().await?;
        assert_eq!(host_nodes::of_workspace_for_job(&stage.app.store, &stage.id).await?, []);
        assert_eq!(said(&stage, "own-0")?, (json!("free"), json!("free")));
    }

    async fn two_workspaces_never_have_the_same_node_and_whoever_gets_none_is_told(store: TestStore) {
        let stage = Stage::set(store).await?;
        offered(&stage, 1).await?;
        let organization = organizations::list(&stage.app, &stage.alice).await?.remove(0).0.id;
        let second = workspaces::create(&stage.app, &stage.alice, &organization, "bank", "premium").await?.workspace.id;
        for id in [&stage.id, &second] {
            nodes::set(&stage.app, &stage.alice, id, 1).await?;
        }
        let worker = stage.work().await?;
        let look = async |id: &WorkspaceId| nodes::get(&stage.app, &stage.alice, id).await;
        let (has, lacks) = eventually("one of them has it", async || {
            let (one, two) = (look(&stage.id).await?, look(&second).await?);
            let ready = |found: &nodes::WorkspaceNodes| found.nodes.iter().any(|node| node.state == NodeState::Ready);
            Ok(match (ready(&one), ready(&two)) {
                (true, false) => Some((stage.id.clone(), second.clone())),
                (false, true) => Some((second.clone(), stage.id.clone())),
                _ => None,
            })
        })
        .await?;
        eventually("a sentence", async || {
            let found = look(&lacks).await?;
            assert_eq!(found.nodes, []);
            Ok(found.message.is_some_and(|text| text.starts_with("0 of 1 nodes")).then_some(()))
        })
        .await?;
        assert_eq!(said(&stage, "own-0")?.0, json!(has.as_str()));
        worker.stop().await?;
    }

    async fn a_node_that_is_given_back_is_nobodys_where_it_is_offered_no_more_or_gone(store: TestStore) {
        let stage = Stage::set(store).await?;
        offered(&stage, 2).await?;
        let organization = organizations::list(&stage.app, &stage.alice).await?.remove(0).0.id;
        let second = workspaces::create(&stage.app, &stage.alice, &organization, "bank", "premium").await?.workspace.id;
        nodes::set(&stage.app, &stage.alice, &stage.id, 2).await?;
        let worker = stage.work().await?;
        let look = async |id: &WorkspaceId| nodes::get(&stage.app, &stage.alice, id).await;
        eventually("both nodes", async || {
            let found = look(&stage.id).await?.nodes;
            Ok((found.len() == 2 && found.iter().all(|node| node.state == NodeState::Ready)).then_some(()))
        })
        .await?;
        let mut node = stage.kubernetes.get(&at("own-0")).context("no node")?;
        node["metadata"]["labels"].as_object_mut().context("no labels")?.remove(OFFER);
        stage.kubernetes.put(&at("own-0"), node);
        stage.kubernetes.remove(&at("own-1"));
        nodes::set(&stage.app, &stage.alice, &stage.id, 0).await?;
        eventually("the return", async || Ok(look(&stage.id).await?.nodes.is_empty().then_some(()))).await?;
        assert_eq!(host_nodes::list_for_job(&stage.app.store).await?, []);
        assert_eq!(said(&stage, "own-0")?, (Value::Null, Value::Null), "it is everybody's again");
        nodes::set(&stage.app, &stage.alice, &second, 1).await?;
        eventually("a sentence", async || {
            let found = look(&second).await?;
            assert_eq!(found.nodes, []);
            Ok(found.message.is_some_and(|text| text.starts_with("0 of 1 nodes")).then_some(()))
        })
        .await?;
        worker.stop().await?;
    }

    async fn a_node_that_is_given_back_can_be_had_once_nobodys_pod_is_on_it(store: TestStore) {
        let stage = Stage::set(store).await?;
        offered(&stage, 1).await?;
        nodes::set(&stage.app, &stage.alice, &stage.id, 1).await?;
        let worker = stage.work().await?;
        let look = async || nodes::get(&stage.app, &stage.alice, &stage.id).await;
        eventually("the node", async || {
            Ok(look().await?.nodes.iter().any(|node| node.state == NodeState::Ready).then_some(()))
        })
        .await?;
        let spec = json!({ "nodeName": "own-0", "containers": [] });
        let pod = json!({ "metadata": { "name": "web", "namespace": "team" }, "spec": spec });
        stage.kubernetes.put("/api/v1/namespaces/team/pods/web", pod);
        nodes::set(&stage.app, &stage.alice, &stage.id, 0).await?;
        eventually("the return", async || Ok(look().await?.nodes.is_empty().then_some(()))).await?;
        worker.stop().await?;
        assert_eq!(host_nodes::list_for_job(&stage.app.store).await?, []);
        stage.kubernetes.remove("/api/v1/namespaces/team/pods/web");
        // One that begins looks at once.
        let worker = stage.work().await?;
        eventually("the offer anew", async || Ok((look().await?.available == 1).then_some(()))).await?;
        worker.stop().await?;
    }

    async fn a_deleted_workspace_gives_its_nodes_back_and_a_mark_that_is_left_is_taken_off(store: TestStore) {
        let stage = Stage::set(store).await?;
        offered(&stage, 2).await?;
        nodes::set(&stage.app, &stage.alice, &stage.id, 2).await?;
        let worker = stage.work().await?;
        eventually("both nodes", async || {
            let found = nodes::get(&stage.app, &stage.alice, &stage.id).await?.nodes;
            Ok((found.len() == 2 && found.iter().all(|node| node.state == NodeState::Ready)).then_some(()))
        })
        .await?;
        workspaces::delete(&stage.app, &stage.alice, &stage.id).await?;
        let gone = stage.until("the deletion", |row| row.phase == WorkspacePhase::Deleted).await?;
        let receipt = gone.receipt.context("no receipt")?;
        assert_eq!(receipt["returned"], json!(["own-0", "own-1"]));
        assert_eq!(said(&stage, "own-1")?, (json!("free"), json!("free")));
        worker.stop().await?;

        // An overtaken worker wrote it, or a copy of an older database.
        let mut node = stage.kubernetes.get(&at("own-0")).context("no node")?;
        node["metadata"]["labels"][LABEL] = json!(stage.id.as_str());
        node["spec"]["taints"] = json!([{ "key": POOL, "value": stage.id.as_str(), "effect": "NoSchedule" }]);
        stage.kubernetes.put(&at("own-0"), node);
        put_node(&stage, "foreign", json!({ LABEL: "ws-0123456789abcdefghjk" }));
        let worker = stage.work().await?;
        eventually("a clean node", async || Ok((said(&stage, "own-0")? == (json!("free"), json!("free"))).then_some(()))).await?;
        worker.stop().await?;
        assert_eq!(said(&stage, "foreign")?.0, json!("ws-0123456789abcdefghjk"), "it may be another installation's");
    }
}
