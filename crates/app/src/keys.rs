//! The signing keys of all issuers: made, published, replaced in time, and taken back at once when one is stolen.
//!
//! Rows are the truth. Every process reads them every few seconds, and any of them may make a successor: they take turns
//! under a lock. A key has an open end until its successor is there, so that a platform nobody tends never stops signing.

use std::sync::{Arc, PoisonError, RwLock};

use hexabase_backends::seal::{Place, Sealer};
use hexabase_backends::store::signing_keys::{self, SigningAlgorithm, SigningKey as KeyRow};
use hexabase_backends::store::{MAX_PAGE, Store, Tx, jobs, workspaces};
use hexabase_core::time::Timestamp;
use hexabase_oidc::keys::{Algorithm, KeyRing, KeyState, RotationPolicy, SigningKey};
use secrecy::ExposeSecret as _;

use crate::error::{Error, Result};
use crate::jobs::REFRESH_TENANT_KEYS;

const PURPOSE: &str = "signing_keys.private_sealed";

/// How often a process reads the keys, in seconds: within this time it knows of a change that another one made.
pub const RELOAD_SECONDS: u64 = 2;
/// Seconds for which a key that nobody believes any more is still listed.
const KEEP_SECONDS: i64 = 90 * 24 * 3600;
/// Seconds after the max-age of the key set for which tenants are not yet told to forget a revoked key: a process that has
/// not read the change may serve the old set for that long.
const MARGIN_SECONDS: i64 = RELOAD_SECONDS as i64 + 1;

/// The signing keys, shared by every process on the same database.
#[derive(Debug, Clone)]
pub struct Keys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sealer: Sealer,
    policy: RotationPolicy,
    held: RwLock<Held>,
}

#[derive(Debug, Default)]
struct Held {
    ring: KeyRing,
    rows: Vec<KeyRow>,
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
    /// `announced`, `signing`, `retired` (published, signs no more) or `over`.
    pub state: &'static str,
    /// From when it signs.
    pub sign_from: Timestamp,
    /// Until when it signs; open until its successor is made.
    pub sign_until: Option<Timestamp>,
    /// Until when it is published and believed.
    pub publish_until: Option<Timestamp>,
}

/// What a revocation did.
#[derive(Debug, Clone)]
pub struct Revocation {
    /// The keys that sign from now on in the place of revoked ones.
    pub successors: Vec<String>,
    /// Workspaces whose API servers will be told to forget the revoked keys.
    pub workspaces: usize,
    /// When they will be told: before that they may still believe them.
    pub tenants_told_at: Timestamp,
}

impl Keys {
    /// Reads the keys, or makes the first ones. Of several processes that start at once, one makes them for all.
    pub async fn load(store: &Store, sealer: &Sealer, policy: RotationPolicy, now: Timestamp) -> Result<Self> {
        let keys = Self(Arc::new(Inner { sealer: sealer.clone(), policy, held: RwLock::default() }));
        if signing_keys::list(store).await?.is_empty() {
            let mut rows = Vec::new();
            for algorithm in Algorithm::ALL {
                rows.push(keys.row(&generate(algorithm).await?, policy.first(now.as_seconds()))?);
            }
            let tx = store.begin().await?;
            signing_keys::insert_if_none(&tx, &rows).await?;
            tx.commit().await?;
        }
        keys.reload(store).await?;
        Ok(keys)
    }

    /// Takes over what other processes have changed.
    pub async fn reload(&self, store: &Store) -> Result<()> {
        let rows = signing_keys::list(store).await?;
        if self.0.held.read().unwrap_or_else(PoisonError::into_inner).rows == rows {
            return Ok(());
        }
        let mut ring = KeyRing::new();
        for row in &rows {
            if row.private_sealed.is_empty() {
                let jwk = serde_json::from_value(row.public_jwk.clone()).map_err(Error::internal)?;
                ring.add_public(jwk, state_of(row)).map_err(Error::internal)?;
                continue;
            }
            let place = Place { purpose: PURPOSE, row: &row.kid };
            let der = self.0.sealer.open(place, &row.private_sealed).map_err(Error::internal)?;
            let key = SigningKey::from_pkcs8_der(algorithm_of(row), &der).map_err(Error::internal)?;
            ring.add(key, state_of(row)).map_err(Error::internal)?;
        }
        *self.0.held.write().unwrap_or_else(PoisonError::into_inner) = Held { ring, rows, published: None };
        Ok(())
    }

    /// Runs `read` on the keys as they stand.
    pub fn with<T>(&self, read: impl FnOnce(&KeyRing) -> T) -> T {
        read(&self.0.held.read().unwrap_or_else(PoisonError::into_inner).ring)
    }

    /// The key set to serve at `now`, as JSON. Written anew only when it has changed.
    pub fn published(&self, now: i64) -> Result<Arc<str>> {
        let fits = |known: &Published| known.from <= now && now < known.until;
        let known = self.0.held.read().unwrap_or_else(PoisonError::into_inner).published.clone();
        if let Some(known) = known.filter(fits) {
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
        Ok(rows.iter().map(|row| status(row, now)).collect())
    }

    /// What every process does every few seconds: reads the keys, and makes a successor for each that needs one soon. Says
    /// which it made.
    pub async fn tend(&self, store: &Store, now: Timestamp) -> Result<Vec<String>> {
        self.reload(store).await?;
        let rows = self.0.held.read().unwrap_or_else(PoisonError::into_inner).rows.clone();
        let mut fresh = Vec::new();
        for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| self.due(&rows, *algorithm, now).is_some()) {
            // Before the lock is taken: RSA takes its time.
            fresh.push(generate(algorithm).await?);
        }
        let spent = |row: &KeyRow| !row.private_sealed.is_empty() && row.sign_until.is_some_and(|until| until <= now);
        if fresh.is_empty() && !rows.iter().any(spent) {
            return Ok(Vec::new());
        }
        let tx = store.begin().await?;
        signing_keys::lock(&tx).await?;
        let rows = signing_keys::list(&tx).await?;
        let mut made = Vec::new();
        for key in fresh {
            // Another process may have been first.
            if let Some(state) = self.due(&rows, key.algorithm(), now) {
                self.succeed(&tx, &rows, &key, state).await?;
                made.push(key.kid().to_owned());
            }
        }
        signing_keys::forget_private(&tx, now).await?;
        signing_keys::purge(&tx, now.plus_seconds(-KEEP_SECONDS)).await?;
        tx.commit().await?;
        self.reload(store).await?;
        Ok(made)
    }

    /// Makes a successor for each key that signs now, ahead of its time. Nobody is refused: it signs once everybody has had
    /// time to fetch it.
    ///
    /// # Errors
    /// [`Error::Conflict`] while one is waiting already.
    pub async fn rotate(&self, store: &Store, now: Timestamp) -> Result<Vec<KeyStatus>> {
        let mut fresh = Vec::new();
        for algorithm in Algorithm::ALL {
            fresh.push(generate(algorithm).await?);
        }
        let tx = store.begin().await?;
        signing_keys::lock(&tx).await?;
        let rows = signing_keys::list(&tx).await?;
        if let Some(waiting) = rows.iter().find(|row| row.sign_from > now && !is_over(row, now)) {
            let sentence = format!("the key {} is already waiting to sign, from {}", waiting.kid, waiting.sign_from);
            return Err(Error::conflict("rotation_pending", sentence));
        }
        for key in &fresh {
            let state = self.0.policy.successor(now.as_seconds(), now.as_seconds());
            self.succeed(&tx, &rows, key, state).await?;
        }
        tx.commit().await?;
        self.reload(store).await?;
        self.list(store, now).await
    }

    /// Takes stolen keys back: at once here, and at every tenant's API server once the set that it may hold has become too
    /// old. A key that waits takes over, or else a new one, which verifiers with an old set refuse for that time: the lesser
    /// harm.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a key that does not exist, [`Error::Conflict`] for one that nobody believes any more.
    pub async fn revoke(&self, store: &Store, kids: &[String], now: Timestamp) -> Result<Revocation> {
        let mut fresh = Vec::new();
        for algorithm in Algorithm::ALL {
            fresh.push(generate(algorithm).await?);
        }
        let tx = store.begin().await?;
        signing_keys::lock(&tx).await?;
        let mut rows = signing_keys::list(&tx).await?;
        let mut algorithms = Vec::new();
        for kid in kids {
            let row = rows.iter_mut().find(|row| row.kid == *kid).ok_or(Error::NotFound("key"))?;
            if is_over(row, now) {
                return Err(Error::conflict("key_over", format!("nobody believes the key {kid} any more")));
            }
            // Both ends on one instant: that is how a revoked key is known.
            let end = Some(Timestamp::from_seconds(now.as_seconds()));
            (row.sign_until, row.publish_until) = (end, end);
            signing_keys::set_life(&tx, row).await?;
            algorithms.push(row.algorithm);
        }
        let mut successors = Vec::new();
        for key in fresh.iter().filter(|key| algorithms.contains(&stored(key.algorithm()))) {
            successors.push(self.take_over(&tx, &rows, key, now).await?);
        }
        signing_keys::forget_private(&tx, now).await?;
        let tenants_told_at = self.tenants_forget_at(now);
        let workspaces = tell_tenants(&tx, tenants_told_at, now).await?;
        tx.commit().await?;
        self.reload(store).await?;
        Ok(Revocation { successors, workspaces, tenants_told_at })
    }

    /// When a tenant's API server can be made to forget keys that were revoked up to `now`.
    fn tenants_forget_at(&self, revoked_at: Timestamp) -> Timestamp {
        revoked_at.plus_seconds(self.0.policy.jwks_max_age + MARGIN_SECONDS)
    }

    /// The moment from which a tenant's API server that is shown an unknown key forgets every revoked one; `None` when there
    /// are none to forget.
    pub(crate) async fn tenants_due(&self, store: &Store) -> Result<Option<Timestamp>> {
        let rows = signing_keys::list(store).await?;
        // Only a revocation ends both on one instant.
        let revoked = rows.iter().filter(|row| row.sign_until == row.publish_until);
        Ok(revoked.filter_map(|row| row.publish_until).max().map(|at| self.tenants_forget_at(at)))
    }

    fn due(&self, rows: &[KeyRow], algorithm: Algorithm, now: Timestamp) -> Option<KeyState> {
        let signers = rows.iter().filter(|row| algorithm_of(row) == algorithm && !row.private_sealed.is_empty());
        self.0.policy.due(signers.map(state_of), now.as_seconds())
    }

    /// Writes `key` with an open end, and gives those of its algorithm that had one an end.
    async fn succeed(&self, tx: &Tx, rows: &[KeyRow], key: &SigningKey, state: KeyState) -> Result<()> {
        let row = self.row(key, state)?;
        for old in rows.iter().filter(|old| old.algorithm == row.algorithm && old.sign_until.is_none()) {
            let KeyState { sign_until, publish_until, .. } = self.0.policy.retired(state_of(old), state.sign_from);
            let [sign_until, publish_until] = [sign_until, publish_until].map(|at| Some(Timestamp::from_seconds(at)));
            signing_keys::set_life(tx, &KeyRow { sign_until, publish_until, ..old.clone() }).await?;
        }
        signing_keys::insert(tx, &row).await?;
        Ok(())
    }

    /// Sees to it that a key of the algorithm of `fresh` signs now and goes on signing; says which.
    async fn take_over(&self, tx: &Tx, rows: &[KeyRow], fresh: &SigningKey, now: Timestamp) -> Result<String> {
        let algorithm = stored(fresh.algorithm());
        let usable = |row: &&KeyRow| {
            row.algorithm == algorithm && !is_over(row, now) && row.sign_until.is_none_or(|until| until > now)
        };
        let newest = rows.iter().filter(usable).filter(|row| row.sign_from <= now).max_by_key(|row| row.sign_from);
        let next = rows.iter().filter(usable).filter(|row| row.sign_from > now).min_by_key(|row| row.sign_from);
        let Some(known) = newest.or(next) else {
            signing_keys::insert(tx, &self.row(fresh, self.0.policy.first(now.as_seconds()))?).await?;
            return Ok(fresh.kid().to_owned());
        };
        let sign_from = known.sign_from.min(now);
        let row = KeyRow { sign_from, sign_until: None, publish_until: None, ..known.clone() };
        signing_keys::set_life(tx, &row).await?;
        Ok(row.kid)
    }

    /// The row of a new key, with an open end.
    fn row(&self, key: &SigningKey, state: KeyState) -> Result<KeyRow> {
        let der = key.to_pkcs8_der().map_err(Error::internal)?;
        let place = Place { purpose: PURPOSE, row: key.kid() };
        Ok(KeyRow {
            kid: key.kid().to_owned(),
            algorithm: stored(key.algorithm()),
            private_sealed: self.0.sealer.seal(place, der.expose_secret()).map_err(Error::internal)?,
            public_jwk: serde_json::to_value(key.public_jwk()).map_err(Error::internal)?,
            publish_from: Timestamp::from_seconds(state.publish_from),
            sign_from: Timestamp::from_seconds(state.sign_from),
            sign_until: None,
            publish_until: None,
        })
    }
}

async fn generate(algorithm: Algorithm) -> Result<SigningKey> {
    let made = tokio::task::spawn_blocking(move || SigningKey::generate(algorithm));
    made.await.map_err(Error::internal)?.map_err(Error::internal)
}

/// Has every workspace's API server shown an unknown key at `at`.
async fn tell_tenants(tx: &Tx, at: Timestamp, now: Timestamp) -> Result<usize> {
    let mut told = 0;
    let mut after = None;
    loop {
        let ids = workspaces::list_ids_for_sweep(tx, after.as_ref(), MAX_PAGE).await?;
        for id in &ids {
            jobs::enqueue(tx, REFRESH_TENANT_KEYS, id.as_str(), at, now).await?;
        }
        told += ids.len();
        let Some(last) = ids.last() else { return Ok(told) };
        after = Some(last.clone());
    }
}

fn status(row: &KeyRow, now: Timestamp) -> KeyStatus {
    let state = state_of(row);
    KeyStatus {
        kid: row.kid.clone(),
        algorithm: row.algorithm.as_str(),
        state: match now.as_seconds() {
            now if state.may_sign(now) => "signing",
            now if state.sign_from > now && state.is_published(now) => "announced",
            now if state.is_published(now) => "retired",
            _ => "over",
        },
        sign_from: row.sign_from,
        sign_until: row.sign_until,
        publish_until: row.publish_until,
    }
}

fn is_over(row: &KeyRow, now: Timestamp) -> bool {
    row.publish_until.is_some_and(|until| until <= now)
}

fn stored(algorithm: Algorithm) -> SigningAlgorithm {
    match algorithm {
        Algorithm::Es256 => SigningAlgorithm::Es256,
        Algorithm::Rs256 => SigningAlgorithm::Rs256,
    }
}

fn algorithm_of(row: &KeyRow) -> Algorithm {
    match row.algorithm {
        SigningAlgorithm::Es256 => Algorithm::Es256,
        SigningAlgorithm::Rs256 => Algorithm::Rs256,
    }
}

fn state_of(row: &KeyRow) -> KeyState {
    let end = |moment: Option<Timestamp>| moment.map_or(i64::MAX, Timestamp::as_seconds);
    KeyState {
        publish_from: row.publish_from.as_seconds(),
        sign_from: row.sign_from.as_seconds(),
        sign_until: end(row.sign_until),
        publish_until: end(row.publish_until),
    }
}
