//! What an issuer publishes: where its endpoints are, and its keys.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::support::{Platform, shop, text};

async fn discovery(platform: &Platform, base: &str, realm: &str) -> Result<Value> {
    let url = format!("{base}/oidc/{realm}/.well-known/openid-configuration");
    platform.nobody().get(&url).await?.expect(200)?.json()
}

#[tokio::test]
async fn discovery_says_where_everything_of_an_issuer_is() -> Result<()> {
    let platform = Platform::start().await?;
    let workspace = platform.person("alice").await?.workspace("shop").await?;
    for realm in ["platform", &workspace] {
        let document = discovery(&platform, &platform.url, realm).await?;
        let issuer = platform.issuer(realm);
        assert_eq!(document["issuer"], issuer);
        let endpoints = document.as_object().context("an object")?;
        let endpoints = endpoints.iter().filter(|(name, _)| name.ends_with("_endpoint") || *name == "jwks_uri");
        let mut found = 0;
        for (name, url) in endpoints {
            assert!(text(url).starts_with(&format!("{issuer}/")), "{name}: {url}");
            // Says no more than is mounted.
            assert_ne!(platform.nobody().get(&text(url)).await?.status, 404, "{name}: {url}");
            found += 1;
        }
        assert!(found >= 6, "{document}");
        let algorithms = document["id_token_signing_alg_values_supported"].to_string();
        assert!(algorithms.contains("RS256") && algorithms.contains("ES256"), "{algorithms}");
        assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
        assert_eq!(document["authorization_response_iss_parameter_supported"], true);
    }
    for realm in ["nobody", "ws-1", "../platform", ""] {
        let url = format!("{}/oidc/{realm}/.well-known/openid-configuration", platform.url);
        platform.nobody().get(&url).await?.expect(404)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_cluster_listener_sends_api_servers_to_itself_for_the_keys() -> Result<()> {
    let platform = Platform::start().await?;
    let workspace = platform.person("alice").await?.workspace("shop").await?;
    let document = discovery(&platform, &platform.cluster_url, &workspace).await?;
    assert_eq!(document["issuer"], platform.issuer(&workspace), "the issuer is the same under both addresses");
    let jwks = text(&document["jwks_uri"]);
    assert_eq!(jwks, format!("{}/oidc/{workspace}/jwks", platform.cluster_url));
    let there = platform.nobody().get(&jwks).await?.expect(200)?.json()?;
    let here = platform.nobody().get(&format!("/oidc/{workspace}/jwks")).await?.expect(200)?.json()?;
    assert_eq!(there, here);
    Ok(())
}

#[tokio::test]
async fn the_cluster_listener_serves_nothing_but_discovery_and_keys() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let token = alice.workspace_token(&platform, &workspace).await?;
    for path in [
        "/",
        "/sign-in",
        "/device",
        "/api/v1/me",
        "/openapi.json",
        "/oidc/platform/authorize",
        "/oidc/platform/token",
        "/auth/development/start",
        "/k8s/x/version",
        &format!("/k8s/{workspace}/version"),
    ] {
        let url = format!("{}{path}", platform.cluster_url);
        assert_eq!(platform.nobody().with_token(&token).get(&url).await?.status, 404, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn the_published_keys_hold_nothing_private() -> Result<()> {
    let platform = Platform::start().await?;
    let answer = platform.nobody().get("/oidc/platform/jwks").await?.expect(200)?;
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    let keys = answer.json()?;
    let keys = keys["keys"].as_array().context("no keys")?;
    assert_eq!(keys.len(), 2);
    for key in keys {
        let names: Vec<&String> = key.as_object().context("a key")?.keys().collect();
        for private in ["d", "p", "q", "dp", "dq", "qi", "k", "oth"] {
            assert!(!names.iter().any(|name| *name == private), "{names:?}");
        }
        assert!(key["kid"].is_string() && key["use"] == "sig", "{key}");
    }
    Ok(())
}
