//! Replacing keys in time.

use std::sync::atomic::Ordering;

use hexabase_backends::store::signing_keys::{self, KeyPurpose, SigningKey as KeyRow};
use hexabase_backends::store::{Store, Tx};
use hexabase_core::time::Timestamp;
use hexabase_oidc::keys::{Algorithm, KeyState, RotationPolicy, SigningKey};

use super::rows::{algorithm_of, signs, state_of};
use super::{KeyStatus, Keys, generate};
use crate::clock::Clock;
use crate::error::{Error, Result};

/// Seconds for which a key that nobody believes any more is still listed.
const KEEP_SECONDS: i64 = 90 * 24 * 3600;

impl Keys {
    /// What every process does every few seconds: reads the keys, makes a successor for each that needs one soon, and goes on
    /// with a revocation. Says which it made.
    pub async fn tend(&self, store: &Store, clock: &Clock) -> Result<Vec<String>> {
        self.reload(store).await?;
        self.note_served(store, clock.now()).await?;
        let made = self.replace(store, clock).await?;
        self.follow_revocation(store, clock.now()).await?;
        Ok(made)
    }

    /// Lets everybody know for how long others may keep what this process serves; to be called before it serves anything,
    /// and by [`tend`](Self::tend) from then on.
    pub async fn note_served(&self, store: &Store, now: Timestamp) -> Result<()> {
        let max_age = self.0.policy.jwks_max_age;
        // As long again as a set that is served just before the next note can be kept: one write in each max-age.
        let (needed, until) = (now.as_seconds() + max_age + 60, now.as_seconds() + 2 * max_age + 60);
        if self.0.noted_until.load(Ordering::SeqCst) >= needed {
            return Ok(());
        }
        let tx = store.begin().await?;
        signing_keys::note_served(&tx, max_age, Timestamp::from_seconds(until)).await?;
        tx.commit().await?;
        self.0.noted_until.store(until, Ordering::SeqCst);
        Ok(())
    }

    async fn replace(&self, store: &Store, clock: &Clock) -> Result<Vec<String>> {
        let (rows, now) = (self.rows(), clock.now());
        let mut fresh = Vec::new();
        for algorithm in Algorithm::ALL {
            if due(&self.0.policy, &rows, algorithm, now).is_some() {
                // Before the lock is taken: RSA takes its time.
                fresh.push(generate(algorithm).await?);
            }
        }
        if fresh.is_empty() && !rows.iter().any(|row| is_spent(row, now)) {
            return Ok(Vec::new());
        }
        let tx = store.begin().await?;
        signing_keys::lock(&tx).await?;
        let (rows, now) = (signing_keys::list(&tx).await?, clock.now());
        let policy = self.policy_at(&tx, now).await?;
        let mut made = Vec::new();
        for key in fresh {
            // Another process may have been first.
            if let Some(state) = due(&policy, &rows, key.algorithm(), now) {
                self.succeed(&tx, &rows, &key, state, &policy, None).await?;
                made.push(key.kid().to_owned());
            }
        }
        for row in rows.iter().filter(|row| is_spent(row, now)) {
            signing_keys::forget_private(&tx, &row.kid, Some(self.seal_public(row)?)).await?;
        }
        signing_keys::purge(&tx, now.plus_seconds(-KEEP_SECONDS)).await?;
        tx.commit().await?;
        self.reload(store).await?;
        made.iter().for_each(|kid| tracing::info!(kid, "made a signing key; it signs once it is known"));
        Ok(made)
    }

    /// Makes a successor for each key that signs now, ahead of its time, for the operator of that name. Nobody is refused: it
    /// signs once everybody has had time to fetch it.
    ///
    /// # Errors
    /// [`Error::Conflict`] while one is waiting already.
    pub async fn rotate(&self, store: &Store, clock: &Clock, operator: &str) -> Result<Vec<KeyStatus>> {
        let mut fresh = Vec::new();
        for algorithm in Algorithm::ALL {
            fresh.push(generate(algorithm).await?);
        }
        let tx = store.begin().await?;
        signing_keys::lock(&tx).await?;
        let (rows, now) = (signing_keys::list(&tx).await?, clock.now());
        if let Some(waiting) = rows.iter().find(|row| signs(row, now) && row.sign_from > now) {
            let sentence = format!("the key {} is already waiting to sign, from {}", waiting.kid, waiting.sign_from);
            return Err(Error::conflict("rotation_pending", sentence));
        }
        let policy = self.policy_at(&tx, now).await?;
        for key in &fresh {
            let state = policy.successor(now.as_seconds(), now.as_seconds());
            self.succeed(&tx, &rows, key, state, &policy, Some(operator)).await?;
        }
        tx.commit().await?;
        self.reload(store).await?;
        self.list(store, now).await
    }

    /// Writes `key` with an open end, and gives those of its algorithm that had one an end.
    async fn succeed(
        &self,
        tx: &Tx,
        rows: &[KeyRow],
        key: &SigningKey,
        state: KeyState,
        policy: &RotationPolicy,
        by: Option<&str>,
    ) -> Result<()> {
        let row = self.row(key, KeyPurpose::Sign, state, by)?;
        let open =
            |old: &&KeyRow| old.purpose == row.purpose && old.algorithm == row.algorithm && old.sign_until.is_none();
        for old in rows.iter().filter(open) {
            let KeyState { sign_until, publish_until, .. } = policy.retired(state_of(old), state.sign_from);
            let [sign_until, publish_until] = [sign_until, publish_until].map(|at| Some(Timestamp::from_seconds(at)));
            signing_keys::set_life(tx, &KeyRow { sign_until, publish_until, ..old.clone() }).await?;
        }
        signing_keys::insert(tx, &row).await?;
        Ok(())
    }
}

fn due(policy: &RotationPolicy, rows: &[KeyRow], algorithm: Algorithm, now: Timestamp) -> Option<KeyState> {
    let signers = rows.iter().filter(|row| signs(row, now) && algorithm_of(row) == algorithm);
    policy.due(signers.map(state_of), now.as_seconds())
}

/// Whether it has a private half that is of no use any more.
fn is_spent(row: &KeyRow, now: Timestamp) -> bool {
    row.purpose == KeyPurpose::Sign && !row.private_sealed.is_empty() && !signs(row, now)
}
