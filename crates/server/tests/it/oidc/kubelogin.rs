//! Signing in to a workspace as kubelogin does: each request is the one that its sources make (of August 2026, with
//! `oauth2cli`, `oauth2dev` and `golang.org/x/oauth2`). kubelogin itself is not run.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{authorize, pairs, redeem, request};
use crate::support::{Person, Platform, claims, oauth_error, pass, shop, text};

/// The scopes in its order: those of `--oidc-extra-scope`, then the one of its own.
const SCOPE: &str = "offline_access openid";

/// What it reads of the document of an issuer before it does anything.
async fn discovery(platform: &Platform, workspace: &str) -> Result<Value> {
    let issuer = platform.issuer(workspace);
    let url = format!("{issuer}/.well-known/openid-configuration");
    let document = platform.nobody().get(&url).await?.expect(200)?.json()?;
    assert_eq!(document["issuer"], issuer, "or go-oidc goes no further");
    assert!(document["code_challenge_methods_supported"].to_string().contains("\"S256\""), "or it sends no challenge");
    assert!(document["id_token_signing_alg_values_supported"].to_string().contains("\"ES256\""), "{document}");
    Ok(document)
}

/// What it checks of tokens, and that kubectl comes in with the ID token; returns the refresh token.
async fn signed_in(
    platform: &Platform,
    alice: &Person,
    workspace: &str,
    tokens: &Value,
    nonce: &str,
) -> Result<String> {
    assert!(text(&tokens["token_type"]).eq_ignore_ascii_case("bearer") && tokens["expires_in"] == 600, "{tokens}");
    let id_token = text(&tokens["id_token"]);
    let told = claims(&id_token)?;
    assert_eq!((&told["iss"], &told["aud"]), (&json!(platform.issuer(workspace)), &json!(workspace)));
    assert_eq!(told["sub"], alice.id);
    assert_eq!(text(&told["nonce"]), nonce);
    // A gateway without an upstream answers 503 to whoever may pass.
    let gateway = platform.nobody().with_token(&id_token);
    gateway.get(&format!("/k8s/{workspace}/version")).await?.expect(503)?;
    tokens["refresh_token"].as_str().map(str::to_owned).context("it could not renew its tokens")
}

/// Renews as it does when kubectl finds the ID token over: with no scope, and no nonce to look for.
async fn renewed(platform: &Platform, alice: &Person, workspace: &str, refresh_token: &str) -> Result<()> {
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("client_id", workspace)];
    let tokens = platform.nobody().post_form(&format!("/oidc/{workspace}/token"), &form).await?.expect(200)?.json()?;
    let next = signed_in(platform, alice, workspace, &tokens, "").await?;
    assert_ne!(next, refresh_token);
    Ok(())
}

#[tokio::test]
async fn kubelogin_signs_in_at_its_ports_of_localhost_without_a_path() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    discovery(&platform, &workspace).await?;
    // Its two ports, and the address that its manual gives for browsers that do not know localhost.
    for (address, host, port) in [
        ("http://localhost:8000", "localhost", 8000),
        ("http://localhost:18000", "localhost", 18000),
        ("http://127.0.0.1:8000/", "127.0.0.1", 8000),
    ] {
        let its = [("client_id", workspace.as_str()), ("redirect_uri", address), ("scope", SCOPE)];
        let asked = request(&platform, &workspace, &[&its[..], &[("access_type", "offline")]].concat());
        let back = alice.browser.open_signed_in_until(asked.as_str(), &alice.email, address).await?;
        // It listens at the root, and looks for state and code there.
        assert_eq!((back.host_str(), back.port(), back.path()), (Some(host), Some(port), "/"));
        let told = pairs(&back);
        assert_eq!(told["state"], "a state");
        let change = [("client_id", workspace.as_str()), ("redirect_uri", address)];
        let tokens = redeem(&platform, &workspace, &told["code"], &change).await?.expect(200)?.json()?;
        let refresh_token = signed_in(&platform, &alice, &workspace, &tokens, "a nonce").await?;
        renewed(&platform, &alice, &workspace, &refresh_token).await?;
    }
    Ok(())
}

#[tokio::test]
async fn kubelogin_signs_in_by_device_code() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let document = discovery(&platform, &workspace).await?;
    let endpoint = |name: &str| text(&document[name]);
    let nobody = platform.nobody();
    let form = [("client_id", workspace.as_str()), ("scope", SCOPE)];
    let begun = nobody.post_form(&endpoint("device_authorization_endpoint"), &form).await?.expect(200)?.json()?;
    let device_code = text(&begun["device_code"]);
    let form = [
        ("client_id", workspace.as_str()),
        ("device_code", device_code.as_str()),
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
    ];
    let waiting = nobody.post_form(&endpoint("token_endpoint"), &form).await?;
    // Any other word ends it.
    assert_eq!(oauth_error(&waiting), "authorization_pending");
    let page = alice.browser.decide_device(&text(&begun["verification_uri_complete"]), &alice.email, true).await?;
    page.answer.expect(200)?;
    pass(&platform, begun["interval"].as_i64().context("no interval")?);
    let tokens = nobody.post_form(&endpoint("token_endpoint"), &form).await?.expect(200)?.json()?;
    let refresh_token = signed_in(&platform, &alice, &workspace, &tokens, "").await?;
    renewed(&platform, &alice, &workspace, &refresh_token).await
}

#[tokio::test]
async fn kubelogin_is_told_at_its_port_that_a_stranger_may_not_come_in() -> Result<()> {
    let (platform, _, workspace) = shop().await?;
    let mallory = platform.person("mallory").await?;
    let its = [("client_id", workspace.as_str()), ("redirect_uri", "http://localhost:8000"), ("scope", SCOPE)];
    let told = authorize(&platform, &mallory, &workspace, &its).await?;
    assert_eq!((&*told["error"], &*told["state"]), ("access_denied", "a state"));
    Ok(())
}
