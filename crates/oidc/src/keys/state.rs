//! When a key is published and when it may sign: four instants, decided once, when the key is made.
//!
//! ```text
//!   publish_from        sign_from                    sign_until            publish_until
//!        |── published ────────────────────────────────────────────────────────|
//!                            |──────── signs ──────────|
//!        |≥ max-age + 60 s   |                         |≥ token life + max-age |
//! ```
//!
//! Why: verifiers cache a key set for its `max-age` and the Kubernetes API server refetches up to 30 s late, so a key
//! that signs before everybody has seen it produces tokens that are refused; and a key that is withdrawn before its
//! last token expired does the same. Measured on a real API server.

use serde::{Deserialize, Serialize};

/// The four instants of a key's life, seconds since 1970. Each interval includes its start and excludes its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyState {
    /// From here on it is in the JWK set.
    pub publish_from: i64,
    /// From here on it may sign.
    pub sign_from: i64,
    /// From here on it no longer signs.
    pub sign_until: i64,
    /// From here on it is gone from the JWK set, and we refuse it as well.
    pub publish_until: i64,
}

/// How keys are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationPolicy {
    /// `Cache-Control: max-age` of the JWK set.
    pub jwks_max_age: i64,
    /// The longest life of any token signed by the key.
    pub longest_token_life: i64,
    /// How long one key signs.
    pub sign_for: i64,
}

/// Why four instants do not make a safe key life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyStateError {
    /// The instants are not in order.
    #[error("a key must be published before it signs, and sign before it is withdrawn")]
    OutOfOrder,
    /// Verifiers could meet a signature before they can have fetched the key.
    #[error("a key must be published for the max-age of the set plus 60 s before it signs")]
    SignsTooEarly,
    /// Tokens would still be alive after the key is gone.
    #[error("a key must stay published for the longest token life plus the max-age of the set")]
    WithdrawnTooEarly,
}

impl RotationPolicy {
    /// `max-age=300`, tokens of at most an hour, a new key every 30 days.
    pub const DEFAULT: Self = Self { jwks_max_age: 300, longest_token_life: 3600, sign_for: 30 * 24 * 3600 };

    /// How long a key is published before its first signature.
    pub const fn lead(&self) -> i64 {
        self.jwks_max_age + 60
    }

    /// How long a key stays published after its last signature.
    pub const fn tail(&self) -> i64 {
        self.longest_token_life + self.jwks_max_age
    }

    /// The life of a key that replaces one which signs until `current_sign_until`. It takes over a lead's time before
    /// that instant, so that a rotation that runs late by less than that is not noticed by anybody.
    pub const fn successor(&self, now: i64, current_sign_until: i64) -> KeyState {
        let ready = now + self.lead();
        let wanted = current_sign_until - self.lead();
        let sign_from = if ready > wanted { ready } else { wanted };
        self.life(now, sign_from)
    }

    /// The life of the very first key of an issuer: it signs at once, because nobody can have cached a set yet. Also
    /// the one to use after an emergency revocation, when refused tokens are the lesser harm.
    pub const fn first(&self, now: i64) -> KeyState {
        self.life(now, now)
    }

    const fn life(&self, publish_from: i64, sign_from: i64) -> KeyState {
        let sign_until = sign_from + self.sign_for;
        KeyState { publish_from, sign_from, sign_until, publish_until: sign_until + self.tail() }
    }

    /// The end that a key with an open end is given when its successor begins to sign at `successor_signs_from`: a lead
    /// later, so that a process which learns of the successor late still signs with a key that is published.
    pub const fn retired(&self, key: KeyState, successor_signs_from: i64) -> KeyState {
        let sign_until = successor_signs_from + self.lead();
        KeyState { sign_until, publish_until: sign_until + self.tail(), ..key }
    }

    /// Whether a new key should be made at `now` beside those with the lives `keys`, all of one algorithm and able to sign,
    /// and if so with which life. `None`: nothing to do. A key whose end is open is replaced after the policy's time all
    /// the same.
    ///
    /// Idempotent: with the successor among the keys it answers `None` until the next rotation. Two processes that ask at
    /// the same moment both get an answer, so make the key under a lock.
    pub fn due(&self, keys: impl Iterator<Item = KeyState>, now: i64) -> Option<KeyState> {
        let signing = keys.filter(|key| key.sign_until > now);
        let ends = signing.map(|key| key.sign_until.min(key.sign_from.saturating_add(self.sign_for)));
        match ends.max() {
            // Nothing signs: the service is down anyway, so do not add the lead to the outage.
            None => Some(self.first(now)),
            Some(until) if now >= self.successor_due_at(until) => Some(self.successor(now, until)),
            Some(_) => None,
        }
    }

    /// When the successor of a key that signs until `sign_until` should be made: three leads before, which leaves
    /// room for a missed run.
    pub const fn successor_due_at(&self, sign_until: i64) -> i64 {
        sign_until - 3 * self.lead()
    }
}

impl Default for RotationPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl KeyState {
    /// Whether the key belongs in the JWK set at `now`.
    pub const fn is_published(&self, now: i64) -> bool {
        self.publish_from <= now && now < self.publish_until
    }

    /// Whether the key may sign at `now`. Never true for a key that is not published.
    pub const fn may_sign(&self, now: i64) -> bool {
        self.sign_from <= now && now < self.sign_until && self.is_published(now)
    }

    /// Checks a stored or hand-made life against the policy. A first key ([`RotationPolicy::first`]) fails with
    /// [`KeyStateError::SignsTooEarly`]; that is the point.
    pub const fn check(&self, policy: &RotationPolicy) -> Result<(), KeyStateError> {
        if self.publish_from > self.sign_from
            || self.sign_from >= self.sign_until
            || self.sign_until > self.publish_until
        {
            return Err(KeyStateError::OutOfOrder);
        }
        if self.publish_until - self.sign_until < policy.tail() {
            return Err(KeyStateError::WithdrawnTooEarly);
        }
        if self.sign_from - self.publish_from < policy.lead() {
            return Err(KeyStateError::SignsTooEarly);
        }
        Ok(())
    }

    /// The life of a key that is known to be stolen: over, at once. Verifiers elsewhere keep believing it until they
    /// refetch; the caller must see to it that each does, and ask it for proof ([`super::KeyRing::add_witness`]).
    #[must_use]
    pub const fn revoked(self, now: i64) -> Self {
        Self { sign_until: min_i64(self.sign_until, now), publish_until: min_i64(self.publish_until, now), ..self }
    }
}

const fn min_i64(a: i64, b: i64) -> i64 {
    if a < b { a } else { b }
}
