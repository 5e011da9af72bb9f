//! A platform that is killed at calls which the proxy chooses by a seed: a sample of what `cargo xtask soak` does with every call.

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use hexabase_testkit::faults::{Aim, Means, Share};
use serde_json::json;

use crate::lane::Lane;
use crate::support::{run, shop, until};

/// The sample is the same in every run.
const SAMPLE: Share = Share { seed: 14, of: 40, number: 0, means: Means::Kills };

#[tokio::test]
async fn a_workspace_is_whole_at_every_step_of_its_life_wherever_its_platform_is_killed() -> Result<()> {
    let mut lane = Lane::start().await?;
    lane.proxy.aim(Aim::Share(SAMPLE));
    let lived = lane.life(false).await;
    let struck = lane.proxy.struck();
    for (moment, fault) in &struck {
        println!("{fault}: {moment}");
    }
    let Share { seed, of, number, .. } = SAMPLE;
    lived.with_context(|| format!("replay with: cargo xtask soak --seed {seed} --round kills:{number}/{of}"))?;
    ensure!(!struck.is_empty(), "nothing happened to it");
    Ok(())
}

#[tokio::test]
async fn a_namespace_that_somebody_holds_is_told_of_and_goes_once_it_is_let_go() -> Result<()> {
    let shop = shop().await?;
    let kim = shop.somebody("kim").await?;
    let id = kim.ask_for("held").await?;
    let namespace = format!("hxb-{id}");
    until("the namespace", async || Ok(shop.at.host(&["get", "namespace", &namespace]).await?.code == 0)).await?;
    // Of a kind that the platform makes none of, so that it takes no finalizer off.
    let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "held", "namespace": namespace, "finalizers": ["example.com/hold"] } });
    let mut file = tempfile::NamedTempFile::new()?;
    write!(file, "{lease}")?;
    let mut make = shop.at.kubectl(&shop.at.kubeconfig);
    make.args(["create", "-f"]).arg(file.path());
    run(make).await?.good()?;

    kim.hxb(&["workspace", "delete", &id, "--yes"]).await?;
    until("what holds it", async || {
        let workspace = kim.json(&["workspace", "get", &id]).await?;
        ensure!(workspace["phase"] == "deleting", "{workspace}");
        Ok(workspace["message"].as_str().is_some_and(|message| message.contains("example.com/hold")))
    })
    .await?;
    // Nothing comes into being there any more, and the name leads to no other workspace.
    let refused = shop.at.host(&["-n", &namespace, "create", "configmap", "late"]).await?;
    ensure!(refused.code != 0 && refused.stderr.contains("being terminated"), "{refused:?}");
    let free = r#"{"metadata":{"finalizers":null}}"#;
    shop.at.host(&["-n", &namespace, "patch", "lease", "held", "--type=merge", "-p", free]).await?.good()?;
    kim.hxb(&["workspace", "wait", &id, "--for", "deleted", "--timeout", "10m"]).await?;
    let left = shop.at.leftovers(&id).await?;
    ensure!(left.is_empty(), "left on the host: {left:?}");
    Ok(())
}
