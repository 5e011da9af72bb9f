//! Every bad token against the gateway: none passes, and the workspace behind it hears nothing.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use hexabase_oidc::keys::{Algorithm, SigningKey};
use hexabase_testkit::tokens::{Key, Mould, bad, good};
use reqwest::Method;
use secrecy::ExposeSecret as _;

use crate::gateway::Tenant;
use crate::support::{Person, Platform, claims, text};

fn key(key: &SigningKey) -> Result<Key> {
    Ok(Key {
        algorithm: key.algorithm().as_str(),
        der: key.to_pkcs8_der()?.expose_secret().to_vec(),
        jwk: serde_json::to_value(key.public_jwk())?,
    })
}

/// What good and bad tokens for a workspace are made of.
async fn mould(platform: &Platform, alice: &Person, workspace: &str) -> Result<Mould> {
    let bob = platform.person("bob").await?;
    alice.add(workspace, &bob.id, &[]).await?.expect(201)?;
    let other = alice.workspace("other").await?;
    let now = platform.clock.now().as_seconds();
    let own = platform.keys().await?.with(|ring| {
        let own = |algorithm| ring.signer(algorithm, now).cloned().context("nothing signs");
        anyhow::Ok([own(Algorithm::Es256)?, own(Algorithm::Rs256)?])
    })?;
    let foreign = [SigningKey::generate(Algorithm::Es256)?, SigningKey::generate(Algorithm::Rs256)?];
    Ok(Mould {
        claims: claims(&alice.workspace_token(platform, workspace).await?)?,
        own: [key(&own[0])?, key(&own[1])?],
        foreign: [key(&foreign[0])?, key(&foreign[1])?],
        other_workspace: (other.clone(), platform.issuer(&other)),
        platform_issuer: platform.issuer("platform"),
        elsewhere: vec![
            ("of another workspace".to_owned(), alice.workspace_token(platform, &other).await?),
            ("of the platform".to_owned(), alice.api.token().to_owned()),
            ("an ID token of the platform".to_owned(), alice.tokens.id_token.clone().context("no ID token")?),
            ("a refresh token".to_owned(), alice.refresh_token()?),
        ],
        other_person: (bob.id.clone(), text(&claims(bob.api.token())?["sid"])),
        now,
    })
}

#[tokio::test]
async fn no_bad_token_passes_the_gateway_and_every_good_one_does() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let mould = mould(&platform, &alice, &workspace).await?;
    let tenant = Tenant::of(&platform, &workspace).await?;
    let path = format!("/k8s/{workspace}/api/v1/pods");
    let nobody = platform.nobody();
    let bad = bad(&mould);
    let names: BTreeSet<&str> = bad.iter().map(|token| token.name.as_str()).collect();
    assert_eq!(names.len(), bad.len(), "a name stands for one token");
    assert!(bad.iter().filter(|token| token.tenant_cannot.is_none()).count() >= 200, "{}", bad.len());
    let mut passed = Vec::new();
    for token in &bad {
        let request = token
            .authorization
            .iter()
            .fold(nobody.request(Method::GET, &path), |request, value| request.header("authorization", value));
        let answer = nobody.send(request).await?;
        // 431: what is too large for any header is refused before anybody looks at it.
        if ![401, 403, 431].contains(&answer.status) {
            passed.push((&token.name, answer.status));
        }
    }
    assert!(passed.is_empty(), "{passed:#?}");
    assert!(tenant.heard().is_empty(), "{:?}", tenant.heard());
    let good = good(&mould);
    assert!(good.len() >= 20);
    for (number, (name, token)) in good.iter().enumerate() {
        let answer = platform.nobody().with_token(token).get(&path).await?;
        assert_eq!((answer.status, tenant.heard().len()), (200, number + 1), "{name}: {}", answer.text);
    }
    Ok(())
}
