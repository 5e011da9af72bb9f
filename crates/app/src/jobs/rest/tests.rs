use anyhow::Context as _;
use hexabase_backends::store::audit::AuditFilter;
use hexabase_core::sleep::{SleepRule, TimeOfDay};
use hexabase_testkit::on_both_engines;
use hexabase_testkit::store::TestStore;

use super::*;
use crate::audit;
use crate::clock::Clock;
use crate::jobs::stage::Stage;

/// A workspace that is ready and sleeps by this rule, and the clock, which stands.
async fn ready(store: &TestStore, rule: SleepRule) -> anyhow::Result<(Stage, Clock)> {
    let mut stage = Stage::set(store).await?;
    let clock = Clock::standing_at(stage.app.clock.now());
    stage.app.clock = clock.clone();
    let scope = workspaces::scope_for(&stage.app.store, &stage.alice.user, &stage.id).await?.context("she made it")?;
    let tx = stage.app.store.begin().await?;
    workspaces::set_ready(&tx, &stage.id, "10.0.0.1:443", "PEM", clock.now()).await?;
    workspaces::set_sleep_rule(&tx, &scope, &rule, clock.now()).await?;
    tx.commit().await?;
    Ok((stage, clock))
}

/// The time of the day in so many minutes.
fn time_in(minutes: i64, clock: &Clock) -> anyhow::Result<TimeOfDay> {
    let minute = (clock.now().as_seconds() / 60 + minutes).rem_euclid(24 * 60);
    Ok(format!("{:02}:{:02}", minute / 60, minute % 60).parse()?)
}

impl Stage {
    async fn looks(&self) -> anyhow::Result<bool> {
        Ok(falls_asleep(&self.app, &self.claim, &self.row().await?).await?)
    }

    async fn rests(&self, stopped: Progress, kept: Progress) -> anyhow::Result<(WorkspacePhase, Option<String>)> {
        store(&self.app, &self.claim, &self.row().await?, &Rest { stopped, kept, fit: None }).await?;
        let row = self.row().await?;
        Ok((row.phase, row.message))
    }

    /// Who did the last thing in the log of the workspace's organisation, and how it is since.
    async fn last_record(&self) -> anyhow::Result<(String, String, Option<Value>)> {
        let (row, all) = (self.row().await?, AuditFilter::default());
        let mut found = audit::list(&self.app, &self.alice, &row.organization_id, &all, 0, 100).await?;
        let last = found.pop().context("an empty log")?.entry;
        Ok((last.actor, last.action, last.after))
    }
}

fn waits(reason: &str) -> Progress {
    Progress::Wait { reason: reason.to_owned(), after: Duration::from_millis(100) }
}

on_both_engines! {
    async fn a_workspace_that_nobody_uses_goes_to_sleep_and_the_log_says_why(store: TestStore) {
        let rule = SleepRule { after_minutes: Some(30), ..SleepRule::default() };
        let (stage, clock) = ready(&store, rule).await?;
        clock.advance_seconds(29 * 60);
        assert!(!stage.looks().await?);
        let tx = stage.app.store.begin().await?;
        workspaces::note_use(&tx, &stage.id, clock.now()).await?;
        tx.commit().await?;
        clock.advance_seconds(29 * 60);
        assert!(!stage.looks().await?, "it was used meanwhile");
        clock.advance_seconds(60);
        // Used again between the look at its row and the decision.
        let seen = stage.row().await?;
        let tx = stage.app.store.begin().await?;
        workspaces::note_use(&tx, &stage.id, clock.now()).await?;
        tx.commit().await?;
        assert!(!falls_asleep(&stage.app, &stage.claim, &seen).await?);
        clock.advance_seconds(30 * 60);
        assert!(stage.looks().await?);
        assert_eq!(stage.row().await?.phase, WorkspacePhase::FallingAsleep);
        assert!(!stage.looks().await?, "it sleeps already");
        let after = json!({ "phase": "falling-asleep", "reason": "idle" });
        let expected = ("system".to_owned(), "workspace.falling_asleep".to_owned(), Some(after));
        assert_eq!(stage.last_record().await?, expected);
    }

    async fn a_workspace_sleeps_and_wakes_by_the_time_of_the_day(store: TestStore) {
        let now = Clock::standing_at(Clock::System.now());
        let (sleep_at, wake_at) = (Some(time_in(60, &now)?), Some(time_in(120, &now)?));
        let (stage, clock) = ready(&store, SleepRule { sleep_at, wake_at, ..SleepRule::default() }).await?;
        assert!(!stage.looks().await?);
        clock.advance_seconds(3_660);
        assert!(stage.looks().await?);
        assert!(!wakes(&stage.app, &stage.claim, &stage.row().await?).await?);
        clock.advance_seconds(3_600);
        assert!(wakes(&stage.app, &stage.claim, &stage.row().await?).await?);
        assert_eq!(stage.row().await?.phase, WorkspacePhase::Waking);
    }

    async fn a_workspace_is_asleep_once_nothing_of_it_runs_and_stays_so_when_its_host_is_in_trouble(store: TestStore) {
        let (stage, clock) = ready(&store, SleepRule::default()).await?;
        let tx = stage.app.store.begin().await?;
        assert!(workspaces::request_sleep(&tx, &stage.id, clock.now()).await?);
        tx.commit().await?;
        let said = |text: &str| Some(text.to_owned());
        let found = stage.rests(waits("pod x: Terminating"), Progress::Done).await?;
        assert_eq!(found, (WorkspacePhase::FallingAsleep, said("pod x: Terminating")));
        let version = stage.row().await?.version;
        stage.rests(waits("pod x: Terminating"), Progress::Done).await?;
        assert_eq!(stage.row().await?.version, version, "looking again writes nothing");
        assert_eq!(stage.rests(Progress::Done, Progress::Done).await?, (WorkspacePhase::Asleep, None));
        let found = stage.rests(Progress::Done, waits("apply LimitRange x: forbidden")).await?;
        assert_eq!(found, (WorkspacePhase::Asleep, said("apply LimitRange x: forbidden")));
        // What somebody started behind its back is stopped again; that is no new sleep.
        let found = stage.rests(waits("StatefulSet x: is being stopped"), Progress::Done).await?;
        assert_eq!(found, (WorkspacePhase::Asleep, said("StatefulSet x: is being stopped")));
        store_failure(&stage.app, &stage.claim, &stage.row().await?, "the host's API server did not answer").await?;
        assert_eq!(stage.row().await?.phase, WorkspacePhase::Asleep);
        assert_eq!(stage.rests(Progress::Done, Progress::Done).await?, (WorkspacePhase::Asleep, None));
    }
}

#[test]
fn a_sleeping_workspace_is_looked_at_as_often_as_any_other() {
    let rest = |stopped, kept| pause(&Rest { stopped, kept, fit: None }, 0);
    for age in [0, 86_400_000] {
        assert_eq!(pause(&Rest { stopped: Progress::Done, kept: Progress::Done, fit: None }, age), DRIFT);
    }
    assert_eq!(rest(waits("x"), Progress::Done), Duration::from_millis(100));
    assert_eq!(rest(Progress::Done, waits("x")), Duration::from_millis(100));
}

#[test]
fn a_workspace_that_does_not_fall_asleep_is_looked_at_less_and_less_often() {
    let rest = Rest { stopped: waits("pod x: Terminating"), kept: Progress::Done, fit: None };
    let pauses = [0, 2_000, 60_000, 600_000, 86_400_000].map(|age| pause(&rest, age).as_millis());
    assert_eq!(pauses, [100, 100, 1_500, 15_000, 30_000]);
}
