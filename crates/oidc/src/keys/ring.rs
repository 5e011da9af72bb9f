//! The keys of one issuer.

use serde::{Serialize, de::DeserializeOwned};

use super::{Algorithm, Jwk, JwkSet, KeyState, RotationPolicy, SigningKey};
use crate::claims::IdTokenClaims;
use crate::jwt::{self, Expectation, ExpectedTyp, SignError, TokenError, Typ};

/// Why a key was not taken into the ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// Two keys of the same id would make verification depend on their order.
    #[error("the key {0} is in the ring already")]
    Duplicate(String),
    /// A public key whose id is not its thumbprint, or of a type that verifies nothing.
    #[error("the public key has no id of its own or no algorithm of ours")]
    Unusable,
}

#[derive(Debug, Clone)]
struct Held {
    jwk: Jwk,
    alg: Algorithm,
    signer: Option<SigningKey>,
    state: KeyState,
    /// Whether tokens that it signed are ours.
    believed: bool,
}

/// The keys of one issuer, each with its [`KeyState`]. A value: load it, use it, replace it when the store changes.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    held: Vec<Held>,
}

impl KeyRing {
    /// An empty ring, which signs and accepts nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a key that can sign.
    pub fn add(&mut self, key: SigningKey, state: KeyState) -> Result<(), RingError> {
        let (jwk, alg) = (key.public_jwk().clone(), key.algorithm());
        self.push(Held { jwk, alg, signer: Some(key), state, believed: true })
    }

    /// Takes in the public half of a key that no longer signs but is still published. Its id must be its thumbprint.
    pub fn add_public(&mut self, jwk: Jwk, state: KeyState) -> Result<(), RingError> {
        let own_id = jwk.kid.is_some() && jwk.kid == jwk.thumbprint();
        let alg = jwk.algorithm().filter(|_| own_id).ok_or(RingError::Unusable)?;
        self.push(Held { jwk, alg, signer: None, state, believed: true })
    }

    /// Takes in a key that is published and no more: the ring neither signs with it nor believes what it signed. Whoever
    /// knows it has fetched the set since it is there.
    pub fn add_witness(&mut self, key: &SigningKey, state: KeyState) -> Result<(), RingError> {
        let (jwk, alg) = (key.public_jwk().clone(), key.algorithm());
        self.push(Held { jwk, alg, signer: None, state, believed: false })
    }

    fn push(&mut self, new: Held) -> Result<(), RingError> {
        if self.held.iter().any(|held| held.jwk.kid == new.jwk.kid) {
            return Err(RingError::Duplicate(new.jwk.kid.unwrap_or_default()));
        }
        self.held.push(new);
        Ok(())
    }

    /// The key that signs at `now`: of those that may, the one that began last.
    pub fn signer(&self, alg: Algorithm, now: i64) -> Option<&SigningKey> {
        self.held
            .iter()
            .filter(|held| held.alg == alg && held.state.may_sign(now))
            .filter_map(|held| held.signer.as_ref().map(|signer| (held.state.sign_from, signer)))
            .max_by_key(|(sign_from, _)| *sign_from)
            .map(|(_, signer)| signer)
    }

    /// The key set to serve at `now`, with `Cache-Control: max-age` of the rotation policy.
    pub fn jwks(&self, now: i64) -> JwkSet {
        let published = self.held.iter().filter(|held| held.state.is_published(now));
        JwkSet { keys: published.map(|held| held.jwk.clone()).collect() }
    }

    /// The algorithms in which the ring can sign at `now`.
    pub fn algorithms(&self, now: i64) -> Vec<Algorithm> {
        Algorithm::ALL.into_iter().filter(|alg| self.signer(*alg, now).is_some()).collect()
    }

    /// Signs with the current key of that algorithm.
    pub fn sign(&self, alg: Algorithm, claims: &impl Serialize, typ: Typ, now: i64) -> Result<String, SignError> {
        jwt::sign(self.signer(alg, now).ok_or(SignError::NoKey(alg))?, claims, typ)
    }

    /// Verifies one of our own tokens against the keys published at `expected.now`, witnesses aside.
    pub fn verify<C: DeserializeOwned>(&self, token: &str, expected: &Expectation<'_>) -> Result<C, TokenError> {
        jwt::verify_among(token, self.believed(expected.now), expected)
    }

    /// An ID token of `issuer` that comes back as a hint (`id_token_hint`): everything is checked but for the audience,
    /// which the claims tell, and the times, which may be over. It grants nothing and proves nobody's presence.
    pub fn verify_hint(&self, token: &str, issuer: &str, now: i64) -> Result<IdTokenClaims, TokenError> {
        let expected = Expectation {
            issuer,
            audience: &jwt::claimed_audience(token)?,
            typ: ExpectedTyp::Exactly(Typ::Jwt),
            algorithms: &Algorithm::ALL,
            now,
            leeway: i64::MAX,
        };
        jwt::verify_among(token, self.believed(now), &expected)
    }

    fn believed(&self, now: i64) -> impl Iterator<Item = &Jwk> {
        let believed = self.held.iter().filter(move |held| held.believed && held.state.is_published(now));
        believed.map(|held| &held.jwk)
    }

    /// The next instant after `now` at which [`Self::jwks`] changes by itself.
    pub fn published_until(&self, now: i64) -> i64 {
        let instants = self.held.iter().flat_map(|held| [held.state.publish_from, held.state.publish_until]);
        instants.filter(|instant| *instant > now).min().unwrap_or(i64::MAX)
    }

    /// Whether a new key of that algorithm should be made now, see [`RotationPolicy::due`].
    pub fn rotation_due(&self, alg: Algorithm, now: i64, policy: &RotationPolicy) -> Option<KeyState> {
        let signers = self.held.iter().filter(|held| held.alg == alg && held.signer.is_some());
        policy.due(signers.map(|held| held.state), now)
    }
}
