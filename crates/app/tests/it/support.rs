//! A worker's surroundings, and a person with a workspace.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hexabase_app::clock::Clock;
use hexabase_app::jobs::{Worker, WorkerSettings};
use hexabase_app::keys::Keys;
use hexabase_app::users::{self, ExternalIdentity};
use hexabase_app::{App, Credential, OpContext, Origin, Settings, organizations, workspaces};
use hexabase_backends::bell::Bell;
use hexabase_backends::mail::Mailer;
use hexabase_backends::seal::Sealer;
use hexabase_backends::store::workspaces::{self as rows, Workspace};
use hexabase_core::ids::WorkspaceId;
use hexabase_oidc::keys::RotationPolicy;
use hexabase_reconcile::{Host, HostSettings};
use hexabase_testkit::kubernetes::FakeKubernetes;
use hexabase_testkit::store::TestStore;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Stage {
    pub(crate) app: App,
    pub(crate) kubernetes: FakeKubernetes,
    pub(crate) alice: OpContext,
    /// Her workspace.
    pub(crate) id: WorkspaceId,
    _store: TestStore,
}

/// A worker that runs; ends when dropped.
pub(crate) struct Running {
    stop: DropGuard,
    worker: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn stop(self) -> Result<()> {
        drop(self.stop);
        Ok(self.worker.await?)
    }
}

impl Stage {
    /// Alice has asked for the workspace `shop`, and no worker has begun with it.
    pub(crate) async fn set(store: TestStore) -> Result<Self> {
        let app = app(&store).await?;
        let origin = Origin { request_id: app.new_id()?, source: None };
        let user = users::sign_in(&app, &identity("alice"), &origin).await?;
        let alice = OpContext::of(user, Credential::SignIn, app.clock.now(), &origin);
        let mine = organizations::list(&app, &alice).await?;
        let organization = &mine.first().context("no organization")?.0.id;
        let id = workspaces::create(&app, &alice, organization, "shop", "standard").await?.workspace.id;
        Ok(Self { app, kubernetes: FakeKubernetes::start().await?, alice, id, _store: store })
    }

    /// Starts a worker.
    pub(crate) async fn work(&self) -> Result<Running> {
        self.work_with(0).await
    }

    /// Starts a worker that wants so many workspaces made ahead.
    pub(crate) async fn work_with(&self, spares: usize) -> Result<Running> {
        let stop = CancellationToken::new();
        let settings = WorkerSettings { spares, ..WorkerSettings::new(format!("worker-{spares}")) };
        let worker = Worker::new(self.app.clone(), Some(self.host().await?), settings);
        Ok(Running { worker: tokio::spawn(worker.run(stop.clone())), stop: stop.drop_guard() })
    }

    /// The host as a worker sees it.
    pub(crate) async fn host(&self) -> Result<Arc<Host>> {
        let settings = HostSettings::new(Some(self.kubernetes.kubeconfig()), "no-helm".into(), "no-chart".into());
        Ok(Arc::new(Host::connect(settings).await?))
    }

    /// Waits until the workspace's row is as it should become.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&Workspace) -> bool) -> Result<Workspace> {
        eventually(what, async || Ok(Some(self.row().await?).filter(&is))).await
    }

    pub(crate) async fn row(&self) -> Result<Workspace> {
        rows::load_for_job(&self.app.store, &self.id).await?.context("no workspace")
    }

    /// Where the workspace's namespace is on the host.
    pub(crate) fn namespace(&self) -> String {
        namespace(&self.id)
    }
}

/// The platform's parts on this store.
pub(crate) async fn app(store: &TestStore) -> Result<App> {
    let clock = Clock::System;
    let sealer = Sealer::new(&[7; 32], "master")?;
    let keys = Keys::load(store, &sealer, RotationPolicy::DEFAULT, clock.now()).await?;
    let settings = Settings {
        public_url: "https://localhost".parse()?,
        cluster_url: None,
        authority_pem: None,
        oidc_clients: Arc::new([]),
    };
    Ok(App { store: (**store).clone(), bell: Bell::new(), clock, settings, keys, sealer, mailer: Mailer::None })
}

/// What an identity provider says of somebody.
pub(crate) fn identity(subject: &str) -> ExternalIdentity {
    ExternalIdentity {
        issuer: "https://accounts.example.com".to_owned(),
        subject: subject.to_owned(),
        display_name: Some("Somebody".to_owned()),
        email: None,
        email_verified: false,
    }
}

pub(crate) fn namespace(id: &WorkspaceId) -> String {
    format!("/api/v1/namespaces/hxb-{id}")
}

/// Looks again and again until there is something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = tokio::time::Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        ensure!(begun.elapsed() < PATIENCE, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
