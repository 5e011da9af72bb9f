//! A host that answers nobody for a while, in every way in which it can do so.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hexabase_testkit::faults::{Aim, Boundary, Fault};

use super::report;
use crate::lane::{Lane, RATE};
use crate::support::until;

const STORMS: [Fault; 6] = [Fault::Unavailable, Fault::TooMany, Fault::Gone, Fault::Reset, Fault::Silence, Fault::Late];
/// For so long. A rate needs a time over which it is taken.
const STORM: Duration = Duration::from_secs(30);
/// From where on all calls fail: the control plane is about to be made, and all that ran of the workspace has ended.
const MOMENTS: [&str; 2] = [
    "create before APPLY /apis/apps/v1/namespaces/hxb-ws-ID/statefulsets/ws-ID",
    "delete before DELETE /api/v1/namespaces/hxb-ws-ID",
];

#[tokio::test]
#[ignore = "takes twelve minutes; `cargo xtask soak`"]
async fn a_host_that_fails_every_call_is_asked_less_and_less_and_all_is_well_afterwards() -> Result<()> {
    let mut lane = Lane::start().await?;
    lane.create().await?;
    for (number, fault) in STORMS.into_iter().enumerate() {
        lane.proxy.storm(Some(fault));
        let begun = Instant::now();
        // The worker has something to do.
        lane.person.hxb(&["project", "create", &format!("p{number}"), "-w", &lane.id]).await?;
        tokio::time::sleep(STORM).await;
        let rate = lane.rate_since(begun);
        println!("{fault}: {rate:.1} calls per second");
        ensure!(rate < RATE, "{fault}: {rate:.1} calls per second");
        lane.proxy.storm(None);
        until("what was asked for in the storm", async || {
            let projects = lane.person.json(&["project", "list", "-w", &lane.id]).await?;
            let projects = projects["items"].as_array().context("no list")?;
            Ok(projects.len() == number + 1 && projects.iter().all(|project| project["phase"] == "ready"))
        })
        .await
        .with_context(|| format!("after {fault}"))?;
    }
    lane.delete().await?;
    report(STORMS.len(), std::slice::from_ref(&lane.toll));
    Ok(())
}

#[tokio::test]
#[ignore = "takes six minutes; `cargo xtask soak`"]
async fn a_creation_and_a_deletion_in_whose_middle_every_call_begins_to_fail_come_to_their_end() -> Result<()> {
    let mut lane = Lane::start().await?;
    lane.storm = &STORMS;
    let begins = |text: &str| anyhow::Ok((text.parse::<Boundary>()?, Fault::Halt));
    lane.proxy.aim(Aim::These(MOMENTS.into_iter().map(begins).collect::<Result<_>>()?));
    lane.create().await?;
    lane.weigh("a creation in a storm").await?;
    lane.delete().await?;
    let begun = lane.proxy.struck().iter().filter(|(_, fault)| *fault == Fault::Halt).count();
    ensure!(
        begun == MOMENTS.len(),
        "the calls came by, before which {} storms were to begin, {begun} times",
        MOMENTS.len()
    );
    report(MOMENTS.len(), std::slice::from_ref(&lane.toll));
    Ok(())
}
