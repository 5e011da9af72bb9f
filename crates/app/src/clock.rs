//! Where the time of an operation comes from.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hexabase_core::time::Timestamp;

/// The system's clock, or one that a test sets.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// Microseconds since the Unix epoch, moved by hand.
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `start` until it is moved.
    pub fn standing_at(start: Timestamp) -> Self {
        Self::Set(Arc::new(AtomicI64::new(start.as_micros())))
    }

    /// The present moment.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system clock; everybody else is given the time"
    )]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => jiff::Timestamp::now().into(),
            Self::Set(micros) => Timestamp::from_micros(micros.load(Ordering::SeqCst)),
        }
    }

    /// Moves a clock that stands; the system's clock cannot be moved and stays as it is.
    pub fn advance_seconds(&self, seconds: i64) {
        if let Self::Set(micros) = self {
            micros.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
        }
    }
}
