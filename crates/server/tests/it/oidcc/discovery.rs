//! The one module of "Config OP".

use anyhow::{Context as _, Result};
use serde_json::Value;
use url::Url;

use super::Suite;
use crate::support::text;

fn list(document: &Value, name: &str) -> Vec<String> {
    document[name].as_array().into_iter().flatten().map(text).collect()
}

/// The document of an issuer and its key set, for the platform and for a workspace.
#[tokio::test]
async fn oidcc_discovery_endpoint_verification() -> Result<()> {
    let suite = Suite::start().await?;
    let workspace = suite.alice.workspace("shop").await?;
    for realm in ["platform", workspace.as_str()] {
        let issuer = suite.platform.issuer(realm);
        let url = format!("{issuer}/.well-known/openid-configuration");
        let answer = suite.platform.nobody().get(&url).await?.expect(200)?;
        assert!(answer.header("content-type").starts_with("application/json"), "{answer:?}");
        let document = answer.json()?;
        assert_eq!(document["issuer"], issuer);
        for (name, value) in document.as_object().context("not an object")? {
            if name.ends_with("_endpoint") || name == "jwks_uri" {
                let url = Url::parse(value.as_str().context("not a text")?)?;
                assert_eq!(url.scheme(), "https", "{name}: {url}");
            }
            assert!(!value.is_null(), "{name}");
        }
        for required in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"] {
            assert!(document[required].is_string(), "{required}");
        }
        for (name, member) in [
            ("scopes_supported", "openid"),
            ("response_types_supported", "code"),
            ("subject_types_supported", "public"),
            ("id_token_signing_alg_values_supported", "RS256"),
            ("id_token_signing_alg_values_supported", "ES256"),
            ("grant_types_supported", "authorization_code"),
            ("code_challenge_methods_supported", "S256"),
            ("claims_supported", "sub"),
        ] {
            assert!(list(&document, name).iter().any(|found| found == member), "{name}: {document}");
        }
        assert_eq!(document["claims_parameter_supported"], true);
        assert_eq!(list(&document, "claims_supported").iter().any(|claim| claim == "groups"), realm != "platform");
        keys(&suite, &text(&document["jwks_uri"])).await?;
    }
    Ok(())
}

/// Public keys only, each well-formed and for signatures.
async fn keys(suite: &Suite, url: &str) -> Result<()> {
    let answer = suite.platform.nobody().get(url).await?.expect(200)?;
    assert!(answer.header("content-type").starts_with("application/json"), "{answer:?}");
    let set = answer.json()?;
    let keys = set["keys"].as_array().context("no keys")?;
    for key in keys {
        let members: Vec<&str> = match text(&key["kty"]).as_str() {
            "RSA" => vec!["n", "e"],
            "EC" => vec!["crv", "x", "y"],
            other => anyhow::bail!("a key of the type {other}"),
        };
        let mut expected = [&["kty", "kid", "use", "alg"], &members[..]].concat();
        let mut found: Vec<&str> = key.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        (expected.sort_unstable(), found.sort_unstable());
        assert_eq!(found, expected, "nothing private, nothing unknown");
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        for member in ["n", "e", "x", "y"] {
            assert!(key[member].as_str().is_none_or(plain), "{member} is not base64url without padding");
        }
        assert_eq!(key["use"], "sig");
    }
    let algorithms: Vec<String> = keys.iter().map(|key| text(&key["alg"])).collect();
    assert!(["RS256", "ES256"].iter().all(|wanted| algorithms.iter().any(|found| found == wanted)), "{algorithms:?}");
    Ok(())
}
