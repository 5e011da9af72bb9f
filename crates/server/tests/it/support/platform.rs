//! A whole platform in this process: starting it, with what it keeps, and looking into it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hexabase_app::clock::Clock;
use hexabase_app::keys::Keys;
use hexabase_backends::seal::Sealer;
use hexabase_backends::store::Store;
use hexabase_oidc::jwt::Typ;
use hexabase_oidc::keys::{Algorithm, RotationPolicy};
use hexabase_server::config::{Config, ProviderConfig};
use hexabase_server::run::{self, Listeners, Role};
use hexabase_testkit::browser::Browser;
use hexabase_testkit::http::Http;
use hexabase_testkit::smtp::SmtpServer;
use hexabase_testkit::store::{Engine, TestStore};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use super::configuration::{address, at_once, config};
use super::time::until_ready;

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

    /// Its database, by a connection of the test's own: to the platform, what is written there was written by another process.
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
}
