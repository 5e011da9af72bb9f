//! The issuers, as programs see them: one file per thing that is asked for or shown.

mod authorize;
mod bearer;
mod clients;
mod code;
mod confirm;
mod device;
mod discovery;
mod end_session;
mod exchange;
mod forged;
mod independent;
mod inspect;
mod keys;
mod kubelogin;
mod refresh;
mod replicas;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hexabase_testkit::http::Answer;
use reqwest::Method;
use serde_json::Value;
use url::Url;

use crate::support::{Person, Platform, SECRET, WEB_REDIRECT_URI};

/// The example of RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT_URI: &str = "http://127.0.0.1:4711/callback";

type Pairs = BTreeMap<String, String>;

fn pairs(url: &Url) -> Pairs {
    url.query_pairs().into_owned().collect()
}

/// A good authorisation request with some parameters changed; an empty one is left out.
fn request(platform: &Platform, realm: &str, changes: &[(&str, &str)]) -> Url {
    let mut parameters = BTreeMap::from([
        ("response_type", "code"),
        ("client_id", "hxb"),
        ("redirect_uri", REDIRECT_URI),
        ("scope", "openid profile email offline_access"),
        ("state", "a state"),
        ("nonce", "a nonce"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    parameters.extend(changes.iter().copied());
    let mut url = platform.at(&format!("/oidc/{realm}/authorize"));
    url.query_pairs_mut().extend_pairs(parameters.into_iter().filter(|(_, value)| !value.is_empty()));
    url
}

/// What the client is told at its redirect address after a good authorisation request with some parameters changed.
async fn authorize(platform: &Platform, person: &Person, realm: &str, changes: &[(&str, &str)]) -> Result<Pairs> {
    let address = changes.iter().find(|(name, _)| *name == "redirect_uri").map_or(REDIRECT_URI, |(_, address)| address);
    let url = request(platform, realm, changes);
    Ok(pairs(&person.browser.open_signed_in_until(url.as_str(), &person.email, address).await?))
}

/// The code that such a request gives.
async fn code_for(platform: &Platform, person: &Person, realm: &str, changes: &[(&str, &str)]) -> Result<String> {
    let mut back = authorize(platform, person, realm, changes).await?;
    back.remove("code").with_context(|| format!("no code in {back:?}"))
}

/// A good token request with some parameters changed; an empty one is left out.
async fn redeem(platform: &Platform, realm: &str, code: &str, changes: &[(&str, &str)]) -> Result<Answer> {
    let mut form = BTreeMap::from([
        ("grant_type", "authorization_code"),
        ("client_id", "hxb"),
        ("redirect_uri", REDIRECT_URI),
        ("code", code),
        ("code_verifier", VERIFIER),
    ]);
    form.extend(changes.iter().copied());
    let form: Vec<_> = form.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    platform.nobody().post_form(&format!("/oidc/{realm}/token"), &form).await
}

/// The tokens of a person who signs in to a client of the operator's; such a client sends no challenge.
async fn web_tokens(platform: &Platform, person: &Person, realm: &str, client: &str, scope: &str) -> Result<Value> {
    let plain = [("code_challenge", ""), ("code_challenge_method", ""), ("redirect_uri", WEB_REDIRECT_URI)];
    let changes = [&plain[..], &[("client_id", client), ("scope", scope)]].concat();
    let code = code_for(platform, person, realm, &changes).await?;
    let form = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", WEB_REDIRECT_URI)];
    web_post(platform, &format!("/oidc/{realm}/token"), client, &form).await?.expect(200)?.json()
}

/// A form sent by a client that proves itself by HTTP Basic.
async fn web_post(platform: &Platform, path: &str, client: &str, form: &[(&str, &str)]) -> Result<Answer> {
    let nobody = platform.nobody();
    let secret = SECRET.replace(' ', "+");
    let basic = format!("Basic {}", STANDARD.encode(format!("{client}:{secret}")));
    nobody.send(nobody.request(Method::POST, path).header("authorization", basic).form(form)).await
}

async fn me(platform: &Platform, token: &str) -> Result<Answer> {
    platform.nobody().with_token(token).get("/api/v1/me").await
}
