//! Clients that the operator has registered.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use url::Url;

use super::{code_for, me, pairs, request, web_post, web_tokens};
use crate::support::{Platform, SECRET, WEB_REDIRECT_URI, claims, exchange, oauth_error, problem, text, web_client};

/// The changes that make the good request one of a client of the operator's.
fn web<'a>(client: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("client_id", client), ("redirect_uri", WEB_REDIRECT_URI)], more].concat()
}

#[tokio::test]
async fn a_dashboards_token_tells_who_somebody_is_and_does_nothing_for_them() -> Result<()> {
    let platform = Platform::start_with(|config| {
        let client = web_client("dashboard");
        config.oidc.clients.push(hexabase_server::config::ClientConfig {
            realms: vec!["platform".to_owned(), "workspaces".to_owned()],
            ..client
        });
    })
    .await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let tokens = web_tokens(&platform, &alice, "platform", "dashboard", "openid email").await?;
    let access = text(&tokens["access_token"]);
    assert_eq!(claims(&access)?["aud"], platform.issuer("platform"));
    let bearer = platform.nobody().with_token(&access);
    assert_eq!(bearer.get("/oidc/platform/userinfo").await?.expect(200)?.json()?["email"], alice.email);
    problem(&me(&platform, &access).await?, 401, "unauthenticated");
    assert_eq!(oauth_error(&exchange(&platform, &workspace, &access).await?), "invalid_grant");
    // In a workspace's realm likewise: not at its API server, and with groups for whoever asks for them.
    let tokens = web_tokens(&platform, &alice, &workspace, "dashboard", "openid groups").await?;
    let (access, id_token) = (text(&tokens["access_token"]), claims(&text(&tokens["id_token"]))?);
    assert_eq!(id_token["groups"], serde_json::json!(["WSAdmins", "WorkspaceMembers"]));
    assert_eq!(
        (id_token["aud"].as_str(), id_token["iss"].as_str()),
        (Some("dashboard"), Some(&*platform.issuer(&workspace)))
    );
    let bearer = platform.nobody().with_token(&access);
    let said = bearer.get(&format!("/oidc/{workspace}/userinfo")).await?.expect(200)?.json()?;
    assert_eq!((&said["groups"], &said["email"]), (&id_token["groups"], &Value::Null));
    for token in [access, text(&tokens["id_token"])] {
        let gateway = platform.nobody().with_token(token);
        gateway.get(&format!("/k8s/{workspace}/version")).await?.expect(401)?;
    }
    // It cannot get a token that does more either.
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", alice.api.token()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ];
    let refused = web_post(&platform, &format!("/oidc/{workspace}/token"), "dashboard", &form).await?;
    assert_eq!(oauth_error(&refused), "unauthorized_client");
    Ok(())
}

#[tokio::test]
async fn a_client_that_acts_for_people_gets_tokens_for_the_api_server() -> Result<()> {
    let platform = Platform::start_with(|config| {
        let client = web_client("console");
        config.oidc.clients.push(hexabase_server::config::ClientConfig {
            realms: vec!["platform".to_owned(), "workspaces".to_owned()],
            acts_for_people: true,
            ..client
        });
    })
    .await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let tokens = web_tokens(&platform, &alice, "platform", "console", "openid").await?;
    me(&platform, &text(&tokens["access_token"])).await?.expect(200)?;
    let tokens = web_tokens(&platform, &alice, &workspace, "console", "openid").await?;
    let gateway = platform.nobody().with_token(text(&tokens["access_token"]));
    gateway.get(&format!("/k8s/{workspace}/version")).await?.expect(503)?;
    Ok(())
}

#[tokio::test]
async fn a_client_is_known_where_it_is_registered_and_nowhere_else() -> Result<()> {
    let platform = Platform::start_with(|config| config.oidc.clients.push(web_client("web"))).await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let answer = alice.browser.get(&request(&platform, &workspace, &web("web", &[]))).await?;
    assert_eq!((answer.status, answer.header("location")), (400, ""));
    for uri in
        ["https://web.example.test/callback/", "https://web.example.test:443/callback", "http://127.0.0.1:1/callback"]
    {
        let answer =
            alice.browser.get(&request(&platform, "platform", &[("client_id", "web"), ("redirect_uri", uri)])).await?;
        assert_eq!((answer.status, answer.header("location")), (400, ""), "{uri}");
    }
    Ok(())
}

#[tokio::test]
async fn a_client_proves_itself_by_its_secret_in_one_of_two_ways() -> Result<()> {
    let platform = Platform::start_with(|config| config.oidc.clients.push(web_client("web"))).await?;
    let alice = platform.person("alice").await?;
    let changes = web("web", &[("code_challenge", ""), ("code_challenge_method", "")]);
    let redeem = async |more: &[(&str, &str)]| {
        let code = code_for(&platform, &alice, "platform", &changes).await?;
        let form = [("grant_type", "authorization_code"), ("code", &*code), ("redirect_uri", WEB_REDIRECT_URI)];
        platform.nobody().post_form("/oidc/platform/token", &[&form[..], more].concat()).await
    };
    redeem(&[("client_id", "web"), ("client_secret", SECRET)]).await?.expect(200)?;
    for wrong in [
        vec![("client_id", "web")],
        vec![("client_id", "web"), ("client_secret", "wrong")],
        vec![("client_id", "hxb"), ("client_secret", SECRET)],
    ] {
        let refused = redeem(&wrong).await?.expect(401)?;
        assert_eq!(oauth_error(&refused), "invalid_client", "{wrong:?}");
    }
    let bad =
        web_post(&platform, "/oidc/platform/token", "hxb", &[("grant_type", "refresh_token"), ("refresh_token", "x")]);
    let bad = bad.await?.expect(401)?;
    assert!(bad.header("www-authenticate").starts_with("Basic"));
    Ok(())
}

#[tokio::test]
async fn a_verifier_for_a_code_without_a_challenge_is_refused() -> Result<()> {
    let platform = Platform::start_with(|config| config.oidc.clients.push(web_client("web"))).await?;
    let alice = platform.person("alice").await?;
    for (challenge, verifier) in [("", super::VERIFIER), (super::CHALLENGE, ""), (super::CHALLENGE, &*"x".repeat(43))] {
        let method = if challenge.is_empty() { "" } else { "S256" };
        let changes = web("web", &[("code_challenge", challenge), ("code_challenge_method", method)]);
        let code = code_for(&platform, &alice, "platform", &changes).await?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("redirect_uri", WEB_REDIRECT_URI),
            ("code_verifier", verifier),
        ];
        let refused = web_post(&platform, "/oidc/platform/token", "web", &form).await?;
        assert_eq!(oauth_error(&refused), "invalid_grant", "{challenge:?} {verifier:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_needs_a_challenge_or_a_nonce_must_send_one() -> Result<()> {
    let platform = Platform::start_with(|config| {
        config.oidc.clients.push(hexabase_server::config::ClientConfig { pkce: None, ..web_client("web") });
    })
    .await?;
    let alice = platform.person("alice").await?;
    let plain = [("code_challenge", ""), ("code_challenge_method", "")];
    let answer = alice.browser.get(&request(&platform, "platform", &web("web", &plain))).await?;
    assert!(answer.header("location").contains("code="), "a nonce will do: {answer:?}");
    let neither = [&plain[..], &[("nonce", "")]].concat();
    let answer = alice.browser.get(&request(&platform, "platform", &web("web", &neither))).await?;
    assert_eq!(pairs(&Url::parse(answer.header("location"))?)["error"], "invalid_request");
    Ok(())
}

#[tokio::test]
async fn a_client_gets_id_tokens_of_the_algorithm_it_is_registered_for() -> Result<()> {
    let platform = Platform::start_with(|config| {
        let old = web_client("old");
        config.oidc.clients.push(web_client("new"));
        config
            .oidc
            .clients
            .push(hexabase_server::config::ClientConfig { id_token_signed_response_alg: "RS256".to_owned(), ..old });
    })
    .await?;
    let alice = platform.person("alice").await?;
    let keys = platform.nobody().get("/oidc/platform/jwks").await?.expect(200)?.json()?;
    for (client, algorithm) in [("new", "ES256"), ("old", "RS256")] {
        let tokens = web_tokens(&platform, &alice, "platform", client, "openid").await?;
        let token = text(&tokens["id_token"]);
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().context("no header")?)?;
        let header: Value = serde_json::from_slice(&header)?;
        assert_eq!((&header["alg"], &header["typ"]), (&Value::from(algorithm), &Value::from("JWT")));
        let key = keys["keys"].as_array().context("no keys")?.iter().find(|key| key["kid"] == header["kid"]);
        assert_eq!(key.context("an unknown key")?["alg"], algorithm);
    }
    Ok(())
}
