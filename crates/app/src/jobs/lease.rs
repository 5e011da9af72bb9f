//! Running a job while its lease is kept.

use std::time::Duration;

use hexabase_backends::store::StoreError;

use crate::error::{Error, Result};

/// Runs `run` and, at the same time, `renew` every `pause`. A lease that is lost ends the run: the epoch in the store and
/// the fence on the host namespace refuse what it might still have done.
///
/// The two are polled side by side. A renewal may have to wait for the job itself, which holds the only right to write on
/// SQLite and its own row on PostgreSQL while it stores a result.
pub(super) async fn renewed<T, R>(
    run: impl Future<Output = Result<T>>,
    pause: Duration,
    renew: impl FnMut() -> R,
) -> Result<T>
where
    R: Future<Output = Result<(), StoreError>>,
{
    tokio::select! {
        outcome = run => outcome,
        lost = keep(pause, renew) => Err(lost),
    }
}

/// Renews until the lease is lost.
async fn keep<R: Future<Output = Result<(), StoreError>>>(pause: Duration, mut renew: impl FnMut() -> R) -> Error {
    loop {
        tokio::time::sleep(pause).await;
        match renew().await {
            Ok(()) => {}
            Err(StoreError::Stale) => return Error::Unavailable("another worker took the job over".to_owned()),
            Err(error) => tracing::warn!(%error, "a lease could not be renewed; tried again soon"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use anyhow::Context as _;
    use hexabase_backends::store::jobs;
    use hexabase_core::time::Timestamp;
    use hexabase_testkit::clock::TestClock;
    use hexabase_testkit::on_both_engines;
    use tokio::sync::Notify;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);
    const KIND: &str = "reconcile-workspace";

    fn now() -> Timestamp {
        TestClock::default().now()
    }

    on_both_engines! {
        async fn a_job_stores_its_result_while_its_lease_is_being_renewed(store: TestStore) {
            let tx = store.begin().await?;
            jobs::enqueue(&tx, KIND, "ws-1", now(), now()).await?;
            tx.commit().await?;
            let claim = jobs::claim(&store, &[KIND], now(), "worker", 60).await?.context("due")?;
            let (storing, renewing, refused) = (AtomicBool::new(false), Notify::new(), AtomicBool::new(false));
            let run = async {
                // What a renewal needs too: the right to write, and the job's own row.
                let tx = store.begin().await?;
                jobs::enqueue(&tx, KIND, "ws-1", now(), now()).await?;
                storing.store(true, Ordering::SeqCst);
                renewing.notified().await;
                Ok(tx.commit().await?)
            };
            let (storing, renewing, refused, claim, db) = (&storing, &renewing, &refused, &claim, &*store);
            let renew = || async move {
                if !storing.load(Ordering::SeqCst) {
                    return Ok(());
                }
                renewing.notify_one();
                let renewed = jobs::renew(db, claim, now(), 60).await;
                refused.fetch_or(renewed.is_err(), Ordering::SeqCst);
                renewed
            };
            tokio::time::timeout(PATIENCE, renewed(run, Duration::from_millis(1), renew)).await??;
            assert!(!refused.load(Ordering::SeqCst), "the renewal waited for the job until it gave up");
        }
    }

    #[tokio::test]
    async fn a_lease_that_is_lost_ends_the_run_and_one_that_cannot_be_renewed_just_now_does_not() {
        let mut answers = vec![Err(StoreError::Stale), Err(StoreError::Unavailable("it is busy".into())), Ok(())];
        let renew = || std::future::ready(answers.pop().unwrap_or(Ok(())));
        let outcome = renewed(std::future::pending::<Result<()>>(), Duration::from_millis(1), renew).await;
        assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
        assert!(answers.is_empty());
    }
}
