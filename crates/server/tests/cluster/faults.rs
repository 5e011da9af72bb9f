//! What must hold when the platform is killed, or somebody meddles with its objects.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::support::{Person, shop, until};
use crate::surroundings::Surroundings;

/// How long after a new worker has taken the job up it is killed: from before the first object is applied until the tenant's
/// API server answers.
const KILLS_MS: [u64; 10] = [0, 40, 100, 200, 400, 700, 1_200, 2_000, 3_000, 4_000];

/// The fencing number of the worker that last worked on the workspace's namespace; none before the namespace is there.
async fn fence(at: &Surroundings, namespace: &str) -> Result<Option<u64>> {
    let fence = "jsonpath={.metadata.annotations.hexabase\\.ai/fence}";
    let said = at.host(&["get", "namespace", namespace, "--ignore-not-found", "-o", fence]).await?.good()?;
    Ok(said.trim().parse().ok())
}

#[tokio::test]
async fn a_platform_killed_ten_times_still_makes_one_whole_workspace() -> Result<()> {
    let at = Surroundings::read()?;
    let mut platform = at.platform().await?;
    let gus = Person::sign_in(&at, &platform, "gus").await?;
    let id = gus.ask_for("phoenix").await?;
    let namespace = format!("hxb-{id}");
    for pause in KILLS_MS {
        // Not a wait for something to happen: the moment of the kill is what is being varied.
        tokio::time::sleep(Duration::from_millis(pause)).await;
        platform.kill()?;
        let before = fence(&at, &namespace).await?;
        platform.start_again().await?;
        until("a new worker at work", async || Ok(fence(&at, &namespace).await? > before)).await?;
    }
    gus.hxb(&["workspace", "wait", "phoenix", "--for", "ready", "--timeout", "4m"])
        .await
        .with_context(|| platform.log())?;
    gus.hxb(&["kubeconfig", "phoenix", "--set-current"]).await?;
    gus.kubectl(&["auth", "whoami"]).await?;
    let token = gus.token(&id).await?;
    platform.kill()?;
    platform.start_again().await?;
    let said = at.with_token(&platform, &token, &id, "/api/v1/namespaces").await?;
    ensure!(said.code == 0, "a restart made a token worthless: {said:?}");

    let namespaces =
        at.host(&["get", "namespaces", "-l", &format!("hexabase.ai/workspace={id}"), "-o", "name"]).await?.good()?;
    ensure!(namespaces.lines().count() == 1, "{namespaces}");
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
