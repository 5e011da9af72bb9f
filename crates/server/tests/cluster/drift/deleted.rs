//! What is deleted of the host's although something rests on it.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::{BOUND, OURS, contents, control_plane, objects, soon_again, without_uids};
use crate::support::{shop, until};

/// What a control plane does not go on without; itself last, because it keeps to the Service that it found when it started.
const ESSENTIAL: &str = "services,serviceaccounts,statefulsets";
/// What holds for all workspaces, and none of these tests relies on.
const POLICY: [&str; 2] = [
    "validatingadmissionpolicy/hexabase-workspace-ingresses",
    "validatingadmissionpolicybinding/hexabase-workspace-ingresses",
];

#[tokio::test]
async fn a_policy_of_the_host_that_was_deleted_is_back_within_a_minute() -> Result<()> {
    let at = &shop().await?.at;
    let before = contents(at, &at.kubeconfig, &[], &POLICY).await?;
    ensure!(before.len() == POLICY.len(), "{before:?}");
    let begun = Instant::now();
    at.host(&["delete", POLICY[0], POLICY[1], "--wait=false"]).await?.good()?;
    soon_again(at, &at.kubeconfig, &[], &POLICY, &before, begun).await
}

#[tokio::test]
async fn a_control_plane_that_was_deleted_is_back_within_a_minute_and_has_what_its_tenant_made() -> Result<()> {
    let shop = shop().await?;
    let (at, vera) = (&shop.at, shop.somebody("vera").await?);
    let id = vera.workspace("razed").await?;
    vera.project("razed", "web", &[]).await?;
    vera.kubectl(&["-n", "web", "create", "configmap", "note", "--from-literal=text=kept"]).await?;
    let namespace = format!("hxb-{id}");
    let place = ["-n", namespace.as_str()];
    let before = objects(at, &at.kubeconfig, &place, ESSENTIAL).await?;
    ensure!(before.len() >= 4, "{before:?}");
    let old = control_plane(at, &namespace).await?;
    ensure!(!old.is_empty(), "there is no control plane");

    let begun = Instant::now();
    at.host(&["-n", &namespace, "delete", ESSENTIAL, "-l", OURS, "--wait=false"]).await?.good()?;
    until("all of them again", async || {
        let now = objects(at, &at.kubeconfig, &place, ESSENTIAL).await?;
        Ok(now.is_disjoint(&before) && without_uids(&now).is_superset(&without_uids(&before)))
    })
    .await?;
    println!("{} objects were back after {:.1?}", before.len(), begun.elapsed());
    ensure!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());

    until("the end of the control plane", async || Ok(!control_plane(at, &namespace).await?.contains(&old))).await?;
    let read = ["-n", "web", "get", "configmap", "note", "-o", "jsonpath={.data.text}"];
    until("what the tenant made", async || {
        let said = vera.try_kubectl(&read).await?;
        Ok(said.code == 0 && said.stdout == "kept")
    })
    .await?;
    until("a workspace that is ready", async || {
        let workspace = vera.json(&["workspace", "get", "razed"]).await?;
        Ok(workspace["phase"] == "ready" && workspace["message"].is_null())
    })
    .await?;
    vera.hxb(&["workspace", "delete", "razed", "--yes", "--wait", "--timeout", "10m"]).await.map(drop)
}
