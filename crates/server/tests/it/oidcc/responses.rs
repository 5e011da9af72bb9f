//! The answer of the authorisation and token endpoints, and the ID token in it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hexabase_server::config::{ClientConfig, Config};
use serde_json::Value;

use super::Suite;
use crate::support::{SECRET, WEB_REDIRECT_URI, text, web_client};

/// What an ID token may say although nobody asked for it.
const UNASKED: [&str; 10] = ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "azp", "at_hash", "sid"];

fn header(token: &str) -> Result<Value> {
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().context("no header")?)?)?)
}

/// Bits in a text, as Shannon reckons them from how often each character comes.
fn entropy(text: &str) -> f64 {
    let mut counts = BTreeMap::<char, f64>::new();
    text.chars().for_each(|letter| *counts.entry(letter).or_default() += 1.0);
    let length: f64 = counts.values().sum();
    counts.values().map(|count| count * (length / count).log2()).sum()
}

/// A code for a request, tokens for the code, an ID token that holds.
#[tokio::test]
async fn oidcc_server() -> Result<()> {
    for suite in Suite::start().await? {
        let code = suite.code(&[]).await?;
        // 128 bits; reckoned from one sample they may look like 96.
        assert!(code.len() >= 16 && entropy(&code) > 96.0, "{code}");
        let flow = suite.finish(suite.client, &code, Some("a-nonce")).await?;
        let told = (&flow.id_token["aud"], &flow.id_token["sub"]);
        assert_eq!(told, (&Value::from(suite.client), &Value::from(&*suite.alice.id)));
        for (name, _) in flow.id_token.as_object().context("no claims")? {
            assert!(UNASKED.contains(&name.as_str()), "{name}: {}", flow.id_token);
        }
    }
    Ok(())
}

/// Whoever names no response type is told so, by page or by answer, and gets nothing.
#[tokio::test]
async fn oidcc_response_type_missing() -> Result<()> {
    for suite in Suite::start().await? {
        let answer = suite.alice.browser.get(&suite.request(&[("response_type", "")])).await?;
        let back = Suite::told(&answer)?;
        assert!(["invalid_request", "unsupported_response_type"].contains(&&*back["error"]), "{back:?}");
        assert!(!back.contains_key("code") && back["state"] == "a-state", "{back:?}");
    }
    Ok(())
}

/// The ID token names a published key, and is signed as the client is registered for it: with RS256 where the plan asks.
#[tokio::test]
async fn oidcc_idtoken_signature() -> Result<()> {
    for suite in Suite::start().await? {
        let flow = suite.flow(&[]).await?;
        let header = header(&text(&flow.tokens["id_token"]))?;
        assert_eq!(header["alg"], suite.algorithm);
        assert!(header["kid"].as_str().is_some_and(|kid| !kid.is_empty()));
        assert!(suite.discovery["id_token_signing_alg_values_supported"].to_string().contains(suite.algorithm));
    }
    Ok(())
}

/// Unsigned ID tokens are not offered: a client cannot be registered for them, and none gets one.
#[tokio::test]
async fn oidcc_idtoken_unsigned() -> Result<()> {
    let mut config = Config::load(None)?;
    let unsigned = ClientConfig { id_token_signed_response_alg: "none".to_owned(), ..web_client("unsigned") };
    config.oidc.clients.push(unsigned);
    assert!(config.oidc.registered().is_err());
    for suite in Suite::start().await? {
        assert!(!suite.discovery["id_token_signing_alg_values_supported"].to_string().contains("none"));
        let flow = suite.flow(&[]).await?;
        let token = text(&flow.tokens["id_token"]);
        assert!(header(&token)?["alg"] != "none");
        assert!(token.split('.').nth(2).is_some_and(|signature| !signature.is_empty()));
    }
    Ok(())
}

/// The code flow works without a nonce, and then the ID token has none.
#[tokio::test]
async fn oidcc_ensure_request_without_nonce_succeeds_for_code_flow() -> Result<()> {
    for suite in Suite::start().await? {
        let flow = suite.flow(&[("nonce", "")]).await?;
        assert_eq!(flow.id_token["nonce"], Value::Null);
    }
    Ok(())
}

/// The secret may come in the form as well as in the header.
#[tokio::test]
async fn oidcc_server_client_secret_post() -> Result<()> {
    for suite in Suite::start().await? {
        let methods = suite.discovery["token_endpoint_auth_methods_supported"].to_string();
        assert!(methods.contains("client_secret_post") && methods.contains("client_secret_basic"), "{methods}");
        let code = suite.code(&[]).await?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", WEB_REDIRECT_URI),
            ("client_id", suite.client),
            ("client_secret", SECRET),
        ];
        let answer = suite.platform.nobody().post_form(&suite.endpoint("token_endpoint"), &form).await?.expect(200)?;
        let flow = suite.check(&answer, suite.client, Some("a-nonce")).await?;
        suite.userinfo(&flow).await?;
    }
    Ok(())
}
