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

/// A worker that lives looks at everything of which it has a job at least once a minute.
const STILL_MILLIS: i64 = 180_000;
/// No fence gets there by counting: somebody wrote such a one by hand, and nothing could be counted on from it.
const MOST: i64 = 1 << 53;

/// The fences that stood in the way, by the subject of the job, and since when.
#[derive(Default)]
pub(super) struct Behind(Mutex<HashMap<String, (i64, Timestamp)>>);

impl Behind {
    /// The fence to go on above, if that is why the attempt failed and nobody works under it any more.
    pub(super) fn left_by_nobody(&self, subject: &str, error: &Error, now: Timestamp) -> Option<i64> {
        let fence = fence_of(error)?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Other workers take up some of the attempts, so that one is forgotten only after it was long not seen.
        all.retain(|_, (_, since)| now.millis_since(*since) < 10 * STILL_MILLIS);
        let (known, since) = *all.entry(subject.to_owned()).or_insert((fence, now));
        if known != fence {
            all.insert(subject.to_owned(), (fence, now));
            return None;
        }
        if fence > MOST || now.millis_since(since) < STILL_MILLIS {
            return None;
        }
        all.remove(subject);
        Some(fence)
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
        assert_eq!(ask("a", 5_000, 0), None);
        assert_eq!(ask("a", 5_000, 170), None);
        assert_eq!(ask("b", 9_000, 170), None);
        assert_eq!(ask("a", 5_000, 180), Some(5_000));
        assert_eq!(ask("b", 9_001, 350), None, "another worker looked at it");
        assert_eq!(ask("b", 9_001, 500), None);
        assert_eq!(ask("b", 9_001, 530), Some(9_001));
        assert_eq!(ask("a", 5_000, 540), None, "that was another time");
    }

    #[test]
    fn only_a_fence_counts_that_somebody_may_have_counted_to() {
        let (behind, start) = (Behind::default(), Timestamp::from_seconds(1_800_000_000));
        for (error, seconds) in [(fenced(i64::MAX), 0), (fenced(i64::MAX), 600), (Error::Overtaken, 700)] {
            assert_eq!(behind.left_by_nobody("a", &error, start.plus_seconds(seconds)), None);
        }
    }
}
