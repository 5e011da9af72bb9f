//! Proof Key for Code Exchange (RFC 7636), S256 only.

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::random::{RandomError, random_bytes};

/// Why a challenge or verifier is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PkceError {
    /// `code_challenge` is missing.
    #[error("code_challenge is required (PKCE)")]
    Missing,
    /// `plain`, or no method, which means `plain` (RFC 7636 section 4.3).
    #[error("code_challenge_method must be S256")]
    Method,
    /// Not a SHA-256 in base64url.
    #[error("code_challenge must be 43 base64url characters")]
    Challenge,
    /// Not 43 to 128 unreserved characters.
    #[error("code_verifier must be 43 to 128 unreserved characters")]
    Verifier,
}

/// The `code_challenge` of an authorisation request, to be stored with the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CodeChallenge(String);

impl CodeChallenge {
    /// Reads the two request parameters.
    pub fn parse(challenge: Option<&str>, method: Option<&str>) -> Result<Self, PkceError> {
        let challenge = challenge.ok_or(PkceError::Missing)?;
        if method != Some("S256") {
            return Err(PkceError::Method);
        }
        match URL_SAFE_NO_PAD.decode(challenge) {
            Ok(digest) if digest.len() == 32 => Ok(Self(challenge.to_owned())),
            _ => Err(PkceError::Challenge),
        }
    }

    /// Whether the verifier belongs to this challenge; compared in constant time.
    pub fn is_met_by(&self, verifier: &CodeVerifier) -> bool {
        self.0.as_bytes().ct_eq(verifier.challenge().0.as_bytes()).into()
    }

    /// As sent in `code_challenge`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The `code_verifier`: a secret until it is sent to the token endpoint.
#[derive(Debug, Clone)]
pub struct CodeVerifier(SecretString);

impl CodeVerifier {
    /// A new one of 256 random bits, for the client's side.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self(URL_SAFE_NO_PAD.encode(random_bytes::<32>()?).into()))
    }

    /// Reads one from a token request or from where it was kept.
    pub fn parse(verifier: &str) -> Result<Self, PkceError> {
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(unreserved) {
            return Err(PkceError::Verifier);
        }
        Ok(Self(verifier.to_owned().into()))
    }

    /// The challenge to send ahead, method S256.
    pub fn challenge(&self) -> CodeChallenge {
        let digest = digest::digest(&digest::SHA256, self.0.expose_secret().as_bytes());
        CodeChallenge(URL_SAFE_NO_PAD.encode(digest))
    }

    /// The secret itself, to send to the token endpoint or to keep until the callback.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}
