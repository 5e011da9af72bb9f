//! Taking stolen keys back, here and at every workspace's API server (docs/adr/0015-revoking-a-signing-key.md).

use std::collections::BTreeSet;

use hexabase_backends::store::jobs::{self, Unfinished};
use hexabase_backends::store::signing_keys::{self, KeyPurpose, Revoked, SigningKey as KeyRow};
use hexabase_backends::store::{Store, Tx};
use hexabase_core::time::Timestamp;
use hexabase_oidc::keys::{Algorithm, KeyState, SigningKey};

use super::rows::{is_open_witness, signs, stored};
use super::{Keys, RELOAD_SECONDS, generate};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::issuer::ALGORITHM;
use crate::jobs::REFRESH_TENANT_KEYS;

/// Seconds by which the ends of revoked keys and the beginnings of others lie in the past: so far may the clock of whoever
/// revokes be ahead of the servers'.
const SKEW_SECONDS: i64 = 60;
/// Seconds after a revocation before which workspaces are not asked for its witness: until then a process that has not read
/// the change may serve them the old keys, which they would keep.
const MARGIN_SECONDS: i64 = RELOAD_SECONDS as i64 + 1;
/// Longest reason.
const MOST_REASON: usize = 500;
/// Workspaces that an operator is shown at once.
const SHOWN: u64 = 20;

/// Keys that are to be taken back.
#[derive(Debug, Clone)]
pub struct RevocationRequest {
    /// Their ids.
    pub kids: Vec<String>,
    /// Why, in one line.
    pub reason: String,
    /// Who wants it, as the operating system calls them.
    pub operator: String,
}

/// What a revocation did.
#[derive(Debug, Clone)]
pub struct Revocation {
    /// The keys that were taken back.
    pub revoked: Vec<String>,
    /// Those that had been before. Workspaces are asked again all the same.
    pub revoked_before: Vec<String>,
    /// The keys that sign from now on in the place of revoked ones.
    pub successors: Vec<String>,
    /// By when every workspace's API server that can be reached, and reaches us, has forgotten the revoked keys.
    pub tenants_forget_by: Timestamp,
}

/// How far the last revocation has come in the workspaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InWorkspaces {
    /// When it was.
    pub since: Timestamp,
    /// Workspaces whose API servers have not shown that they have fetched the keys since; none while nobody has begun to ask.
    pub left: Option<u64>,
    /// Some of them.
    pub some: Vec<Unfinished>,
}

/// The key that nobody can know who has not fetched the keys since the last revocation.
#[derive(Debug)]
pub(crate) struct Witness {
    /// The key.
    pub(crate) key: SigningKey,
    /// When the revocation was.
    pub(crate) since: Timestamp,
    /// When every set from before it is too old.
    pub(crate) due: Timestamp,
}

impl Keys {
    /// Takes stolen keys back: at once here, and at each workspace's API server as soon as it can be made to fetch the keys
    /// again. A key that waits takes over from one that signed, or else a new one, which API servers with an old set refuse
    /// until then: the lesser harm. May be repeated: workspaces are then asked again.
    ///
    /// # Errors
    /// [`Error::Invalid`] without a reason, or for a key that does not exist; nothing is revoked then.
    pub async fn revoke(&self, store: &Store, clock: &Clock, request: &RevocationRequest) -> Result<Revocation> {
        let RevocationRequest { kids, reason, operator } = request;
        let reason = one_line(reason)?;
        if kids.is_empty() {
            return Err(Error::invalid("kid", "name at least one key"));
        }
        let mut fresh = Vec::new();
        for algorithm in Algorithm::ALL {
            fresh.push(generate(algorithm).await?);
        }
        let witness = generate(ALGORITHM).await?;
        let tx = store.begin().await?;
        signing_keys::lock(&tx).await?;
        // Not before: making keys, and waiting for others, takes its time.
        let now = clock.now();
        let end = Timestamp::from_seconds(now.as_seconds() - SKEW_SECONDS);
        let by = Revoked { at: now, by: operator.clone(), because: reason.to_owned() };
        let mut rows = signing_keys::list(&tx).await?;
        let (mut revoked, mut revoked_before, mut bereft) = (Vec::new(), Vec::new(), Vec::new());
        for kid in kids.iter().collect::<BTreeSet<_>>() {
            let row = rows.iter_mut().find(|row| row.kid == *kid);
            let row = row.ok_or_else(|| Error::invalid("kid", format!("there is no such key: {kid}")))?;
            if row.revoked.is_some() {
                revoked_before.push(kid.clone());
                continue;
            }
            if signs(row, now) {
                bereft.push(row.algorithm);
            }
            take_back(&tx, row, end, &by).await?;
            revoked.push(kid.clone());
        }
        let mut successors = Vec::new();
        for key in fresh.iter().filter(|key| bereft.contains(&stored(key.algorithm()))) {
            successors.push(self.take_over(&tx, &rows, key, now, end, operator).await?);
        }
        for old in rows.iter().filter(|row| is_open_witness(row)) {
            dismiss(&tx, old, now).await?;
        }
        // Published from the instant on at which the revoked keys are no more: there is no set with both.
        let (publish_from, sign_from) = (end.as_seconds(), now.as_seconds());
        let life = KeyState { publish_from, sign_from, sign_until: i64::MAX, publish_until: i64::MAX };
        signing_keys::insert(&tx, &self.row(&witness, KeyPurpose::Witness, life, Some(operator.as_str()))?).await?;
        let tenants_forget_by = self.forgotten_by(&tx, now).await?;
        tx.commit().await?;
        tracing::warn!(kids = ?revoked, "signing keys were revoked");
        // From here on it is done, and what fails is made good by whichever server comes first.
        if let Err(error) = self.follow_revocation_of(store, now).await {
            tracing::warn!(%error, "the workspaces are asked by the next server that tends the keys");
        }
        Ok(Revocation { revoked, revoked_before, successors, tenants_forget_by })
    }

    async fn follow_revocation_of(&self, store: &Store, now: Timestamp) -> Result<()> {
        self.reload(store).await?;
        self.follow_revocation(store, now).await
    }

    /// Sees to it that workspaces are asked for a new witness, and dismisses one that all of them know.
    pub(super) async fn follow_revocation(&self, store: &Store, now: Timestamp) -> Result<()> {
        let Some(known) = self.rows().into_iter().find(is_open_witness) else { return Ok(()) };
        if known.told_at.is_some() && jobs::count_unfinished(store, REFRESH_TENANT_KEYS).await? > 0 {
            return Ok(());
        }
        let tx = store.begin().await?;
        signing_keys::lock(&tx).await?;
        // Another process may have been first, or another revocation have come.
        let rows = signing_keys::list(&tx).await?;
        let Some(witness) = rows.iter().find(|row| row.kid == known.kid && is_open_witness(row)) else {
            return Ok(());
        };
        match (known.told_at, witness.told_at) {
            (None, None) => {
                jobs::enqueue_for_workspaces(&tx, REFRESH_TENANT_KEYS, now.plus_seconds(MARGIN_SECONDS), now).await?;
                signing_keys::note_told(&tx, &witness.kid, now).await?;
            }
            (None, Some(_)) => return Ok(()),
            (Some(_), _) => dismiss(&tx, witness, now).await?,
        }
        tx.commit().await?;
        self.reload(store).await
    }

    /// The witness of the last revocation; none when every workspace has shown that it knows it.
    pub(crate) async fn witness(&self, store: &Store, now: Timestamp) -> Result<Option<Witness>> {
        let rows = signing_keys::list(store).await?;
        let Some(row) = rows.iter().find(|row| is_open_witness(row)) else { return Ok(None) };
        let longest = self.policy_at(store, now).await?.jwks_max_age;
        let due = row.sign_from.plus_seconds(longest + MARGIN_SECONDS);
        Ok(Some(Witness { key: self.open_private(row)?, since: row.sign_from, due }))
    }

    /// How far the last revocation has come in the workspaces; none when they all have forgotten what was revoked.
    pub async fn in_workspaces(&self, store: &Store) -> Result<Option<InWorkspaces>> {
        let rows = signing_keys::list(store).await?;
        let Some(witness) = rows.iter().find(|row| is_open_witness(row)) else { return Ok(None) };
        let left = match witness.told_at {
            Some(_) => Some(jobs::count_unfinished(store, REFRESH_TENANT_KEYS).await?),
            None => None,
        };
        let some = jobs::list_unfinished(store, REFRESH_TENANT_KEYS, SHOWN).await?;
        Ok(Some(InWorkspaces { since: witness.sign_from, left, some }))
    }

    async fn forgotten_by(&self, tx: &Tx, revoked_at: Timestamp) -> Result<Timestamp> {
        let longest = self.policy_at(tx, revoked_at).await?.jwks_max_age;
        Ok(revoked_at.plus_seconds(longest + 2 * MARGIN_SECONDS))
    }

    /// Sees to it that a key of the algorithm of `fresh` signs now and goes on signing; says which.
    async fn take_over(
        &self,
        tx: &Tx,
        rows: &[KeyRow],
        fresh: &SigningKey,
        now: Timestamp,
        from: Timestamp,
        operator: &str,
    ) -> Result<String> {
        let algorithm = stored(fresh.algorithm());
        let usable = |row: &&KeyRow| row.algorithm == algorithm && signs(row, now);
        let newest = rows.iter().filter(usable).filter(|row| row.sign_from <= now).max_by_key(|row| row.sign_from);
        let next = rows.iter().filter(usable).filter(|row| row.sign_from > now).min_by_key(|row| row.sign_from);
        let Some(known) = newest.or(next) else {
            let life = self.0.policy.first(from.as_seconds());
            signing_keys::insert(tx, &self.row(fresh, KeyPurpose::Sign, life, Some(operator))?).await?;
            return Ok(fresh.kid().to_owned());
        };
        let sign_from = known.sign_from.min(from);
        let publish_from = known.publish_from.min(from);
        let row = KeyRow { publish_from, sign_from, sign_until: None, publish_until: None, ..known.clone() };
        signing_keys::set_life(tx, &row).await?;
        Ok(row.kid)
    }
}

/// Ends a key so that nothing is left of it that could be brought back.
async fn take_back(tx: &Tx, row: &mut KeyRow, end: Timestamp, by: &Revoked) -> Result<()> {
    let sooner = |at: Option<Timestamp>| Some(at.map_or(end, |at| at.min(end)));
    (row.sign_until, row.publish_until) = (sooner(row.sign_until), sooner(row.publish_until));
    row.revoked = Some(by.clone());
    signing_keys::set_life(tx, row).await?;
    signing_keys::note_revoked(tx, &row.kid, by).await?;
    Ok(signing_keys::forget_private(tx, &row.kid, None).await?)
}

/// Ends a witness that has served, or that a later one replaces.
async fn dismiss(tx: &Tx, row: &KeyRow, now: Timestamp) -> Result<()> {
    let ended = KeyRow { sign_until: Some(now), publish_until: Some(now), ..row.clone() };
    signing_keys::set_life(tx, &ended).await?;
    Ok(signing_keys::forget_private(tx, &row.kid, None).await?)
}

fn one_line(reason: &str) -> Result<&str> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > MOST_REASON || reason.chars().any(char::is_control) {
        let rule = format!("must say in one line of at most {MOST_REASON} characters why");
        return Err(Error::invalid("reason", rule));
    }
    Ok(reason)
}
