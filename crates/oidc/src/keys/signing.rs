//! Private keys that sign.

use std::sync::Arc;

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use secrecy::SecretSlice;

use super::{Algorithm, Jwk};

/// What can go wrong with a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key could not be generated.
    #[error("the {0} key could not be generated")]
    Generate(Algorithm),
    /// The bytes are not a PKCS#8 key of that algorithm, or (RSA) it is shorter than 2048 bits.
    #[error("the stored bytes are not a usable {0} key")]
    Decode(Algorithm),
    /// The key could not be written as PKCS#8.
    #[error("the {0} key could not be encoded")]
    Encode(Algorithm),
    /// The signature could not be made.
    #[error("signing with the {0} key failed")]
    Sign(Algorithm),
}

enum Private {
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// A private key, parsed once and ready to sign. Cloning is cheap; printing shows the key id only.
#[derive(Clone)]
pub struct SigningKey(Arc<Inner>);

struct Inner {
    private: Private,
    alg: Algorithm,
    kid: String,
    jwk: Jwk,
}

impl SigningKey {
    /// Draws a new key. RSA takes in the order of 0.1 s: not inside a request.
    pub fn generate(alg: Algorithm) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Generate(alg);
        let private = match alg {
            Algorithm::Es256 => Private::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?),
            Algorithm::Rs256 => Private::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?),
        };
        Self::prepare(private, alg).ok_or(KeyError::Generate(alg))
    }

    /// Reads a key that [`Self::to_pkcs8_der`] wrote. Decrypting it first is the caller's business.
    pub fn from_pkcs8_der(alg: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Decode(alg);
        let private = match alg {
            Algorithm::Es256 => {
                Private::Ec(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map_err(failed)?)
            }
            Algorithm::Rs256 => Private::Rsa(RsaKeyPair::from_pkcs8(der).map_err(failed)?),
        };
        Self::prepare(private, alg).ok_or(KeyError::Decode(alg))
    }

    /// The private key as PKCS#8, to be encrypted and stored by the caller. Wiped from memory when dropped.
    pub fn to_pkcs8_der(&self) -> Result<SecretSlice<u8>, KeyError> {
        let failed = |_| KeyError::Encode(self.0.alg);
        Ok(match &self.0.private {
            Private::Ec(pair) => SecretSlice::from(pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec()),
            Private::Rsa(pair) => SecretSlice::from(pair.as_der().map_err(failed)?.as_ref().to_vec()),
        })
    }

    fn prepare(private: Private, alg: Algorithm) -> Option<Self> {
        let jwk = match &private {
            Private::Ec(pair) => Jwk::from_p256_point(pair.public_key().as_ref())?,
            Private::Rsa(pair) => {
                let (n, e) = rsa_components(pair.public_key().as_ref())?;
                if n.len() < 256 {
                    return None;
                }
                Jwk::from_rsa_components(n, e)
            }
        };
        let kid = jwk.kid.clone()?;
        Some(Self(Arc::new(Inner { private, alg, kid, jwk })))
    }

    /// The algorithm it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.0.alg
    }

    /// Its id: the RFC 7638 thumbprint of the public key.
    pub fn kid(&self) -> &str {
        &self.0.kid
    }

    /// The public half, ready to publish: `kid`, `use` = `sig` and `alg` are set.
    pub fn public_jwk(&self) -> &Jwk {
        &self.0.jwk
    }

    /// The raw JWS signature (RFC 7518 sections 3.3 and 3.4) over `message`.
    pub(crate) fn sign_bytes(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError::Sign(self.0.alg);
        let rng = SystemRandom::new();
        match &self.0.private {
            Private::Ec(pair) => Ok(pair.sign(&rng, message).map_err(failed)?.as_ref().to_vec()),
            Private::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &rng, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("alg", &self.0.alg).field("kid", &self.0.kid).finish_non_exhaustive()
    }
}

/// Modulus and exponent out of a PKCS#1 `RSAPublicKey` (RFC 8017 A.1.1), without leading zeros.
fn rsa_components(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, rest) = der_value(der, 0x30)?;
    let (n, after_n) = der_value(sequence, 0x02)?;
    let (e, after_e) = der_value(after_n, 0x02)?;
    (rest.is_empty() && after_e.is_empty()).then_some((strip_zeros(n), strip_zeros(e)))
}

fn strip_zeros(mut integer: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = integer {
        integer = rest;
    }
    integer
}

/// The content of the DER value at the front, which must have that tag, and what follows it.
fn der_value(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, input) = input.split_first()?;
    let (&first, input) = input.split_first()?;
    let (length, input) = match first {
        0..=0x7f => (usize::from(first), input),
        0x81..=0x82 => {
            let (bytes, input) = input.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), input)
        }
        _ => return None,
    };
    if found != tag { None } else { input.split_at_checked(length) }
}
