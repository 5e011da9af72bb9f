//! A workspace that sleeps costs no pod, wakes when somebody uses it, and is still there when its deletion was undone.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;

use crate::support::{BUSYBOX, Person, TIMEOUT, shop, text, until};
use crate::surroundings::Surroundings;

/// The pods of a workspace on the host.
async fn pods(at: &Surroundings, id: &str) -> Result<Vec<String>> {
    let said = at.host(&["-n", &format!("hxb-{id}"), "get", "pods", "-o", "name"]).await?.good()?;
    Ok(said.lines().map(str::to_owned).collect())
}

async fn fall_asleep(at: &Surroundings, person: &Person, name: &str, id: &str) -> Result<()> {
    let begun = Instant::now();
    person.hxb(&["workspace", "sleep", name, "--wait", "--timeout", "10m"]).await?;
    println!("asleep after {:.1?}", begun.elapsed());
    let left = pods(at, id).await?;
    ensure!(left.is_empty(), "it sleeps with {left:?}");
    Ok(())
}

#[tokio::test]
async fn kubectl_wakes_a_sleeping_workspace_and_finds_what_was_there() -> Result<()> {
    let shop = shop().await?;
    let nora = shop.somebody("nora").await?;
    let id = nora.workspace("sleepy").await?;
    nora.project("sleepy", "kept", &[]).await?;
    let run = ["-n", "kept", "create", "deployment", "web", "--image", BUSYBOX, "--", "sleep", "3600"];
    nora.kubectl(&run).await?;
    nora.kubectl(&["-n", "kept", "rollout", "status", "deployment/web", TIMEOUT]).await?;
    fall_asleep(&shop.at, &nora, "sleepy", &id).await?;

    // Several at once: one wakes it, all are answered.
    let begun = Instant::now();
    let ask = || nora.try_kubectl(&["get", "namespaces", "-o", "name"]);
    for said in try_join_all([ask(), ask(), ask()]).await? {
        let warned = said.stderr.contains("the workspace was asleep");
        ensure!(said.code == 0 && said.stdout.contains("namespace/kept") && warned, "{said:?}");
    }
    println!("the first request was answered after {:.1?}", begun.elapsed());
    nora.kubectl(&["-n", "kept", "rollout", "status", "deployment/web", TIMEOUT]).await?;
    let log = nora.hxb(&["audit", "list", "--action", "workspace.waking", "--output", "json"]).await?;
    ensure!(log.matches("\"workspace.waking\"").count() == 1, "{log}");

    // A right that ends while it sleeps is gone when it wakes.
    let otto = shop.somebody("otto").await?;
    nora.hxb(&["member", "add", "otto@example.test", "-w", "sleepy"]).await?;
    otto.hxb(&["kubeconfig", "sleepy", "--set-current"]).await?;
    // Only Kubernetes' own no is one: what fails for another reason proves nothing.
    let may = async || {
        let said = otto.try_kubectl(&["auth", "can-i", "create", "configmaps", "-n", "kept"]).await?;
        match (said.code, said.stdout.trim()) {
            (0, "yes") => Ok(true),
            (1, answer) if answer.starts_with("no") => Ok(false),
            _ => Err(anyhow::anyhow!("no answer: {said:?}")),
        }
    };
    let everywhere = ["access", "grant", "workspace-editor", "WSUsers", "-w", "sleepy"];
    let in_the_project = ["access", "grant", "edit", "WSUsers", "-w", "sleepy", "-p", "kept"];
    for grant in [&everywhere[..], &in_the_project[..]] {
        let given = text(&nora.json(grant).await?, "id")?;
        until("the right", async || may().await).await?;
        fall_asleep(&shop.at, &nora, "sleepy", &id).await?;
        nora.hxb(&["access", "revoke", &given, "-w", "sleepy"]).await?;
        ensure!(!may().await?, "a right has outlived its end: {grant:?}");
    }

    fall_asleep(&shop.at, &nora, "sleepy", &id).await?;
    nora.hxb(&["workspace", "delete", "sleepy", "--yes", "--wait", "--timeout", "10m"]).await?;
    let left = shop.at.leftovers(&id).await?;
    ensure!(left.is_empty(), "left on the host: {left:?}");
    Ok(())
}

#[tokio::test]
async fn a_workspace_whose_deletion_is_undone_has_all_it_had() -> Result<()> {
    let shop = shop().await?;
    let rita = shop.somebody("rita").await?;
    let id = rita.workspace("regretted").await?;
    rita.project("regretted", "kept", &[]).await?;
    rita.kubectl(&["-n", "kept", "create", "configmap", "note", "--from-literal=text=kept"]).await?;
    rita.hxb(&["workspace", "delete", "regretted", "--yes", "--grace", "1h"]).await?;
    rita.refused(&["get", "namespaces"], "being deleted").await?;
    until("its rest", async || Ok(pods(&shop.at, &id).await?.is_empty())).await?;
    rita.hxb(&["workspace", "restore", "regretted", "--wait", "--timeout", "10m"])
        .await
        .with_context(|| shop.platform.log())?;
    let note = ["-n", "kept", "get", "configmap", "note", "-o", "jsonpath={.data.text}"];
    ensure!(rita.kubectl(&note).await? == "kept");
    rita.hxb(&["workspace", "delete", "regretted", "--yes", "--wait", "--timeout", "10m"]).await?;
    let left = shop.at.leftovers(&id).await?;
    ensure!(left.is_empty(), "left on the host: {left:?}");
    Ok(())
}
