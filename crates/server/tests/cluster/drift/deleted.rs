//! What is deleted of the host's although something rests on it.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::{BOUND, OURS, contents, control_plane, objects, soon_again, without_uids};
use crate::belongings::Belongings;
use crate::support::{shop, until};
use crate::surroundings::Surroundings;

/// What a control plane does not go on without for long, and itself.
const ESSENTIAL: [&str; 3] = ["services", "serviceaccounts", "statefulsets"];
/// What vCluster brings to the host.
const BROUGHT: &str = "pods,persistentvolumeclaims,services,configmaps,secrets";
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
    let held = Belongings::bring(at, &vera, &id).await?;
    let namespace = format!("hxb-{id}");
    let owners = "jsonpath={.items[*].metadata.ownerReferences[*].kind}";
    let owners = at.host(&["-n", &namespace, "get", BROUGHT, "-o", owners]).await?.good()?;
    ensure!(!owners.contains("Service"), "it would go with a Service: {owners}");

    // The control plane goes on without its Services.
    for kinds in [ESSENTIAL[0].to_owned(), ESSENTIAL.join(",")] {
        let old = control_plane(at, &namespace).await?;
        ensure!(!old.is_empty(), "there is no control plane");
        comes_back(at, &namespace, &kinds).await?;
        if kinds.contains("statefulsets") {
            let is_over = async || Ok(!control_plane(at, &namespace).await?.contains(&old));
            until("the end of the control plane", is_over).await?;
        }
        until("a workspace that is ready", async || {
            let workspace = vera.json(&["workspace", "get", "razed"]).await?;
            let is_ready = workspace["phase"] == "ready" && workspace["message"].is_null();
            Ok(is_ready && vera.try_kubectl(&["version"]).await?.code == 0)
        })
        .await?;
        let mut lost = held.lost_on_host(at, &id).await?;
        lost.extend(held.lost_inside(&vera).await?);
        ensure!(lost.is_empty(), "lost without {kinds}: {lost:?}");
    }
    vera.hxb(&["workspace", "delete", "razed", "--yes", "--wait", "--timeout", "10m"]).await.map(drop)
}

/// Deletes all of these kinds, and sees to it that they are back in time.
async fn comes_back(at: &Surroundings, namespace: &str, kinds: &str) -> Result<()> {
    let place = ["-n", namespace];
    let before = objects(at, &at.kubeconfig, &place, kinds).await?;
    ensure!(before.len() >= 2, "{before:?}");
    let begun = Instant::now();
    at.host(&["-n", namespace, "delete", kinds, "-l", OURS, "--wait=false"]).await?.good()?;
    until("all of them again", async || {
        let now = objects(at, &at.kubeconfig, &place, kinds).await?;
        Ok(now.is_disjoint(&before) && without_uids(&now).is_superset(&without_uids(&before)))
    })
    .await?;
    println!("{} objects were back after {:.1?}", before.len(), begun.elapsed());
    ensure!(begun.elapsed() < BOUND, "{kinds}: {:?}", begun.elapsed());
    Ok(())
}
