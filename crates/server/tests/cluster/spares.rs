//! A workspace that was made ahead is nobody's, costs no pod, and is somebody's as soon as it is asked for.

use std::io::Write as _;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use hexabase_testkit::browser::Said;

use crate::support::{Person, until};
use crate::surroundings::Surroundings;

const SPARES: &str = "HEXABASE__HOST__SPARE_WORKSPACES";

/// Ids of workspaces on the host that are nobody's, and of them those without a pod and with a control plane.
async fn spares(at: &Surroundings) -> Result<(Vec<String>, Vec<String>)> {
    let nobodys = "app.kubernetes.io/managed-by=hexabase,hexabase.ai/workspace,!hexabase.ai/organization";
    let said = at.host(&["get", "namespaces", "-l", nobodys, "-o", "name"]).await?.good()?;
    let all: Vec<String> = said.lines().filter_map(|name| name.split("/hxb-").nth(1)).map(str::to_owned).collect();
    let mut asleep = Vec::new();
    for id in &all {
        let (namespace, secret) = (format!("hxb-{id}"), format!("vc-{id}"));
        let pods = at.host(&["-n", &namespace, "get", "pods", "-o", "name"]).await.and_then(Said::good)?;
        let written = ["-n", &namespace, "get", "secret", &secret, "--ignore-not-found", "-o", "name"];
        if pods.is_empty() && !at.host(&written).await?.good()?.is_empty() {
            asleep.push(id.clone());
        }
    }
    Ok((all, asleep))
}

/// Notes them, for whoever removes what a broken test left.
fn note(at: &Surroundings, ids: &[String]) -> Result<()> {
    let mut made = std::fs::OpenOptions::new().append(true).create(true).open(&at.made)?;
    for id in ids {
        writeln!(made, "hxb-{id}")?;
    }
    Ok(())
}

#[tokio::test]
async fn a_workspace_that_was_made_ahead_is_given_to_one_person_and_another_takes_its_place() -> Result<()> {
    let at = Surroundings::read()?;
    let mut platform = at.platform_in("", vec![(SPARES, "1")]).await?;
    until("a workspace made ahead", async || {
        let (all, asleep) = spares(&at).await?;
        note(&at, &all)?;
        Ok(asleep.len() == 1)
    })
    .await
    .with_context(|| platform.log())?;
    let ahead = spares(&at).await?.1.remove(0);

    let sue = Person::sign_in(&at, &platform, "sue").await?;
    let begun = Instant::now();
    let id = sue.workspace("quick").await.with_context(|| platform.log())?;
    sue.kubectl(&["get", "namespaces"]).await?;
    println!("the first answer came after {:.1?}", begun.elapsed());
    ensure!(id == ahead, "{id} was made although {ahead} was there");
    // It is as one that was made for her.
    ensure!(sue.kubectl(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.groups}"]).await?.contains("WSAdmins"));
    sue.project("quick", "web", &[]).await?;
    let namespace = format!("hxb-{id}");
    let label = "jsonpath={.metadata.labels.hexabase\\.ai/organization}";
    let of = at.host(&["get", "namespace", &namespace, "-o", label]).await?.good()?;
    ensure!(of.starts_with("org-"), "its namespace says that it is of {of:?}");

    until("another one in its place", async || {
        let (all, asleep) = spares(&at).await?;
        note(&at, &all)?;
        Ok(asleep.len() == 1 && !asleep.contains(&id))
    })
    .await
    .with_context(|| platform.log())?;
    let next = spares(&at).await?.1.remove(0);

    // What nobody wants any more goes.
    sue.hxb(&["workspace", "delete", "quick", "--yes", "--wait", "--timeout", "10m"]).await?;
    platform.kill()?;
    platform.set_variable(SPARES, "0");
    platform.start_again().await?;
    until("its removal", async || Ok(at.leftovers(&next).await?.is_empty())).await.with_context(|| platform.log())?;
    let left = at.leftovers(&id).await?;
    ensure!(left.is_empty(), "left on the host: {left:?}");
    Ok(())
}
