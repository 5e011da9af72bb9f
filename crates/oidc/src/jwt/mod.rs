//! Signed tokens: JWS compact serialisation (RFC 7515) with JWT claims (RFC 7519), read along RFC 8725.

mod error;
mod header;
mod strict;
mod verify;

pub use error::{SignError, TokenError};
pub use header::Typ;
pub use verify::{Expectation, ExpectedTyp, key_id, verify};
pub(crate) use verify::{claimed_audience, verify_among};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use crate::keys::SigningKey;

/// The largest token we read or write, in bytes. Well above 200 groups; far below what the Kubernetes API server
/// would take (80 KB were measured).
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Signs `claims` as a compact JWS whose header holds `alg`, `typ` and `kid` and nothing else.
///
/// Checks nothing about the claims: the types in [`crate::claims`] do that when they are built.
pub fn sign(key: &SigningKey, claims: &impl Serialize, typ: Typ) -> Result<String, SignError> {
    let payload = serde_json::to_vec(claims).map_err(SignError::Claims)?;
    if payload.len() * 4 / 3 > MAX_TOKEN_BYTES - 1024 {
        return Err(SignError::TooLarge);
    }
    let mut token = String::with_capacity(payload.len() * 4 / 3 + 512);
    // `kid` is base64url: nothing in it needs escaping.
    let header = format!(r#"{{"alg":"{}","typ":"{}","kid":"{}"}}"#, key.algorithm(), typ.as_str(), key.kid());
    URL_SAFE_NO_PAD.encode_string(header, &mut token);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut token);
    let signature = key.sign_bytes(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// The left half of the SHA-256 hash, base64url: `at_hash` and `c_hash` (OpenID Connect Core 1.0 section 3.1.3.6) for
/// both algorithms of ours.
pub fn half_hash(value: &str) -> String {
    URL_SAFE_NO_PAD.encode(&digest::digest(&digest::SHA256, value.as_bytes()).as_ref()[..16])
}
