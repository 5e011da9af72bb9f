//! ID tokens (OpenID Connect Core 1.0 section 2), as a relying party reads them and a provider writes them.

use serde::{Deserialize, Deserializer, Serialize};

/// `aud`: one string or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// The usual case.
    One(String),
    /// Several; then `azp` says which of them it was issued to.
    Many(Vec<String>),
}

impl Audience {
    /// Whether `audience` is among them.
    pub fn contains(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }

    /// Whether there is any audience besides one.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Many(many) if many.len() > 1)
    }
}

/// The claims of an ID token. Sign it with [`crate::jwt::Typ::Jwt`]; validate a foreign one with
/// [`crate::client::validate_id_token`], which checks what this type does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdTokenClaims {
    /// Issuer.
    pub iss: String,
    /// Subject: with `iss`, the only key to a person.
    pub sub: String,
    /// The client or clients it is for.
    pub aud: Audience,
    /// Expiry, seconds since 1970.
    pub exp: i64,
    /// Issued at, seconds since 1970.
    pub iat: i64,
    /// When the person signed in, if that was asked for (`max_age`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// The nonce of the authorisation request, unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The client it was issued to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azp: Option<String>,
    /// Left half of the access token's hash (section 3.1.3.6), see [`crate::jwt::half_hash`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_hash: Option<String>,
    /// Session id, for logout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// Address: display and invitations only, and only where `email_verified`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whether the provider vouches for the address. Absent or anything but true counts as false.
    #[serde(default, deserialize_with = "lenient_bool", skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Portrait URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
    /// Groups, where the provider issues them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
}

/// Some providers (AWS Cognito, Apple) send `"true"` as a string.
pub(crate) fn lenient_bool<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    Ok(match Option::<serde_json::Value>::deserialize(deserializer)? {
        Some(serde_json::Value::Bool(value)) => Some(value),
        Some(serde_json::Value::String(text)) => Some(text == "true"),
        _ => None,
    })
}
