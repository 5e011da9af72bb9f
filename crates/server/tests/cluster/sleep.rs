//! A workspace that sleeps costs no pod, wakes when somebody uses it, and is still there when its deletion was undone.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use hexabase_app::clock::Clock;
use hexabase_testkit::platform::Platform;
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::Value;

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

/// What the log of the person's organisation has of this action.
async fn noted(person: &Person, action: &str) -> Result<String> {
    person.hxb(&["audit", "list", "--action", action, "--output", "json"]).await
}

/// How often workspaces of the person's were woken.
async fn wakings(person: &Person) -> Result<usize> {
    Ok(noted(person, "workspace.waking").await?.matches("\"workspace.waking\"").count())
}

/// Lets everything that a rule of sleep goes by be so many minutes earlier, behind the platform's back.
async fn pass(platform: &Platform, id: &str, minutes: i64) -> Result<()> {
    let database = Database::connect(format!("sqlite://{}", platform.data().join("hexabase.db").display())).await?;
    let earlier = |column: &str| format!("{column} = {column} - {}", minutes * 60_000_000);
    let columns = ["ready_at", "desired_since", "sleep_rule_at", "last_used_at"].map(earlier).join(", ");
    database.execute_unprepared(&format!("UPDATE workspaces SET {columns} WHERE id = '{id}'")).await?;
    Ok(database.close().await?)
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
    ensure!(wakings(&nora).await? == 1, "it was woken more than once");

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

    // What the API asks inside wakes it as well, whoever has access and asks.
    fall_asleep(&shop.at, &nora, "sleepy", &id).await?;
    let before = wakings(&nora).await?;
    let begun = Instant::now();
    otto.hxb(&["pod", "list", "-w", "sleepy", "-n", "kept"]).await?;
    println!("the API's answer came after {:.1?}", begun.elapsed());
    ensure!(wakings(&nora).await? == before + 1, "it was not woken by that");
    until("the pods", async || Ok(otto.hxb(&["pod", "list", "-w", "sleepy", "-n", "kept"]).await?.contains("Running")))
        .await?;

    // Nobody uses it for the shortest time that a rule can name.
    nora.hxb(&["workspace", "sleep-rule", "sleepy", "--after", "5m"]).await?;
    pass(&shop.platform, &id, 5).await?;
    nora.hxb(&["workspace", "wait", "sleepy", "--for", "asleep", "--timeout", "10m"]).await?;
    let left = pods(&shop.at, &id).await?;
    ensure!(left.is_empty(), "it sleeps with {left:?}");
    ensure!(noted(&nora, "workspace.falling_asleep").await?.contains("\"idle\""), "it was not its rule");
    nora.hxb(&["workspace", "delete", "sleepy", "--yes", "--wait", "--timeout", "10m"]).await?;
    let left = shop.at.leftovers(&id).await?;
    ensure!(left.is_empty(), "left on the host: {left:?}");
    Ok(())
}

/// The time of the day, in UTC, of this minute since 1970.
fn time_of(minute: i64) -> String {
    format!("{:02}:{:02}", minute / 60 % 24, minute % 60)
}

#[tokio::test]
async fn a_workspace_sleeps_and_wakes_by_the_time_of_the_day_while_its_pods_go_on() -> Result<()> {
    let shop = shop().await?;
    let tove = shop.somebody("tove").await?;
    let id = tove.workspace("nightly").await?;
    tove.project("nightly", "kept", &[]).await?;
    tove.kubectl(&["-n", "kept", "create", "deployment", "web", "--image", BUSYBOX, "--", "sleep", "3600"]).await?;
    tove.kubectl(&["-n", "kept", "rollout", "status", "deployment/web", TIMEOUT]).await?;
    let web = async || {
        let pods = pods(&shop.at, &id).await?;
        anyhow::Ok(pods.into_iter().filter(|pod| pod.starts_with("pod/web-")).collect::<Vec<_>>())
    };
    let before = web().await?;
    ensure!(before.len() == 1, "{before:?}");
    tove.run_pod("default", "big", "3").await?;

    // The rule is there before the minute begins.
    let minute = (Clock::System.now().as_seconds() + 5) / 60 + 1;
    let (at, wake_at) = (time_of(minute), time_of(minute + 2));
    let rule = ["workspace", "sleep-rule", "nightly", "--at", &at, "--wake-at", &wake_at, "--keep-workloads"];
    tove.hxb(&rule).await?;
    tove.hxb(&["workspace", "wait", "nightly", "--for", "asleep", "--timeout", "10m"]).await?;
    let left = pods(&shop.at, &id).await?;
    ensure!(!left.contains(&format!("pod/{id}-0")), "its control plane runs: {left:?}");
    ensure!(web().await? == before, "its pods did not go on: {left:?}");
    ensure!(noted(&tove, "workspace.falling_asleep").await?.contains("\"schedule\""), "it was not its rule");

    // What goes on is too much for a smaller plan, and is seen without waking it. Whose it is stands in no log.
    tove.hxb(&["workspace", "set-plan", "nightly", "free"]).await?;
    let mut seen = Value::Null;
    until("the refusal of the plan", async || {
        seen = tove.json(&["workspace", "get", "nightly"]).await?;
        Ok(seen["plan_change"]["refused"].is_string())
    })
    .await?;
    let why = text(&seen["plan_change"], "refused")?;
    ensure!(why.contains("1 of cpu, of which 3100m is used") && !why.contains("big"), "{why}");
    ensure!(seen["phase"] == "asleep" && seen["plan"] == "standard", "{seen}");

    // Nobody asks it anything.
    tove.hxb(&["workspace", "wait", "nightly", "--for", "ready", "--timeout", "10m"]).await?;
    ensure!(noted(&tove, "workspace.waking").await?.contains("\"schedule\""), "it was not its rule");
    tove.kubectl(&["-n", "kept", "rollout", "status", "deployment/web", TIMEOUT]).await?;
    ensure!(web().await? == before, "its pods did not go on while it woke");
    tove.hxb(&["workspace", "delete", "nightly", "--yes", "--wait", "--timeout", "10m"]).await.map(drop)
}

#[tokio::test]
async fn a_workspace_whose_deletion_is_undone_has_all_it_had() -> Result<()> {
    let shop = shop().await?;
    let rita = shop.somebody("rita").await?;
    let id = rita.workspace("regretted").await?;
    rita.project("regretted", "kept", &[]).await?;
    rita.kubectl(&["-n", "kept", "create", "configmap", "note", "--from-literal=text=kept"]).await?;
    rita.hxb(&["workspace", "delete", "regretted", "--yes", "--grace", "1h"]).await?;
    rita.refused(&["get", "namespaces"], "hxb workspace restore regretted").await?;
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
