//! What the OpenID Foundation's certification plans "Basic OP" and "Config OP" ask of a provider: one function for each of
//! their modules, under the module's name. They are written from what the modules check, as clients that use none of our
//! code: tokens are verified by another implementation, through the published keys. Each runs at the platform's issuer, with
//! RS256 as the plans want it, and at a workspace's with ES256.

mod codes;
mod discovery;
mod parameters;
mod prompts;
mod responses;
mod scopes;
mod user_info;

use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hexabase_server::config::ClientConfig;
use hexabase_testkit::browser::Browser;
use hexabase_testkit::http::Answer;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use reqwest::Method;
use serde_json::Value;
use url::Url;

use crate::support::{Person, Platform, SECRET, WEB_REDIRECT_URI, text, web_client};

type Pairs = BTreeMap<String, String>;

/// The client of nearly every module, with HTTP Basic and nothing that the plan does not send, and a second one of the same
/// kind, whose tokens the first must not be able to use.
const AT_PLATFORM: [&str; 2] = ["certified", "certified-2"];
/// The same two at workspaces.
const AT_WORKSPACES: [&str; 2] = ["certified-there", "certified-there-2"];

/// An issuer to be certified, and somebody who signs in to it.
struct Suite {
    platform: Rc<Platform>,
    alice: Rc<Person>,
    realm: String,
    /// Of the ID tokens that the clients are registered for.
    algorithm: &'static str,
    client: &'static str,
    client_2: &'static str,
    discovery: Value,
}

/// One sign-in, checked as every module checks it.
struct Flow {
    /// The token response.
    tokens: Value,
    /// The claims of the ID token.
    id_token: Value,
    /// The access token.
    access_token: String,
}

impl Suite {
    /// Both issuers on one platform, by the system's clock.
    async fn start() -> Result<impl Iterator<Item = Self>> {
        Self::on(Platform::start_with(|config| config.oidc.clients.extend(clients())).await?).await
    }

    /// By a clock that stands.
    async fn start_standing() -> Result<impl Iterator<Item = Self>> {
        Self::on(Platform::start_standing_with(|config| config.oidc.clients.extend(clients())).await?).await
    }

    async fn on(platform: Platform) -> Result<impl Iterator<Item = Self>> {
        let alice = Rc::new(platform.person("alice").await?);
        let workspace = alice.workspace("shop").await?;
        let platform = Rc::new(platform);
        let mut suites = Vec::new();
        for (realm, algorithm, [client, client_2]) in
            [("platform".to_owned(), "RS256", AT_PLATFORM), (workspace, "ES256", AT_WORKSPACES)]
        {
            let url = format!("{}/.well-known/openid-configuration", platform.issuer(&realm));
            let discovery = platform.nobody().get(&url).await?.expect(200)?.json()?;
            let (platform, alice) = (platform.clone(), alice.clone());
            suites.push(Self { platform, alice, realm, algorithm, client, client_2, discovery });
        }
        // Shown when one of them fails.
        Ok(suites.into_iter().inspect(|suite| println!("at {} with {}", suite.issuer(), suite.algorithm)))
    }

    fn issuer(&self) -> String {
        self.platform.issuer(&self.realm)
    }

    fn endpoint(&self, name: &str) -> String {
        text(&self.discovery[name])
    }

    /// An authorisation request as the plan sends it, with some parameters changed; an empty one is left out.
    fn request(&self, changes: &[(&str, &str)]) -> Url {
        let mut parameters = BTreeMap::from([
            ("response_type", "code"),
            ("client_id", self.client),
            ("redirect_uri", WEB_REDIRECT_URI),
            ("scope", "openid"),
            ("state", "a-state"),
            ("nonce", "a-nonce"),
        ]);
        parameters.extend(changes.iter().copied());
        let mut url = self.platform.at(&format!("/oidc/{}/authorize", self.realm));
        url.query_pairs_mut().extend_pairs(parameters.into_iter().filter(|(_, value)| !value.is_empty()));
        url
    }

    /// A browser in which nobody is signed in, as the modules that want a sign-in page ask for.
    fn new_browser(&self) -> Browser {
        self.platform.browser()
    }

    /// Somebody else who may sign in here.
    async fn somebody(&self, name: &str) -> Result<Person> {
        let person = self.platform.person(name).await?;
        if self.realm != "platform" {
            self.alice.add(&self.realm, &person.id, &[]).await?.expect(201)?;
        }
        Ok(person)
    }

    /// Where a browser ends, in which Alice is or signs in.
    async fn callback(&self, browser: &Browser, request: &Url) -> Result<Pairs> {
        let back = browser.open_signed_in_until(request.as_str(), &self.alice.email, WEB_REDIRECT_URI).await?;
        let back: Pairs = back.query_pairs().into_owned().collect();
        ensure!(back.get("state").map(String::as_str) == Some("a-state"), "{back:?}");
        ensure!(back.get("iss") == Some(&self.issuer()), "{back:?}");
        Ok(back)
    }

    /// What an answer without any page tells the client.
    fn told(answer: &Answer) -> Result<Pairs> {
        let location = answer.header("location");
        ensure!(location.starts_with(WEB_REDIRECT_URI), "not sent back to the client: {answer:?}");
        Ok(Url::parse(location)?.query_pairs().into_owned().collect())
    }

    async fn code(&self, changes: &[(&str, &str)]) -> Result<String> {
        let mut back = self.callback(&self.alice.browser, &self.request(changes)).await?;
        back.remove("code").with_context(|| format!("no code in {back:?}"))
    }

    /// A form sent to an endpoint by a client with HTTP Basic.
    async fn post(&self, endpoint: &str, client: &str, form: &[(&str, &str)]) -> Result<Answer> {
        let nobody = self.platform.nobody();
        let basic = STANDARD.encode(format!("{client}:{}", SECRET.replace(' ', "+")));
        let request = nobody.request(Method::POST, &self.endpoint(endpoint));
        nobody.send(request.header("authorization", format!("Basic {basic}")).form(form)).await
    }

    async fn redeem(&self, client: &str, code: &str) -> Result<Answer> {
        let form = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", WEB_REDIRECT_URI)];
        self.post("token_endpoint", client, &form).await
    }

    /// The second half of a sign-in: tokens for a code, checked, and userinfo by them.
    async fn finish(&self, client: &str, code: &str, nonce: Option<&str>) -> Result<Flow> {
        let answer = self.redeem(client, code).await?.expect(200)?;
        let flow = self.check(&answer, client, nonce).await?;
        self.userinfo(&flow).await?;
        Ok(flow)
    }

    /// A whole sign-in, from the request to userinfo.
    async fn flow(&self, changes: &[(&str, &str)]) -> Result<Flow> {
        self.flow_in(&self.alice.browser, changes).await
    }

    async fn flow_in(&self, browser: &Browser, changes: &[(&str, &str)]) -> Result<Flow> {
        let back = self.callback(browser, &self.request(changes)).await?;
        let code = back.get("code").with_context(|| format!("no code in {back:?}"))?;
        let of = |name: &str, usual: &'static str| {
            changes.iter().find(|(changed, _)| *changed == name).map_or(usual, |(_, value)| value).to_owned()
        };
        self.finish(&of("client_id", self.client), code, Some(&of("nonce", "a-nonce"))).await
    }

    /// Checks a token response: RFC 6749 section 5.1, OpenID Connect Core sections 2, 3.1.3.3 and 3.1.3.7.
    async fn check(&self, answer: &Answer, client: &str, nonce: Option<&str>) -> Result<Flow> {
        ensure!(answer.header("cache-control").contains("no-store"), "{answer:?}");
        ensure!(answer.header("content-type").starts_with("application/json"), "{answer:?}");
        let tokens = answer.json()?;
        ensure!(text(&tokens["token_type"]).eq_ignore_ascii_case("bearer"), "{tokens}");
        ensure!(tokens["expires_in"].as_i64().is_some_and(|seconds| seconds > 0), "{tokens}");
        let access_token = text(&tokens["access_token"]);
        let id_token = self.verify(&text(&tokens["id_token"]), client).await?;
        let now = self.platform.clock.now().as_seconds();
        let number = |name: &str| id_token[name].as_i64().with_context(|| format!("{name} in {id_token}"));
        ensure!(number("exp")? > now && (now - 60..=now).contains(&number("iat")?), "{id_token}");
        ensure!((1..=255).contains(&text(&id_token["sub"]).len()), "{id_token}");
        let expected = nonce.filter(|nonce| !nonce.is_empty()).map_or(Value::Null, Value::from);
        ensure!(id_token["nonce"] == expected, "{id_token}");
        let hash = digest(&SHA256, access_token.as_bytes());
        ensure!(text(&id_token["at_hash"]) == URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]), "{id_token}");
        Ok(Flow { tokens, id_token, access_token })
    }

    /// The claims of an ID token for `client`, verified by the published keys.
    async fn verify(&self, token: &str, client: &str) -> Result<Value> {
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let keys = self.platform.nobody().get(&self.endpoint("jwks_uri")).await?.expect(200)?;
        let keys: JwkSet = keys.parse()?;
        let header = jsonwebtoken::decode_header(token)?;
        let key = keys.find(&header.kid.context("no kid")?).context("a key that is not published")?;
        let mut validation = Validation::new(self.algorithm.parse()?);
        validation.set_issuer(&[text(&self.discovery["issuer"])]);
        validation.set_audience(&[client]);
        // By the clock of the platform, which may stand.
        validation.validate_exp = false;
        Ok(jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(key)?, &validation)?.claims)
    }

    /// What userinfo says, whose subject must be the ID token's (OpenID Connect Core section 5.3.2).
    async fn userinfo(&self, flow: &Flow) -> Result<Value> {
        let bearer = self.platform.nobody().with_token(&flow.access_token);
        let said = bearer.get(&self.endpoint("userinfo_endpoint")).await?.expect(200)?;
        checked_userinfo(&said, flow)
    }
}

fn checked_userinfo(answer: &Answer, flow: &Flow) -> Result<Value> {
    ensure!(answer.header("content-type").starts_with("application/json"), "{answer:?}");
    let said = answer.json()?;
    ensure!(said["sub"] == flow.id_token["sub"] && said["sub"].is_string(), "{said}");
    let nulls = said.as_object().into_iter().flatten().any(|(_, value)| value.is_null());
    ensure!(!nulls, "a claim that is not there is left out, not null: {said}");
    Ok(said)
}

/// As their owner registers them for the certification.
fn clients() -> Vec<ClientConfig> {
    let of = |ids: [&str; 2], realms: &str, algorithm: &str| {
        ids.map(|id| ClientConfig {
            realms: vec![realms.to_owned()],
            id_token_signed_response_alg: algorithm.to_owned(),
            ..web_client(id)
        })
    };
    [of(AT_PLATFORM, "platform", "RS256"), of(AT_WORKSPACES, "workspaces", "ES256")].concat()
}
