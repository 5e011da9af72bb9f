//! Userinfo (OpenID Connect Core 1.0 section 5.3).

use serde::Deserialize;

use super::{ClientError, Outbound, ProviderMetadata};
use crate::claims::lenient_bool;

/// What userinfo says about the person. Only ever used next to a valid ID token of the same subject.
#[derive(Debug, Clone, Deserialize)]
pub struct UserInfo {
    /// The subject.
    pub sub: String,
    /// Address.
    #[serde(default)]
    pub email: Option<String>,
    /// Whether the provider vouches for it.
    #[serde(default, deserialize_with = "lenient_bool")]
    pub email_verified: Option<bool>,
    /// Display name.
    #[serde(default)]
    pub name: Option<String>,
    /// Portrait URL.
    #[serde(default)]
    pub picture: Option<String>,
}

impl UserInfo {
    /// Asks the provider; refuses an answer about anybody but `subject`.
    pub async fn fetch(
        http: &Outbound,
        metadata: &ProviderMetadata,
        access_token: &str,
        subject: &str,
    ) -> Result<Self, ClientError> {
        let url = metadata.userinfo_endpoint.as_ref().ok_or(ClientError::Unsupported("userinfo"))?.as_str();
        let answer = http.send(http.get(url).bearer_auth(access_token)).await?.ok()?;
        let info: Self = answer.json()?;
        if info.sub == subject { Ok(info) } else { Err(ClientError::UserInfoSubject) }
    }
}
