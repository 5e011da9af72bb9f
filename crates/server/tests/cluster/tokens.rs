//! What a real tenant API server makes of good and bad tokens, and of a key that was taken back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hexabase_app::clock::Clock;
use hexabase_app::keys::Keys;
use hexabase_backends::seal::Sealer;
use hexabase_backends::store::{Store, workspaces};
use hexabase_oidc::keys::{Algorithm, RotationPolicy, SigningKey};
use hexabase_testkit::browser::Browser;
use hexabase_testkit::platform::Platform;
use hexabase_testkit::tokens::{Key, Mould, bad, good};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::support::{Person, Shop, shop, text, until};
use crate::surroundings::Surroundings;

/// Seconds for which the public keys may be kept in the test that revokes one: the least that may be set.
const MAX_AGE: u64 = 60;
/// What is allowed beyond that, on a busy machine: the aim is five seconds.
const SLACK: Duration = Duration::from_secs(20);

/// A workspace's own API server, asked past the gateway.
struct Tenant {
    client: reqwest::Client,
    url: String,
}

impl Tenant {
    async fn of(platform: &Platform, workspace: &str) -> Result<Self> {
        let store = store(platform).await?;
        let row = workspaces::load_for_issuer(&store, &workspace.parse()?).await?.context("no such workspace")?;
        let endpoint: SocketAddr = row.endpoint.context("it has no address yet")?.parse()?;
        let authority = reqwest::Certificate::from_pem(row.ca_pem.context("it has no authority yet")?.as_bytes())?;
        let builder = reqwest::Client::builder().tls_certs_only([authority]).resolve("kubernetes", endpoint);
        let url = format!("https://kubernetes:{}/apis/authentication.k8s.io/v1/selfsubjectreviews", endpoint.port());
        Ok(Self { client: builder.build()?, url })
    }

    /// As whom it knows the bearer; nobody when it refuses. vCluster lets whoever is refused through as nobody, who may not
    /// even ask that.
    async fn knows(&self, authorization: &[String]) -> Result<Option<String>> {
        let question = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
        let request = authorization
            .iter()
            .fold(self.client.post(&self.url).json(&question), |request, value| request.header("authorization", value));
        let answer = request.send().await?;
        let (status, body) = (answer.status().as_u16(), answer.text().await?);
        match status {
            201 => {
                let review: Value = serde_json::from_str(&body)?;
                let name = text(&review["status"]["userInfo"], "username")?;
                Ok(Some(name).filter(|name| name != "system:anonymous"))
            }
            // A request line or header that the server's HTTP does not take is as good as a refusal.
            400 | 401 | 403 | 431 => Ok(None),
            other => anyhow::bail!("{other}: {body}"),
        }
    }
}

async fn store(platform: &Platform) -> Result<Store> {
    let file = platform.data().join("hexabase.db");
    Ok(Store::connect(&format!("sqlite://{}", file.display()).parse()?).await?)
}

async fn keys(platform: &Platform) -> Result<Keys> {
    let secret = std::fs::read_to_string(platform.data().join("master.key"))?;
    let secret: [u8; 32] = STANDARD.decode(secret.trim())?.try_into().ok().context("the master key is too short")?;
    let sealer = Sealer::new(&secret, "master")?;
    Ok(Keys::load(&store(platform).await?, &sealer, RotationPolicy::DEFAULT, Clock::System.now()).await?)
}

fn key(key: &SigningKey) -> Result<Key> {
    Ok(Key {
        algorithm: key.algorithm().as_str(),
        der: key.to_pkcs8_der()?.expose_secret().to_vec(),
        jwk: serde_json::to_value(key.public_jwk())?,
    })
}

async fn own_keys(platform: &Platform) -> Result<[Key; 2]> {
    let now = Clock::System.now().as_seconds();
    let signing = keys(platform).await?.with(|ring| {
        let own = |algorithm| ring.signer(algorithm, now).cloned().context("nothing signs");
        anyhow::Ok([own(Algorithm::Es256)?, own(Algorithm::Rs256)?])
    })?;
    Ok([key(&signing[0])?, key(&signing[1])?])
}

fn claims(token: &str) -> Result<Value> {
    let part = token.split('.').nth(1).context("not a token")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
}

async fn token_of(person: &Person, platform: &Platform, workspace: &str) -> Result<String> {
    let printed = person.hxb(&["credential", "--server", platform.url(), "--workspace", workspace]).await?;
    text(&serde_json::from_str::<Value>(&printed)?["status"], "token")
}

/// Good tokens of Alice's for something else than the API server of `shop`, as a browser got them: those of `other`, a
/// workspace of hers, of the platform, and of the same workspace for another client.
async fn elsewhere(shop: &Shop, other: &str) -> Result<Vec<(String, String)>> {
    let (platform, email) = (&shop.platform, "alice@example.test");
    let browser = Browser::sign_in(&platform.authority_pem()?, platform.url(), email).await?;
    let mut found = Vec::new();
    for (name, realm) in
        [("another workspace", other), ("the platform", "platform"), ("this workspace", shop.id.as_str())]
    {
        let tokens = browser.tokens(&format!("{}/oidc/{realm}", platform.url()), "hxb", email).await?;
        let refresh_token = tokens.refresh_token.context("no refresh token")?;
        found.push((format!("a refresh token of {name}"), refresh_token));
        found.push((format!("an ID token of {name} for hxb"), tokens.id_token.context("no ID token")?));
        if realm != shop.id {
            found.push((format!("an access token of {name}"), tokens.access_token));
        }
    }
    Ok(found)
}

#[tokio::test]
async fn a_tenants_api_server_refuses_every_bad_token_that_it_can_tell_and_no_good_one() -> Result<()> {
    let shop = shop().await?;
    let viewer = shop.viewer("tokens").await?;
    let tenant = Tenant::of(&shop.platform, &shop.id).await?;
    let own = own_keys(&shop.platform).await?;
    let of_viewer = claims(&shop.token_of(&viewer).await?)?;
    let issuer = |realm: &str| format!("{}/oidc/{realm}", shop.platform.url());
    let other = shop.alice.ask_for("elsewhere").await?;
    let foreign = [SigningKey::generate(Algorithm::Es256)?, SigningKey::generate(Algorithm::Rs256)?];
    let mut mould = Mould {
        claims: Value::Null,
        own,
        foreign: [key(&foreign[0])?, key(&foreign[1])?],
        other_workspace: (other.clone(), issuer(&other)),
        platform_issuer: issuer("platform"),
        elsewhere: Vec::new(),
        other_person: (text(&of_viewer, "sub")?, text(&of_viewer, "sid")?),
        now: 0,
    };
    // As if made just now.
    let fresh = |mould: &mut Mould, claims: Value| -> Result<()> {
        mould.now = Clock::System.now().as_seconds();
        mould.claims = claims;
        for (name, value) in [("iat", 0), ("nbf", 0), ("exp", 600)] {
            mould.claims[name] = json!(mould.now + value);
        }
        Ok(())
    };
    let of_alice = claims(&shop.token_of(&shop.alice).await?)?;
    let name = format!("hexabase:{}", text(&of_alice, "sub")?);
    fresh(&mut mould, of_alice.clone())?;
    let all = good(&mould).len();
    ensure!(all >= 20);
    for number in 0..all {
        // Made anew for each, since each runs a whole kubectl, and one of them is over in half a minute.
        fresh(&mut mould, of_alice.clone())?;
        let (what, token) = good(&mould).swap_remove(number);
        let known = tenant.knows(&[format!("Bearer {token}")]).await?;
        ensure!(known.as_deref() == Some(&*name), "{what}: {known:?}");
        shop.at.with_token(&shop.platform, &token, &shop.id, "/version").await?.good().context(what)?;
    }
    mould.elsewhere = elsewhere(shop, &other).await?;
    fresh(&mut mould, of_alice)?;
    let bad = bad(&mould);
    let (mut refused, mut accepted, mut cannot) = (0, Vec::new(), Vec::new());
    for token in &bad {
        match (tenant.knows(&token.authorization).await?, token.tenant_cannot) {
            (None, None) => refused += 1,
            (Some(_), Some(_)) => cannot.push(&token.name),
            (None, Some(why)) => accepted.push(format!("{} is refused, although {why}", token.name)),
            (Some(known), None) => accepted.push(format!("{} is accepted as {known}", token.name)),
        }
    }
    ensure!(accepted.is_empty(), "{accepted:#?}");
    ensure!(refused >= 200, "only {refused} are refused");
    println!(
        "{refused} bad tokens refused, {} left to the gateway: {cannot:?}; {all} good ones accepted",
        cannot.len()
    );
    shop.alice.hxb(&["workspace", "delete", "elsewhere", "--yes", "--wait", "--timeout", "10m"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_revoked_key_is_refused_by_a_tenant_soon_after_its_key_set_is_too_old() -> Result<()> {
    let at = Surroundings::read()?;
    let platform = at.platform_with(&format!("[oidc]\njwks_max_age_seconds = {MAX_AGE}\n")).await?;
    let rosa = Person::sign_in(&at, &platform, "rosa").await?;
    let id = rosa.workspace("rotating").await.with_context(|| platform.log())?;
    let tenant = Tenant::of(&platform, &id).await?;
    let [stolen, _] = own_keys(&platform).await?;
    let good = claims(&token_of(&rosa, &platform, &id).await?)?;
    // What a thief of the key makes: each token another one, so that no answer is one from before.
    let mut made = 0;
    let mut forged = || {
        made += 1;
        let now = Clock::System.now().as_seconds();
        let mut claims = good.clone();
        for (name, value) in
            [("iat", json!(now)), ("nbf", json!(now)), ("exp", json!(now + 600)), ("jti", json!(format!("j{made}")))]
        {
            claims[name] = value;
        }
        vec![format!("Bearer {}", stolen.sign(&stolen.header(), claims.to_string()))]
    };
    ensure!(tenant.knows(&forged()).await?.is_some(), "the forgery itself works");
    platform.run(&["keys", "revoke", stolen.kid(), "--reason", "a test"]).await?.good()?;
    let begun = Instant::now();
    let bound = Duration::from_secs(MAX_AGE) + SLACK;
    let mut still = 0;
    while tenant.knows(&forged()).await?.is_some() {
        still += 1;
        ensure!(begun.elapsed() < bound, "still believed after {:?}\n{}", begun.elapsed(), platform.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = begun.elapsed();
    println!(
        "a revoked key was refused by the tenant after {took:.1?}, with max-age {MAX_AGE} s; it was believed {still} times"
    );
    // Rosa and her kubectl go on with the key that took over, once hxb shows no token of the old one (ADR 15).
    rosa.forget_tokens()?;
    until("a token of the new key is accepted", async || Ok(rosa.try_kubectl(&["get", "namespaces"]).await?.code == 0))
        .await?;
    let fresh = token_of(&rosa, &platform, &id).await?;
    ensure!(tenant.knows(&[format!("Bearer {fresh}")]).await?.is_some());
    ensure!(tenant.knows(&forged()).await?.is_none());
    rosa.hxb(&["workspace", "delete", "rotating", "--yes", "--wait", "--timeout", "3m"]).await?;
    Ok(())
}
