//! Tokens: asking for them, reading and breaking them; and clients that ask with a secret.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hexabase_server::config::ClientConfig;
use hexabase_testkit::http::Answer;
use serde_json::Value;

use super::platform::Platform;

/// The secret of every confidential client here.
pub(crate) const SECRET: &str = "a secret of at least 32 characters";
/// Where confidential clients are sent back to; nobody listens there, and no browser here goes there.
pub(crate) const WEB_REDIRECT_URI: &str = "https://web.example.test/callback";

/// A client with a secret in the platform's realm.
pub(crate) fn web_client(id: &str) -> ClientConfig {
    ClientConfig {
        id: id.to_owned(),
        name: Some(format!("The client {id}")),
        secret: Some(SECRET.into()),
        secret_file: None,
        redirect_uris: vec![WEB_REDIRECT_URI.to_owned()],
        post_logout_redirect_uris: vec!["https://web.example.test/bye".to_owned()],
        id_token_signed_response_alg: "ES256".to_owned(),
        realms: vec!["platform".to_owned()],
        pkce: Some("optional".to_owned()),
        acts_for_people: false,
        introspects: false,
    }
}

/// Asks for a workspace's token in exchange for `token`.
pub(crate) async fn exchange(platform: &Platform, realm: &str, token: &str) -> Result<Answer> {
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("client_id", "hxb"),
        ("subject_token", token),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ];
    platform.nobody().post_form(&format!("/oidc/{realm}/token"), &form).await
}

/// Asks for new tokens.
pub(crate) async fn refresh(platform: &Platform, token: &str) -> Result<Answer> {
    let form = [("grant_type", "refresh_token"), ("client_id", "hxb"), ("refresh_token", token)];
    platform.nobody().post_form("/oidc/platform/token", &form).await
}

/// Takes a refresh token back.
pub(crate) async fn revoke(platform: &Platform, token: &str) -> Result<Answer> {
    let form = [("token", token), ("client_id", "hxb")];
    platform.nobody().post_form("/oidc/platform/revoke", &form).await
}

/// What a token says, unchecked.
pub(crate) fn claims(token: &str) -> Result<Value> {
    let part = token.split('.').nth(1).context("not a token")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
}

/// A token with a signature that does not hold.
pub(crate) fn broken(token: &str) -> Result<String> {
    let (signed, signature) = token.rsplit_once('.').context("not a token")?;
    let mut bytes = URL_SAFE_NO_PAD.decode(signature)?;
    bytes[0] ^= 1;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes)))
}
