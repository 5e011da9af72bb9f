//! Reading a token.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    MAX_TOKEN_BYTES,
    error::TokenError,
    header::{Header, Typ},
    strict::StrictObject,
};
use crate::keys::{Algorithm, Jwk, JwkSet};

/// Which `typ` header is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedTyp {
    /// Exactly this one. For every token of ours.
    Exactly(Typ),
    /// `JWT` or none at all. For ID tokens of external providers, which need not say (OpenID Connect Core 1.0
    /// section 2). They need not name their key either, where the set holds one key of their algorithm (section 10.1).
    JwtOrAbsent,
}

/// What a token must be to be accepted. Every field is checked; an empty issuer, audience or algorithm list accepts
/// nothing.
#[derive(Debug, Clone, Copy)]
pub struct Expectation<'a> {
    /// The exact `iss`.
    pub issuer: &'a str,
    /// Must be `aud` or one of it. Whether further audiences are tolerable is the claims type's business.
    pub audience: &'a str,
    /// The kind of token.
    pub typ: ExpectedTyp,
    /// The algorithms accepted here.
    pub algorithms: &'a [Algorithm],
    /// Seconds since 1970.
    pub now: i64,
    /// Seconds by which clocks may differ: 0 for our own tokens, up to 60 for those of others.
    pub leeway: i64,
}

/// Verifies a token and returns its claims as `C`.
///
/// Order: size, header, key, signature, type, issuer, audience, times, claims. Nothing that the payload says is looked
/// at before the signature holds.
pub fn verify<C: DeserializeOwned>(token: &str, keys: &JwkSet, expected: &Expectation<'_>) -> Result<C, TokenError> {
    verify_among(token, keys.keys.iter(), expected)
}

/// The `kid` of a token, if it has one, unverified: to find out which key set is needed, for nothing else.
pub fn key_id(token: &str) -> Result<Option<String>, TokenError> {
    Ok(Parts::split(token)?.header.kid)
}

/// The one audience that a token claims, unverified: to expect it, for nothing else.
pub(crate) fn claimed_audience(token: &str) -> Result<String, TokenError> {
    let StrictObject(claims) = serde_json::from_slice(&decode(Parts::split(token)?.payload, "payload")?)
        .map_err(|_| TokenError::Malformed("payload"))?;
    claims.get("aud").and_then(Value::as_str).map(str::to_owned).ok_or(TokenError::Malformed("aud"))
}

struct Parts<'a> {
    header: Header,
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLarge);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed("three parts are expected"));
        };
        Ok(Self {
            header: Header::parse(&decode(header, "header")?)?,
            signed: &token[..header.len() + 1 + payload.len()],
            payload,
            signature: decode(signature, "signature")?,
        })
    }
}

fn decode(part: &str, what: &'static str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed(what))
}

pub(crate) fn verify_among<'k, C: DeserializeOwned>(
    token: &str,
    keys: impl Iterator<Item = &'k Jwk>,
    expected: &Expectation<'_>,
) -> Result<C, TokenError> {
    let Parts { header, signed, payload, signature } = Parts::split(token)?;
    if !expected.algorithms.contains(&header.alg) {
        return Err(TokenError::AlgorithmNotAllowed);
    }
    let mut refusal = TokenError::UnknownKey;
    let mut verified = false;
    for key in candidates(&header, keys, expected.typ)? {
        if key.algorithm() != Some(header.alg) {
            refusal = TokenError::KeyMismatch;
        } else if key.verifies(signed.as_bytes(), &signature) {
            verified = true;
            break;
        } else {
            refusal = TokenError::BadSignature;
        }
    }
    if !verified {
        return Err(refusal);
    }
    let typ_matches = match (expected.typ, header.typ.as_deref()) {
        (ExpectedTyp::Exactly(typ), Some(found)) => typ.is(found),
        (ExpectedTyp::JwtOrAbsent, Some(found)) => Typ::Jwt.is(found),
        (ExpectedTyp::JwtOrAbsent, None) => true,
        (ExpectedTyp::Exactly(_), None) => false,
    };
    if !typ_matches {
        return Err(TokenError::WrongType);
    }
    let StrictObject(claims) =
        serde_json::from_slice(&decode(payload, "payload")?).map_err(|_| TokenError::Malformed("payload"))?;
    check_registered_claims(&claims, expected)?;
    serde_json::from_value(Value::Object(claims)).map_err(|error| TokenError::Claims(error.to_string()))
}

/// The keys that the token may have been signed with.
fn candidates<'k>(
    header: &Header,
    keys: impl Iterator<Item = &'k Jwk>,
    typ: ExpectedTyp,
) -> Result<Vec<&'k Jwk>, TokenError> {
    if let Some(kid) = &header.kid {
        return Ok(keys.filter(|key| key.kid.as_ref() == Some(kid)).collect());
    }
    let fitting: Vec<_> = keys.filter(|key| key.algorithm() == Some(header.alg)).collect();
    match (typ, fitting.len()) {
        (ExpectedTyp::JwtOrAbsent, 0) => Err(TokenError::UnknownKey),
        (ExpectedTyp::JwtOrAbsent, 1) => Ok(fitting),
        _ => Err(TokenError::MissingKeyId),
    }
}

fn check_registered_claims(claims: &Map<String, Value>, expected: &Expectation<'_>) -> Result<(), TokenError> {
    let issuer = claims.get("iss").and_then(Value::as_str).ok_or(TokenError::Malformed("iss"))?;
    if expected.issuer.is_empty() || issuer != expected.issuer {
        return Err(TokenError::WrongIssuer);
    }
    let for_us = match claims.get("aud") {
        Some(Value::String(audience)) => audience == expected.audience,
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
            list.iter().any(|audience| audience.as_str() == Some(expected.audience))
        }
        _ => return Err(TokenError::Malformed("aud")),
    };
    if expected.audience.is_empty() || !for_us {
        return Err(TokenError::WrongAudience);
    }
    let exp = instant(claims, "exp")?.ok_or(TokenError::Malformed("exp"))?;
    let iat = instant(claims, "iat")?.ok_or(TokenError::Malformed("iat"))?;
    let nbf = instant(claims, "nbf")?.unwrap_or(i64::MIN);
    if expected.now >= exp.saturating_add(expected.leeway) {
        return Err(TokenError::Expired);
    }
    if iat.max(nbf) > expected.now.saturating_add(expected.leeway) {
        return Err(TokenError::NotYetValid);
    }
    Ok(())
}

/// A NumericDate (RFC 7519 section 2). Whole seconds only: nobody sends fractions, and a huge float has no instant.
fn instant(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or(TokenError::Malformed(name)),
    }
}
