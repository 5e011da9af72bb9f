//! Codes and refresh tokens, and what they are bound to.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Suite;
use crate::support::{WEB_REDIRECT_URI, oauth_error, pass, text};

/// The example of RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A code is good once; after a second use nothing of the first is.
async fn used_again_after(seconds: i64) -> Result<()> {
    for suite in Suite::start_standing().await? {
        let code = suite.code(&[]).await?;
        let flow = suite.finish(suite.client, &code, Some("a-nonce")).await?;
        pass(&suite.platform, seconds);
        let refused = suite.redeem(suite.client, &code).await?;
        assert_eq!((refused.status, oauth_error(&refused)), (400, "invalid_grant".to_owned()));
        let bearer = suite.platform.nobody().with_token(&flow.access_token);
        bearer.get(&suite.endpoint("userinfo_endpoint")).await?.expect(401)?;
    }
    Ok(())
}

#[tokio::test]
async fn oidcc_codereuse() -> Result<()> {
    used_again_after(0).await
}

#[tokio::test]
async fn oidcc_codereuse_30seconds() -> Result<()> {
    used_again_after(30).await
}

/// Nobody is sent to an address that is not registered: they are told, on a page.
#[tokio::test]
async fn oidcc_ensure_registered_redirect_uri() -> Result<()> {
    for suite in Suite::start().await? {
        for uri in ["https://web.example.test/callback/and-more", "https://evil.example/callback"] {
            let answer = suite.alice.browser.get(&suite.request(&[("redirect_uri", uri)])).await?;
            assert_eq!((answer.status, answer.header("location")), (400, ""), "{uri}");
            assert!(answer.text.contains("redirect_uri"), "{}", answer.text);
        }
    }
    Ok(())
}

fn request_object(members: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(&json!({ "alg": "none" })), part(members))
}

/// Request objects by reference are not supported, and said to be so.
#[tokio::test]
async fn oidcc_request_uri_unsigned_supported_correctly_or_rejected_as_unsupported() -> Result<()> {
    for suite in Suite::start().await? {
        assert_eq!(suite.discovery["request_uri_parameter_supported"], false);
        let request = suite.request(&[("request_uri", "https://web.example.test/request.jwt")]);
        let back = Suite::told(&suite.alice.browser.get(&request).await?)?;
        assert_eq!(back["error"], "request_uri_not_supported");
    }
    Ok(())
}

/// Nor are those by value: neither obeyed nor overlooked.
#[tokio::test]
async fn oidcc_unsigned_request_object_supported_correctly_or_rejected_as_unsupported() -> Result<()> {
    for suite in Suite::start().await? {
        assert_eq!(suite.discovery["request_parameter_supported"], false);
        let object = request_object(&json!({ "client_id": suite.client, "state": "another-state", "scope": "openid" }));
        let back = Suite::told(&suite.alice.browser.get(&suite.request(&[("request", &object)])).await?)?;
        assert_eq!((&*back["error"], &*back["state"]), ("request_not_supported", "a-state"));
    }
    Ok(())
}

/// Where objects are not read, a good address in one does not make good the bad one beside it: nobody is sent to either.
#[tokio::test]
async fn oidcc_ensure_request_object_with_redirect_uri() -> Result<()> {
    for suite in Suite::start().await? {
        let object = request_object(&json!({
            "response_type": "code", "client_id": suite.client, "redirect_uri": WEB_REDIRECT_URI, "scope": "openid",
            "state": "a-state", "nonce": "a-nonce",
        }));
        let invalid = format!("{WEB_REDIRECT_URI}_invalid");
        let beside = [("request", object.as_str()), ("redirect_uri", invalid.as_str()), ("state", ""), ("nonce", "")];
        let answer = suite.alice.browser.get(&suite.request(&beside)).await?;
        assert_eq!((answer.status, answer.header("location")), (400, ""));
        assert!(answer.text.contains("redirect_uri"), "{}", answer.text);
    }
    Ok(())
}

/// A refresh token gives new tokens of the same sign-in, to the client that it was given to.
#[tokio::test]
async fn oidcc_refresh_token() -> Result<()> {
    for suite in Suite::start_standing().await? {
        assert!(suite.discovery["grant_types_supported"].to_string().contains("refresh_token"));
        let wanted = [("scope", "openid offline_access"), ("prompt", "consent")];
        let mut of_client_2 = String::new();
        for client in [suite.client, suite.client_2] {
            let first = suite.flow(&[&wanted[..], &[("client_id", client)]].concat()).await?;
            let token = text(&first.tokens["refresh_token"]);
            assert!(!token.is_empty() && token.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
            pass(&suite.platform, 5);
            let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
            let answer = suite.post("token_endpoint", client, &form).await?.expect(200)?;
            let second = suite.check(&answer, client, None).await?;
            for claim in ["iss", "sub", "aud", "azp", "auth_time"] {
                assert_eq!(first.id_token[claim], second.id_token[claim], "{claim}");
            }
            assert!(first.id_token["iat"].as_i64() < second.id_token["iat"].as_i64());
            assert_ne!(first.access_token, second.access_token);
            suite.userinfo(&second).await?;
            of_client_2 = text(&second.tokens["refresh_token"]);
        }
        let form = [("grant_type", "refresh_token"), ("refresh_token", of_client_2.as_str())];
        let refused = suite.post("token_endpoint", suite.client, &form).await?;
        assert_eq!(oauth_error(&refused), "invalid_grant");
    }
    Ok(())
}

#[tokio::test]
async fn oidcc_ensure_request_with_valid_pkce_succeeds() -> Result<()> {
    for suite in Suite::start().await? {
        let code = suite.code(&[("code_challenge", CHALLENGE), ("code_challenge_method", "S256")]).await?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", WEB_REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        let answer = suite.post("token_endpoint", suite.client, &form).await?.expect(200)?;
        let flow = suite.check(&answer, suite.client, Some("a-nonce")).await?;
        flow.tokens["access_token"].as_str().context("no access token")?;
        suite.userinfo(&flow).await?;
    }
    Ok(())
}
