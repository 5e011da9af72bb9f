//! Who is sent back to the client from the authorisation endpoint, and with what.

use anyhow::Result;
use url::Url;

use super::{REDIRECT_URI, code_for, pairs, redeem, request};
use crate::support::{Platform, shop};

#[tokio::test]
async fn any_port_of_a_loopback_redirect_address_will_do() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for address in ["http://127.0.0.1:1/callback", "http://localhost:65535/callback", "http://[::1]:8080/callback"] {
        let change = [("redirect_uri", address)];
        let code = code_for(&platform, &alice, "platform", &change).await?;
        redeem(&platform, "platform", &code, &change).await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test]
async fn nobody_is_sent_to_an_address_that_was_not_registered() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for changes in [
        [("redirect_uri", "https://evil.example/callback")],
        [("redirect_uri", "http://127.0.0.1:4711/other")],
        [("redirect_uri", "http://127.0.0.1.evil.example/callback")],
        [("redirect_uri", "http://127.0.0.1@evil.example/callback")],
        [("redirect_uri", "http://127.0.0.1:4711/callback?more=1")],
        [("redirect_uri", "http://127.0.0.1:4711/callback#part")],
        [("redirect_uri", "https://127.0.0.1:4711/callback")],
        [("redirect_uri", "javascript:alert(1)")],
        [("redirect_uri", "")],
        [("client_id", "somebody")],
        [("client_id", "")],
    ] {
        let answer = alice.browser.get(&request(&platform, "platform", &changes)).await?;
        assert_eq!((answer.status, answer.header("location")), (400, ""), "{changes:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_bad_authorization_request_is_answered_to_the_client_with_the_reason() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for (change, code) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", "id_token"), "unsupported_response_type"),
        (("response_type", ""), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", "short"), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("response_mode", "fragment"), "invalid_request"),
        (("request", "e30.e30."), "request_not_supported"),
        (("request_uri", "https://evil.example/r"), "request_uri_not_supported"),
        (("prompt", "none login"), "invalid_request"),
    ] {
        let answer = alice.browser.get(&request(&platform, "platform", &[change])).await?;
        let location = answer.header("location").to_owned();
        assert!(location.starts_with(REDIRECT_URI), "{change:?}: {} {location}", answer.status);
        let back = pairs(&Url::parse(&location)?);
        assert_eq!((&*back["error"], &*back["state"]), (code, "a state"), "{change:?}");
        assert_eq!(back["iss"], platform.issuer("platform"));
        assert!(!back.contains_key("code"));
    }
    Ok(())
}

#[tokio::test]
async fn a_program_that_may_show_no_page_is_told_that_nobody_is_signed_in() -> Result<()> {
    let platform = Platform::start().await?;
    let answer = platform.browser().get(&request(&platform, "platform", &[("prompt", "none")])).await?;
    let back = pairs(&Url::parse(answer.header("location"))?);
    assert_eq!(back["error"], "login_required");
    let alice = platform.person("alice").await?;
    let answer = alice.browser.get(&request(&platform, "platform", &[("prompt", "none")])).await?;
    assert!(pairs(&Url::parse(answer.header("location"))?).contains_key("code"));
    Ok(())
}

#[tokio::test]
async fn a_stranger_gets_no_code_for_a_workspace() -> Result<()> {
    let (platform, _, workspace) = shop().await?;
    let mallory = platform.person("mallory").await?;
    for realm in [workspace.as_str(), "ws-00000000000000000000"] {
        let answer = mallory.browser.get(&request(&platform, realm, &[])).await?;
        let back = pairs(&Url::parse(answer.header("location"))?);
        assert_eq!(back["error"], "access_denied", "{realm}");
    }
    Ok(())
}

#[tokio::test]
async fn a_long_state_survives_a_sign_in() -> Result<()> {
    let platform = Platform::start().await?;
    let long = "s".repeat(512);
    let url = request(&platform, "platform", &[("state", &long), ("nonce", &long)]);
    let back = platform.browser().open_signed_in_until(url.as_str(), "alice@example.test", REDIRECT_URI).await?;
    let back = pairs(&back);
    assert!(back["state"] == long && back.contains_key("code"), "{back:?}");
    Ok(())
}
