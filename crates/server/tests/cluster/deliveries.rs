//! Jobs that are delivered again and again, up to an hour late, to two workers. `crates/app/tests/it/deliveries.rs` does the same on
//! both databases, with a host in memory.

use anyhow::Result;

use crate::lane::Lane;

/// While each operation goes on, and once more when it is over.
const DELIVERIES: usize = 100;

#[tokio::test]
async fn a_workspace_is_whole_whose_jobs_are_each_delivered_two_hundred_times_late_and_in_disorder() -> Result<()> {
    let mut lane = Lane::start().await?;
    lane.deliveries = DELIVERIES;
    let _other = lane.platform.beside("work", &[])?;
    lane.life(false).await
}
