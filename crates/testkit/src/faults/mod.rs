//! A proxy that lets a test break what passes it: a call is refused, lost, cut short, answered too late or never, or the caller
//! is killed at exactly this call, before it is carried out or before its answer is known.
//!
//! It ends TLS with an authority of its own and speaks to the API server with the credentials of the kubeconfig that it was
//! given, so that whoever calls it needs none. The API servers of workspaces stand behind it as well: it tells the caller
//! addresses of its own for them (`tenants.rs`).
//!
//! Where to strike is no matter of time. Every call has a name that is the same in every run; what happens at which
//! call follows from that name and a seed (`aim.rs`). The same seed strikes at the same calls again.

mod aim;
mod book;
mod calls;
mod relay;
mod tenants;
#[cfg(all(test, feature = "tenant"))]
mod tests;
mod upstream;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

pub use self::aim::{Aim, Fault, Means, Share};
pub use self::book::Bend;
pub use self::calls::{Boundary, Side};
use self::relay::{Opened, Relay, listen};
use self::tenants::Place;
use self::upstream::Upstream;

/// A running proxy on a free port; ends when dropped.
pub struct FaultProxy {
    relay: Arc<Relay>,
    halts: mpsc::UnboundedReceiver<Boundary>,
    url: String,
    folder: TempDir,
    server: JoinHandle<()>,
}

impl FaultProxy {
    /// Before the API server of a kubeconfig, as `kubectl config view --raw --flatten --minify --output json` prints it; with a
    /// client certificate or a token in it.
    pub async fn start(kubeconfig: &Value) -> anyhow::Result<Self> {
        Self::of(Upstream::of_kubeconfig(kubeconfig)?).await
    }

    /// Before any server that speaks HTTPS; with the credentials of whoever calls it.
    pub async fn before(url: &str, authority_pem: &str) -> anyhow::Result<Self> {
        Self::of(Upstream::of_server(url, authority_pem)?).await
    }

    async fn of(upstream: Upstream) -> anyhow::Result<Self> {
        let (halt, halts) = mpsc::unbounded_channel();
        let (open, opened) = mpsc::unbounded_channel();
        let relay = Arc::new(Relay::new(halt, open)?);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://127.0.0.1:{}", listener.local_addr()?.port());
        relay.open(Opened { listener, place: Place::Host, upstream: Arc::new(Mutex::new(Arc::new(upstream))) });
        let server = tokio::spawn(listen_to_all(Arc::clone(&relay), opened));
        let folder = tempfile::Builder::new().prefix("hexabase-faults-").tempdir()?;
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "faults",
            "clusters": [{ "name": "faults", "cluster": {
                "server": url, "certificate-authority-data": upstream::base64(relay.authority_pem().as_bytes()),
            } }],
            "users": [{ "name": "nobody", "user": {} }],
            "contexts": [{ "name": "faults", "context": { "cluster": "faults", "user": "nobody" } }],
        });
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string()).context("writing a kubeconfig")?;
        Ok(Self { relay, halts, url, folder, server })
    }

    /// A kubeconfig that leads through it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// PEM of the authority behind its certificate.
    pub fn authority_pem(&self) -> &str {
        self.relay.authority_pem()
    }

    /// Says where to strike from now on.
    pub fn aim(&self, aim: Aim) {
        self.relay.book().aim = aim;
    }

    /// Begins an operation of this name: no call to the host passes until [`Self::open`], and then strikes begin. False, and nothing was
    /// done, when somebody is to be killed first.
    pub fn begin(&self, operation: &str) -> bool {
        self.relay.begin(operation)
    }

    /// Lets calls pass again, those that were held up included.
    pub fn open(&self) {
        self.relay.open_gate(false);
    }

    /// No more strikes until the next operation begins. False, and nothing was done, when somebody is to be killed first.
    pub fn rest(&self) -> bool {
        self.relay.rest()
    }

    /// Waits until a call has come at which its caller is to be killed. It is held there, and all others with it, until
    /// [`Self::forget`] or [`Self::open`]. Safe to cancel.
    pub async fn halted(&mut self) -> anyhow::Result<Boundary> {
        self.halts.recv().await.context("the proxy has ended")
    }

    /// Lets calls pass again, but for those that were held up: whoever made them is dead.
    pub fn forget(&self) {
        self.relay.open_gate(true);
    }

    /// From now on every call has this fault, or none has.
    pub fn storm(&self, fault: Option<Fault>) {
        self.relay.book().storm = fault;
    }

    /// For how long late answers are held back from now on, instead of for longer than a worker waits.
    pub fn late_by(&self, late: Duration) {
        self.relay.book().late = late;
    }

    /// From now on the bodies of all calls are changed so on their way, given their method and path, or no longer.
    pub fn bend(&self, bend: Option<Bend>) {
        self.relay.book().bend = bend;
    }

    /// When calls came in.
    pub fn calls(&self) -> Vec<Instant> {
        self.relay.book().calls.clone()
    }

    /// Everything at which it could have struck, and whether something is changed there.
    pub fn met(&self) -> BTreeMap<Boundary, bool> {
        self.relay.book().met.clone()
    }

    /// Where it has struck, in order; in a storm, at every call.
    pub fn struck(&self) -> Vec<(Boundary, Fault)> {
        self.relay.book().struck.clone()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Listens wherever there is something to listen for; ends with its task.
async fn listen_to_all(relay: Arc<Relay>, mut opened: mpsc::UnboundedReceiver<Opened>) {
    let mut listeners = JoinSet::new();
    while let Some(opened) = opened.recv().await {
        listeners.spawn(listen(Arc::clone(&relay), opened));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
