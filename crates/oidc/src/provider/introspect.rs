//! Asking what a token is (RFC 7662), and taking one back (RFC 7009).

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{ClientCredentials, OAuthError, OAuthErrorCode, bearer::bearer_token};
use crate::params::Params;

/// Who asks what a token is.
#[derive(Debug, Clone)]
pub enum Inquirer {
    /// A client; authenticate before answering.
    Client(ClientCredentials),
    /// The bearer of this token.
    Bearer(SecretString),
}

/// A request to the introspection endpoint (RFC 7662 section 2.1). A hint about the token's type is not needed: every kind
/// of ours shows what it is.
#[derive(Debug, Clone)]
pub struct IntrospectionRequest {
    /// Who asks.
    pub inquirer: Inquirer,
    /// What is asked about.
    pub token: SecretString,
}

impl IntrospectionRequest {
    /// Reads the `Authorization` header, if any, and the form body.
    pub fn parse(authorization: Option<&str>, body: &str) -> Result<Self, OAuthError> {
        let form = Params::parse(body)?;
        let is_bearer = |header: &str| header.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("bearer "));
        let inquirer = if authorization.is_some_and(is_bearer) {
            Inquirer::Bearer(bearer_token(authorization, None)?)
        } else {
            Inquirer::Client(ClientCredentials::from_request(authorization, &form)?)
        };
        Ok(Self { inquirer, token: token(&form)? })
    }
}

/// What a token is (RFC 7662 section 2.2). The default answers for everything that is not good, or is none of the
/// inquirer's business: it says no more than that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is the member of that name in RFC 7662")]
pub struct IntrospectionResponse {
    pub active: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
}

/// A request to the revocation endpoint (RFC 7009 section 2.1).
#[derive(Debug, Clone)]
pub struct RevocationRequest {
    /// Who asks; authenticate before revoking.
    pub client: ClientCredentials,
    /// What is to end.
    pub token: SecretString,
}

impl RevocationRequest {
    /// Reads the `Authorization` header, if any, and the form body.
    pub fn parse(authorization: Option<&str>, body: &str) -> Result<Self, OAuthError> {
        let form = Params::parse(body)?;
        Ok(Self { client: ClientCredentials::from_request(authorization, &form)?, token: token(&form)? })
    }
}

fn token(form: &Params) -> Result<SecretString, OAuthError> {
    let token = form.one("token")?;
    let missing = || OAuthError::new(OAuthErrorCode::InvalidRequest, "the parameter token is required");
    Ok(token.ok_or_else(missing)?.to_owned().into())
}
