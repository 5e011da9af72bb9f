use std::collections::BTreeSet;

use anyhow::Context;
use hexabase_backends::store::jobs::{self, Backlog, Claim, Finish, Unfinished};
use hexabase_backends::store::{Store, StoreError, settings, workspaces};
use hexabase_core::time::Timestamp;
use hexabase_testkit::on_both_engines;

use crate::scenery::{add_organization, add_workspace, is_stale, now};

const KIND: &str = "reconcile-workspace";
const LEASE: i64 = 60;

async fn enqueue(store: &Store, subject: &str, at: Timestamp) -> Result<(), StoreError> {
    let tx = store.begin().await?;
    jobs::enqueue(&tx, KIND, subject, at, now()).await?;
    tx.commit().await
}

async fn claim(store: &Store, at: Timestamp) -> Result<Option<Claim>, StoreError> {
    jobs::claim(store, &[KIND], at, "worker", LEASE).await
}

async fn finish(store: &Store, claim: &Claim, finish: Finish) -> Result<(), StoreError> {
    let tx = store.begin().await?;
    jobs::finish(&tx, claim, finish).await?;
    tx.commit().await
}

/// A claim, and the claim of the worker that took over after the lease.
async fn lost_claim(store: &Store) -> anyhow::Result<(Claim, Claim)> {
    enqueue(store, "ws-1", now()).await?;
    let first = claim(store, now()).await?.context("due")?;
    assert_eq!(claim(store, now().plus_seconds(LEASE - 1)).await?, None, "the lease holds");
    let second = claim(store, now().plus_seconds(LEASE)).await?.context("due again")?;
    assert!(second.epoch > first.epoch);
    assert_eq!((first.attempts, second.attempts), (1, 2));
    Ok((first, second))
}

on_both_engines! {
    async fn a_job_is_claimed_by_one_worker_only(store: TestStore) {
        let tx = store.begin().await?;
        for number in 0..400 {
            jobs::enqueue(&tx, KIND, &format!("ws-{number}"), now(), now()).await?;
        }
        tx.commit().await?;
        let mut workers = Vec::new();
        for number in 0..8 {
            // Half of them are other processes.
            let store = if number % 2 == 0 { (*store).clone() } else { store.reconnect().await? };
            workers.push(tokio::spawn(async move {
                let mut mine = Vec::new();
                while let Some(claim) = jobs::claim(&store, &[KIND], now(), &format!("worker-{number}"), LEASE).await? {
                    finish(&store, &claim, Finish::Done).await?;
                    mine.push(claim.subject);
                }
                Ok::<_, StoreError>(mine)
            }));
        }
        let mut done = Vec::new();
        for worker in workers {
            done.extend(worker.await??);
        }
        assert_eq!(done.len(), 400);
        assert_eq!(done.into_iter().collect::<BTreeSet<_>>().len(), 400);
        assert_eq!(jobs::backlog(&*store, now()).await?, Backlog::default());
        assert_eq!(jobs::next_due(&*store, &[KIND]).await?, None);
    }

    async fn a_worker_whose_lease_ran_out_cannot_write_its_result(store: TestStore) {
        let (late, current) = lost_claim(&store).await?;
        let tx = store.begin().await?;
        assert!(is_stale(&jobs::hold(&tx, &late).await));
        drop(tx);
        assert!(is_stale(&finish(&store, &late, Finish::Done).await));
        assert!(is_stale(&jobs::renew(&store, &late, now(), LEASE).await));
        jobs::renew(&store, &current, now(), LEASE).await?;
        finish(&store, &current, Finish::Done).await?;
        assert!(is_stale(&finish(&store, &current, Finish::Done).await), "it is finished");
    }

    async fn what_a_dead_process_had_leased_is_claimed_at_once_by_the_next_one(store: TestStore) {
        enqueue(&store, "ws-1", now()).await?;
        let dead = claim(&store, now()).await?.context("due")?;
        assert_eq!(claim(&store, now()).await?, None);
        let tx = store.begin().await?;
        assert_eq!(jobs::release_all(&tx, &[KIND]).await?, 1);
        tx.commit().await?;
        let next = claim(&store, now()).await?.context("released")?;
        assert!(next.epoch > dead.epoch);
        assert!(is_stale(&finish(&store, &dead, Finish::Done).await));
    }

    async fn a_result_written_while_the_lease_is_lost_is_not_committed(store: TestStore) {
        enqueue(&store, "ws-1", now()).await?;
        let first = claim(&store, now()).await?.context("due")?;
        if store.engine() == hexabase_testkit::store::Engine::Postgres {
            let tx = store.begin().await?;
            jobs::hold(&tx, &first).await?;
            settings::insert_if_none(&tx, "result", "of the late worker").await?;
            claim(&store, now().plus_seconds(LEASE)).await?.context("taken over meanwhile")?;
            assert!(is_stale(&tx.commit().await));
        } else {
            // SQLite lets nobody claim while the transaction is open.
            claim(&store, now().plus_seconds(LEASE)).await?.context("taken over")?;
            let tx = store.begin().await?;
            assert!(is_stale(&jobs::hold(&tx, &first).await));
        }
        assert_eq!(settings::get(&*store, "result").await?, None);
    }

    async fn a_held_claim_lets_the_result_be_written(store: TestStore) {
        enqueue(&store, "ws-1", now()).await?;
        let claim = claim(&store, now()).await?.context("due")?;
        let tx = store.begin().await?;
        jobs::hold(&tx, &claim).await?;
        settings::insert_if_none(&tx, "result", "written").await?;
        jobs::finish(&tx, &claim, Finish::Done).await?;
        tx.commit().await?;
        assert_eq!(settings::get(&*store, "result").await?.as_deref(), Some("written"));
    }

    async fn a_job_enqueued_while_it_runs_is_run_again(store: TestStore) {
        enqueue(&store, "ws-1", now()).await?;
        let first = claim(&store, now()).await?.context("due")?;
        enqueue(&store, "ws-1", now()).await?;
        assert_eq!(claim(&store, now()).await?, None, "it runs");
        finish(&store, &first, Finish::Done).await?;
        let second = claim(&store, now()).await?.context("due again")?;
        assert_eq!((second.generation, second.attempts), (2, 1));
        finish(&store, &second, Finish::Done).await?;
        assert_eq!(claim(&store, now().plus_seconds(999)).await?, None);
    }

    async fn numbers_never_go_backwards_over_the_life_of_a_subject(store: TestStore) {
        let mut last = 0;
        for _ in 0..3 {
            enqueue(&store, "ws-1", now()).await?;
            let claim = claim(&store, now()).await?.context("due")?;
            assert!(claim.epoch > last);
            last = claim.epoch;
            finish(&store, &claim, Finish::Done).await?;
        }
    }

    async fn a_job_goes_on_above_the_number_that_stopped_it_and_whoever_was_overtaken_does_not(store: TestStore) {
        let (old, new) = lost_claim(&store).await?;
        let above = |fence| Finish::RunAgainAbove { at: now(), fence };
        assert!(matches!(finish(&store, &old, above(900)).await, Err(StoreError::Stale)));
        finish(&store, &new, above(900)).await?;
        let next = claim(&store, now()).await?.context("a job")?;
        assert_eq!((next.epoch, next.attempts), (901 + (1 << 24), 1), "far above, as whoever has that one may live");
        finish(&store, &next, above(5)).await?;
        let last = claim(&store, now()).await?.context("a job")?;
        assert_eq!(last.epoch, next.epoch + 1, "no number goes backwards");
    }

    async fn enqueueing_twice_makes_one_job_at_the_earlier_moment(store: TestStore) {
        enqueue(&store, "ws-1", now().plus_seconds(20)).await?;
        enqueue(&store, "ws-1", now().plus_seconds(10)).await?;
        enqueue(&store, "ws-1", now().plus_seconds(30)).await?;
        assert_eq!(jobs::next_due(&*store, &[KIND]).await?, Some(now().plus_seconds(10)));
        assert_eq!(claim(&store, now().plus_seconds(9)).await?, None);
        assert!(claim(&store, now().plus_seconds(10)).await?.is_some());
        assert_eq!(jobs::next_due(&*store, &[KIND]).await?, Some(now().plus_seconds(10 + LEASE)));
    }

    async fn a_failed_attempt_is_counted_and_a_successful_one_forgets_it(store: TestStore) {
        enqueue(&store, "ws-1", now()).await?;
        let first = claim(&store, now()).await?.context("due")?;
        let at = now().plus_seconds(5);
        finish(&store, &first, Finish::RetryAt { at, error: "the host did not answer".to_owned() }).await?;
        assert_eq!(claim(&store, now()).await?, None);
        assert_eq!(jobs::backlog(&*store, now()).await?, Backlog { scheduled: 1, failing: 1, ..Backlog::default() });
        let second = claim(&store, at).await?.context("due")?;
        assert_eq!(second.attempts, 2);
        assert_eq!(jobs::backlog(&*store, at).await?, Backlog { running: 1, failing: 1, ..Backlog::default() });
        let later = now().plus_seconds(60);
        finish(&store, &second, Finish::RunAgainAt(later)).await?;
        assert_eq!(jobs::backlog(&*store, later).await?, Backlog { due: 1, ..Backlog::default() });
        assert_eq!(claim(&store, later).await?.context("due")?.attempts, 1);
    }

    async fn a_job_of_a_transaction_that_did_not_commit_is_not_run(store: TestStore) {
        let tx = store.begin().await?;
        jobs::enqueue(&tx, KIND, "ws-1", now(), now()).await?;
        tx.rollback().await?;
        assert_eq!(claim(&store, now()).await?, None);
    }

    async fn the_job_that_waited_longest_comes_first(store: TestStore) {
        for (subject, seconds) in [("ws-b", 2), ("ws-c", 3), ("ws-a", 1)] {
            enqueue(&store, subject, now().plus_seconds(seconds)).await?;
        }
        let mut order = Vec::new();
        while let Some(claim) = claim(&store, now().plus_seconds(5)).await? {
            order.push(claim.subject);
        }
        assert_eq!(order, ["ws-a", "ws-b", "ws-c"]);
    }

    async fn a_worker_claims_and_releases_only_what_it_can_do(store: TestStore) {
        let tx = store.begin().await?;
        for kind in ["mail", KIND] {
            jobs::enqueue(&tx, kind, "x", now(), now()).await?;
        }
        tx.commit().await?;
        let claim = |kinds: &'static [&'static str]| jobs::claim(&store, kinds, now(), "worker", LEASE);
        assert_eq!(claim(&[]).await?, None);
        assert_eq!(jobs::next_due(&*store, &[]).await?, None);
        assert_eq!(claim(&["mail"]).await?.context("due")?.kind, "mail");
        assert_eq!(claim(&["mail"]).await?, None);
        assert_eq!(jobs::next_due(&*store, &["mail"]).await?, Some(now().plus_seconds(LEASE)));
        assert_eq!(jobs::next_due(&*store, &["mail", KIND]).await?, Some(now()));
        assert_eq!(claim(&["mail", KIND]).await?.context("due")?.kind, KIND);
        let tx = store.begin().await?;
        assert_eq!(jobs::release_all(&tx, &["mail"]).await?, 1);
        tx.commit().await?;
        assert_eq!(claim(&["mail", KIND]).await?.context("due again")?.kind, "mail");
    }

    async fn every_workspace_gets_a_job_of_its_own_and_repeating_that_makes_no_second_one(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let mut ids = Vec::new();
        for name in ["shop", "office", "gone"] {
            ids.push(add_workspace(&store, &organization, name).await?);
        }
        let gone = ids.pop().context("no workspace")?;
        let tx = store.begin().await?;
        workspaces::request_deletion(&tx, &gone, now()).await?;
        workspaces::set_deleted(&tx, gone.workspace(), &serde_json::json!({}), now()).await?;
        tx.commit().await?;
        for seconds in [60, 30, 90] {
            let tx = store.begin().await?;
            jobs::enqueue_for_workspaces(&tx, "tell", now().plus_seconds(seconds), now()).await?;
            tx.commit().await?;
            assert_eq!(jobs::count_unfinished(&*store, "tell").await?, 2);
        }
        assert_eq!(jobs::next_due(&*store, &["tell"]).await?, Some(now().plus_seconds(30)), "the earliest counts");
        let mut subjects: Vec<String> = ids.iter().map(|scope| scope.workspace().to_string()).collect();
        subjects.sort();
        let left = |listed: Vec<Unfinished>| listed.into_iter().map(|job| job.subject).collect::<Vec<_>>();
        assert_eq!(left(jobs::list_unfinished(&*store, "tell", 10).await?), subjects);
        assert_eq!(left(jobs::list_unfinished(&*store, "tell", 1).await?), subjects[..1]);

        let at = now().plus_seconds(30);
        let claim = async || jobs::claim(&store, &["tell"], at, "worker", LEASE).await;
        let (first, second) = (claim().await?.context("due")?, claim().await?.context("due")?);
        assert_eq!(first.generation, 3);
        assert_eq!(jobs::count_unfinished(&*store, "tell").await?, 2, "they are being done");
        let error = "no answer".to_owned();
        finish(&store, &first, Finish::RetryAt { at, error: error.clone() }).await?;
        finish(&store, &second, Finish::Done).await?;
        let expected = vec![Unfinished { subject: first.subject, error: Some(error) }];
        assert_eq!(jobs::list_unfinished(&*store, "tell", 10).await?, expected);
    }
}
