//! The signing keys of all issuers: made, published, replaced in time, and taken back at once when one is stolen.
//!
//! Rows are the truth. Every process reads them every few seconds, and any of them may make a successor or end a
//! revocation: they take turns under a lock. A key has an open end until its successor is there, so that a platform nobody
//! tends never stops signing. Of a row, only what is sealed under the master key is believed, and when.

mod revocation;
mod rotation;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use hexabase_backends::seal::Sealer;
use hexabase_backends::store::signing_keys::{self, KeyPurpose, Revoked, SigningKey as KeyRow};
use hexabase_backends::store::{Db, Store};
use hexabase_core::time::Timestamp;
use hexabase_oidc::keys::{Algorithm, KeyRing, RotationPolicy, SigningKey};

pub(crate) use self::revocation::Witness;
pub use self::revocation::{InWorkspaces, Revocation, RevocationRequest};
use crate::error::{Error, Result};

/// How often a process reads the keys, in seconds: within this time it knows of a change that another one made.
pub const RELOAD_SECONDS: u64 = 2;
/// What the bell rings for when this process learns that a key was revoked.
pub const TOPIC: &str = "signing-keys";
/// How long a process that cannot read the keys goes on to publish those that it knows: after that a key may have been
/// revoked long ago, and whoever fetched the set would believe that key for another max-age.
const PUBLISHED_UNREAD: Duration = Duration::from_secs(20);

/// The signing keys, shared by every process on the same database.
#[derive(Debug, Clone)]
pub struct Keys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sealer: Sealer,
    policy: RotationPolicy,
    held: RwLock<Held>,
    /// Until when others are known to keep what this process serves, in seconds since the Unix epoch.
    noted_until: AtomicI64,
}

#[derive(Debug, Default)]
struct Held {
    ring: KeyRing,
    rows: Vec<KeyRow>,
    read_at: Option<Instant>,
    published: Option<Published>,
}

/// The key set as it is served, for as long as it stays the same.
#[derive(Debug, Clone)]
struct Published {
    body: Arc<str>,
    from: i64,
    until: i64,
}

/// A key, for the operator.
#[derive(Debug, Clone)]
pub struct KeyStatus {
    /// Its id in tokens.
    pub kid: String,
    /// `ES256` or `RS256`.
    pub algorithm: &'static str,
    /// `announced`, `signing`, `retired` (published, signs no more), `over`, `revoked`, or `witness` (published while
    /// workspaces are asked whether they know it; signs nothing else).
    pub state: &'static str,
    /// From when it signs.
    pub sign_from: Timestamp,
    /// Until when it signs; open until its successor is made.
    pub sign_until: Option<Timestamp>,
    /// Until when it is published and believed.
    pub publish_until: Option<Timestamp>,
    /// The operator who had it made; none when the platform did by itself.
    pub made_by: Option<String>,
    /// Who took it back, when and why.
    pub revoked: Option<Revoked>,
}

impl Keys {
    /// Reads the keys, or makes the first ones. Of several processes that start at once, one makes them for all.
    pub async fn load(store: &Store, sealer: &Sealer, policy: RotationPolicy, now: Timestamp) -> Result<Self> {
        let keys = Self::unread(sealer, policy);
        if signing_keys::list(store).await?.is_empty() {
            let mut rows = Vec::new();
            for algorithm in Algorithm::ALL {
                let (key, life) = (generate(algorithm).await?, policy.first(now.as_seconds()));
                rows.push(keys.row(&key, KeyPurpose::Sign, life, None)?);
            }
            let tx = store.begin().await?;
            signing_keys::insert_if_none(&tx, &rows).await?;
            tx.commit().await?;
        }
        keys.reload(store).await?;
        Ok(keys)
    }

    /// Reads the keys of a platform that has run before; makes none.
    ///
    /// # Errors
    /// [`Error::Conflict`] when there are none.
    pub async fn open(store: &Store, sealer: &Sealer, policy: RotationPolicy) -> Result<Self> {
        let keys = Self::unread(sealer, policy);
        keys.reload(store).await?;
        if keys.rows().is_empty() {
            return Err(Error::conflict("no_keys", "the database holds no signing keys: no server has run on it yet"));
        }
        Ok(keys)
    }

    fn unread(sealer: &Sealer, policy: RotationPolicy) -> Self {
        let (held, noted_until) = (RwLock::default(), AtomicI64::new(i64::MIN));
        Self(Arc::new(Inner { sealer: sealer.clone(), policy, held, noted_until }))
    }

    /// Takes over what other processes have changed.
    pub async fn reload(&self, store: &Store) -> Result<()> {
        let read_at = Some(Instant::now());
        let rows = signing_keys::list(store).await?;
        {
            let mut held = self.0.held.write().unwrap_or_else(PoisonError::into_inner);
            if held.rows == rows {
                held.read_at = read_at;
                return Ok(());
            }
        }
        let ring = self.ring_of(&rows)?;
        *self.0.held.write().unwrap_or_else(PoisonError::into_inner) = Held { ring, rows, read_at, published: None };
        Ok(())
    }

    /// Runs `read` on the keys as they stand.
    pub fn with<T>(&self, read: impl FnOnce(&KeyRing) -> T) -> T {
        read(&self.0.held.read().unwrap_or_else(PoisonError::into_inner).ring)
    }

    /// The key set to serve at `now`, as JSON. Written anew only when it has changed.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the keys could not be read for so long that a revoked one may be among them.
    pub fn published(&self, now: i64) -> Result<Arc<str>> {
        let known = {
            let held = self.0.held.read().unwrap_or_else(PoisonError::into_inner);
            if held.read_at.is_none_or(|at| at.elapsed() > PUBLISHED_UNREAD) {
                let sentence = "it is not known at the moment which keys are good; try again soon";
                return Err(Error::Unavailable(sentence.to_owned()));
            }
            held.published.clone()
        };
        if let Some(known) = known.filter(|known| known.from <= now && now < known.until) {
            return Ok(known.body);
        }
        let mut held = self.0.held.write().unwrap_or_else(PoisonError::into_inner);
        let body: Arc<str> = serde_json::to_string(&held.ring.jwks(now)).map_err(Error::internal)?.into();
        held.published = Some(Published { body: body.clone(), from: now, until: held.ring.published_until(now) });
        Ok(body)
    }

    /// The rules by which keys are replaced.
    pub fn policy(&self) -> &RotationPolicy {
        &self.0.policy
    }

    /// Every key, oldest first.
    pub async fn list(&self, store: &Store, now: Timestamp) -> Result<Vec<KeyStatus>> {
        let mut rows = signing_keys::list(store).await?;
        rows.sort_by_key(|row| (row.sign_from, row.algorithm.as_str()));
        Ok(rows.iter().map(|row| rows::status(row, now)).collect())
    }

    /// The keys that this process knows to be revoked. What a key of them has let in must not go on; one that was merely
    /// replaced did no harm.
    pub fn revoked(&self) -> BTreeSet<String> {
        let held = self.0.held.read().unwrap_or_else(PoisonError::into_inner);
        held.rows.iter().filter(|row| row.revoked.is_some()).map(|row| row.kid.clone()).collect()
    }

    /// Whether this process knows that the key is revoked.
    pub fn is_revoked(&self, kid: &str) -> bool {
        let held = self.0.held.read().unwrap_or_else(PoisonError::into_inner);
        held.rows.iter().any(|row| row.kid == kid && row.revoked.is_some())
    }

    fn rows(&self) -> Vec<KeyRow> {
        self.0.held.read().unwrap_or_else(PoisonError::into_inner).rows.clone()
    }

    /// The rules at this moment: with the longest max-age under which anybody may still keep a key set, which another
    /// process, or this one before its settings were changed, may have served.
    async fn policy_at(&self, db: &impl Db, now: Timestamp) -> Result<RotationPolicy> {
        let longest = signing_keys::longest_max_age(db, now).await?.unwrap_or_default();
        let own = self.0.policy;
        Ok(RotationPolicy { jwks_max_age: own.jwks_max_age.max(longest), ..own })
    }
}

async fn generate(algorithm: Algorithm) -> Result<SigningKey> {
    let made = tokio::task::spawn_blocking(move || SigningKey::generate(algorithm));
    made.await.map_err(Error::internal)?.map_err(Error::internal)
}
