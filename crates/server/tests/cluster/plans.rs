//! A smaller plan for a workspace in which something runs.

use anyhow::{Result, ensure};

use crate::support::{Person, shop, until};

/// Asks for the plan, and gives the reason why it is not had: told at once where it is known already, else by the worker.
async fn refusal(person: &Person, workspace: &str, plan: &str) -> Result<String> {
    let said = person.hxb.run(&["workspace", "set-plan", workspace, plan]).await?;
    if said.code != 0 {
        return Ok(said.stderr);
    }
    let mut why = None;
    until("the refusal of the plan", async || {
        let seen = person.json(&["workspace", "get", workspace]).await?;
        ensure!(seen["plan"] != plan, "it was had: {seen}");
        why = seen["plan_change"]["refused"].as_str().map(str::to_owned);
        Ok(why.is_some())
    })
    .await?;
    Ok(why.unwrap_or_default())
}

#[tokio::test]
async fn a_smaller_plan_is_had_once_the_pods_that_are_too_much_for_it_are_gone() -> Result<()> {
    let shop = shop().await?;
    let planner = shop.somebody("planner").await?;
    let id = planner.workspace_under("premium", "shrinking").await?;
    let share = [
        ["--cpu", "500m"],
        ["--memory", "512Mi"],
        ["--storage", "1Gi"],
        ["--pods", "5"],
        ["--services", "5"],
        ["--volume-claims", "5"],
        ["--objects", "50"],
    ];
    planner.project("shrinking", "web", share.as_flattened()).await?;
    planner.run_pod("web", "small", "400m").await?;
    // In no project, so that only the workspace's own quota knows of it.
    planner.run_pod("default", "big", "3").await?;

    let why = refusal(&planner, "shrinking", "free").await?;
    for part in ["1 of cpu, of which ", "most of it by the pods default/big (3), web/small (400m)"] {
        ensure!(why.contains(part), "{part}: {why}");
    }
    let plan = planner.json(&["workspace", "get", "shrinking"]).await?;
    ensure!(plan["plan"] == "premium" && plan["phase"] == "ready", "{plan}");

    planner.kubectl(&["-n", "default", "delete", "pod", "big", "--now"]).await?;
    let running = ["-n", "web", "get", "pod", "small", "-o", "jsonpath={.metadata.uid} {.status.phase}"];
    let before = planner.kubectl(&running).await?;
    until("the smaller plan", async || {
        // It is refused until the host has counted anew.
        planner.hxb.run(&["workspace", "set-plan", "shrinking", "free"]).await?;
        Ok(planner.json(&["workspace", "get", "shrinking"]).await?["plan"] == "free")
    })
    .await?;
    let namespace = format!("hxb-{id}");
    let hard = ["-n", &namespace, "get", "resourcequota", "hexabase", "-o", "jsonpath={.status.hard.pods}"];
    // Those of the plan, and four of the control plane.
    until("the smaller quota on the host", async || Ok(shop.at.host(&hard).await?.good()? == "14")).await?;
    let after = planner.kubectl(&running).await?;
    ensure!(before == after && after.ends_with(" Running"), "{before}, and then {after}");
    planner.hxb(&["workspace", "delete", "shrinking", "--yes"]).await.map(drop)
}
