//! Fields in which `null` says something else than their absence.

use serde::{Deserialize, Deserializer};

/// Tells `null` from absent.
pub(crate) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
