//! ID token validation (OpenID Connect Core 1.0 section 3.1.3.7).

use subtle::ConstantTimeEq;

use super::ClientError;
use crate::{
    Issuer,
    claims::{IdTokenClaims, check_subject},
    jwt::{self, Expectation, ExpectedTyp, half_hash},
    keys::{Algorithm, JwkSet},
};

/// What the ID token of one sign-in must be.
#[derive(Debug, Clone, Copy)]
pub struct IdTokenExpectation<'a> {
    /// The provider.
    pub issuer: &'a Issuer,
    /// Us.
    pub client_id: &'a str,
    /// The nonce of this attempt.
    pub nonce: &'a str,
    /// Accepted algorithms.
    pub algorithms: &'a [Algorithm],
    /// The access token that came with it, to compare with `at_hash` if there is one.
    pub access_token: Option<&'a str>,
    /// Seconds since 1970.
    pub now: i64,
}

/// How far the provider's clock may be off.
const LEEWAY: i64 = 60;

/// Validates an ID token: signature, `iss`, `aud`, `azp`, `exp`, `iat`, `nbf`, `nonce`, `at_hash`, subject.
pub fn validate_id_token(
    token: &str,
    keys: &JwkSet,
    expected: &IdTokenExpectation<'_>,
) -> Result<IdTokenClaims, ClientError> {
    let claims: IdTokenClaims = jwt::verify(
        token,
        keys,
        &Expectation {
            issuer: expected.issuer.as_str(),
            audience: expected.client_id,
            typ: ExpectedTyp::JwtOrAbsent,
            algorithms: expected.algorithms,
            now: expected.now,
            leeway: LEEWAY,
        },
    )?;
    match claims.azp.as_deref() {
        Some(party) if party != expected.client_id => return Err(ClientError::AuthorizedParty),
        None if claims.aud.is_shared() => return Err(ClientError::AuthorizedParty),
        _ => {}
    }
    let nonce = claims.nonce.as_deref().unwrap_or_default();
    if expected.nonce.is_empty() || !bool::from(nonce.as_bytes().ct_eq(expected.nonce.as_bytes())) {
        return Err(ClientError::NonceMismatch);
    }
    if let (Some(hash), Some(access_token)) = (&claims.at_hash, expected.access_token)
        && *hash != half_hash(access_token)
    {
        return Err(ClientError::AccessTokenHash);
    }
    check_subject(&claims.sub).map_err(|_| ClientError::Subject)?;
    Ok(claims)
}
