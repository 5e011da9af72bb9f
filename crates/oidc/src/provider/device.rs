//! The device authorisation grant (RFC 8628).

use serde::{Deserialize, Serialize};

use super::{ClientCredentials, OAuthError, Scopes, token::scopes};
use crate::{
    params::Params,
    random::{RandomError, random_bytes},
};

/// A request to the device authorisation endpoint (section 3.1).
#[derive(Debug, Clone)]
pub struct DeviceAuthorizationRequest {
    /// Who asks; authenticate before answering.
    pub client: ClientCredentials,
    /// What for.
    pub scopes: Scopes,
}

impl DeviceAuthorizationRequest {
    /// Reads the `Authorization` header, if any, and the form body.
    pub fn parse(authorization: Option<&str>, body: &str) -> Result<Self, OAuthError> {
        let form = Params::parse(body)?;
        Ok(Self { client: ClientCredentials::from_request(authorization, &form)?, scopes: scopes(&form)? })
    }
}

/// The answer (section 3.2); send it with `Cache-Control: no-store`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceAuthorizationResponse {
    /// The device's secret: [`crate::opaque_token`]; store its hash.
    pub device_code: String,
    /// What the person types: [`UserCode`], as displayed.
    pub user_code: String,
    /// Where they type it.
    pub verification_uri: String,
    /// The same with the code filled in; the page must still show the code and ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification_uri_complete: Option<String>,
    /// Seconds both codes live.
    pub expires_in: i64,
    /// Seconds between two polls.
    pub interval: i64,
}

impl std::fmt::Debug for DeviceAuthorizationResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceAuthorizationResponse")
            .field("verification_uri", &self.verification_uri)
            .field("expires_in", &self.expires_in)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// What was typed cannot be a user code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a code has eight letters, as in BCDF-GHJK")]
pub struct UserCodeError;

/// Consonants only (RFC 8628 section 6.1): no look-alikes, no words. 20^8, about 34 bits: safe for ten minutes behind
/// a rate limit and a signed-in person, not longer.
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// A code a person reads from one screen and types into another. Displayed as `XXXX-XXXX`; store and compare
/// [`Self::as_str`], which has no hyphen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UserCode(String);

impl UserCode {
    /// Draws a new one, every letter equally likely.
    pub fn generate() -> Result<Self, RandomError> {
        let mut code = String::with_capacity(8);
        while code.len() < 8 {
            // 240 is the largest multiple of 20 in a byte; what lies above would favour some letters.
            let usable = random_bytes::<16>()?.into_iter().filter(|byte| *byte < 240);
            code.extend(usable.map(|byte| char::from(ALPHABET[usize::from(byte % 20)])).take(8 - code.len()));
        }
        Ok(Self(code))
    }

    /// Reads what a person typed: any case, with spaces, hyphens or dots anywhere.
    pub fn parse(typed: &str) -> Result<Self, UserCodeError> {
        if typed.len() > 64 {
            return Err(UserCodeError);
        }
        let letters =
            typed.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '.' | '_' | '\u{2010}'..='\u{2015}'));
        let code: String = letters.map(|c| c.to_ascii_uppercase()).collect();
        if code.len() == 8 && code.bytes().all(|byte| ALPHABET.contains(&byte)) {
            Ok(Self(code))
        } else {
            Err(UserCodeError)
        }
    }

    /// The eight letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for UserCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (left, right) = self.0.split_at(4);
        write!(f, "{left}-{right}")
    }
}
