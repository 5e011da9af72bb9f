//! Workspaces whose control plane never comes up: they are called failed, say why, and can be deleted.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join3;
use hexabase_testkit::faults::Bend;
use serde_json::{Value, json};

use super::report;
use crate::lane::Lane;
use crate::support::text;

/// It is called failed after ten minutes.
const BOUND: Duration = Duration::from_secs(720);
const POLL: Duration = Duration::from_secs(1);

/// The pod of a control plane, on its way to the host.
fn pod<'a>(method: &str, path: &str, body: &'a mut Value) -> Option<&'a mut Value> {
    let is_workload = method == "PATCH" && path.contains("/statefulsets/ws-");
    body.pointer_mut("/spec/template/spec").filter(|_| is_workload)
}

/// The container that is vCluster itself.
fn container(pod: &mut Value) -> Option<&mut Value> {
    pod["containers"].as_array_mut()?.iter_mut().find(|container| container["name"] == "syncer")
}

/// No node suits it; by an architecture, which pods may choose.
fn unschedulable(method: &str, path: &str, body: &mut Value) {
    if let Some(pod) = pod(method, path, body) {
        pod["nodeSelector"] = json!({ "kubernetes.io/arch": "none" });
    }
}

/// It ends as soon as it begins.
fn crashing(method: &str, path: &str, body: &mut Value) {
    if let Some(container) = pod(method, path, body).and_then(container) {
        container["command"] = json!(["/no-such-program"]);
    }
}

/// Its API server is never reached.
fn unreached(method: &str, path: &str, body: &mut Value) {
    let is_its_own = method == "PATCH" && path.contains("/services/ws-") && !path.contains("-headless");
    for port in
        body.pointer_mut("/spec/ports").filter(|_| is_its_own).and_then(Value::as_array_mut).into_iter().flatten()
    {
        port["targetPort"] = json!(1);
    }
}

async fn fails(bend: Bend, word: &str) -> Result<()> {
    let mut lane = Lane::start().await?;
    lane.proxy.bend(Some(bend));
    lane.id = lane.person.ask_for("stuck").await?;
    let begun = Instant::now();
    loop {
        let workspace = lane.workspace().await?;
        if workspace["phase"] == "failed" {
            let message = text(&workspace, "message")?;
            println!("failed after {:.0?}: {message}", begun.elapsed());
            ensure!(message.contains(word), "it failed with another reason than {word}: {message}");
            break;
        }
        ensure!(workspace["phase"] == "creating" && begun.elapsed() < BOUND, "{workspace}\n{}", lane.platform.log());
        tokio::time::sleep(POLL).await;
    }
    lane.person.hxb(&["workspace", "delete", &lane.id, "--yes", "--wait", "--timeout", "2m"]).await?;
    let left = lane.at.leftovers(&lane.id).await?;
    ensure!(left.is_empty(), "left on the host: {left:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "takes eleven minutes; `cargo xtask soak`"]
async fn a_workspace_that_never_comes_up_is_called_failed_with_its_reason_and_can_be_deleted() -> Result<()> {
    let unschedulable = async { fails(unschedulable, "Unschedulable").await.context("no node suits it") };
    let crashing = async { fails(crashing, "syncer").await.context("it crashes") };
    let unreached = async { fails(unreached, "API server is starting").await.context("it is never reached") };
    try_join3(unschedulable, crashing, unreached).await?;
    report(3, &[]);
    Ok(())
}
