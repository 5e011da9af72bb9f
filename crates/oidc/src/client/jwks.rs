//! Other people's key sets, kept for a while.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::Mutex;

use super::{ClientError, Outbound, ProviderMetadata};
use crate::{Issuer, keys::JwkSet};

/// Fetch again after this long, whatever happens: a withdrawn key must not be believed for ever.
const FRESH_FOR: i64 = 600;
/// A set that cannot be refreshed is used this long.
const USABLE_FOR: i64 = 6 * 3600;
/// An unknown `kid` causes a fetch at most this often per issuer; anybody can make up a `kid`.
const REFETCH_EVERY: i64 = 30;
/// Without any set, one failed attempt speaks for everybody who waited for it.
const RETRY_EVERY: i64 = 5;
/// More issuers than any installation configures; the oldest goes first.
const MAX_ISSUERS: usize = 256;

/// Key sets by issuer. One per process; cheap to share behind an [`Arc`].
#[derive(Debug, Default)]
pub struct JwksCache {
    // One slot per issuer, so that a slow provider holds up only those who sign in with it, and a hundred people who
    // wait for the same set cause one fetch.
    slots: Mutex<HashMap<Issuer, Arc<Mutex<Slot>>>>,
}

#[derive(Debug, Default)]
struct Slot {
    keys: Option<Arc<JwkSet>>,
    fetched_at: i64,
    tried_at: Option<i64>,
}

impl JwksCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// The key set of a provider, fetched if it is old, or if it lacks `kid` and the last attempt is 30 s ago. For a token
    /// that names no key a set is old after 30 s: that it was signed with another key than before cannot be seen.
    ///
    /// When the provider cannot be reached, a set of up to six hours is returned instead of an error.
    pub async fn get(
        &self,
        http: &Outbound,
        metadata: &ProviderMetadata,
        kid: Option<&str>,
        now: i64,
    ) -> Result<Arc<JwkSet>, ClientError> {
        let slot = self.slot(&metadata.issuer).await;
        let mut slot = slot.lock().await;
        let age = now.saturating_sub(slot.fetched_at);
        let rested = |pause| slot.tried_at.is_none_or(|tried| now.saturating_sub(tried) >= pause);
        match slot.keys.as_ref().filter(|_| age < USABLE_FOR) {
            Some(keys) if age < FRESH_FOR && kid.is_some_and(|kid| keys.with_kid(kid).next().is_some()) => {
                return Ok(Arc::clone(keys));
            }
            Some(keys) if !rested(REFETCH_EVERY) => return Ok(Arc::clone(keys)),
            None if !rested(RETRY_EVERY) => return Err(ClientError::KeysUnavailable(metadata.issuer.to_string())),
            _ => {}
        }
        slot.tried_at = Some(now);
        match fetch(http, metadata).await {
            Ok(keys) => {
                let keys = Arc::new(keys);
                *slot = Slot { keys: Some(Arc::clone(&keys)), fetched_at: now, tried_at: Some(now) };
                Ok(keys)
            }
            Err(error) => match &slot.keys {
                Some(keys) if age < USABLE_FOR => {
                    tracing::warn!(issuer = %metadata.issuer, %error, "using an old key set");
                    Ok(Arc::clone(keys))
                }
                _ => Err(error),
            },
        }
    }

    async fn slot(&self, issuer: &Issuer) -> Arc<Mutex<Slot>> {
        let mut slots = self.slots.lock().await;
        if slots.len() >= MAX_ISSUERS && !slots.contains_key(issuer) {
            // Any one: the number is a bound against leaks, not a tuning knob.
            if let Some(victim) = slots.keys().next().cloned() {
                slots.remove(&victim);
            }
        }
        Arc::clone(slots.entry(issuer.clone()).or_default())
    }
}

async fn fetch(http: &Outbound, metadata: &ProviderMetadata) -> Result<JwkSet, ClientError> {
    let url = metadata.jwks_uri.as_str();
    let answer = http.send(http.get(url)).await?.ok()?;
    JwkSet::from_json(answer.body())
        .map_err(|error| ClientError::NotUnderstood { url: url.to_owned(), reason: error.to_string() })
}
