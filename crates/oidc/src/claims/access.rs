//! The token the platform's own API believes.

use serde::{Deserialize, Serialize};

use super::{ClaimsError, TokenUse, check_not_empty, check_subject};
use crate::Issuer;

const MAX_LIFE: i64 = 3600;

/// What an access token is to say.
#[derive(Debug, Clone)]
pub struct AccessGrant<'a> {
    /// The platform's issuer.
    pub issuer: &'a Issuer,
    /// The user's opaque id.
    pub subject: &'a str,
    /// The platform API.
    pub audience: &'a str,
    /// The client it was issued to.
    pub client_id: &'a str,
    /// The session it belongs to; ending the session ends the token where sessions are looked up.
    pub session: &'a str,
    /// Granted scopes, separated by spaces.
    pub scope: Option<String>,
    /// Names of claims that userinfo is to give beside those of the scopes, separated by spaces.
    pub userinfo: Option<String>,
    /// Seconds since 1970.
    pub now: i64,
    /// Seconds it lives, 1 to 3600.
    pub life: i64,
    /// Unique id.
    pub jti: String,
}

/// The claims of an access token for the platform API (RFC 9068 section 2.2, plus `sid` and `token_use`). Sign it with
/// [`crate::jwt::Typ::AccessToken`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw")]
pub struct AccessClaims {
    iss: String,
    sub: String,
    aud: String,
    exp: i64,
    iat: i64,
    jti: String,
    client_id: String,
    sid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    userinfo: Option<String>,
    token_use: TokenUse,
}

impl AccessClaims {
    /// Refuses empty names and a life of more than an hour.
    pub fn new(grant: AccessGrant<'_>) -> Result<Self, ClaimsError> {
        let claims = Self {
            iss: grant.issuer.as_str().to_owned(),
            sub: grant.subject.to_owned(),
            aud: grant.audience.to_owned(),
            exp: grant.now.saturating_add(grant.life),
            iat: grant.now,
            jti: grant.jti,
            client_id: grant.client_id.to_owned(),
            sid: grant.session.to_owned(),
            scope: grant.scope,
            userinfo: grant.userinfo,
            token_use: TokenUse::Access,
        };
        claims.check()?;
        Ok(claims)
    }

    fn check(&self) -> Result<(), ClaimsError> {
        check_subject(&self.sub)?;
        check_not_empty(&self.aud, "aud")?;
        check_not_empty(&self.client_id, "client_id")?;
        check_not_empty(&self.sid, "sid")?;
        check_not_empty(&self.jti, "jti")?;
        let life = self.exp.checked_sub(self.iat).ok_or(ClaimsError::Life)?;
        if (1..=MAX_LIFE).contains(&life) { Ok(()) } else { Err(ClaimsError::Life) }
    }

    /// The user's opaque id.
    pub fn subject(&self) -> &str {
        &self.sub
    }

    /// The session it belongs to.
    pub fn session(&self) -> &str {
        &self.sid
    }

    /// The client it was issued to.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The granted scopes.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope.as_deref().unwrap_or_default().split_ascii_whitespace()
    }

    /// The claims that userinfo is to give beside those of the scopes.
    pub fn userinfo(&self) -> impl Iterator<Item = &str> {
        self.userinfo.as_deref().unwrap_or_default().split_ascii_whitespace()
    }

    /// What it is good for.
    pub fn audience(&self) -> &str {
        &self.aud
    }

    /// When it was made, seconds since 1970.
    pub fn issued_at(&self) -> i64 {
        self.iat
    }

    /// When it ends, seconds since 1970.
    pub fn expires_at(&self) -> i64 {
        self.exp
    }

    /// The token's unique id.
    pub fn jti(&self) -> &str {
        &self.jti
    }
}

#[derive(Deserialize)]
struct Raw {
    iss: String,
    sub: String,
    aud: String,
    exp: i64,
    iat: i64,
    jti: String,
    client_id: String,
    sid: String,
    scope: Option<String>,
    userinfo: Option<String>,
    token_use: TokenUse,
}

impl TryFrom<Raw> for AccessClaims {
    type Error = ClaimsError;
    fn try_from(raw: Raw) -> Result<Self, ClaimsError> {
        if raw.token_use != TokenUse::Access {
            return Err(ClaimsError::TokenUse);
        }
        let Raw { iss, sub, aud, exp, iat, jti, client_id, sid, scope, userinfo, token_use: _ } = raw;
        let token_use = TokenUse::Access;
        let claims = Self { iss, sub, aud, exp, iat, jti, client_id, sid, scope, userinfo, token_use };
        claims.check()?;
        Ok(claims)
    }
}
