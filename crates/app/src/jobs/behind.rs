//! A database that was put back to what it once was: the host was changed since under fences that it does not know.
//!
//! A fence above one's own says that another worker has taken over. It raises the fence at every look, so that one which stands still
//! for long is nobody's any more. Without this the jobs of a database from yesterday would catch up with their fences one by one, at
//! each attempt, for longer than a day, and nothing could be woken, deleted or taken away until then.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hexabase_core::time::Timestamp;
use hexabase_reconcile::ReconcileError;

use crate::error::Error;

/// For so long a fence has to have stood still. A worker that lives raises it at every look, and looks at least once a minute.
const STILL_MILLIS: i64 = 180_000;
/// Attempts that lie further apart prove nothing of the time in between: this worker was stopped, or could not look either.
const APART_MILLIS: i64 = 100_000;
/// No fence gets there by counting: somebody wrote such a one by hand, and nothing could be counted on from it.
const MOST: i64 = 1 << 53;

/// The fences that stood in the way, by the subject of the job.
#[derive(Default)]
pub(super) struct Behind(Mutex<HashMap<String, Stop>>);

struct Stop {
    fence: i64,
    first: Timestamp,
    last: Timestamp,
}

impl Behind {
    /// The fence to go on above, if that is why the attempt failed and nobody works under it any more.
    pub(super) fn left_by_nobody(&self, subject: &str, error: &Error, now: Timestamp) -> Option<i64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, stop| now.millis_since(stop.last) < APART_MILLIS);
        // Whatever else kept this worker from looking may keep others from raising it.
        let before = all.remove(subject);
        let fence = fence_of(error).filter(|fence| *fence <= MOST)?;
        let first = before.filter(|stop| stop.fence == fence).map_or(now, |stop| stop.first);
        if now.millis_since(first) >= STILL_MILLIS {
            return Some(fence);
        }
        all.insert(subject.to_owned(), Stop { fence, first, last: now });
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

    #[test]
    fn a_fence_that_stands_still_for_minutes_is_gone_on_above_and_one_that_moves_is_somebodys() {
        let (behind, start) = (Behind::default(), Timestamp::from_seconds(1_800_000_000));
        let ask =
            |subject: &str, found, seconds| behind.left_by_nobody(subject, &fenced(found), start.plus_seconds(seconds));
        for seconds in [0, 60, 120] {
            assert_eq!(ask("a", 5_000, seconds), None);
            assert_eq!(ask("b", 9_000 + seconds, seconds), None);
        }
        assert_eq!(ask("b", 9_120, 179), None, "another worker looked at it");
        assert_eq!(ask("a", 5_000, 180), Some(5_000));
        assert_eq!(ask("a", 5_000, 181), None, "that was another time");
    }

    #[test]
    fn only_time_counts_in_which_somebody_else_could_have_raised_it() {
        let (behind, start) = (Behind::default(), Timestamp::from_seconds(1_800_000_000));
        let ask = |error: &Error, seconds| behind.left_by_nobody("a", error, start.plus_seconds(seconds));
        assert_eq!(ask(&fenced(5_000), 0), None);
        assert_eq!(ask(&Error::Unavailable("the host does not answer".to_owned()), 60), None);
        assert_eq!(ask(&fenced(5_000), 120), None);
        assert_eq!(ask(&fenced(5_000), 180), None, "it did not answer anybody");
        assert_eq!(ask(&fenced(5_000), 400), None, "this worker was stopped");
    }

    #[test]
    fn only_a_fence_counts_that_somebody_may_have_counted_to() {
        let (behind, start) = (Behind::default(), Timestamp::from_seconds(1_800_000_000));
        for seconds in [0, 60, 120, 180, 240] {
            assert_eq!(behind.left_by_nobody("a", &fenced(i64::MAX), start.plus_seconds(seconds)), None);
        }
    }
}
