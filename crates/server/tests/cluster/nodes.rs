//! A workspace with a node of its own, as its people and the operator see it.

use anyhow::{Context as _, Result, ensure};

use crate::support::{BUSYBOX, Person, TIMEOUT, shop, until};
use crate::surroundings::Surroundings;

const OFFER: &str = "hexabase.node-restriction.kubernetes.io/offered-to";
/// By this the devhost keeps everybody off its second node who does not know of it.
const KEPT: &str = "hexabase.ai/second-node:NoSchedule";

/// What the node says of whose it is.
async fn pool(at: &Surroundings, node: &str) -> Result<String> {
    let label = "jsonpath={.metadata.labels.hexabase\\.node-restriction\\.kubernetes\\.io/pool}";
    at.host(&["get", "node", node, "-o", label]).await?.good()
}

/// The nodes of the pods that the workspace's people have made.
async fn places(at: &Surroundings, id: &str) -> Result<Vec<String>> {
    let (place, label) = (format!("hxb-{id}"), format!("vcluster.loft.sh/managed-by={id}"));
    let nodes = ["-n", &place, "get", "pods", "-l", &label, "-o", "jsonpath={.items[*].spec.nodeName}"];
    Ok(at.host(&nodes).await?.good()?.split_whitespace().map(str::to_owned).collect())
}

#[tokio::test]
async fn a_workspace_asks_for_a_node_has_it_alone_and_gives_it_back() -> Result<()> {
    let shop = shop().await?;
    // Where there is none, `check` leaves this out and counts it as skipped.
    let node = shop.at.second_node.as_ref().context("HEXABASE_TEST_SECOND_NODE is not set")?;
    let label = format!("{OFFER}=workspaces");
    shop.at.host(&["label", "node", node, &label]).await?.good()?;
    let wanda = shop.somebody("wanda").await?;
    let outcome = there_and_back(&shop.at, &wanda, node).await;
    shop.at.host(&["taint", "node", node, KEPT, "--overwrite"]).await?.good()?;
    shop.at.host(&["label", "node", node, &format!("{OFFER}-")]).await?.good()?;
    outcome.with_context(|| shop.platform.log())?;
    until("a node that is nobody's", async || Ok(pool(&shop.at, node).await?.is_empty())).await
}

async fn there_and_back(at: &Surroundings, wanda: &Person, node: &str) -> Result<()> {
    until("an empty node", async || Ok(pool(at, node).await? == "free")).await?;
    at.host(&["taint", "node", node, &format!("{KEPT}-")]).await?.good()?;
    let id = wanda.workspace_under("premium", "moving").await?;
    wanda.project("moving", "kept", &[]).await?;
    wanda.kubectl(&["-n", "kept", "create", "configmap", "note", "--from-literal=text=kept"]).await?;
    let run = ["-n", "kept", "create", "deployment", "web", "--image", BUSYBOX, "--", "sleep", "3600"];
    wanda.kubectl(&run).await?;
    wanda.kubectl(&["-n", "kept", "rollout", "status", "deployment/web", TIMEOUT]).await?;

    let said = wanda.hxb(&["workspace", "nodes", "set", "moving", "1", "--wait", "--timeout", "10m"]).await?;
    ensure!(said.contains("on dedicated nodes") && said.contains(node), "{said}");
    ensure!(pool(at, node).await? == id);
    let there = places(at, &id).await?;
    ensure!(there.len() >= 2 && there.iter().all(|place| place == node), "{there:?}");
    still_whole(wanda).await?;

    let said = wanda.hxb(&["workspace", "nodes", "set", "moving", "0", "--wait", "--timeout", "10m"]).await?;
    ensure!(said.contains("on shared nodes"), "{said}");
    let back = places(at, &id).await?;
    ensure!(!back.is_empty() && back.iter().all(|place| place != node), "{back:?}");
    ensure!(pool(at, node).await? == "free");
    still_whole(wanda).await?;

    // With a node in its hands it goes like any other, and says so.
    wanda.hxb(&["workspace", "nodes", "set", "moving", "1", "--wait", "--timeout", "10m"]).await?;
    let said = wanda.hxb(&["workspace", "delete", "moving", "--yes", "--wait", "--timeout", "10m"]).await?;
    ensure!(said.contains(&format!("Nodes given back: {node}.")), "{said}");
    ensure!(pool(at, node).await? == "free");
    let left = at.leftovers(&id).await?;
    ensure!(left.is_empty(), "left on the host: {left:?}");
    Ok(())
}

/// Its objects are there, and its pods run.
async fn still_whole(wanda: &Person) -> Result<()> {
    wanda.kubectl(&["-n", "kept", "rollout", "status", "deployment/web", TIMEOUT]).await?;
    let note = wanda.kubectl(&["-n", "kept", "get", "configmap", "note", "-o", "jsonpath={.data.text}"]).await?;
    ensure!(note == "kept", "{note}");
    Ok(())
}
