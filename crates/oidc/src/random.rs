//! Everything random, and the hash under which random things are stored.

use aws_lc_rs::{digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

/// The operating system gave no randomness. Nothing can be minted; the request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random generator failed")]
pub struct RandomError;

/// Fills a new array from the system's generator.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0u8; N];
    rand::fill(&mut bytes).map_err(|_| RandomError)?;
    Ok(bytes)
}

/// A secret of 256 random bits as `<prefix><43 base64url characters>`: codes, refresh tokens, API tokens.
///
/// Store only [`hash_token`] of it. The prefix (for example `hxr_`) lets a secret scanner recognise what leaked.
pub fn opaque_token(prefix: &str) -> Result<String, RandomError> {
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random_bytes::<32>()?)))
}

/// A public identifier of 128 random bits, for `jti` and the like. Not a secret.
pub fn random_id() -> Result<String, RandomError> {
    Ok(URL_SAFE_NO_PAD.encode(random_bytes::<16>()?))
}

/// SHA-256 of a token, in lower-case hex: the only form in which an opaque token is stored or looked up.
///
/// No salt and no stretching: the input has 256 bits of entropy. Never use it for anything a person chose.
pub fn hash_token(token: &str) -> String {
    use std::fmt::Write;
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    digest.as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Whether two stored hashes are the same, in time that depends on their length only.
pub fn hashes_match(a: &str, b: &str) -> bool {
    !a.is_empty() && bool::from(a.as_bytes().ct_eq(b.as_bytes()))
}
