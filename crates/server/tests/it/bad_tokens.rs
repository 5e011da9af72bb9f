//! Every bad token against the gateway: none passes, and the workspace behind it hears nothing.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hexabase_app::keys::{Keys, RevocationRequest};
use hexabase_oidc::keys::{Algorithm, RotationPolicy, SigningKey};
use hexabase_testkit::http::Answer;
use hexabase_testkit::tokens::{Key, Mould, bad, good};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::gateway::Tenant;
use crate::support::{Person, Platform, changed, claims, pass, soon, text};

fn key(key: &SigningKey) -> Result<Key> {
    Ok(Key {
        algorithm: key.algorithm().as_str(),
        der: key.to_pkcs8_der()?.expose_secret().to_vec(),
        jwk: serde_json::to_value(key.public_jwk())?,
    })
}

/// The key that signs at a moment.
fn signer(keys: &Keys, algorithm: Algorithm, at: i64) -> Result<SigningKey> {
    keys.with(|ring| ring.signer(algorithm, at).cloned()).context("nothing signs")
}

/// What good and bad tokens for a workspace are made of.
async fn mould(platform: &Platform, alice: &Person, workspace: &str) -> Result<Mould> {
    let bob = platform.person("bob").await?;
    alice.add(workspace, &bob.id, &[]).await?.expect(201)?;
    let other = alice.workspace("other").await?;
    let now = platform.clock.now().as_seconds();
    let keys = platform.keys().await?;
    let own = [signer(&keys, Algorithm::Es256, now)?, signer(&keys, Algorithm::Rs256, now)?];
    let of_hxb = alice.browser.tokens(&platform.issuer(workspace), "hxb", &alice.email).await?;
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
            ("an ID token of this workspace for hxb".to_owned(), of_hxb.id_token.context("no ID token")?),
        ],
        other_person: (bob.id.clone(), text(&claims(bob.api.token())?["sid"])),
        now,
    })
}

/// A workspace with its API server, and what tokens for it are made of.
struct Scene {
    platform: Platform,
    tenant: Tenant,
    mould: Mould,
    path: String,
}

impl Scene {
    async fn start() -> Result<Self> {
        let platform = Platform::start_with_standing_clock().await?;
        let alice = platform.person("alice").await?;
        let workspace = alice.workspace("shop").await?;
        let mould = mould(&platform, &alice, &workspace).await?;
        let tenant = Tenant::of(&platform, &workspace).await?;
        Ok(Self { platform, tenant, mould, path: format!("/k8s/{workspace}/api/v1/pods") })
    }
}

#[tokio::test]
async fn no_bad_token_passes_the_gateway_and_every_good_one_does() -> Result<()> {
    let Scene { platform, tenant, mould, path } = Scene::start().await?;
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

/// Asks for a WebSocket as a browser does, which shows its token among the sub-protocols.
async fn by_websocket(client: &reqwest::Client, scene: &Scene, token: &str) -> Result<Answer> {
    let token = format!("base64url.bearer.authorization.k8s.io.{}", URL_SAFE_NO_PAD.encode(token));
    let request = client
        .get(scene.platform.at(&scene.path))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", format!("v5.channel.k8s.io, {token}"));
    Answer::read(request.send().await?).await
}

#[tokio::test]
async fn no_bad_token_passes_among_the_sub_protocols_of_a_websocket() -> Result<()> {
    let scene = Scene::start().await?;
    let authority = reqwest::Certificate::from_pem(scene.platform.authority.as_bytes())?;
    // Nobody switches protocols over HTTP/2.
    let client = reqwest::Client::builder().http1_only().tls_certs_only([authority]).build()?;
    let (mut shown, mut passed) = (0, Vec::new());
    for bad in bad(&scene.mould) {
        let [authorization] = &bad.authorization[..] else { continue };
        let Some(token) = authorization.strip_prefix("Bearer ") else { continue };
        let status = by_websocket(&client, &scene, token).await?.status;
        shown += 1;
        if ![401, 403, 431].contains(&status) {
            passed.push((bad.name, status));
        }
    }
    assert!(passed.is_empty() && shown >= 200, "{shown} shown; {passed:#?}");
    assert!(scene.tenant.heard().is_empty(), "{:?}", scene.tenant.heard());
    let (_, good) = good(&scene.mould).swap_remove(0);
    let answer = by_websocket(&client, &scene, &good).await?;
    assert_eq!((answer.status, scene.tenant.heard().len()), (200, 1), "{}", answer.text);
    Ok(())
}

#[tokio::test]
async fn not_even_a_good_token_passes_in_an_address_or_a_form() -> Result<()> {
    let Scene { platform, tenant, mould, path } = Scene::start().await?;
    let (_, good) = good(&mould).swap_remove(0);
    let nobody = platform.nobody();
    for name in ["access_token", "token", "bearer_token", "authorization"] {
        nobody.get(&format!("{path}?{name}={good}")).await?.expect(401)?;
        nobody.post_form(&path, &[(name, good.as_str())]).await?.expect(401)?;
    }
    assert!(tenant.heard().is_empty(), "{:?}", tenant.heard());
    platform.nobody().with_token(good).get(&path).await?.expect(200)?;
    Ok(())
}

/// Waits until the server publishes this key, or no longer does.
async fn until_published(platform: &Platform, key: &SigningKey, published: bool) -> Result<()> {
    let wait = async {
        loop {
            let set = platform.nobody().get("/oidc/platform/jwks").await?.expect(200)?.json()?;
            let keys = set["keys"].as_array().context("no keys")?;
            if keys.iter().any(|known| known["kid"] == key.kid()) == published {
                return anyhow::Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    soon("the new key set", wait).await?
}

/// Signing times are for who signs. Whoever verifies knows a key by its being published, here as at an API server.
#[tokio::test]
async fn a_key_makes_good_tokens_while_it_is_published_and_none_once_it_was_withdrawn_or_revoked() -> Result<()> {
    let Scene { platform, tenant, mould, path } = Scene::start().await?;
    let (keys, store) = (platform.keys().await?, platform.store().await?);
    let status = async |signing: &SigningKey| {
        let now = platform.clock.now().as_seconds();
        let claims: Value = changed(&mould.claims, json!({ "iat": now, "nbf": now, "exp": now + 600 }));
        let key = key(signing)?;
        let token = key.sign(&key.header(), claims.to_string());
        anyhow::Ok(platform.nobody().with_token(token).get(&path).await?.status)
    };
    let now = platform.clock.now();
    let (lead, tail) = (RotationPolicy::DEFAULT.lead(), RotationPolicy::DEFAULT.tail());
    let first = signer(&keys, Algorithm::Es256, now.as_seconds())?;
    keys.rotate(&store, &platform.clock, "a test").await?;
    let next = signer(&keys, Algorithm::Es256, now.as_seconds() + lead)?;
    assert_ne!(first.kid(), next.kid());
    until_published(&platform, &next, true).await?;
    assert_eq!((status(&first).await?, status(&next).await?), (200, 200), "the one that signs, and the one that waits");
    pass(&platform, 2 * lead);
    assert_eq!((status(&first).await?, status(&next).await?), (200, 200), "the one that signed, and its successor");
    pass(&platform, tail);
    assert_eq!((status(&first).await?, status(&next).await?), (401, 200), "the first one was withdrawn");
    let [reason, operator] = ["a test", "a test"].map(str::to_owned);
    let request = RevocationRequest { kids: vec![next.kid().to_owned()], reason, operator };
    keys.revoke(&store, &platform.clock, &request).await?;
    until_published(&platform, &next, false).await?;
    assert_eq!((status(&first).await?, status(&next).await?), (401, 401));
    assert_eq!(tenant.heard().len(), 5);
    Ok(())
}
