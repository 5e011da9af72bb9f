//! Makes a workspace ahead: brings it up once, as far as everything goes that does not hang on whose it is, and puts it to
//! sleep. It is worked on under the same job as any workspace, so that whoever takes it goes on under a higher fence.

use std::time::Duration;

use hexabase_backends::store::StoreError;
use hexabase_backends::store::jobs::{self, Claim};
use hexabase_backends::store::spare_workspaces::{self, Spare, SpareState};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::phases::WorkspaceStep;
use hexabase_reconcile::{Host, Progress, ReconcileError, Removal, Removed, Workloads};

use super::desired;
use super::reconcile_workspace::{DRIFT, UNHURRIED, pace, sentence};
use super::worker::Outcome;
use crate::context::App;
use crate::error::{Error, Result};

/// After this long without being up, or without having come to rest, a spare workspace is given up.
const PATIENCE_SECONDS: i64 = 900;
/// When a worker of other versions looks again at one that is not its to make.
const ELSEWHERE: Duration = Duration::from_secs(2);

/// One look at a workspace that has no row of its own: it is made ahead, or it was never one of ours.
pub(super) async fn run(app: &App, host: &Host, claim: &Claim, id: &WorkspaceId) -> Result<Outcome> {
    let Some(spare) = spare_workspaces::load_for_job(&app.store, id).await? else { return Ok(Outcome::Done) };
    if matches!(spare.state, SpareState::Making | SpareState::Settling) && spare.version != host.version() {
        // Whoever takes it is told that it was made by the versions it is noted with, and nothing goes back to older ones.
        return Ok(Outcome::Again(ELSEWHERE));
    }
    match spare.state {
        SpareState::Making => make(app, host, claim, &spare).await,
        SpareState::Settling | SpareState::Asleep => settle(app, host, claim, &spare).await,
        SpareState::Discarded | SpareState::Gone => remove(app, host, claim, &spare).await,
        SpareState::Foreign => Ok(Outcome::Done),
    }
}

async fn make(app: &App, host: &Host, claim: &Claim, spare: &Spare) -> Result<Outcome> {
    let Some(wanted) = desired::spare(app, claim, &spare.id).await? else {
        return throw_away(app, claim, spare).await;
    };
    let observed = match host.reconcile(&wanted).await {
        Ok(observed) => observed,
        Err(cause) => return refused(app, claim, spare, cause).await,
    };
    if observed.is_done(WorkspaceStep::Access) {
        go_on(app, claim, spare, SpareState::Settling, None).await?;
        return Ok(Outcome::Again(Duration::ZERO));
    }
    let (reason, after) =
        observed.waiting().map_or(("it does not come up", DRIFT), |(_, reason, after)| (reason, after));
    wait(app, claim, spare, reason, after).await
}

/// There is no plan left under which somebody could be given it. That is no failure: others are made as soon as there is one.
async fn throw_away(app: &App, claim: &Claim, spare: &Spare) -> Result<Outcome> {
    tracing::info!(workspace.id = %spare.id, "a workspace that was made ahead can be given to nobody; it is removed");
    go_on(app, claim, spare, SpareState::Discarded, None).await?;
    Ok(Outcome::Again(Duration::ZERO))
}

/// When to look again at one that is not where it is to be; one that takes too long is given up.
async fn wait(app: &App, claim: &Claim, spare: &Spare, reason: &str, after: Duration) -> Result<Outcome> {
    if !is_late(app, spare) {
        return Ok(Outcome::Again(after));
    }
    tracing::warn!(workspace.id = %spare.id, reason, "a workspace could not be made ahead; it is given up");
    go_on(app, claim, spare, SpareState::Discarded, Some(reason)).await?;
    Ok(Outcome::Again(Duration::ZERO))
}

fn is_late(app: &App, spare: &Spare) -> bool {
    let is_on_its_way = matches!(spare.state, SpareState::Making | SpareState::Settling);
    is_on_its_way && app.clock.now().millis_since(spare.changed_at) > PATIENCE_SECONDS * 1_000
}

/// Stops it, and keeps it as it is until somebody takes it.
async fn settle(app: &App, host: &Host, claim: &Claim, spare: &Spare) -> Result<Outcome> {
    let Some(wanted) = desired::spare(app, claim, &spare.id).await? else {
        return throw_away(app, claim, spare).await;
    };
    let rest = match host.rest(&wanted, Workloads::Stop, app.clock.now()).await {
        Ok(rest) => rest,
        Err(cause) => return refused(app, claim, spare, cause).await,
    };
    if spare.state == SpareState::Settling && rest.stopped == Progress::Done {
        go_on(app, claim, spare, SpareState::Asleep, None).await?;
        tracing::info!(workspace.id = %spare.id, "a workspace is made ahead");
    }
    match rest.stopped {
        Progress::Done => Ok(Outcome::Again(DRIFT)),
        Progress::Wait { reason, after } => wait(app, claim, spare, &reason, after).await,
    }
}

async fn remove(app: &App, host: &Host, claim: &Claim, spare: &Spare) -> Result<Outcome> {
    let (now, begun) = (app.clock.now(), spare.changed_at);
    let (id, organization, fence) = (spare.id.clone(), None, claim.epoch);
    let removal = Removal { id, organization, fence, now, begun, seen: Vec::new(), forced: Vec::new() };
    match host.remove(&removal).await {
        Err(cause) => refused(app, claim, spare, cause).await,
        Ok(Removed::Waiting { after, .. }) => Ok(Outcome::Again(unhurried(after, now.millis_since(begun)))),
        Ok(Removed::Gone(_)) => {
            if spare.state == SpareState::Discarded {
                // Why it was thrown away is worth knowing.
                go_on(app, claim, spare, SpareState::Gone, spare.message.as_deref()).await?;
            }
            Ok(Outcome::Done)
        }
    }
}

/// When to look again at a removal for which nobody waits.
fn unhurried(after: Duration, age_millis: i64) -> Duration {
    pace(after.max(UNHURRIED), age_millis)
}

/// What the host says is somebody's, or not ours, is left as it stands: its row, which says that nobody has it, is older than
/// it, such as one of a backup. Nobody is given it, and nothing of it is removed.
async fn refused(app: &App, claim: &Claim, spare: &Spare, cause: ReconcileError) -> Result<Outcome> {
    if !matches!(cause, ReconcileError::NotOurs { .. }) {
        if is_late(app, spare) {
            return wait(app, claim, spare, &sentence(&cause), Duration::ZERO).await;
        }
        return Err(Error::internal(cause));
    }
    tracing::error!(
        workspace.id = %spare.id, error = %cause,
        "a workspace that was made ahead is in use, or is not ours: did the database lose its last writes? It is left alone"
    );
    go_on(app, claim, spare, SpareState::Foreign, Some(&cause.to_string())).await?;
    Ok(Outcome::Again(Duration::ZERO))
}

/// Moves it on, unless somebody has taken or discarded it meanwhile: the next look sees that.
async fn go_on(app: &App, claim: &Claim, spare: &Spare, to: SpareState, message: Option<&str>) -> Result<()> {
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    match spare_workspaces::set_state(&tx, &spare.id, (spare.state, to), message, app.clock.now()).await {
        Err(StoreError::Stale) => return Ok(tx.rollback().await?),
        other => other?,
    }
    Ok(tx.commit().await?)
}

#[cfg(test)]
mod tests {
    use hexabase_reconcile::HostSettings;
    use hexabase_testkit::kubernetes::FakeKubernetes;
    use hexabase_testkit::on_both_engines;

    use super::*;
    use crate::jobs::stage::Stage;

    #[test]
    fn the_removal_of_a_spare_that_does_not_end_is_looked_at_less_and_less_often() {
        let looks = [0, 60_000, 600_000, 86_400_000].map(|age| unhurried(Duration::from_millis(100), age).as_millis());
        assert_eq!(looks, [2_000, 2_000, 15_000, 60_000]);
    }

    on_both_engines! {
        async fn a_worker_of_other_versions_leaves_one_to_those_that_it_is_noted_with(store: TestStore) {
            let stage = Stage::set(&store).await?;
            let server = FakeKubernetes::start().await?;
            let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
            let host = Host::connect(settings).await?;
            let id = stage.app.new_id::<WorkspaceId>()?;
            let tx = stage.app.store.begin().await?;
            spare_workspaces::insert(&tx, &id, "other", stage.app.clock.now()).await?;
            tx.commit().await?;
            let outcome = run(&stage.app, &host, &stage.claim, &id).await?;
            assert!(matches!(outcome, Outcome::Again(after) if after == ELSEWHERE));
            assert_eq!(server.writes(), 0, "nothing of it is made here");
        }
    }
}
