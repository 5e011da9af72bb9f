//! The token endpoint.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{ClientCredentials, CodeVerifier, OAuthError, OAuthErrorCode, Scopes};
use crate::params::Params;

/// Values of `grant_type`.
pub mod grant_types {
    /// RFC 6749 section 4.1.3.
    pub const AUTHORIZATION_CODE: &str = "authorization_code";
    /// RFC 6749 section 6.
    pub const REFRESH_TOKEN: &str = "refresh_token";
    /// RFC 8628 section 3.4.
    pub const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
    /// RFC 8693 section 2.1.
    pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
}

/// Token type identifiers (RFC 8693 section 3).
pub mod token_types {
    /// An OAuth access token.
    pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
    /// A refresh token.
    pub const REFRESH_TOKEN: &str = "urn:ietf:params:oauth:token-type:refresh_token";
    /// An ID token.
    pub const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
    /// Any JWT.
    pub const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
}

/// A well-formed request to the token endpoint. Authenticate the client first, then redeem the grant.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// Who asks.
    pub client: ClientCredentials,
    /// What for.
    pub grant: Grant,
}

/// The four grants.
#[derive(Debug, Clone)]
pub enum Grant {
    /// The caller must check: the code is this client's, unused and not expired; `redirect_uri` is the one of the
    /// request; the stored [`super::CodeChallenge`] is met, or neither challenge nor verifier is there. A second use ends
    /// everything the first one gave.
    AuthorizationCode {
        /// Look it up by [`crate::hash_token`].
        code: SecretString,
        /// Must equal the one in the authorisation request.
        redirect_uri: String,
        /// Must meet the challenge; absent only where the request had none.
        code_verifier: Option<CodeVerifier>,
    },
    /// The caller rotates it and treats the use of an old one as theft (RFC 9700 section 4.14).
    RefreshToken {
        /// Look it up by [`crate::hash_token`].
        refresh_token: SecretString,
        /// Empty: as before. Else must be within what was granted.
        scopes: Scopes,
    },
    /// The caller answers `authorization_pending`, `slow_down`, `expired_token` or `access_denied` until approved.
    DeviceCode {
        /// Look it up by [`crate::hash_token`].
        device_code: SecretString,
    },
    /// A token of ours for another of ours.
    TokenExchange(TokenExchange),
}

/// Parameters of a token exchange (RFC 8693 section 2.1), without delegation: `actor_token` is refused.
#[derive(Debug, Clone)]
pub struct TokenExchange {
    /// The token presented.
    pub subject_token: SecretString,
    /// Its type, one of [`token_types`].
    pub subject_token_type: String,
    /// The type wanted, if named.
    pub requested_token_type: Option<String>,
    /// Logical names of the targets.
    pub audiences: Vec<String>,
    /// URLs of the targets.
    pub resources: Vec<String>,
    /// Scopes wanted.
    pub scopes: Scopes,
}

impl TokenRequest {
    /// Reads the `Authorization` header, if any, and the form body. The content type is the caller's to check.
    pub fn parse(authorization: Option<&str>, body: &str) -> Result<Self, OAuthError> {
        let form = Params::parse(body)?;
        let client = ClientCredentials::from_request(authorization, &form)?;
        let grant = match required(&form, "grant_type")? {
            grant_types::AUTHORIZATION_CODE => Grant::AuthorizationCode {
                code: secret(&form, "code")?,
                redirect_uri: required(&form, "redirect_uri")?.to_owned(),
                code_verifier: form
                    .one("code_verifier")?
                    .map(CodeVerifier::parse)
                    .transpose()
                    .map_err(|error| OAuthError::new(OAuthErrorCode::InvalidRequest, error.to_string()))?,
            },
            grant_types::REFRESH_TOKEN => {
                Grant::RefreshToken { refresh_token: secret(&form, "refresh_token")?, scopes: scopes(&form)? }
            }
            grant_types::DEVICE_CODE => Grant::DeviceCode { device_code: secret(&form, "device_code")? },
            grant_types::TOKEN_EXCHANGE => Grant::TokenExchange(TokenExchange::from_form(&form)?),
            _ => {
                let code = OAuthErrorCode::UnsupportedGrantType;
                return Err(OAuthError::new(code, "this grant_type is not supported"));
            }
        };
        Ok(Self { client, grant })
    }
}

impl TokenExchange {
    fn from_form(form: &Params) -> Result<Self, OAuthError> {
        if form.one("actor_token")?.is_some() || form.one("actor_token_type")?.is_some() {
            return Err(OAuthError::new(OAuthErrorCode::InvalidRequest, "actor_token is not supported"));
        }
        let known = |kind: &str| {
            [token_types::ACCESS_TOKEN, token_types::REFRESH_TOKEN, token_types::ID_TOKEN, token_types::JWT]
                .contains(&kind)
        };
        let subject_token_type = required(form, "subject_token_type")?;
        let requested_token_type = form.one("requested_token_type")?;
        if !known(subject_token_type) || !requested_token_type.is_none_or(known) {
            return Err(OAuthError::new(OAuthErrorCode::InvalidRequest, "this token type is not supported"));
        }
        Ok(Self {
            subject_token: secret(form, "subject_token")?,
            subject_token_type: subject_token_type.to_owned(),
            requested_token_type: requested_token_type.map(str::to_owned),
            audiences: form.all("audience").map(str::to_owned).collect(),
            resources: form.all("resource").map(str::to_owned).collect(),
            scopes: scopes(form)?,
        })
    }
}

fn required<'a>(form: &'a Params, name: &'static str) -> Result<&'a str, OAuthError> {
    form.one(name)?
        .ok_or_else(|| OAuthError::new(OAuthErrorCode::InvalidRequest, format!("the parameter {name} is required")))
}

fn secret(form: &Params, name: &'static str) -> Result<SecretString, OAuthError> {
    required(form, name).map(|value| value.to_owned().into())
}

pub(super) fn scopes(form: &Params) -> Result<Scopes, OAuthError> {
    Scopes::parse(form.one("scope")?.unwrap_or_default())
}

/// What the token endpoint answers (RFC 6749 section 5.1, OpenID Connect Core 1.0 section 3.1.3.3); send it with
/// `Cache-Control: no-store`. Printing it shows no token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenResponse {
    /// The access token, or the issued token of an exchange.
    pub access_token: String,
    /// `Bearer`; a client must compare without case.
    pub token_type: String,
    /// Seconds it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<i64>,
    /// The next refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// The ID token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
    /// Granted scopes, where they differ from those asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Only in answer to a token exchange, and there required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<String>,
}

impl TokenResponse {
    /// A bearer token that lives `expires_in` seconds; set further fields as needed.
    pub fn bearer(access_token: String, expires_in: i64) -> Self {
        Self {
            access_token,
            token_type: "Bearer".to_owned(),
            expires_in: Some(expires_in),
            refresh_token: None,
            id_token: None,
            scope: None,
            issued_token_type: None,
        }
    }
}

impl std::fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenResponse")
            .field("token_type", &self.token_type)
            .field("expires_in", &self.expires_in)
            .field("has_refresh_token", &self.refresh_token.is_some())
            .field("has_id_token", &self.id_token.is_some())
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
