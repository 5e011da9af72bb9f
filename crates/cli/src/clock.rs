//! The one place that reads the clock.

use hexabase_core::time::Timestamp;

/// The moment it is.
#[expect(clippy::disallowed_methods, reason = "a command line has no caller to take the time from")]
pub(crate) fn now() -> Timestamp {
    Timestamp::from(jiff::Timestamp::now())
}
