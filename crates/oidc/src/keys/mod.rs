//! Signing keys, the JWK set they are published in, and when a key may do what.

mod jwk;
mod ring;
mod signing;
mod state;

pub use jwk::{Jwk, JwkSet};
pub use ring::{KeyRing, RingError};
pub use signing::{KeyError, SigningKey};
pub use state::{KeyState, KeyStateError, RotationPolicy};

use serde::{Deserialize, Serialize};

/// The signature algorithms this product signs and accepts (RFC 7518 section 3.1). Nothing else parses, `none` least
/// of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256: small and fast, the platform's own choice.
    #[serde(rename = "ES256")]
    Es256,
    /// RSA PKCS#1 v1.5 with SHA-256: what every relying party must understand (OpenID Connect Core 1.0 section 15.1).
    #[serde(rename = "RS256")]
    Rs256,
}

impl Algorithm {
    /// Both, in the order of preference.
    pub const ALL: [Self; 2] = [Self::Es256, Self::Rs256];

    /// The name in a JOSE header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// The algorithm of that exact name, if it is one of ours.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.as_str() == name)
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
