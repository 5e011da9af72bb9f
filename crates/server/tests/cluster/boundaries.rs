//! A platform that is killed at a few calls of each operation, and of which a few fail: a sample of what `cargo xtask soak` does with
//! every call.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use hexabase_testkit::faults::{Aim, Boundary, Fault};
use serde_json::json;

use crate::lane::Lane;
use crate::support::{run, shop, until};

/// By name, so that each operation has its strikes: a call that is not made any more, or is called something else, is missed.
const SAMPLE: [&str; 13] = [
    "create after POST /api/v1/namespaces = killed",
    "create before APPLY /api/v1/namespaces/hxb-ws-ID/services/ws-ID = 503",
    "create before APPLY /apis/apps/v1/namespaces/hxb-ws-ID/statefulsets/ws-ID = killed",
    "create after APPLY /apis/rbac.authorization.k8s.io/v1/clusterroles/hexabase:workspace-viewer (tenant) = killed",
    "create before PATCH /api/v1/namespaces/hxb-ws-ID/pods/*/resize = killed",
    "plan before APPLY /api/v1/namespaces/hxb-ws-ID/limitranges/hexabase = reset",
    "plan after APPLY /api/v1/namespaces/hxb-ws-ID/resourcequotas/hexabase = killed",
    "sleep after APPLY /apis/apps/v1/namespaces/hxb-ws-ID/statefulsets/ws-ID = killed",
    "wake after APPLY /api/v1/namespaces/hxb-ws-ID/resourcequotas/hexabase = cut short",
    "wake before APPLY /apis/apps/v1/namespaces/hxb-ws-ID/statefulsets/ws-ID = killed",
    "delete before DELETE /apis/rbac.authorization.k8s.io/v1/namespaces/hxb-ws-ID/rolebindings/vc-ws-ID = 429",
    "delete before DELETE /api/v1/namespaces/hxb-ws-ID = killed",
    "delete after DELETE /api/v1/namespaces/hxb-ws-ID = killed",
];

fn sample() -> Result<BTreeMap<Boundary, Fault>> {
    let strike = |text: &&str| {
        let (moment, fault) = text.rsplit_once(" = ").context("a strike without a fault")?;
        anyhow::Ok((moment.parse::<Boundary>()?, fault.parse::<Fault>()?))
    };
    SAMPLE.iter().map(strike).collect()
}

#[tokio::test]
async fn a_workspace_is_whole_at_every_step_of_its_life_wherever_its_platform_is_killed() -> Result<()> {
    let mut lane = Lane::start().await?;
    let sample = sample()?;
    lane.proxy.aim(Aim::These(sample.clone()));
    let lived = lane.life(false).await;
    let mut missed = sample;
    for (moment, fault) in lane.proxy.struck() {
        println!("cargo xtask soak --case '{moment} = {fault}'");
        missed.remove(&moment);
    }
    lived.context("each of the strikes above can be tried alone")?;
    ensure!(missed.is_empty(), "these calls did not come by: {missed:#?}");
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
