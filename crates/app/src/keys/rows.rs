//! Keys as rows: what is sealed in them, and what is read out of them.

use hexabase_backends::seal::Place;
use hexabase_backends::store::signing_keys::{KeyPurpose, SigningAlgorithm, SigningKey as KeyRow};
use hexabase_core::time::Timestamp;
use hexabase_oidc::keys::{Algorithm, Jwk, KeyRing, KeyState, SigningKey};
use secrecy::ExposeSecret as _;

use super::{KeyStatus, Keys};
use crate::error::{Error, Result};

/// Where a private key is sealed. A witness that is called a signer by somebody who can write to the database does not open.
fn private(purpose: KeyPurpose, kid: &str) -> Place<'_> {
    let purpose = match purpose {
        KeyPurpose::Sign => "signing_keys.private_sealed",
        KeyPurpose::Witness => "signing_keys.private_sealed of a witness",
    };
    Place { purpose, row: kid }
}

fn public(kid: &str) -> Place<'_> {
    Place { purpose: "signing_keys.public_sealed", row: kid }
}

impl Keys {
    /// The ring of these rows.
    pub(super) fn ring_of(&self, rows: &[KeyRow]) -> Result<KeyRing> {
        let mut ring = KeyRing::new();
        for row in rows {
            let state = state_of(row);
            let added = match (row.private_sealed.is_empty(), row.purpose) {
                (false, KeyPurpose::Sign) => ring.add(self.open_private(row)?, state),
                (false, KeyPurpose::Witness) => ring.add_witness(&self.open_private(row)?, state),
                (true, _) => match self.open_public(row)? {
                    Some(jwk) => ring.add_public(jwk, state),
                    None => continue,
                },
            };
            added.map_err(Error::internal)?;
        }
        Ok(ring)
    }

    /// The private key of a row that has one.
    pub(super) fn open_private(&self, row: &KeyRow) -> Result<SigningKey> {
        let der = self.0.sealer.open(private(row.purpose, &row.kid), &row.private_sealed).map_err(Error::internal)?;
        SigningKey::from_pkcs8_der(algorithm_of(row), &der).map_err(Error::internal)
    }

    /// The public key of a row that has lost its private one; none of a key that nobody is to believe any more.
    fn open_public(&self, row: &KeyRow) -> Result<Option<Jwk>> {
        let Some(sealed) = &row.public_sealed else {
            if row.revoked.is_none() && row.purpose == KeyPurpose::Sign {
                tracing::error!(kid = %row.kid, "a key is not believed: its row was not written by the platform");
            }
            return Ok(None);
        };
        let jwk = self.0.sealer.open(public(&row.kid), sealed).map_err(Error::internal)?;
        serde_json::from_slice(&jwk).map(Some).map_err(Error::internal)
    }

    /// The public key of a row whose private one is about to be forgotten.
    pub(super) fn seal_public(&self, row: &KeyRow) -> Result<Vec<u8>> {
        let jwk = serde_json::to_vec(self.open_private(row)?.public_jwk()).map_err(Error::internal)?;
        self.0.sealer.seal(public(&row.kid), &jwk).map_err(Error::internal)
    }

    /// The row of a new key, with an open end.
    pub(super) fn row(
        &self,
        key: &SigningKey,
        purpose: KeyPurpose,
        state: KeyState,
        by: Option<&str>,
    ) -> Result<KeyRow> {
        let der = key.to_pkcs8_der().map_err(Error::internal)?;
        let sealed = self.0.sealer.seal(private(purpose, key.kid()), der.expose_secret()).map_err(Error::internal)?;
        Ok(KeyRow {
            kid: key.kid().to_owned(),
            algorithm: stored(key.algorithm()),
            purpose,
            private_sealed: sealed,
            public_sealed: None,
            public_jwk: serde_json::to_value(key.public_jwk()).map_err(Error::internal)?,
            publish_from: Timestamp::from_seconds(state.publish_from),
            sign_from: Timestamp::from_seconds(state.sign_from),
            sign_until: None,
            publish_until: None,
            made_by: by.map(str::to_owned),
            revoked: None,
            told_at: None,
        })
    }
}

pub(super) fn status(row: &KeyRow, now: Timestamp) -> KeyStatus {
    let state = state_of(row);
    KeyStatus {
        kid: row.kid.clone(),
        algorithm: row.algorithm.as_str(),
        state: match now.as_seconds() {
            _ if row.revoked.is_some() => "revoked",
            _ if is_open_witness(row) => "witness",
            now if state.may_sign(now) && row.purpose == KeyPurpose::Sign => "signing",
            now if state.sign_from > now && state.is_published(now) => "announced",
            now if state.is_published(now) => "retired",
            _ => "over",
        },
        sign_from: row.sign_from,
        sign_until: row.sign_until,
        publish_until: row.publish_until,
        made_by: row.made_by.clone(),
        revoked: row.revoked.clone(),
    }
}

/// Whether it signs, or will.
pub(super) fn signs(row: &KeyRow, now: Timestamp) -> bool {
    let can = row.purpose == KeyPurpose::Sign && !row.private_sealed.is_empty();
    can && row.revoked.is_none() && row.sign_until.is_none_or(|until| until > now)
}

/// Whether it is a witness for which workspaces are, or are to be, asked.
pub(super) fn is_open_witness(row: &KeyRow) -> bool {
    row.purpose == KeyPurpose::Witness && row.publish_until.is_none()
}

pub(super) fn stored(algorithm: Algorithm) -> SigningAlgorithm {
    match algorithm {
        Algorithm::Es256 => SigningAlgorithm::Es256,
        Algorithm::Rs256 => SigningAlgorithm::Rs256,
    }
}

pub(super) fn algorithm_of(row: &KeyRow) -> Algorithm {
    match row.algorithm {
        SigningAlgorithm::Es256 => Algorithm::Es256,
        SigningAlgorithm::Rs256 => Algorithm::Rs256,
    }
}

pub(super) fn state_of(row: &KeyRow) -> KeyState {
    let end = |moment: Option<Timestamp>| moment.map_or(i64::MAX, Timestamp::as_seconds);
    KeyState {
        publish_from: row.publish_from.as_seconds(),
        sign_from: row.sign_from.as_seconds(),
        sign_until: end(row.sign_until),
        publish_until: end(row.publish_until),
    }
}
