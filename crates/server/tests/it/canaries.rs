//! Secrets of every kind go through a server that logs all it can, and are then looked for wherever somebody may read.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hexabase_app::clock::Clock;
use hexabase_app::keys::Keys;
use hexabase_backends::seal::Sealer;
use hexabase_backends::store::Store;
use hexabase_oidc::keys::{Algorithm, RotationPolicy};
use hexabase_testkit::browser::Browser;
use hexabase_testkit::http::{Answer, Http};
use hexabase_testkit::platform::{Platform, PlatformSpec};
use serde_json::json;
use url::Url;

use crate::support::{HOST, SESSION_COOKIE, text};
use crate::tokens::in_a_day;

const EMAIL: &str = "alice@example.test";
/// Everything that we log, and what libraries say of each request.
const LOG: &str =
    "debug,hexabase=trace,hexabase_app=trace,hexabase_backends=trace,hexabase_oidc=trace,hexabase_server=trace";
const PROVIDER_SECRET: &str = "canary-of-the-provider-9d1f4f6c";
const GITHUB_SECRET: &str = "canary-of-github-57be0c2a";
const MAIL_PASSWORD: &str = "canary-of-the-mail-server-3b8e";
const IN_A_QUERY: &str = "canary-in-a-query-1f0c7a";
const IN_A_HEADER: &str = "canary-in-a-header-6a2d90";
const IN_A_BODY: &str = "canary-in-a-body-e07b51";

/// What must not be found, by the name under which a failure tells of it.
#[derive(Default)]
struct Canaries(Vec<(&'static str, Vec<u8>)>);

impl Canaries {
    fn keep(&mut self, name: &'static str, secret: impl AsRef<[u8]>) -> Result<()> {
        let secret = secret.as_ref();
        ensure!(secret.len() >= 8, "{name} is too short to be looked for");
        self.0.push((name, secret.to_vec()));
        Ok(())
    }

    /// As it is, and as addresses, base64 and hexadecimal write it.
    fn found_in(&self, place: &[u8]) -> Vec<&'static str> {
        let holds = |secret: &[u8]| place.windows(secret.len()).any(|window| window == secret);
        let written = |secret: &[u8]| {
            let escaped: String = url::form_urlencoded::byte_serialize(secret).collect();
            let hex = secret.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            [secret.to_vec(), escaped.into_bytes(), STANDARD.encode(secret).into_bytes(), hex.into_bytes()]
        };
        self.0
            .iter()
            .filter(|(_, secret)| written(secret).iter().any(|one| holds(one)))
            .map(|(name, _)| *name)
            .collect()
    }
}

/// A person's way through the server; keeps every answer that refuses.
struct Walk {
    platform: Platform,
    canaries: Canaries,
    refusals: String,
}

impl Walk {
    async fn begin() -> Result<Self> {
        // Nobody listens there any more.
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let more = format!(
            "[[sign_in.providers]]\nid = \"company\"\nissuer = \"http://127.0.0.1:{port}\"\nclient_id = \"hexabase\"\n\
             client_secret = \"{PROVIDER_SECRET}\"\ndisplay_name = \"Company\"\n\
             [[sign_in.providers]]\nid = \"github\"\nkind = \"github\"\nclient_id = \"hexabase\"\n\
             client_secret = \"{GITHUB_SECRET}\"\n\
             [mail]\nsmtp_url = \"smtps://hexabase:{MAIL_PASSWORD}@127.0.0.1:{port}\"\n\
             from = \"Hexabase <no-reply@hexabase.test>\"\n"
        );
        let program = Path::new(env!("CARGO_BIN_EXE_hexabase"));
        let spec = PlatformSpec { more, environment: vec![("HEXABASE_LOG", LOG)], ..PlatformSpec::serve(program) };
        let platform = Platform::start(spec).await?;
        let mut canaries = Canaries::default();
        canaries.keep("the provider's client secret", PROVIDER_SECRET)?;
        canaries.keep("GitHub's client secret", GITHUB_SECRET)?;
        canaries.keep("the mail server's password", MAIL_PASSWORD)?;
        Ok(Self { platform, canaries, refusals: String::new() })
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.platform.url())
    }

    fn refused(&mut self, answer: &Answer) -> Result<()> {
        ensure!(answer.status >= 400, "not refused: {answer:?}");
        self.refusals.push_str(&answer.text);
        Ok(())
    }

    /// What the server keeps in files of its own.
    async fn files(&mut self) -> Result<()> {
        let data = self.platform.data();
        let master = std::fs::read_to_string(data.join("master.key"))?;
        let bytes: [u8; 32] = STANDARD.decode(master.trim())?.try_into().ok().context("the master key is too short")?;
        self.canaries.keep("the master key", bytes)?;
        self.canaries.keep("the master key as written", master.trim())?;
        let pem = std::fs::read_to_string(data.join("tls/ca.key"))?;
        self.canaries.keep("the authority's key", pem.lines().nth(1).context("not PEM")?)?;
        let store = Store::connect(&format!("sqlite://{}", data.join("hexabase.db").display()).parse()?).await?;
        let now = Clock::System.now();
        let keys = Keys::load(&store, &Sealer::new(&bytes, "master")?, RotationPolicy::DEFAULT, now).await?;
        for (name, algorithm) in [("the ES256 key", Algorithm::Es256), ("the RS256 key", Algorithm::Rs256)] {
            let der = keys.with(|ring| {
                let key = ring.signer(algorithm, now.as_seconds()).map(|key| key.to_pkcs8_der());
                key.transpose()
            })?;
            use secrecy::ExposeSecret as _;
            let der = der.context("no key")?;
            // The end, which is the key itself.
            let der = der.expose_secret();
            self.canaries.keep(name, &der[der.len().saturating_sub(24)..])?;
        }
        Ok(())
    }

    /// A sign-in with the browser, step by step.
    async fn sign_in(&mut self) -> Result<Browser> {
        let browser = Browser::new(&self.platform.authority_pem()?)?;
        let callback = self.at("/auth/development/callback");
        let back = browser.open_signed_in_until(&self.at("/sign-in"), EMAIL, &callback).await?;
        let attempt = browser.cookie(HOST, crate::support::ATTEMPT_COOKIE).context("no attempt")?;
        self.canaries.keep("the cookie of the attempt", attempt)?;
        for (name, value) in back.query_pairs() {
            match name.as_ref() {
                "code" => self.canaries.keep("the provider's code", value.as_bytes())?,
                "state" => self.canaries.keep("the state", value.as_bytes())?,
                _ => {}
            }
        }
        browser.open_signed_in(back.as_str(), EMAIL).await?.answer.expect(200)?;
        let cookie = browser.cookie(HOST, SESSION_COOKIE).context("no session")?;
        self.canaries.keep("the session's cookie", cookie)?;
        // The same again is refused.
        let again = browser.get(&back).await?;
        self.refused(&again)?;
        Ok(browser)
    }

    /// The tokens of a program, and what of them is used up.
    async fn program(&mut self, browser: &Browser) -> Result<Http> {
        let tokens = browser.tokens(&self.at("/oidc/platform"), "hxb", EMAIL).await?;
        let first = tokens.refresh_token.clone().context("no refresh token")?;
        let nobody = self.platform.nobody()?;
        let form = |token: &str| {
            [
                ("grant_type", "refresh_token".to_owned()),
                ("client_id", "hxb".to_owned()),
                ("refresh_token", token.to_owned()),
            ]
        };
        let sent = form(&first);
        let sent: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let next = nobody.post_form("/oidc/platform/token", &sent).await?.expect(200)?.json()?;
        self.canaries.keep("an access token", &tokens.access_token)?;
        self.canaries.keep("an ID token", tokens.id_token.unwrap_or_else(|| tokens.access_token.clone()))?;
        self.canaries.keep("a refresh token that was used", &first)?;
        self.canaries.keep("a refresh token", text(&next["refresh_token"]))?;
        let device = nobody.post_form("/oidc/platform/device_authorization", &[("client_id", "hxb")]).await?;
        let device = device.expect(200)?.json()?;
        self.canaries.keep("a device code", text(&device["device_code"]))?;
        for form in [
            [
                ("grant_type", "authorization_code"),
                ("client_id", "hxb"),
                ("code", IN_A_BODY),
                ("code_verifier", IN_A_BODY),
            ],
            [("grant_type", "refresh_token"), ("client_id", "hxb"), ("refresh_token", IN_A_BODY), ("x", IN_A_BODY)],
        ] {
            let refused = nobody.post_form("/oidc/platform/token", &form).await?;
            self.refused(&refused)?;
        }
        self.canaries.keep("a secret in a body", IN_A_BODY)?;
        Ok(nobody.with_token(text(&next["access_token"])))
    }

    /// API tokens, an invitation, a workspace's token.
    async fn credentials(&mut self, api: &Http) -> Result<()> {
        let me = api.get("/api/v1/me").await?.expect(200)?.json()?;
        let organization = text(&me["organizations"][0]["organization"]);
        let base = format!("/api/v1/organizations/{organization}");
        let token = json!({ "name": "deploy", "access": "write", "expires_at": in_a_day() });
        let secret = |answer: &Answer| anyhow::Ok(text(&answer.json()?["secret"]));
        let own = api.send(
            api.request(reqwest::Method::POST, "/api/v1/me/tokens").header("idempotency-key", "one").json(&token),
        );
        self.canaries.keep("an API token", secret(&own.await?.expect(201)?)?)?;
        let reading = json!({ "name": "look", "access": "read", "expires_at": in_a_day() });
        let reading = secret(&api.post("/api/v1/me/tokens", &reading).await?.expect(201)?)?;
        let refused =
            self.platform.nobody()?.with_token(&reading).post("/api/v1/organizations", &json!({ "name": "x" })).await?;
        self.refused(&refused)?;
        self.canaries.keep("a reading API token", reading)?;
        let account =
            api.post(&format!("{base}/service-accounts"), &json!({ "name": "x" })).await?.expect(201)?.json()?;
        let path = format!("{base}/service-accounts/{}/tokens", text(&account["id"]));
        self.canaries.keep("a service account's token", secret(&api.post(&path, &token).await?.expect(201)?)?)?;
        let workspace = json!({ "name": "shop", "plan": "standard" });
        let workspace = api.post(&format!("{base}/workspaces"), &workspace).await?.expect(201)?.json()?;
        let workspace = text(&workspace["id"]);
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("client_id", "hxb"),
            ("subject_token", api.token()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ];
        let nobody = self.platform.nobody()?;
        let exchanged = nobody.post_form(&format!("/oidc/{workspace}/token"), &form).await?.expect(200)?.json()?;
        let inside = text(&exchanged["access_token"]);
        let refused = nobody.with_token(&inside).get(&format!("/k8s/{workspace}/api?token={IN_A_QUERY}")).await?;
        self.refused(&refused)?;
        self.canaries.keep("a workspace's token", inside)?;
        // Mail that cannot be sent says why, to whoever sent it.
        let invited = api.post(&format!("{base}/invitations"), &json!({ "email": "bob@example.test" })).await?;
        invited.expect(201)?;
        Ok(())
    }

    /// Secrets at places where they do not belong.
    async fn misplaced(&mut self) -> Result<()> {
        self.canaries.keep("a secret in an address", IN_A_QUERY)?;
        self.canaries.keep("a secret in a header", IN_A_HEADER)?;
        let nobody = self.platform.nobody()?;
        for path in ["/api/v1/me", "/oidc/platform/authorize", "/sign-in", "/auth/company/callback", "/nowhere"] {
            let token = format!("hxb_{IN_A_HEADER}");
            let answer =
                nobody.with_token(token).get(&format!("{path}?access_token={IN_A_QUERY}&state={IN_A_QUERY}")).await?;
            self.refusals.push_str(if answer.status >= 400 { &answer.text } else { "" });
        }
        let browser = Browser::new(&self.platform.authority_pem()?)?;
        for name in [SESSION_COOKIE, crate::support::ATTEMPT_COOKIE] {
            browser.set_cookie(HOST, name, IN_A_HEADER);
        }
        for path in ["/api/v1/me", "/auth/development/callback?code=x&state=y"] {
            let refused = browser.get(&Url::parse(&self.at(path))?).await?;
            self.refused(&refused)?;
        }
        // A provider that does not answer.
        for provider in ["company", "github"] {
            let answer = browser.get(&Url::parse(&self.at(&format!("/auth/{provider}/start")))?).await?;
            self.refusals.push_str(if answer.status >= 400 { &answer.text } else { "" });
        }
        Ok(())
    }

    /// Everything somebody may read: what is told over the API about oneself and one's organisation.
    async fn told(&self, api: &Http) -> Result<Vec<(String, String)>> {
        let me = api.get("/api/v1/me").await?.expect(200)?.json()?;
        let base = format!("/api/v1/organizations/{}", text(&me["organizations"][0]["organization"]));
        let mut places = Vec::new();
        let paths = ["audit?limit=200", "audit/export", "invitations", "service-accounts", "workspaces", "members"];
        let own =
            ["/api/v1/me", "/api/v1/me/audit", "/api/v1/me/sessions", "/api/v1/me/tokens", "/api/v1/me/identities"];
        for path in paths.map(|path| format!("{base}/{path}")).into_iter().chain(own.map(str::to_owned)) {
            places.push((path.clone(), api.get(&path).await?.expect(200)?.text));
        }
        Ok(places)
    }
}

#[tokio::test]
async fn no_secret_is_found_in_log_answer_audit_or_database() -> Result<()> {
    let mut walk = Walk::begin().await?;
    walk.files().await?;
    let browser = walk.sign_in().await?;
    let api = walk.program(&browser).await?;
    walk.canaries.keep("the access token in use", api.token())?;
    walk.credentials(&api).await?;
    walk.misplaced().await?;
    let mut places: Vec<(String, Vec<u8>)> =
        walk.told(&api).await?.into_iter().map(|(path, text)| (path, text.into_bytes())).collect();
    walk.platform.stop().await?;
    places.push(("a refusal".to_owned(), walk.refusals.into_bytes()));
    places.push(("the log".to_owned(), walk.platform.log().into_bytes()));
    for file in std::fs::read_dir(walk.platform.data())? {
        let path = file?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("hexabase.db")) {
            places.push(("the database".to_owned(), std::fs::read(&path)?));
        }
    }
    ensure!(places.iter().any(|(place, text)| place == "the log" && text.len() > 10_000), "hardly anything was logged");
    ensure!(places.iter().any(|(place, text)| place == "the database" && text.len() > 10_000), "there is no database");
    let mut found = Vec::new();
    for (place, text) in &places {
        found.extend(walk.canaries.found_in(text).into_iter().map(|name| format!("{name} is in {place}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(walk.canaries.0.len() >= 25, "{}", walk.canaries.0.len());
    Ok(())
}
