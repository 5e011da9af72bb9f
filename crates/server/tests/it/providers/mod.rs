//! Signing in with real providers: a certified OpenID provider as a process of its own, and a double of GitHub.
//!
//! What a provider can put into an ID token, and each address that must not be connected to, is tried in
//! `crates/oidc/tests/it/hostile_provider.rs` and `crates/oidc/src/client/outbound_tests.rs`.

mod github;
mod linking;
mod openid;

use std::path::Path;

use anyhow::{Context as _, Result};
use hexabase_server::config::{ProviderConfig, ProviderKind};
use hexabase_testkit::browser::Browser;
use hexabase_testkit::http::Answer;
use hexabase_testkit::oidc_provider::{OidcProvider, RegisteredClient};
use serde_json::{Value, json};
use url::Url;

use crate::support::{HOST, Platform, SESSION_COOKIE};

/// An authorisation request of `hxb`.
const AUTHORIZE: &str = "/oidc/platform/authorize?response_type=code&client_id=hxb&scope=openid\
    &redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2Fcallback\
    &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

/// The provider that tests of this process share.
fn shared() -> Result<&'static OidcProvider> {
    OidcProvider::shared(Path::new(env!("CARGO_TARGET_TMPDIR")))
}

/// Where a platform takes people back who were at this provider.
fn redirect_uri(platform: &str, id: &str) -> String {
    format!("{platform}/auth/{id}/callback")
}

/// Settings of an OpenID provider.
fn openid(id: &str, issuer: &str, client: &RegisteredClient) -> ProviderConfig {
    ProviderConfig {
        id: id.to_owned(),
        kind: ProviderKind::Oidc,
        display_name: Some(format!("The {id}")),
        issuer: Some(issuer.to_owned()),
        api_url: None,
        client_id: client.id.clone(),
        client_secret: Some(client.secret.clone().into()),
        client_secret_file: None,
        allow_private_networks: false,
    }
}

/// A client at the shared provider for a platform's provider of this id, and the settings for it.
async fn registered(platform: &str, id: &str, more: Value) -> Result<ProviderConfig> {
    let provider = shared()?;
    let client = provider.register(&[&redirect_uri(platform, id)], more).await?;
    Ok(openid(id, &provider.issuer, &client))
}

/// A platform with the shared provider as `acme`.
async fn acme() -> Result<Platform> {
    let settings = async |url: &str| Ok(vec![registered(url, "acme", json!({})).await?]);
    Platform::start_with_providers(hexabase_app::clock::Clock::System, settings).await
}

/// Goes to the provider and signs in there as `whom`; the address that it sends the browser back to, not yet opened.
async fn until_callback(platform: &Platform, browser: &Browser, id: &str, whom: &str) -> Result<Url> {
    let start = platform.at(&format!("/auth/{id}/start"));
    browser.open_signed_in_until(start.as_str(), whom, platform.at(&format!("/auth/{id}/callback")).as_str()).await
}

/// Signs in as `whom`, and gives what our callback answers.
async fn come_back(platform: &Platform, browser: &Browser, id: &str, whom: &str) -> Result<Answer> {
    let back = until_callback(platform, browser, id, whom).await?;
    browser.get(&back).await
}

/// A browser in which `whom` of the provider is signed in.
async fn signed_in(platform: &Platform, id: &str, whom: &str) -> Result<Browser> {
    let browser = platform.browser();
    come_back(platform, &browser, id, whom).await?.expect(303)?;
    Ok(browser)
}

fn is_signed_in(browser: &Browser) -> bool {
    browser.cookie(HOST, SESSION_COOKIE).is_some()
}

/// Who is signed in.
async fn me(platform: &Platform, browser: &Browser) -> Result<Value> {
    browser.get(&platform.at("/api/v1/me")).await?.expect(200)?.json()
}

/// What the signed-in person signs in with.
async fn identities(platform: &Platform, browser: &Browser) -> Result<Vec<Value>> {
    let answer = browser.get(&platform.at("/api/v1/me/identities")).await?.expect(200)?.json()?;
    answer["items"].as_array().cloned().context("no items")
}

/// The same address with one query parameter of another.
fn with_parameter_of(url: &Url, other: &Url, name: &str) -> Result<Url> {
    let value = other.query_pairs().find(|(key, _)| key == name).context("no such parameter")?.1.into_owned();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let change = |(key, old): &(String, String)| (key.clone(), if key == name { value.clone() } else { old.clone() });
    let mut changed = url.clone();
    changed.query_pairs_mut().clear().extend_pairs(pairs.iter().map(change));
    Ok(changed)
}
