//! A database that was put back to what it once was: the host was changed since under fences that it does not know.
//!
//! A fence above one's own says that another worker has taken over. It raises the fence at every look, so that one which stands still
//! for long is nobody's any more. Without this the jobs of a database from yesterday would catch up with their fences one by one, at
//! each attempt, for longer than a day, and nothing could be woken, deleted or taken away until then.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hexabase_backends::store::jobs::Claim;
use hexabase_core::time::Timestamp;
use hexabase_reconcile::ReconcileError;

use crate::error::Error;

/// For so long a fence has to have stood still. A worker that lives raises it at every look, and looks at least once a minute.
const STILL_MILLIS: i64 = 180_000;
/// Attempts, of whatever worker, that lie further apart on average prove nothing of the time in between: workers were stopped, or could not
/// look either.
const APART_MILLIS: i64 = 100_000;
/// A worker that comes to none of a job's attempts for so long begins anew.
const FORGOTTEN_MILLIS: i64 = 300_000;
/// No fence gets there by counting: somebody wrote such a one by hand, and nothing could be counted on from it.
const MOST: i64 = 1 << 53;

/// The fences that stood in the way, by kind and subject of the job: others of the same subject fail for reasons of their own.
#[derive(Default)]
pub(super) struct Behind(Mutex<HashMap<(String, String), Stop>>);

struct Stop {
    fence: i64,
    first: Timestamp,
    last: Timestamp,
    attempts: u32,
}

impl Stop {
    /// Whether the job was tried all the time from then on until this attempt.
    fn goes_on(&self, attempts: u32, now: Timestamp) -> bool {
        let between = i64::from(attempts.saturating_sub(self.attempts));
        now.millis_since(self.last) < APART_MILLIS * between
    }
}

impl Behind {
    /// The fence to go on above, if that is why the attempt failed and nobody works under it any more.
    pub(super) fn left_by_nobody(&self, claim: &Claim, error: &Error, now: Timestamp) -> Option<i64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, stop| now.millis_since(stop.last) < FORGOTTEN_MILLIS);
        // Whatever else kept this worker from looking may keep others from raising it.
        let job = (claim.kind.clone(), claim.subject.clone());
        let before = all.remove(&job).filter(|stop| stop.goes_on(claim.attempts, now));
        let fence = fence_of(error).filter(|fence| *fence <= MOST)?;
        let first = before.filter(|stop| stop.fence == fence).map_or(now, |stop| stop.first);
        if now.millis_since(first) >= STILL_MILLIS {
            return Some(fence);
        }
        all.insert(job, Stop { fence, first, last: now, attempts: claim.attempts });
        None
    }
}

/// The fence above its own that stopped an attempt, if that is what did.
fn fence_of(error: &Error) -> Option<i64> {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if let Some(ReconcileError::Fenced { found, .. }) = cause.downcast_ref() {
            return Some(*found);
        }
        next = cause.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fenced(found: i64) -> Error {
        Error::internal(ReconcileError::Fenced { namespace: "hxb-x".to_owned(), own: 7, found })
    }

    fn claim(subject: &str, attempts: u32) -> Claim {
        let (kind, subject) = ("reconcile-workspace".to_owned(), subject.to_owned());
        Claim { kind, subject, epoch: 7, generation: 1, attempts }
    }

    /// Of a worker: is asked whether it may go on above a fence, at so many seconds and with that attempt of the job.
    struct Asked(Behind, Timestamp);

    impl Asked {
        fn new() -> Self {
            Self(Behind::default(), Timestamp::from_seconds(1_800_000_000))
        }

        fn fenced(&self, subject: &str, found: i64, seconds: i64, attempts: u32) -> Option<i64> {
            self.0.left_by_nobody(&claim(subject, attempts), &fenced(found), self.1.plus_seconds(seconds))
        }
    }

    #[test]
    fn a_fence_that_stands_still_for_minutes_is_gone_on_above_and_one_that_moves_is_somebodys() {
        let asked = Asked::new();
        for (attempts, seconds) in [(1, 0), (2, 60), (3, 120)] {
            assert_eq!(asked.fenced("a", 5_000, seconds, attempts), None);
            assert_eq!(asked.fenced("b", 9_000 + seconds, seconds, attempts), None);
        }
        assert_eq!(asked.fenced("b", 9_120, 179, 4), None, "another worker looked at it");
        assert_eq!(asked.fenced("a", 5_000, 180, 4), Some(5_000));
        assert_eq!(asked.fenced("a", 5_000, 181, 5), None, "that was another time");
    }

    #[test]
    fn attempts_of_several_workers_count_together() {
        let asked = Asked::new();
        assert_eq!(asked.fenced("a", 5_000, 0, 4), None);
        assert_eq!(asked.fenced("a", 5_000, 170, 7), None);
        assert_eq!(asked.fenced("a", 5_000, 340, 10), Some(5_000));
    }

    #[test]
    fn only_time_counts_in_which_somebody_else_could_have_raised_it() {
        let asked = Asked::new();
        assert_eq!(asked.fenced("a", 5_000, 0, 1), None);
        let silent = Error::Unavailable("the host does not answer".to_owned());
        assert_eq!(asked.0.left_by_nobody(&claim("a", 2), &silent, asked.1.plus_seconds(60)), None);
        assert_eq!(asked.fenced("a", 5_000, 120, 3), None);
        assert_eq!(asked.fenced("a", 5_000, 180, 4), None, "it did not answer anybody");
        assert_eq!(asked.fenced("a", 5_000, 400, 5), None, "this worker was stopped");
        assert_eq!(asked.fenced("a", 5_000, 460, 1), None, "it went well once, and fails anew");
    }

    #[test]
    fn a_job_of_another_kind_does_not_begin_the_count_anew() {
        let asked = Asked::new();
        let refresh = Claim { kind: "refresh-tenant-keys".to_owned(), ..claim("a", 1) };
        let silent = Error::Unavailable("its API server does not answer".to_owned());
        for (attempts, seconds) in [(1, 0), (2, 60), (3, 120)] {
            assert_eq!(asked.fenced("a", 5_000, seconds, attempts), None);
            assert_eq!(asked.0.left_by_nobody(&refresh, &silent, asked.1.plus_seconds(seconds + 1)), None);
        }
        assert_eq!(asked.fenced("a", 5_000, 180, 4), Some(5_000));
    }

    #[test]
    fn only_a_fence_counts_that_somebody_may_have_counted_to() {
        let asked = Asked::new();
        for (attempts, seconds) in [(1, 0), (2, 60), (3, 120), (4, 180), (5, 240)] {
            assert_eq!(asked.fenced("a", i64::MAX, seconds, attempts), None);
        }
    }
}
