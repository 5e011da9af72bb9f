//! A clock that stands still until the test moves it, and ids that are different each time.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use hexabase_core::ids::Id;
use hexabase_core::time::Timestamp;

/// A clock under the test's control.
#[derive(Debug)]
pub struct TestClock {
    micros: AtomicI64,
}

impl Default for TestClock {
    /// Stands at 2026-09-21T14:13:20Z.
    fn default() -> Self {
        Self { micros: AtomicI64::new(1_790_000_000_000_000) }
    }
}

impl TestClock {
    /// The moment it shows.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros.load(Ordering::SeqCst))
    }

    /// Moves it on by `seconds`, and returns the new moment.
    pub fn advance(&self, seconds: i64) -> Timestamp {
        self.micros.fetch_add(seconds.saturating_mul(1_000_000), Ordering::SeqCst);
        self.now()
    }
}

/// An id made at `now` that no other call in this process returns; a later call at the same moment sorts after an
/// earlier one.
pub fn new_id<I: Id>(now: Timestamp) -> I {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    I::from_parts(now, NEXT.fetch_add(1, Ordering::SeqCst))
}
