//! Tokens that the platform did not give.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hexabase_oidc::jwt::Typ;
use serde_json::{Value, json};

use super::me;
use crate::support::{Platform, changed, claims, problem};

#[tokio::test]
async fn a_token_that_the_platform_signed_with_other_claims_is_refused() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let good = claims(alice.api.token())?;
    let forge = |changes: Value, typ: Typ| {
        let (platform, said) = (&platform, changed(&good, changes));
        async move { platform.forge(&said, typ).await }
    };
    // The forgery itself works.
    me(&platform, &forge(json!({}), Typ::AccessToken).await?).await?.expect(200)?;
    let now = platform.clock.now().as_seconds();
    let workspace = alice.workspace("shop").await?;
    let session_of_bob = claims(bob.api.token())?["sid"].clone();
    for changes in [
        json!({ "aud": workspace }),
        json!({ "aud": "somebody" }),
        json!({ "aud": "" }),
        json!({ "aud": null }),
        json!({ "iss": platform.issuer(&workspace) }),
        json!({ "iss": "https://evil.example" }),
        json!({ "iss": format!("{}/", platform.issuer("platform")) }),
        json!({ "exp": now - 1, "iat": now - 601 }),
        json!({ "exp": now + 100_000 }),
        json!({ "exp": null }),
        json!({ "iat": now + 3600, "exp": now + 4200 }),
        json!({ "nbf": now + 300 }),
        json!({ "sid": "ses-00000000000000000000" }),
        json!({ "sid": session_of_bob }),
        json!({ "sid": null }),
        json!({ "sub": bob.id }),
        json!({ "sub": "" }),
        json!({ "token_use": "workspace" }),
        json!({ "token_use": null }),
    ] {
        let token = forge(changes.clone(), Typ::AccessToken).await?;
        problem(&me(&platform, &token).await?, 401, "unauthenticated");
    }
    problem(&me(&platform, &forge(json!({}), Typ::Jwt).await?).await?, 401, "unauthenticated");
    Ok(())
}

#[tokio::test]
async fn a_token_that_the_platform_did_not_sign_is_refused() -> Result<()> {
    let platform = Platform::start().await?;
    let stranger = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let good = alice.api.token();
    let parts: Vec<&str> = good.split('.').collect();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0])?)?;
    let with_header = |changes: Value, signature: &str| {
        let header = changed(&header, changes).to_string();
        format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(header), parts[1])
    };
    let elsewhere = stranger.forge(&claims(good)?, Typ::AccessToken).await?;
    let flipped = format!("{}{}", if parts[2].starts_with('A') { "B" } else { "A" }, &parts[2][1..]);
    for token in [
        with_header(json!({ "alg": "none" }), ""),
        with_header(json!({ "alg": "none" }), parts[2]),
        with_header(json!({ "alg": "HS256" }), parts[2]),
        with_header(json!({ "alg": "RS256" }), parts[2]),
        with_header(json!({ "kid": "another" }), parts[2]),
        with_header(json!({ "jwk": { "kty": "oct", "k": "AAAA" } }), parts[2]),
        with_header(json!({ "jku": "https://evil.example/jwks" }), parts[2]),
        with_header(json!({ "crit": ["exp"] }), parts[2]),
        with_header(json!({ "typ": "JWT" }), parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.{flipped}", parts[0], parts[1]),
        format!("{good}.{}", parts[2]),
        format!("{good}="),
        elsewhere,
        "x".repeat(9000),
    ] {
        let answer = me(&platform, &token).await?;
        problem(&answer, 401, "unauthenticated");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{answer:?}");
    }
    Ok(())
}
