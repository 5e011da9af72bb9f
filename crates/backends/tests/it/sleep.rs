use std::collections::BTreeSet;

use anyhow::Context as _;
use hexabase_backends::store::workspace_steps::{self, StepRecord, StepState};
use hexabase_backends::store::workspaces::{self, Desired, WorkspaceScope};
use hexabase_backends::store::{Store, StoreError};
use hexabase_core::phases::{WorkspacePhase, WorkspaceStep};
use hexabase_core::sleep::SleepRule;
use hexabase_testkit::on_both_engines;

use crate::scenery::{add_organization, add_workspace, is_stale, load, now};

/// A workspace that is ready.
async fn ready(store: &Store) -> anyhow::Result<WorkspaceScope> {
    let scope = add_workspace(store, &add_organization(store, "Ada").await?, "shop").await?;
    let tx = store.begin().await?;
    workspaces::set_ready(&tx, scope.workspace(), "10.0.0.1:443", "PEM", now()).await?;
    tx.commit().await?;
    Ok(scope)
}

/// Asks for it to be woken, in a transaction of its own.
async fn wake(store: &Store, scope: &WorkspaceScope) -> Result<bool, StoreError> {
    let tx = store.begin().await?;
    let woken = workspaces::request_wake(&tx, scope.workspace(), now()).await?;
    tx.commit().await?;
    Ok(woken)
}

on_both_engines! {
    async fn a_workspace_sleeps_when_it_is_ready_and_wakes_when_it_sleeps(store: TestStore) {
        let scope = ready(&store).await?;
        let id = scope.workspace();
        let later = now().plus_seconds(60);
        let tx = store.begin().await?;
        assert!(!workspaces::request_wake(&tx, id, later).await?, "it is awake");
        assert!(workspaces::request_sleep(&tx, id, later).await?);
        assert!(!workspaces::request_sleep(&tx, id, later).await?, "asking twice changes nothing");
        assert!(is_stale(&workspaces::set_ready(&tx, id, "10.0.0.1:443", "PEM", later).await), "sleep was asked for");
        workspaces::set_progress(&tx, id, WorkspacePhase::Asleep, None, None, later).await?;
        tx.commit().await?;
        let row = load(&store, &scope).await?;
        assert_eq!((row.desired, row.phase, row.desired_since), (Desired::Asleep, WorkspacePhase::Asleep, Some(later)));
        assert_eq!(row.endpoint.as_deref(), Some("10.0.0.1:443"), "where it was");

        let done = StepRecord {
            step: WorkspaceStep::Namespace,
            state: StepState::Done,
            message: None,
            started_at: now(),
            finished_at: Some(now()),
        };
        let tx = store.begin().await?;
        workspace_steps::upsert(&tx, id, &done).await?;
        tx.commit().await?;
        assert!(wake(&store, &scope).await?);
        let row = load(&store, &scope).await?;
        assert_eq!((row.desired, row.phase), (Desired::Present, WorkspacePhase::Waking));
        assert_eq!(row.endpoint, None, "nobody is let in before it is ready");
        assert_eq!(workspace_steps::list(&*store, &scope).await?, [], "they begin anew");
        let tx = store.begin().await?;
        assert!(is_stale(&workspaces::set_progress(&tx, id, WorkspacePhase::Asleep, None, None, now()).await));
        let awake = later.plus_seconds(9);
        let late = awake.plus_seconds(900);
        for (phase, at, counts) in [
            (None, awake, awake),
            (None, awake.plus_seconds(60), awake),
            // It had been given up.
            (Some(WorkspacePhase::Failed), late, late),
        ] {
            if let Some(phase) = phase {
                workspaces::set_progress(&tx, id, phase, None, None, at).await?;
            }
            workspaces::set_ready(&tx, id, "10.0.0.1:443", "PEM", at).await?;
            let row = workspaces::load_for_job(&tx, id).await?.context("a workspace")?;
            assert_eq!(row.settled_since(), counts, "nobody is put to sleep for the time it took to wake");
        }
        tx.commit().await?;
    }

    async fn what_does_not_wake_can_be_put_to_sleep_again_and_what_never_was_ready_cannot(store: TestStore) {
        let scope = ready(&store).await?;
        let id = scope.workspace();
        let used = load(&store, &scope).await?.last_used_at;
        let tx = store.begin().await?;
        for phase in [WorkspacePhase::Waking, WorkspacePhase::Failed] {
            assert!(workspaces::request_sleep(&tx, id, now()).await?);
            assert!(workspaces::request_wake(&tx, id, now()).await?);
            workspaces::set_progress(&tx, id, phase, None, None, now()).await?;
            assert!(!workspaces::request_sleep_unless_used(&tx, id, used, now()).await?, "not by its rule");
        }
        assert!(workspaces::request_sleep(&tx, id, now()).await?);
        tx.commit().await?;
        let bank = add_workspace(&store, &add_organization(&store, "Bob").await?, "bank").await?;
        let tx = store.begin().await?;
        workspaces::set_progress(&tx, bank.workspace(), WorkspacePhase::Failed, None, None, now()).await?;
        assert!(!workspaces::request_sleep(&tx, bank.workspace(), now()).await?);
    }

    async fn of_many_who_wake_a_workspace_at_once_one_does(store: TestStore) {
        let scope = ready(&store).await?;
        let tx = store.begin().await?;
        workspaces::request_sleep(&tx, scope.workspace(), now()).await?;
        tx.commit().await?;
        let mut wakers = Vec::new();
        for _ in 0..12 {
            let (store, scope) = (store.reconnect().await?, scope.clone());
            wakers.push(tokio::spawn(async move { wake(&store, &scope).await }));
        }
        let mut woke = 0;
        for waker in wakers {
            woke += u32::from(waker.await??);
        }
        assert_eq!(woke, 1);
    }

    async fn a_use_is_noted_once_a_minute_and_is_no_change_of_the_row(store: TestStore) {
        let scope = ready(&store).await?;
        let before = load(&store, &scope).await?;
        let used = async |seconds: i64| {
            let tx = store.begin().await?;
            workspaces::note_use(&tx, scope.workspace(), now().plus_seconds(seconds)).await?;
            tx.commit().await?;
            anyhow::Ok(load(&store, &scope).await?.last_used_at)
        };
        assert_eq!(used(0).await?, Some(now()));
        assert_eq!(used(60).await?, Some(now()));
        assert_eq!(used(61).await?, Some(now().plus_seconds(61)));
        let after = load(&store, &scope).await?;
        assert_eq!((after.version, after.updated_at), (before.version, before.updated_at));
    }

    async fn a_rule_is_kept_with_the_moment_from_which_it_holds(store: TestStore) {
        let scope = ready(&store).await?;
        assert_eq!(load(&store, &scope).await?.settled_since(), now());
        let rule = SleepRule { after_minutes: Some(30), wake_at: Some("08:00".parse()?), ..SleepRule::default() };
        let later = now().plus_seconds(9);
        let tx = store.begin().await?;
        workspaces::set_sleep_rule(&tx, &scope, &rule, later).await?;
        tx.commit().await?;
        let row = load(&store, &scope).await?;
        assert_eq!((row.sleep_rule.as_ref(), row.sleep_rule_at, row.settled_since()), (Some(&rule), Some(later), later));
    }

    async fn a_deletion_can_be_undone_until_its_removal_begins(store: TestStore) {
        let scope = ready(&store).await?;
        let id = scope.workspace();
        let end = now().plus_seconds(3_600);
        let tx = store.begin().await?;
        assert!(!workspaces::undo_deletion(&tx, &scope, now()).await?, "there is none");
        assert!(workspaces::request_deletion_at(&tx, &scope, end, now()).await?);
        assert!(!workspaces::request_deletion_at(&tx, &scope, end, now()).await?);
        tx.commit().await?;
        let row = load(&store, &scope).await?;
        assert_eq!((row.phase, row.desired), (WorkspacePhase::ToBeDeleted, Desired::Absent));
        assert_eq!((row.deleting_at, row.removal_at), (Some(now()), Some(end)));

        let tx = store.begin().await?;
        workspaces::set_stopped(&tx, id, now()).await?;
        assert!(workspaces::undo_deletion(&tx, &scope, end).await?);
        tx.commit().await?;
        let row = load(&store, &scope).await?;
        assert_eq!((row.phase, row.desired, row.removal_at), (WorkspacePhase::Waking, Desired::Present, None));
        assert_eq!((row.deleting_at, row.endpoint), (None, None));

        let tx = store.begin().await?;
        workspaces::request_deletion_at(&tx, &scope, end, now()).await?;
        workspaces::begin_removal(&tx, id, now()).await?;
        assert!(!workspaces::undo_deletion(&tx, &scope, now()).await?, "it has begun");
        assert!(is_stale(&workspaces::begin_removal(&tx, id, now()).await));
        tx.commit().await?;
        assert_eq!(load(&store, &scope).await?.phase, WorkspacePhase::Deleting);
    }

    async fn a_workspace_that_never_was_ready_goes_on_being_made_when_its_deletion_is_undone(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let tx = store.begin().await?;
        workspaces::request_deletion_at(&tx, &scope, now().plus_seconds(60), now()).await?;
        assert!(workspaces::undo_deletion(&tx, &scope, now()).await?);
        tx.commit().await?;
        assert_eq!(load(&store, &scope).await?.phase, WorkspacePhase::Creating);
    }

    async fn a_deletion_with_time_to_undo_it_can_be_made_one_at_once(store: TestStore) {
        let scope = ready(&store).await?;
        let tx = store.begin().await?;
        workspaces::request_deletion_at(&tx, &scope, now().plus_seconds(60), now()).await?;
        assert!(workspaces::request_deletion(&tx, &scope, now()).await?);
        assert!(!workspaces::request_deletion(&tx, &scope, now()).await?);
        tx.commit().await?;
        let row = load(&store, &scope).await?;
        assert_eq!((row.phase, row.removal_at), (WorkspacePhase::Deleting, None));
        let tx = store.begin().await?;
        assert!(!workspaces::undo_deletion(&tx, &scope, now()).await?);
        let gone = workspaces::set_deleted(&tx, scope.workspace(), &serde_json::json!({}), now()).await?;
        assert_eq!(gone.members, []);
        tx.commit().await?;
        let row = workspaces::load_for_job(&*store, scope.workspace()).await?.context("a record")?;
        assert_eq!(row.phase, WorkspacePhase::Deleted);
    }

    async fn whatever_is_asked_in_whatever_order_a_phase_fits_what_is_wanted(store: TestStore) {
        use WorkspacePhase::{Asleep, Creating, Deleting, Failed, FallingAsleep, Ready, ToBeDeleted, Waking};
        let organization = add_organization(&store, "Ada").await?;
        let mut scope = add_workspace(&store, &organization, "first").await?;
        let (mut random, mut seen) = (7_u64, BTreeSet::new());
        for step in 0..600 {
            let before = load(&store, &scope).await?;
            if before.phase == Deleting {
                scope = add_workspace(&store, &organization, &format!("w{step}")).await?;
                continue;
            }
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (id, at) = (scope.workspace(), now().plus_seconds(step));
            let tx = store.begin().await?;
            let choice = (random >> 33) % 40;
            let asked = match choice {
                0..8 => workspaces::request_sleep(&tx, id, at).await,
                8..16 => workspaces::request_wake(&tx, id, at).await,
                16..24 => workspaces::set_ready(&tx, id, "10.0.0.1:443", "PEM", at).await.map(|()| true),
                24..34 => {
                    let phases = [Creating, Failed, Waking, FallingAsleep, Asleep];
                    let phase = phases[usize::try_from(random >> 40)? % phases.len()];
                    workspaces::set_progress(&tx, id, phase, None, None, at).await.map(|()| true)
                }
                34 => workspaces::request_deletion_at(&tx, &scope, at.plus_seconds(20), at).await,
                35..38 => workspaces::undo_deletion(&tx, &scope, at).await,
                38 => workspaces::begin_removal(&tx, id, at).await.map(|()| true),
                _ => workspaces::set_stopped(&tx, id, at).await.map(|()| true),
            };
            match asked {
                Ok(_) | Err(StoreError::Stale) => tx.commit().await?,
                Err(error) => return Err(error.into()),
            }
            let after = load(&store, &scope).await?;
            let fits: &[WorkspacePhase] = match after.desired {
                Desired::Present => &[Creating, Ready, Failed, Waking],
                Desired::Asleep => &[FallingAsleep, Asleep],
                Desired::Absent => &[ToBeDeleted, Deleting],
            };
            assert!(fits.contains(&after.phase), "{choice}: {before:?} became {after:?}");
            if before.desired == Desired::Absent && after.desired != Desired::Absent {
                assert!((35..38).contains(&choice) && before.phase == ToBeDeleted, "{choice}: {before:?}");
            }
            seen.insert(after.phase);
        }
        assert_eq!(seen.len(), 8, "not everything was tried: {seen:?}");
    }
}
