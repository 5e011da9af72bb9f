//! The one module of "Config OP".

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::JwkSet;
use serde_json::Value;
use url::Url;

use super::Suite;
use crate::support::text;

fn list(document: &Value, name: &str) -> Vec<String> {
    document[name].as_array().into_iter().flatten().map(text).collect()
}

/// The document of an issuer and its key set.
#[tokio::test]
async fn oidcc_discovery_endpoint_verification() -> Result<()> {
    for suite in Suite::start().await? {
        let issuer = suite.issuer();
        let url = format!("{issuer}/.well-known/openid-configuration");
        let answer = suite.platform.nobody().get(&url).await?.expect(200)?;
        assert!(answer.header("content-type").starts_with("application/json"), "{answer:?}");
        let document = answer.json()?;
        assert_eq!(document["issuer"], issuer);
        let parsed = Url::parse(&issuer)?;
        assert_eq!((parsed.scheme(), parsed.query(), parsed.fragment()), ("https", None, None));
        form(&document)?;
        content(&document, suite.algorithm);
        let groups = list(&document, "claims_supported").iter().any(|claim| claim == "groups");
        assert_eq!(groups, suite.realm != "platform");
        keys(&suite, &text(&document["jwks_uri"])).await?;
    }
    Ok(())
}

/// Every member is of the form that the specifications give it.
fn form(document: &Value) -> Result<()> {
    for (name, value) in document.as_object().context("not an object")? {
        if name.ends_with("_endpoint") || name == "jwks_uri" {
            let url = Url::parse(value.as_str().context("not a text")?)?;
            ensure!(url.scheme() == "https", "{name}: {url}");
        } else if name != "issuer" {
            let texts = value.as_array().is_some_and(|values| values.iter().all(Value::is_string));
            ensure!(texts || value.is_boolean(), "{name}: {value}");
        }
    }
    // RFC 6749 appendix A.4, and BCP 47.
    let scope = |text: &str| text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
    let subtag = |text: &str| (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    for scopes in list(document, "scopes_supported") {
        ensure!(!scopes.is_empty() && scope(&scopes), "{scopes}");
    }
    for locale in ["ui_locales_supported", "claims_locales_supported"].iter().flat_map(|name| list(document, name)) {
        ensure!(locale.split('-').all(subtag), "{locale}");
    }
    Ok(())
}

/// What has to be there is.
fn content(document: &Value, algorithm: &str) {
    for required in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"] {
        assert!(document[required].is_string(), "{required}");
    }
    for (name, member) in [
        ("scopes_supported", "openid"),
        ("response_types_supported", "code"),
        ("subject_types_supported", "public"),
        ("id_token_signing_alg_values_supported", "RS256"),
        ("id_token_signing_alg_values_supported", algorithm),
        ("grant_types_supported", "authorization_code"),
        ("code_challenge_methods_supported", "S256"),
        ("claims_supported", "sub"),
    ] {
        assert!(list(document, name).iter().any(|found| found == member), "{name}: {document}");
    }
    assert_eq!(document["claims_parameter_supported"], true);
}

/// Public keys only, each well-formed, for signatures, and with an id of its own.
async fn keys(suite: &Suite, url: &str) -> Result<()> {
    let answer = suite.platform.nobody().get(url).await?.expect(200)?;
    assert!(answer.header("content-type").starts_with("application/json"), "{answer:?}");
    let set = answer.json()?;
    let keys = set["keys"].as_array().context("no keys")?;
    for key in keys {
        let members: Vec<&str> = match text(&key["kty"]).as_str() {
            "RSA" => vec!["n", "e"],
            "EC" => vec!["crv", "x", "y"],
            other => bail!("a key of the type {other}"),
        };
        let mut expected = [&["kty", "kid", "use", "alg"], &members[..]].concat();
        let mut found: Vec<&str> = key.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected, "nothing private, nothing unknown");
        assert_eq!(key["use"], "sig");
        usable(key)?;
    }
    let ids: BTreeSet<String> = keys.iter().map(|key| text(&key["kid"])).collect();
    assert!(ids.len() == keys.len() && !ids.contains(""), "{ids:?}");
    for key in &answer.parse::<JwkSet>()?.keys {
        DecodingKey::from_jwk(key)?;
    }
    let algorithms: Vec<String> = keys.iter().map(|key| text(&key["alg"])).collect();
    assert!(["RS256", "ES256"].iter().all(|wanted| algorithms.iter().any(|found| found == wanted)), "{algorithms:?}");
    Ok(())
}

/// A point on the curve, or numbers that RSA can do with (RFC 7518 sections 6.2 and 6.3).
fn usable(key: &Value) -> Result<()> {
    let member = |name: &str| URL_SAFE_NO_PAD.decode(text(&key[name])).with_context(|| format!("{name} of {key}"));
    if key["kty"] == "EC" {
        let (x, y) = (member("x")?, member("y")?);
        ensure!((&key["crv"], x.len(), y.len()) == (&Value::from("P-256"), 32, 32), "{key}");
        let parsed = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [&[4], x.as_slice(), y.as_slice()].concat());
        ensure!(parsed.is_ok(), "not on the curve: {key}");
    } else {
        let (n, e) = (member("n")?, member("e")?);
        ensure!(n.len() >= 256 && n[0] != 0 && n[n.len() - 1] & 1 == 1, "{key}");
        ensure!(e == [1, 0, 1], "{key}");
    }
    Ok(())
}
