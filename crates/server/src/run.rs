//! Putting the parts together: `all`, `serve` and `work`.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hexabase_app::clock::Clock;
use hexabase_app::jobs::{Worker, WorkerSettings};
use hexabase_app::keys::{self, Keys, RELOAD_SECONDS};
use hexabase_app::{App, Settings, housekeeping, members, sessions};
use hexabase_backends::bell::{Bell, Ring, Topic};
use hexabase_backends::seal::Sealer;
use hexabase_backends::store::{Store, StoreUrl};
use hexabase_reconcile::{EndpointMode, Host, HostSettings, Peer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::config::{Config, EndpointKind, parse_key};
use crate::cookies::Cookies;
use crate::dev_issuer::DevIssuer;
use crate::gateway::{GatewaySettings, Revocations};
use crate::providers::{DEVELOPMENT_CLIENT, Providers, redirect_uri};
use crate::state::ServerState;
use crate::{http, listen, tls};

/// How often what is over is forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(600);
/// How long requests that go on without their client get when the server stops.
const DRAIN: Duration = Duration::from_secs(10);
/// Where Kubernetes tells a pod its namespace.
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Which parts run in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// API, issuers, pages and gateway; no access to the host cluster.
    Serve,
    /// Jobs.
    Work,
    /// Both.
    All,
}

/// Chooses the one provider of cryptography for TLS; to be called first by every program and test that opens a connection.
pub fn install_crypto() {
    // An error means that it was installed before, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// What [`Config::load`] does not see: whether the certificates that are given can be used.
///
/// # Errors
/// Unreadable or unusable files, named.
pub fn check(config: &Config) -> Result<()> {
    match config.server.tls.certificate {
        Some(_) => tls::load(config).map(drop),
        None => Ok(()),
    }
}

/// Opens the database.
///
/// # Errors
/// It cannot be reached.
pub async fn open(config: &Config) -> Result<Store> {
    private_folder(&config.data_dir)?;
    connect(&database(config)?).await
}

/// Opens the database of a platform that has run before; makes nothing.
///
/// # Errors
/// It is not there, or cannot be reached.
pub async fn open_existing(config: &Config) -> Result<Store> {
    let url = database(config)?;
    if let Some(file) = url.file() {
        ensure!(file.exists(), "there is no database at {}; are these the platform's settings?", file.display());
    }
    connect(&url).await
}

async fn connect(url: &StoreUrl) -> Result<Store> {
    Store::connect(url).await.context("the database cannot be opened")
}

fn database(config: &Config) -> Result<StoreUrl> {
    Ok(match config.store.address()? {
        Some(url) => url,
        None => format!("sqlite://{}", std::path::absolute(config.data_dir.join("hexabase.db"))?.display()).parse()?,
    })
}

/// Opens the database and brings its schema up to date.
///
/// # Errors
/// It cannot be reached, or is of a newer version.
pub async fn migrate(config: &Config) -> Result<Store> {
    let store = open(config).await?;
    store.migrate().await.context("the database schema cannot be brought up to date")?;
    Ok(store)
}

/// The signing keys of the installation, made at its first start.
///
/// # Errors
/// They were sealed under another master key.
async fn load_keys(config: &Config, store: &Store, sealer: &Sealer, clock: &Clock) -> Result<Keys> {
    Keys::load(store, sealer, config.oidc.rotation(), clock.now())
        .await
        .context("the signing keys cannot be read; is the master key the right one?")
}

/// What seals secrets, by the master key of the settings; without one there, by a new one of the server's own.
///
/// # Errors
/// It cannot be used.
pub fn sealer(config: &Config) -> Result<Sealer> {
    Ok(Sealer::new(&master_key(config)?, "master")?)
}

/// The same for a platform that has run before; makes no key.
///
/// # Errors
/// There is none that can be used.
pub fn existing_sealer(config: &Config) -> Result<Sealer> {
    let file = own_key_file(config);
    let there = config.store.key()?.is_some() || file.exists();
    ensure!(there, "there is no master key at {}; are these the platform's settings?", file.display());
    sealer(config)
}

fn own_key_file(config: &Config) -> PathBuf {
    config.data_dir.join("master.key")
}

/// The sockets of a role, opened before anything else, so that their ports are known to whoever starts the server.
#[derive(Debug, Default)]
pub struct Listeners {
    main: Option<TcpListener>,
    cluster: Option<TcpListener>,
    development: Option<TcpListener>,
}

impl Listeners {
    /// Opens what `config` names for `role`. Port 0 takes any free port; where the address that belongs to a listener has
    /// port 0 as well (`https://localhost:0`), it becomes the one that was taken.
    ///
    /// # Errors
    /// An address that cannot be listened on, named.
    pub async fn open(config: &mut Config, role: Role) -> Result<Self> {
        if role == Role::Work {
            return Ok(Self::default());
        }
        let main = listen::bind(config.server.listen).await?;
        set_port(&mut config.server.public_url, main.local_addr()?.port());
        let cluster = match config.server.cluster_listen {
            Some(address) => Some(listen::bind(address).await?),
            None => None,
        };
        if let (Some(listener), Some(url)) = (&cluster, &mut config.server.cluster_url) {
            set_port(url, listener.local_addr()?.port());
        }
        let development = match config.sign_in.development.listen {
            Some(address) => Some(listen::bind(address).await?),
            None => None,
        };
        Ok(Self { main: Some(main), cluster, development })
    }
}

fn set_port(url: &mut Url, port: u16) {
    if url.port() == Some(0) {
        // Refused only for addresses without a host, which the settings do not allow.
        let _ = url.set_port(Some(port));
    }
}

/// Runs the parts of `role` until `stop`.
///
/// # Errors
/// A part could not be started; what was started is stopped again.
pub async fn run(mut config: Config, role: Role, stop: CancellationToken) -> Result<()> {
    let listeners = Listeners::open(&mut config, role).await?;
    run_on(config, role, listeners, Clock::System, stop).await
}

/// Runs the parts of `role` until `stop`, on listeners that were opened for it and by any clock.
///
/// # Errors
/// As for [`run`].
pub async fn run_on(
    config: Config,
    role: Role,
    listeners: Listeners,
    clock: Clock,
    stop: CancellationToken,
) -> Result<()> {
    let store = migrate(&config).await?;
    let sealer = sealer(&config)?;
    let keys = load_keys(&config, &store, &sealer, &clock).await?;
    keys.note_served(&store, clock.now()).await?;
    let tls = tls::load(&config)?;
    let settings = Settings {
        public_url: config.server.public_url.clone(),
        cluster_url: config.server.cluster_url.clone(),
        authority_pem: tls.authority_pem.clone(),
        oidc_clients: config.oidc.registered()?.into(),
    };
    let mailer = config.mail.mailer(&config.server.public_url)?;
    let app = App { store, bell: Bell::new(), clock, settings, keys, sealer: sealer.clone(), mailer };
    let parts = TaskTracker::new();
    // Whatever ends this function also ends the parts.
    let _guard = stop.clone().drop_guard();
    parts.spawn(tend_keys(app.clone(), stop.clone()));
    start_server(&config, listeners, &app, sealer, &tls, &parts, &stop)?;
    let host = match role {
        Role::Serve => None,
        Role::Work | Role::All => {
            let host = Host::connect(host_settings(&config)?).await.context("the host cluster cannot be used")?;
            Some(Arc::new(host))
        }
    };
    if let Some(host) = &host {
        parts.spawn(report_host(Arc::clone(host)));
        parts.spawn(keep_house(app.clone(), stop.clone()));
    }
    // Mail needs no host cluster: where the API is, it is sent as well.
    if host.is_some() || app.mailer.sends() {
        let owner = format!("{}-{}", std::process::id(), app.new_id::<hexabase_core::ids::RequestId>()?);
        let settings = WorkerSettings { spares: config.host.spares(), ..WorkerSettings::new(owner) };
        let worker = Worker::new(app.clone(), host, settings);
        parts.spawn(worker.run(stop.clone()));
        tracing::info!("worker started");
    }
    stop.cancelled().await;
    tracing::info!("stopping");
    parts.close();
    parts.wait().await;
    Ok(())
}

fn start_server(
    config: &Config,
    listeners: Listeners,
    app: &App,
    sealer: Sealer,
    tls: &tls::Tls,
    parts: &TaskTracker,
    stop: &CancellationToken,
) -> Result<()> {
    let Listeners { main: Some(main), cluster, development } = listeners else { return Ok(()) };
    let public_url = app.settings.address("");
    let development = match development {
        None => None,
        Some(listener) => {
            let issuer = format!("http://{}", listener.local_addr()?);
            let clock = app.clock.clone();
            let seconds: crate::dev_issuer::Clock = Arc::new(move || clock.now().as_seconds());
            let redirect = redirect_uri(&public_url, "development");
            let router = DevIssuer::new(&issuer, DEVELOPMENT_CLIENT, &[redirect], seconds)?.router();
            parts.spawn(listen::serve(listener, None, router, stop.clone()));
            tracing::warn!(%issuer, "the development issuer is on: anybody on this machine can sign in as anybody");
            Some(issuer)
        }
    };
    let providers = Providers::new(&config.sign_in, development.as_deref(), &public_url)?;
    let requests = TaskTracker::new();
    parts.spawn(drain(requests.clone(), stop.clone()));
    let proxies = config.server.proxies()?.into();
    let state = ServerState { app: app.clone(), providers, cookies: Arc::new(Cookies::new(sealer)), proxies, requests };
    if let Some(listener) = cluster {
        parts.spawn(listen::serve(
            listener,
            Some(tls.server.clone()),
            http::cluster_router(state.clone()),
            stop.clone(),
        ));
    }
    let gateway = GatewaySettings { shutdown: stop.clone(), ..config.gateway.settings() };
    parts.spawn(end_revoked_streams(app.clone(), gateway.revocations.clone(), stop.clone()));
    parts.spawn(listen::serve(main, Some(tls.server.clone()), http::router(state, gateway), stop.clone()));
    tracing::info!(address = %public_url, listen = %config.server.listen, "server started");
    Ok(())
}

/// When the server stops, waits a few seconds for requests that go on without their client.
async fn drain(requests: TaskTracker, stop: CancellationToken) {
    stop.cancelled().await;
    requests.close();
    if tokio::time::timeout(DRAIN, requests.wait()).await.is_err() {
        tracing::warn!("requests were cut off; what they had not committed is not written down");
    }
}

/// Has open streams checked at once when this process takes rights away. What other processes take away is found by the
/// gateway's own regular check.
async fn end_revoked_streams(app: App, revocations: Revocations, stop: CancellationToken) {
    let mut bell = app.bell.subscribe();
    while let Some(Some(ring)) = stop.run_until_cancelled(bell.next()).await {
        match ring {
            Ring::Missed => revocations.everything(),
            Ring::Topic(topic) if [sessions::TOPIC, keys::TOPIC].contains(&topic.kind.as_str()) => {
                revocations.everything();
            }
            Ring::Topic(topic) if topic.kind == members::TOPIC => match topic.subject.parse() {
                Ok(workspace) => revocations.workspace(&workspace),
                Err(_) => revocations.everything(),
            },
            Ring::Topic(_) => {}
        }
    }
}

/// Tells the operator at once what would keep workspaces from being made. The worker starts all the same: a host that is
/// down now may be up later.
async fn report_host(host: Arc<Host>) {
    for finding in host.preflight().await {
        if let Some(caution) = finding.caution {
            tracing::warn!(check = finding.check, caution, "the host cluster bounds less than plans say");
        }
        match finding.result {
            Ok(found) => tracing::info!(check = finding.check, found, "host cluster checked"),
            Err(wrong) => tracing::warn!(
                check = finding.check,
                wrong,
                remedy = finding.remedy,
                "the host cluster is not in order"
            ),
        }
    }
}

async fn keep_house(app: App, stop: CancellationToken) {
    while tokio::time::timeout(HOUSEKEEPING, stop.cancelled()).await.is_err() {
        match housekeeping::sweep(&app).await {
            Ok(0) => {}
            Ok(rows) => tracing::debug!(rows, "forgot what is over"),
            Err(error) => tracing::warn!(%error, "what is over could not be removed; tried again later"),
        }
    }
}

/// Takes over keys that other processes have made or taken back, and makes those that are due. When one was taken back, the
/// bell is rung for whoever was let in by it.
async fn tend_keys(app: App, stop: CancellationToken) {
    let mut revoked = app.keys.revoked();
    while tokio::time::timeout(Duration::from_secs(RELOAD_SECONDS), stop.cancelled()).await.is_err() {
        if let Err(error) = app.keys.tend(&app.store, &app.clock).await {
            tracing::warn!(%error, "signing keys could not be tended; the known ones stay in use");
        }
        let now = app.keys.revoked();
        if now == revoked {
            continue;
        }
        now.difference(&revoked).for_each(|kid| tracing::warn!(kid, "a signing key was revoked"));
        app.bell.ring(Topic { kind: keys::TOPIC.to_owned(), subject: String::new() });
        revoked = now;
    }
}

fn host_settings(config: &Config) -> Result<HostSettings> {
    let Some(chart) = config.host.vcluster_chart.clone() else {
        bail!(
            "setting host.vcluster_chart: is required to make workspaces; name the folder or archive of the vCluster chart 0.36.1"
        );
    };
    let mut settings = HostSettings::new(config.host.kubeconfig.clone(), config.host.helm.clone(), chart);
    settings.kubernetes_tag.clone_from(&config.host.kubernetes_version);
    settings.endpoint = match config.host.endpoint {
        EndpointKind::ClusterIp => EndpointMode::ClusterIp,
        EndpointKind::ServiceDns => EndpointMode::ServiceDns,
        EndpointKind::NodePort => match &config.host.node_address {
            Some(address) => EndpointMode::NodePort { address: address.clone() },
            None => bail!("setting host.node_address: is required with host.endpoint = \"node-port\""),
        },
    };
    // With a kubeconfig the host cluster may be another than the one in which this runs.
    let own = config.host.kubeconfig.is_none().then(|| fs::read_to_string(OWN_NAMESPACE).ok()).flatten();
    let namespaces = config.host.callers(own.as_deref()).into_iter().map(Peer::Namespace);
    settings.platform = namespaces.chain(config.host.platform_networks.iter().cloned().map(Peer::Cidr)).collect();
    settings.issuer_port = Some(config.server.cluster_listen.unwrap_or(config.server.listen).port());
    settings.tenant_storage_classes.clone_from(&config.host.tenant_storage_classes);
    settings.tenant_runtime_classes.clone_from(&config.host.tenant_runtime_classes);
    settings.closed_networks.clone_from(&config.host.closed_networks);
    settings.control_plane_cpu = config.host.control_plane_cpu;
    Ok(settings)
}

/// The key under which secrets are sealed: configured, or a file of the server's own.
fn master_key(config: &Config) -> Result<[u8; 32]> {
    match config.store.key()? {
        Some(key) => Ok(key),
        None => Ok(parse_key(&own_master_key(&own_key_file(config))?)?),
    }
}

fn own_master_key(path: &Path) -> Result<String> {
    if !path.exists() {
        let key = hexabase_oidc::random::random_bytes::<32>()?;
        // Written aside and linked into place, so that of two first starts at once both use the same key.
        let aside = path.with_extension(hexabase_oidc::random::random_id()?);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(STANDARD.encode(key).as_bytes())?;
        file.sync_all()?;
        let linked = fs::hard_link(&aside, path);
        fs::remove_file(&aside)?;
        if let Err(error) = linked
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Err(error).with_context(|| format!("cannot write {}", path.display()));
        }
    }
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn private_folder(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot make the folder {}", path.display()))
}
