//! Forgetting what is over, so that no table grows with the number of sign-ins or with time.
//!
//! Three kinds of rows stay: the audit log; what is the record of a deleted workspace; and its job, whose epoch is the fence
//! of everything that was ever written to the host for it.

use hexabase_backends::store::{
    api_tokens, authorization_codes, device_codes, events, idempotency, refresh_tokens, sessions,
};

use crate::context::App;
use crate::error::Result;

/// Seconds for which what is over is kept all the same: a second use of a code or token is told apart from nonsense.
const KEEP_SECONDS: i64 = 24 * 3600;
/// The same for API tokens, which sit in pipelines that run once a month: whoever looks is told that it ended, not that it
/// never was.
const KEEP_TOKENS_SECONDS: i64 = 60 * 24 * 3600;
/// Seconds for which the live feed can be read again.
const FEED_SECONDS: i64 = 90 * 24 * 3600;

/// Removes codes, tokens, sessions and idempotent answers that were over long enough ago, and events of 90 days ago; says how
/// many rows.
pub async fn sweep(app: &App) -> Result<u64> {
    let now = app.clock.now();
    let before = now.plus_seconds(-KEEP_SECONDS);
    let tx = app.store.begin().await?;
    let mut removed = authorization_codes::purge(&tx, before).await?;
    removed += device_codes::purge(&tx, before).await?;
    removed += refresh_tokens::purge(&tx, before).await?;
    removed += idempotency::purge(&tx, now).await?;
    removed += api_tokens::purge(&tx, now.plus_seconds(-KEEP_TOKENS_SECONDS)).await?;
    removed += events::purge(&tx, now.plus_seconds(-FEED_SECONDS)).await?;
    tx.commit().await?;
    // After what refers to them, and without holding that up.
    let tx = app.store.begin().await?;
    removed += sessions::purge(&tx, before).await?;
    tx.commit().await?;
    Ok(removed)
}
