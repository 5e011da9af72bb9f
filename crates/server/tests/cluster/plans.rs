//! Plans that an operator makes and changes, and a smaller one for a workspace in which something runs.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::support::{Person, Shop, shop, text, until};

/// Runs the server's program beside it, as the platform's operator.
async fn operate(shop: &Shop, arguments: &[&str]) -> Result<String> {
    shop.platform.run(arguments).await?.good().with_context(|| format!("hexabase {}", arguments.join(" ")))
}

/// Writes a file of the operator's; returns where it is.
fn written(shop: &Shop, name: &str, text: &str) -> Result<String> {
    let folder = shop.platform.home_of("operator");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(name);
    std::fs::write(&file, text)?;
    Ok(file.display().to_string())
}

fn amounts(pods: u32) -> String {
    format!(
        "cpu = \"8\"\nmemory = \"16Gi\"\nstorage = \"60Gi\"\npods = {pods}\nservices = {pods}\nload_balancers = 0\n\
         persistent_volume_claims = {pods}\nobjects = 400\n"
    )
}

fn terms(pods: u32) -> String {
    format!(
        "id = \"roomy\"\ndisplay_name = \"Roomy\"\nprice_minor = 100\ncurrency = \"USD\"\ndisplay_order = 9\n[limits]\n{}\
         projects = 5\nmembers = 5\nworkspaces = 2\n",
        amounts(pods)
    )
}

/// Waits until the host lets in so many pods of a workspace: those of its plan, and four of the control plane.
async fn until_pods(shop: &Shop, id: &str, expected: &str) -> Result<()> {
    let namespace = format!("hxb-{id}");
    let hard = ["-n", &namespace, "get", "resourcequota", "hexabase", "-o", "jsonpath={.status.hard.pods}"];
    let title = format!("{expected} pods on the host");
    until(&title, async || Ok(shop.at.host(&hard).await?.good()? == expected)).await
}

/// Has the operator make a plan, change it and retire it while a workspace comes under it, and bound its organisation for a while;
/// returns the workspace's id.
async fn under_an_operators_plan(shop: &Shop, person: &Person, name: &str) -> Result<String> {
    let get = ["workspace", "get", name];
    operate(shop, &["plans", "create", &written(shop, "roomy.toml", &terms(30))?]).await?;
    let id = person.workspace_under("roomy", name).await?;
    until_pods(shop, &id, "34").await?;
    operate(shop, &["plans", "version", &written(shop, "roomy.toml", &terms(40))?]).await?;
    let seen = person.json(&get).await?;
    ensure!(seen["plan_version"] == 1, "it has another version unasked: {seen}");
    person.hxb(&["workspace", "set-plan", name, "roomy"]).await?;
    until_pods(shop, &id, "44").await?;

    operate(shop, &["plans", "retire", "roomy"]).await?;
    let offered = person.hxb(&["plan", "list"]).await?;
    ensure!(!offered.contains("roomy"), "it is offered still: {offered}");
    let seen = person.json(&get).await?;
    ensure!(seen["plan"] == "roomy" && seen["plan_version"] == 2 && seen["phase"] == "ready", "{seen}");

    let organization = text(&seen, "organization")?;
    let whole = written(shop, "amounts.toml", &amounts(40))?;
    operate(shop, &["quota", "--organization", &organization, "--file", &whole]).await?;
    let quota = person.json(&["org", "quota"]).await?;
    ensure!(quota["limit"]["pods"] == 40 && quota["left"]["cpu"] == "0", "{quota}");
    let refused = person.hxb.run(&["workspace", "set-plan", name, "premium"]).await?;
    ensure!(refused.code != 0 && refused.stderr.contains("of the organization's quota"), "{refused:?}");
    operate(shop, &["quota", "--organization", &organization, "--none"]).await?;
    Ok(id)
}

#[tokio::test]
async fn a_smaller_plan_is_had_once_the_pods_that_are_too_much_for_it_are_gone() -> Result<()> {
    let shop = shop().await?;
    let planner = shop.somebody("planner").await?;
    let id = under_an_operators_plan(shop, &planner, "shrinking").await?;
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

    // Of everything the tenant's own, and nothing of the control plane's.
    let mut used = Value::Null;
    until("the count", async || {
        used = planner.json(&["workspace", "quota", "shrinking"]).await?["used"].clone();
        Ok(used["cpu"] == "3400m")
    })
    .await?;
    for (name, expected) in [
        ("memory", json!("128Mi")),
        ("storage", json!("0")),
        ("pods", json!(2)),
        ("services", json!(0)),
        ("persistent_volume_claims", json!(0)),
    ] {
        ensure!(used[name] == expected, "{name}: {used}");
    }

    let refused = planner.hxb.run(&["workspace", "set-plan", "shrinking", "free"]).await?;
    for part in ["1 of cpu, of which 3400m is used", "most of it by the pods default/big (3), web/small (400m)"] {
        ensure!(refused.code != 0 && refused.stderr.contains(part), "{part}: {refused:?}");
    }
    let plan = planner.json(&["workspace", "get", "shrinking"]).await?;
    ensure!(plan["plan"] == "roomy" && plan["phase"] == "ready", "{plan}");

    planner.kubectl(&["-n", "default", "delete", "pod", "big", "--now"]).await?;
    let running = ["-n", "web", "get", "pod", "small", "-o", "jsonpath={.metadata.uid} {.status.phase}"];
    let before = planner.kubectl(&running).await?;
    until("the smaller plan", async || {
        // It is refused until the host has counted anew.
        planner.hxb.run(&["workspace", "set-plan", "shrinking", "free"]).await?;
        Ok(planner.json(&["workspace", "get", "shrinking"]).await?["plan"] == "free")
    })
    .await?;
    until_pods(shop, &id, "14").await?;
    let after = planner.kubectl(&running).await?;
    ensure!(before == after && after.ends_with(" Running"), "{before}, and then {after}");
    planner.hxb(&["workspace", "delete", "shrinking", "--yes"]).await.map(drop)
}
