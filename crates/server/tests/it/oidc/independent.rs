//! An OpenID client that shares no code with us walks whole flows (npm's `openid-client`, certified as a relying party).

use std::path::Path;

use anyhow::Result;
use hexabase_testkit::node_client;
use serde_json::{Value, json};

use super::REDIRECT_URI;
use crate::support::{Person, Platform, WEB_REDIRECT_URI, web_client};

/// Where the client's package is kept unless the project's cache is named.
const CACHE: &str = env!("CARGO_TARGET_TMPDIR");

/// What every flow has to find.
fn check(found: &Value, alice: &Person, client: &str) {
    let (claims, renewed) = (&found["claims"], &found["renewed"]);
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!(alice.id), &json!(client)));
    assert!(claims["auth_time"].is_i64() && claims["sid"].is_string(), "{claims}");
    assert_eq!((&found["userinfo"]["sub"], &found["userinfo"]["email"]), (&json!(alice.id), &json!(alice.email)));
    for claim in ["iss", "sub", "aud", "auth_time", "sid"] {
        assert_eq!(claims[claim], renewed[claim], "{claim}");
    }
    assert_eq!(found["rotated"], true);
    assert_eq!(
        (&found["after"]["refresh"], &found["after"]["userinfo"]),
        (&json!("invalid_grant"), &json!("invalid_token"))
    );
}

#[tokio::test]
async fn an_independent_client_signs_people_in_whatever_kind_of_client_it_is() -> Result<()> {
    let platform = Platform::start_with(|config| {
        let post = web_client("by-form");
        config.oidc.clients.push(web_client("by-header"));
        config
            .oidc
            .clients
            .push(hexabase_server::config::ClientConfig { id_token_signed_response_alg: "RS256".to_owned(), ..post });
    })
    .await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    for (realm, client, authentication, algorithm) in [
        ("platform", "by-header", "client_secret_basic", "ES256"),
        ("platform", "by-form", "client_secret_post", "RS256"),
        ("platform", "hxb", "none", "ES256"),
        (&*workspace, &*workspace, "none", "ES256"),
    ] {
        let redirect_uri = if authentication == "none" { REDIRECT_URI } else { WEB_REDIRECT_URI };
        let task = json!({
            "issuer": platform.issuer(realm), "client_id": client, "client_secret": crate::support::SECRET,
            "authentication": authentication, "algorithm": algorithm, "redirect_uri": redirect_uri,
            "scope": "openid email offline_access",
        });
        let open = async |address: &str| {
            let back = alice.browser.open_signed_in_until(address, &alice.email, redirect_uri).await?;
            Ok(back.to_string())
        };
        let found = node_client::walk(Path::new(CACHE), &task, &platform.data().join("tls/ca.crt"), open).await?;
        check(&found, &alice, client);
        if authentication != "none" {
            assert_eq!(
                (&found["introspected"]["active"], &found["introspected"]["client_id"]),
                (&json!(true), &json!(client))
            );
            assert_eq!(found["after"]["introspected"], json!({ "active": false }));
        }
        let end = found["end_session"].as_str().unwrap_or_default();
        assert!(end.starts_with(&format!("{}/end_session?", platform.issuer(realm))), "{end}");
    }
    Ok(())
}

#[tokio::test]
async fn an_independent_client_signs_in_a_device_without_a_browser() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let task = json!({
        "issuer": platform.issuer("platform"), "client_id": "hxb", "authentication": "none", "algorithm": "ES256",
        "scope": "openid email offline_access", "device": true,
    });
    let open = async |address: &str| {
        alice.browser.decide_device(address, &alice.email, true).await?.answer.expect(200)?;
        Ok("confirmed".to_owned())
    };
    let found = node_client::walk(Path::new(CACHE), &task, &platform.data().join("tls/ca.crt"), open).await?;
    check(&found, &alice, "hxb");
    Ok(())
}
