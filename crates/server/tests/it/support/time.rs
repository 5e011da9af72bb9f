//! Waiting for the real time, and moving the one of a platform.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use hexabase_app::clock::Clock;
use hexabase_core::time::Timestamp;
use hexabase_testkit::http::Http;

use super::platform::Platform;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that must happen soon.
pub(crate) async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> Result<T> {
    let happened = tokio::time::timeout(PATIENCE, happens).await;
    ensure!(happened.is_ok(), "{what} did not happen within {PATIENCE:?}");
    Ok(happened?)
}

/// Moves the platform's clock on.
pub(crate) fn pass(platform: &Platform, seconds: i64) -> Timestamp {
    assert!(matches!(platform.clock, Clock::Set(_)), "the clock of this platform does not stand");
    platform.clock.advance_seconds(seconds);
    platform.clock.now()
}

/// Waits until the server answers; returns its certificate authority, which it makes at its first start.
pub(super) async fn until_ready(url: &str, folder: &Path) -> Result<String> {
    let authority = loop {
        // The key is written last.
        if folder.join("tls/ca.key").exists() {
            break std::fs::read_to_string(folder.join("tls/ca.crt"))?;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    Http::new(url, &authority)?.get("/readyz").await?.expect(200)?;
    Ok(authority)
}
