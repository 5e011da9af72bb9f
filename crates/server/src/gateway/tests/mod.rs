//! The gateway in front of a TLS server, over real connections.

mod bodies;
mod ends;
mod logs;
mod ordinary;
mod refusals;
mod upgrades;
mod upstreams;

use std::time::Duration;

/// How often, or how soon, where a test would rather not wait.
const TINY: Duration = Duration::from_millis(5);
