//! The protected header.

use serde_json::Value;

use super::{error::TokenError, strict::StrictObject};
use crate::keys::Algorithm;

/// What a token is for, said in its header so that one kind cannot pass for another (RFC 8725 section 3.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typ {
    /// `JWT`: ID tokens, and the workspace tokens that `kubectl` presents, which are ID tokens in shape.
    Jwt,
    /// `at+jwt`: access tokens of the platform (RFC 9068 section 2.1).
    AccessToken,
}

impl Typ {
    /// The header value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "JWT",
            Self::AccessToken => "at+jwt",
        }
    }

    /// Compares as RFC 7515 section 4.1.9 says: a media type, so without case, and `application/` may be left out.
    pub(super) fn is(self, found: &str) -> bool {
        let found = match found.get(..12) {
            Some(prefix) if prefix.eq_ignore_ascii_case("application/") => &found[12..],
            _ => found,
        };
        found.eq_ignore_ascii_case(self.as_str())
    }
}

pub(super) struct Header {
    pub(super) alg: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) typ: Option<String>,
}

/// Members that bring a key, point to one, or change how the rest is to be read (RFC 7515 section 4.1, RFC 7797).
/// `x5t` and friends are harmless: we never look at them.
const FORBIDDEN: [&str; 9] = ["crit", "jwk", "jku", "x5u", "x5c", "b64", "zip", "enc", "epk"];

impl Header {
    pub(super) fn parse(json: &[u8]) -> Result<Self, TokenError> {
        let StrictObject(object) = serde_json::from_slice(json).map_err(|_| TokenError::Malformed("header"))?;
        if let Some(name) = FORBIDDEN.into_iter().find(|name| object.contains_key(*name)) {
            return Err(TokenError::ForbiddenHeader(name));
        }
        let alg = match object.get("alg") {
            Some(Value::String(name)) => Algorithm::from_name(name).ok_or(TokenError::AlgorithmNotAllowed)?,
            _ => return Err(TokenError::Malformed("alg")),
        };
        let kid = match object.get("kid") {
            Some(Value::String(kid)) if !kid.is_empty() => Some(kid.clone()),
            Some(Value::String(_)) => return Err(TokenError::MissingKeyId),
            None => None,
            Some(_) => return Err(TokenError::Malformed("kid")),
        };
        let typ = match object.get("typ") {
            Some(Value::String(typ)) => Some(typ.clone()),
            None => None,
            Some(_) => return Err(TokenError::Malformed("typ")),
        };
        Ok(Self { alg, kid, typ })
    }
}
