//! A host that answers nobody for a while, in every way in which it can do so.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hexabase_testkit::faults::Fault;

use super::report;
use crate::lane::Lane;
use crate::support::until;

/// For so long. A rate needs a time over which it is taken.
const STORM: Duration = Duration::from_secs(30);
/// Most calls per second about one workspace, while all of them fail.
const RATE: f64 = 5.0;

#[tokio::test]
#[ignore = "takes twelve minutes; `cargo xtask soak`"]
async fn a_host_that_fails_every_call_is_asked_less_and_less_and_all_is_well_afterwards() -> Result<()> {
    let mut lane = Lane::start().await?;
    lane.create().await?;
    let storms = [Fault::Unavailable, Fault::TooMany, Fault::Gone, Fault::Reset, Fault::Silence, Fault::Late];
    for (number, fault) in storms.into_iter().enumerate() {
        lane.proxy.storm(Some(fault));
        let begun = Instant::now();
        // The worker has something to do.
        lane.person.hxb(&["project", "create", &format!("p{number}"), "-w", &lane.id]).await?;
        tokio::time::sleep(STORM).await;
        let calls = lane.proxy.calls().iter().filter(|call| **call >= begun).count();
        let rate = calls as f64 / begun.elapsed().as_secs_f64();
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
    report(storms.len(), std::slice::from_ref(&lane.toll));
    Ok(())
}
