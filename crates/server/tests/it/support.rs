//! A whole platform in this process, and the people who use it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hexabase_app::clock::Clock;
use hexabase_app::keys::Keys;
use hexabase_backends::seal::Sealer;
use hexabase_backends::store::Store;
use hexabase_core::time::Timestamp;
use hexabase_oidc::jwt::Typ;
use hexabase_oidc::keys::{Algorithm, RotationPolicy};
use hexabase_server::config::{ClientConfig, Config, ProviderConfig};
use hexabase_server::run::{self, Listeners, Role};
use hexabase_testkit::browser::{Browser, Tokens};
use hexabase_testkit::http::{Answer, Http};
use hexabase_testkit::smtp::SmtpServer;
use hexabase_testkit::store::{Engine, TestStore};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

pub(crate) const SESSION_COOKIE: &str = "__Host-hexabase_session";
pub(crate) const ATTEMPT_COOKIE: &str = "__Host-hexabase_attempt";
/// The host of every platform here, for cookies.
pub(crate) const HOST: &str = "localhost";
/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running platform; stops when dropped.
#[derive(Debug)]
pub(crate) struct Platform {
    /// Its address, without a slash at the end.
    pub(crate) url: String,
    /// The address of its second listener.
    pub(crate) cluster_url: String,
    /// PEM of its own certificate authority.
    pub(crate) authority: String,
    /// Its clock; stands when the platform was started so.
    pub(crate) clock: Clock,
    public_url: String,
    folder: Arc<Folder>,
    stop: DropGuard,
    server: JoinHandle<Result<()>>,
}

/// What a platform keeps: files, and a database where that is not one of them.
#[derive(Debug)]
struct Folder {
    dir: TempDir,
    database: Option<TestStore>,
    /// The mail server it sends by, if it sends mail.
    smtp: Option<SocketAddr>,
    /// Networks of the proxies it trusts.
    proxies: Vec<String>,
}

impl Folder {
    fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("hexabase-server-").tempdir()?;
        Ok(Self { dir, database: None, smtp: None, proxies: Vec::new() })
    }
}

/// What is left of a platform that was stopped.
#[derive(Debug)]
pub(crate) struct Kept {
    /// PEM of its certificate authority.
    pub(crate) authority: String,
    folder: Arc<Folder>,
    public_url: String,
}

impl Platform {
    /// One by the system's clock.
    pub(crate) async fn start() -> Result<Self> {
        Self::start_with(|_| ()).await
    }

    /// One with other settings.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Result<Self> {
        Self::launch(Arc::new(Folder::new()?), Clock::System, None, at_once(change)).await
    }

    /// One that sends its mail by this server.
    pub(crate) async fn start_with_mail(smtp: &SmtpServer, clock: Clock) -> Result<Self> {
        let folder = Folder { smtp: Some(smtp.address()), ..Folder::new()? };
        Self::launch(Arc::new(folder), clock, None, at_once(|_| ())).await
    }

    /// One behind a reverse proxy on this machine, by a clock that stands.
    pub(crate) async fn start_behind_a_proxy() -> Result<Self> {
        let folder = Folder { proxies: vec!["127.0.0.0/8".to_owned()], ..Folder::new()? };
        Self::launch(Arc::new(folder), Clock::standing_at(Clock::System.now()), None, at_once(|_| ())).await
    }

    /// One on each kind of database, for what several requests at once might break.
    pub(crate) async fn start_on_each_engine() -> Result<[Self; 2]> {
        let database = TestStore::new(Engine::Postgres).await?;
        let folder = Folder { database: Some(database), ..Folder::new()? };
        let postgres = Self::launch(Arc::new(folder), Clock::System, None, at_once(|_| ()));
        Ok([Self::start().await?, postgres.await?])
    }

    /// One whose clock stands until the test moves it.
    pub(crate) async fn start_with_standing_clock() -> Result<Self> {
        Self::start_standing_with(|_| ()).await
    }

    /// The same with other settings.
    pub(crate) async fn start_standing_with(change: impl FnOnce(&mut Config)) -> Result<Self> {
        let clock = Clock::standing_at(Clock::System.now());
        Self::launch(Arc::new(Folder::new()?), clock, None, at_once(change)).await
    }

    /// One with these identity providers, which are told its address.
    pub(crate) async fn start_with_providers(
        clock: Clock,
        providers: impl AsyncFnOnce(&str) -> Result<Vec<ProviderConfig>>,
    ) -> Result<Self> {
        Self::launch(Arc::new(Folder::new()?), clock, None, async |config: &mut Config| {
            config.sign_in.providers = providers(&address(&config.server.public_url)).await?;
            Ok(())
        })
        .await
    }

    /// What a restart needs: the data and the name.
    pub(crate) fn keep(&self) -> Kept {
        Kept { folder: self.folder.clone(), public_url: self.public_url.clone(), authority: self.authority.clone() }
    }

    /// A server on the data that another one left.
    pub(crate) async fn start_on(kept: &Kept) -> Result<Self> {
        let called = Some(Url::parse(&kept.public_url)?);
        Self::launch(kept.folder.clone(), Clock::System, called, at_once(|_| ())).await
    }

    /// A second server under the same address, on the same database and master key, as replicas behind a load balancer are.
    pub(crate) async fn replica(&self) -> Result<Self> {
        let called = Some(Url::parse(&self.public_url)?);
        Self::launch(self.folder.clone(), self.clock.clone(), called, at_once(|_| ())).await
    }

    /// One whose settings are changed once its addresses are known.
    async fn launch(
        folder: Arc<Folder>,
        clock: Clock,
        called: Option<Url>,
        change: impl AsyncFnOnce(&mut Config) -> Result<()>,
    ) -> Result<Self> {
        run::install_crypto();
        let mut config = config(folder.dir.path())?;
        // Straight into the settings: a production database and the development issuer would not be allowed together.
        config.store.url = folder.database.as_ref().map(|database| database.address().into());
        if let Some(smtp) = folder.smtp {
            config.mail.smtp_url = Some(format!("smtp://{smtp}").into());
            config.mail.starttls = false;
            config.mail.from = Some("Hexabase <no-reply@hexabase.test>".to_owned());
        }
        config.server.trusted_proxies = folder.proxies.clone();
        let listeners = Listeners::open(&mut config, Role::Serve).await?;
        let url = address(&config.server.public_url);
        let cluster_url = address(config.server.cluster_url.as_ref().context("there is no second listener")?);
        if let Some(called) = called {
            config.server.public_url = called;
        }
        let public_url = address(&config.server.public_url);
        change(&mut config).await?;
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let mut server = tokio::spawn(run::run_on(config, Role::Serve, listeners, clock.clone(), stop));
        let authority = tokio::select! {
            ended = &mut server => { ended??; bail!("the server ended by itself") }
            ready = until_ready(&url, folder.dir.path()) => ready?,
        };
        Ok(Self { url, public_url, cluster_url, authority, clock, folder, stop: guard, server })
    }

    /// Stops it as an operator does, and waits until it has stopped.
    pub(crate) async fn stop(self) -> Result<()> {
        let Self { stop, server, .. } = self;
        drop(stop);
        server.await?
    }

    /// Its folder.
    pub(crate) fn data(&self) -> &Path {
        self.folder.dir.path()
    }

    /// Its database, by a connection of the test's own.
    pub(crate) async fn store(&self) -> Result<Store> {
        match &self.folder.database {
            Some(database) => database.reconnect().await,
            None => Ok(Store::connect(&self.database().parse()?).await?),
        }
    }

    /// Where its database is, for who wants to change it behind the platform's back.
    pub(crate) fn database(&self) -> String {
        match &self.folder.database {
            Some(database) => database.address().to_owned(),
            None => format!("sqlite://{}", self.data().join("hexabase.db").display()),
        }
    }

    /// Its signing keys, with which a test makes tokens that only a stolen key could.
    pub(crate) async fn keys(&self) -> Result<Keys> {
        let text = std::fs::read_to_string(self.data().join("master.key"))?;
        let bytes: [u8; 32] = STANDARD.decode(text.trim())?.try_into().ok().context("the master key is too short")?;
        Ok(Keys::load(&self.store().await?, &Sealer::new(&bytes, "master")?, RotationPolicy::DEFAULT, self.clock.now())
            .await?)
    }

    /// A token with these claims, signed with the platform's own key.
    pub(crate) async fn forge(&self, claims: &Value, typ: Typ) -> Result<String> {
        let now = self.clock.now().as_seconds();
        Ok(self.keys().await?.with(|ring| ring.sign(Algorithm::Es256, claims, typ, now))?)
    }

    /// Somebody without a token.
    pub(crate) fn nobody(&self) -> Http {
        Http::new(&self.url, &self.authority).expect("the authority is one")
    }

    /// A new browser.
    pub(crate) fn browser(&self) -> Browser {
        Browser::new(&self.authority).expect("the authority is one")
    }

    /// An address of this platform.
    pub(crate) fn at(&self, path: &str) -> Url {
        Url::parse(&format!("{}{path}", self.url)).expect("an address")
    }

    /// The issuer of a realm.
    pub(crate) fn issuer(&self, realm: &str) -> String {
        format!("{}/oidc/{realm}", self.public_url)
    }

    /// Somebody who has signed in with a browser and with `hxb`.
    pub(crate) async fn person(&self, name: &str) -> Result<Person> {
        let email = format!("{name}@example.test");
        let browser = Browser::sign_in(&self.authority, &self.url, &email).await?;
        let tokens = browser.tokens(&self.issuer("platform"), "hxb", &email).await?;
        let api = self.nobody().with_token(&tokens.access_token);
        let me = api.get("/api/v1/me").await?.expect(200)?.json()?;
        Ok(Person {
            id: text(&me["id"]),
            organization: text(&me["organizations"][0]["organization"]),
            email,
            browser,
            tokens,
            api,
        })
    }
}

/// Somebody signed in.
#[derive(Debug)]
pub(crate) struct Person {
    /// The opaque id.
    pub(crate) id: String,
    /// The private organisation.
    pub(crate) organization: String,
    /// The address.
    pub(crate) email: String,
    /// A browser that is signed in.
    pub(crate) browser: Browser,
    /// What `hxb` was given.
    pub(crate) tokens: Tokens,
    /// The API, as `hxb` uses it.
    pub(crate) api: Http,
}

impl Person {
    /// The refresh token that `hxb` was given.
    pub(crate) fn refresh_token(&self) -> Result<String> {
        self.tokens.refresh_token.clone().context("no refresh token")
    }

    /// Asks for a workspace in the private organisation.
    pub(crate) async fn create_workspace(&self, name: &str, plan: &str) -> Result<Answer> {
        let path = format!("/api/v1/organizations/{}/workspaces", self.organization);
        self.api.post(&path, &json!({ "name": name, "plan": plan })).await
    }

    /// The id of a new workspace under the plan `standard`.
    pub(crate) async fn workspace(&self, name: &str) -> Result<String> {
        Ok(text(&self.create_workspace(name, "standard").await?.expect(201)?.json()?["id"]))
    }

    /// The id of a new organisation.
    pub(crate) async fn make_organization(&self, name: &str) -> Result<String> {
        Ok(text(&self.api.post("/api/v1/organizations", &json!({ "name": name })).await?.expect(201)?.json()?["id"]))
    }

    /// The id of a new workspace of an organisation, under the plan `standard`.
    pub(crate) async fn workspace_in(&self, organization: &str, name: &str) -> Result<String> {
        let path = format!("/api/v1/organizations/{organization}/workspaces");
        let answer = self.api.post(&path, &json!({ "name": name, "plan": "standard" })).await?;
        Ok(text(&answer.expect(201)?.json()?["id"]))
    }

    /// Gives somebody access to a workspace.
    pub(crate) async fn add(&self, workspace: &str, user: &str, groups: &[&str]) -> Result<Answer> {
        self.api
            .post(&format!("/api/v1/workspaces/{workspace}/members"), &json!({ "user": user, "groups": groups }))
            .await
    }

    /// Takes somebody's access away.
    pub(crate) async fn remove(&self, workspace: &str, user: &str) -> Result<Answer> {
        self.api.delete(&format!("/api/v1/workspaces/{workspace}/members/{user}")).await
    }

    /// Asks for a workspace's token in exchange for the platform's.
    pub(crate) async fn exchange(&self, platform: &Platform, workspace: &str) -> Result<Answer> {
        exchange(platform, workspace, self.api.token()).await
    }

    /// A workspace's token.
    pub(crate) async fn workspace_token(&self, platform: &Platform, workspace: &str) -> Result<String> {
        Ok(text(&self.exchange(platform, workspace).await?.expect(200)?.json()?["access_token"]))
    }
}

/// A platform by the system's clock, and Alice with the id of her workspace `shop`.
pub(crate) async fn shop() -> Result<(Platform, Person, String)> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    Ok((platform, alice, workspace))
}

/// Asks for a workspace's token in exchange for `token`.
pub(crate) async fn exchange(platform: &Platform, realm: &str, token: &str) -> Result<Answer> {
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("client_id", "hxb"),
        ("subject_token", token),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ];
    platform.nobody().post_form(&format!("/oidc/{realm}/token"), &form).await
}

/// The secret of every confidential client here.
pub(crate) const SECRET: &str = "a secret of at least 32 characters";
/// Where confidential clients are sent back to; nobody listens there, and no browser here goes there.
pub(crate) const WEB_REDIRECT_URI: &str = "https://web.example.test/callback";

/// A client with a secret in the platform's realm.
pub(crate) fn web_client(id: &str) -> ClientConfig {
    ClientConfig {
        id: id.to_owned(),
        name: Some(format!("The client {id}")),
        secret: Some(SECRET.into()),
        secret_file: None,
        redirect_uris: vec![WEB_REDIRECT_URI.to_owned()],
        post_logout_redirect_uris: vec!["https://web.example.test/bye".to_owned()],
        id_token_signed_response_alg: "ES256".to_owned(),
        realms: vec!["platform".to_owned()],
        pkce: Some("optional".to_owned()),
        acts_for_people: false,
        introspects: false,
    }
}

/// Asks for new tokens.
pub(crate) async fn refresh(platform: &Platform, token: &str) -> Result<Answer> {
    let form = [("grant_type", "refresh_token"), ("client_id", "hxb"), ("refresh_token", token)];
    platform.nobody().post_form("/oidc/platform/token", &form).await
}

/// Takes a refresh token back.
pub(crate) async fn revoke(platform: &Platform, token: &str) -> Result<Answer> {
    let form = [("token", token), ("client_id", "hxb")];
    platform.nobody().post_form("/oidc/platform/revoke", &form).await
}

/// What a token says, unchecked.
pub(crate) fn claims(token: &str) -> Result<Value> {
    let part = token.split('.').nth(1).context("not a token")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
}

/// A token with a signature that does not hold.
pub(crate) fn broken(token: &str) -> Result<String> {
    let (signed, signature) = token.rsplit_once('.').context("not a token")?;
    let mut bytes = URL_SAFE_NO_PAD.decode(signature)?;
    bytes[0] ^= 1;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// An object with some members changed; one that becomes null is left out.
pub(crate) fn changed(object: &Value, changes: Value) -> Value {
    let mut object = object.clone();
    for (name, value) in changes.as_object().cloned().unwrap_or_default() {
        if value.is_null() {
            object.as_object_mut().map(|object| object.remove(&name));
        } else {
            object[name] = value;
        }
    }
    object
}

/// A string of an answer; empty for anything else.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The body of an answer, which must be JSON.
#[track_caller]
pub(crate) fn body(answer: &Answer) -> Value {
    let body = serde_json::from_str(&answer.text);
    assert!(body.is_ok(), "not JSON: {answer:?}");
    body.unwrap_or_default()
}

/// Fails unless `answer` is a problem of this status and code; returns it.
#[track_caller]
pub(crate) fn problem(answer: &Answer, status: u16, code: &str) -> Value {
    let body = body(answer);
    assert_eq!((answer.status, body["code"].as_str()), (status, Some(code)), "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    body
}

/// The error of an answer of the token endpoint.
#[track_caller]
pub(crate) fn oauth_error(answer: &Answer) -> String {
    let body = body(answer);
    assert!((400..500).contains(&answer.status), "{answer:?}");
    text(&body["error"])
}

/// The items of a list.
#[track_caller]
pub(crate) fn items(answer: &Answer) -> Vec<Value> {
    let body = body(answer);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let items = body["items"].as_array();
    assert!(items.is_some(), "no items: {body}");
    items.cloned().unwrap_or_default()
}

/// Waits for something that must happen soon.
pub(crate) async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> Result<T> {
    let happened = tokio::time::timeout(PATIENCE, happens).await;
    ensure!(happened.is_ok(), "{what} did not happen within {PATIENCE:?}");
    Ok(happened?)
}

/// Moves the platform's clock on.
pub(crate) fn pass(platform: &Platform, seconds: i64) -> Timestamp {
    assert!(matches!(platform.clock, Clock::Set(_)), "the clock of this platform does not stand");
    platform.clock.advance_seconds(seconds);
    platform.clock.now()
}

fn address(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// Waits until the server answers; returns its certificate authority, which it makes at its first start.
async fn until_ready(url: &str, folder: &Path) -> Result<String> {
    let authority = loop {
        // The key is written last.
        if folder.join("tls/ca.key").exists() {
            break std::fs::read_to_string(folder.join("tls/ca.crt"))?;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    Http::new(url, &authority)?.get("/readyz").await?.expect(200)?;
    Ok(authority)
}

/// A change of settings that waits for nothing.
fn at_once(change: impl FnOnce(&mut Config)) -> impl AsyncFnOnce(&mut Config) -> Result<()> {
    async move |config: &mut Config| {
        change(config);
        Ok(())
    }
}

fn config(folder: &Path) -> Result<Config> {
    let mut config = Config::load(None)?;
    config.data_dir = folder.to_owned();
    config.server.listen = "127.0.0.1:0".parse()?;
    config.server.public_url = Url::parse("https://localhost:0")?;
    config.server.cluster_listen = Some("127.0.0.1:0".parse()?);
    config.server.cluster_url = Some(Url::parse("https://127.0.0.1:0")?);
    config.sign_in.development.listen = Some("127.0.0.1:0".parse()?);
    Ok(config)
}
