//! What must hold when the platform is killed, or somebody meddles with its objects.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::support::{Person, Surroundings, shop, text, until};

/// Moments after the request, or after the start that followed the kill before, at which the platform is killed: from
/// before the first object is made until the tenant answers.
const KILLS_MS: [u64; 10] = [0, 60, 150, 300, 500, 800, 1_500, 2_500, 3_500, 4_500];

#[tokio::test]
async fn a_platform_killed_ten_times_still_makes_one_whole_workspace() -> Result<()> {
    let at = Surroundings::read()?;
    let mut platform = at.platform().await?;
    let gus = Person::sign_in(&at, &platform, "gus").await?;
    gus.hxb(&["workspace", "create", "phoenix", "--plan", "standard", "--no-wait"]).await?;
    let id = gus.id_of("phoenix").await?;
    for pause in KILLS_MS {
        // Not a wait for something to happen: the moment of the kill is what is being varied.
        tokio::time::sleep(Duration::from_millis(pause)).await;
        platform.kill()?;
        platform.start_again().await?;
    }
    gus.hxb(&["workspace", "wait", "phoenix", "--for", "ready", "--timeout", "4m"])
        .await
        .with_context(|| platform.log())?;
    gus.hxb(&["kubeconfig", "phoenix", "--set-current"]).await?;
    gus.kubectl(&["auth", "whoami"]).await?;

    let namespaces =
        at.host(&["get", "namespaces", "-l", &format!("hexabase.ai/workspace={id}"), "-o", "name"]).await?.good()?;
    ensure!(namespaces.lines().count() == 1, "{namespaces}");
    let namespace = format!("hxb-{id}");
    for kind in ["statefulsets", "resourcequotas", "limitranges"] {
        let list = at.host(&["-n", &namespace, "get", kind, "-o", "name"]).await?.good()?;
        ensure!(list.lines().count() == 1, "{kind}: {list}");
    }
    let workspaces = gus.json(&["workspace", "list"]).await?;
    ensure!(workspaces["items"].as_array().is_some_and(|items| items.len() == 1), "{workspaces}");
    gus.hxb(&["workspace", "delete", "phoenix", "--yes"]).await?;
    platform.kill()?;
    platform.start_again().await?;
    gus.hxb(&["workspace", "wait", &id, "--for", "deleted", "--timeout", "3m"]).await?;
    let left = at.leftovers(&id).await?;
    ensure!(left.is_empty(), "left on the host: {left:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_edited_or_deleted_of_the_platforms_objects_comes_back() -> Result<()> {
    let shop = shop().await?;
    let alice = &shop.alice;
    alice.project("shop", "drift", &[]).await?;
    let namespace = format!("hxb-{}", shop.id);
    shop.at.host(&["-n", &namespace, "delete", "resourcequota", "--all"]).await?.good()?;
    alice.kubectl(&["delete", "clusterrolebinding", "hexabase:workspace-viewer:WorkspaceMembers"]).await?;
    alice.kubectl(&["-n", "drift", "delete", "resourcequota", "hexabase-quota"]).await?;
    until("the host's quota", async || {
        Ok(!shop.at.host(&["-n", &namespace, "get", "resourcequota", "-o", "name"]).await?.good()?.is_empty())
    })
    .await?;
    until("the binding", async || {
        Ok(alice.try_kubectl(&["get", "clusterrolebinding", "hexabase:workspace-viewer:WorkspaceMembers"]).await?.code
            == 0)
    })
    .await?;
    until("the project's quota", async || {
        Ok(alice.try_kubectl(&["-n", "drift", "get", "resourcequota", "hexabase-quota"]).await?.code == 0)
    })
    .await
}

#[tokio::test]
async fn a_restart_signs_nobody_out() -> Result<()> {
    let at = Surroundings::read()?;
    let mut platform = at.platform().await?;
    let hal = Person::sign_in(&at, &platform, "hal").await?;
    let before = text(&hal.json(&["whoami"]).await?, "id")?;
    platform.stop().await?;
    platform.start_again().await?;
    let after: Value = hal.json(&["whoami"]).await?;
    ensure!(after["id"] == before.as_str(), "{after}");
    Ok(())
}
