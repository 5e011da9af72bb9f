//! The worker: claims due jobs, runs them side by side, and stores what came of them.

use std::sync::Arc;
use std::time::Duration;

use hexabase_backends::store::StoreError;
use hexabase_backends::store::jobs::{self, Claim, Finish};
use hexabase_backends::store::workspaces;
use hexabase_core::phases::WorkspacePhase;
use hexabase_reconcile::Host;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::behind::Behind;
use super::lease::renewed;
use super::{
    keep_nodes, keep_spares, reconcile_workspace, refresh_tenant_keys, send_invitation_mail, sweep_host, sweep_store,
};
use crate::context::App;
use crate::error::{Error, Result};

/// How long running jobs get to come to their end when the worker stops; the next worker takes up what they leave.
const DRAIN: Duration = Duration::from_secs(10);
/// How often in a row a job may be overtaken before that is told as trouble.
const OVERTAKEN: u32 = 3;

/// What needs the host cluster, or what stands on it, or is done by those that do the rest of it.
const HOST_KINDS: [&str; 6] = [
    reconcile_workspace::KIND,
    refresh_tenant_keys::KIND,
    sweep_host::KIND,
    sweep_store::KIND,
    keep_spares::KIND,
    keep_nodes::KIND,
];

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Name of this worker in leases; unique per process.
    pub owner: String,
    /// Jobs at the same time.
    pub slots: usize,
    /// How long a claim holds without renewal: how long a job rests when its worker dies.
    pub lease: Duration,
    /// How long one run of a job may take.
    pub limit: Duration,
    /// How often the queue is looked at when the bell stays silent.
    pub poll: Duration,
    /// Workspaces that are made ahead and kept asleep for whoever asks for one next; of several workers the one counts that
    /// began last.
    pub spares: usize,
}

impl WorkerSettings {
    /// Settings that suit one process.
    pub fn new(owner: String) -> Self {
        Self {
            owner,
            slots: 8,
            lease: Duration::from_secs(15),
            limit: Duration::from_secs(60),
            poll: Duration::from_secs(2),
            spares: 0,
        }
    }
}

/// What one run of a job came to.
pub(super) enum Outcome {
    /// Nothing more to do until somebody enqueues it again.
    Done,
    /// To be run again after this time, because something has to happen first or as a check for drift.
    Again(Duration),
}

/// Runs jobs until told to stop.
#[derive(Clone)]
pub struct Worker {
    app: App,
    host: Option<Arc<Host>>,
    settings: WorkerSettings,
    behind: Arc<Behind>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Worker {
    /// A worker on `app` that may change `host`; without one it takes only jobs that need none.
    pub fn new(app: App, host: Option<Arc<Host>>, settings: WorkerSettings) -> Self {
        Self { app, host, settings, behind: Arc::default() }
    }

    /// What this worker can do; the rest waits for one that can. Only a worker with a host is known to reach what is on it.
    fn kinds(&self) -> Vec<&'static str> {
        let on_host = self.host.iter().flat_map(|_| HOST_KINDS);
        let mails = self.app.mailer.sends().then_some(send_invitation_mail::KIND);
        on_host.chain(mails).collect()
    }

    /// Works until `stop`; then gives running jobs a few seconds to come to their end.
    pub async fn run(self, stop: CancellationToken) {
        if self.app.store.is_embedded()
            && let Err(error) = self.release_all().await
        {
            tracing::warn!(%error, "what an earlier process left is taken up when its leases run out");
        }
        let slots = Arc::new(Semaphore::new(self.settings.slots));
        let running = TaskTracker::new();
        let mut bell = self.app.bell.subscribe();
        let mut sweeps = false;
        while !stop.is_cancelled() {
            if !sweeps {
                sweeps = self.begin_sweeps().await;
            }
            let permit = stop.run_until_cancelled(Arc::clone(&slots).acquire_owned()).await;
            let Some(Ok(permit)) = permit else { break };
            match self.claim().await {
                Ok(Some(claim)) => {
                    let worker = self.clone();
                    running.spawn(async move {
                        worker.run_one(claim).await;
                        drop(permit);
                    });
                    continue;
                }
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "jobs cannot be claimed"),
            }
            drop(permit);
            tokio::select! {
                () = stop.cancelled() => break,
                _ = bell.next() => {}
                () = tokio::time::sleep(self.pause().await) => {}
            }
        }
        running.close();
        let _ = tokio::time::timeout(DRAIN, running.wait()).await;
    }

    /// An embedded database has no other worker: whatever is leased now was left by a process that died.
    async fn release_all(&self) -> Result<(), StoreError> {
        let tx = self.app.store.begin().await?;
        jobs::release_all(&tx, &self.kinds()).await?;
        tx.commit().await
    }

    async fn begin_sweeps(&self) -> bool {
        let Some(host) = &self.host else { return true };
        let begun: Result<()> = async {
            sweep_host::begin(&self.app).await?;
            sweep_store::begin(&self.app).await?;
            keep_nodes::begin(&self.app).await?;
            keep_spares::begin(&self.app, host, self.settings.spares).await
        }
        .await;
        if let Err(error) = &begun {
            tracing::warn!(%error, "nobody looks through host and database for what was left behind; tried again soon");
        }
        begun.is_ok()
    }

    async fn claim(&self) -> Result<Option<Claim>> {
        let lease = seconds(self.settings.lease);
        let (now, owner) = (self.app.clock.now(), &self.settings.owner);
        Ok(jobs::claim(&self.app.store, &self.kinds(), now, owner, lease).await?)
    }

    /// Until the next job is due, but no longer than one poll.
    async fn pause(&self) -> Duration {
        match jobs::next_due(&self.app.store, &self.kinds()).await {
            Ok(Some(due)) => {
                let millis = due.millis_since(self.app.clock.now()).max(5);
                Duration::from_millis(millis.unsigned_abs()).min(self.settings.poll)
            }
            _ => self.settings.poll,
        }
    }

    #[tracing::instrument(name = "job", skip_all, fields(kind = %claim.kind, subject = %claim.subject, epoch = claim.epoch))]
    async fn run_one(&self, claim: Claim) {
        let outcome = match tokio::time::timeout(self.settings.limit, self.dispatch_renewed(&claim)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Unavailable("the job took longer than it may".to_owned())),
        };
        let finish = match outcome {
            Ok(Outcome::Done) => Finish::Done,
            Ok(Outcome::Again(after)) => Finish::RunAgainAt(self.after(after)),
            Err(error) => self.failed(&claim, &error).await,
        };
        if let Err(error) = self.finish(&claim, finish).await {
            tracing::warn!(%error, "a job's result could not be stored; it will run again");
        }
        self.app.bell.ring(hexabase_backends::bell::Topic { kind: claim.kind.clone(), subject: claim.subject.clone() });
    }

    /// When to try again.
    async fn failed(&self, claim: &Claim, error: &Error) -> Finish {
        let now = self.app.clock.now();
        if let Some(fence) = self.behind.left_by_nobody(claim, error, now)
            && !self.may_be_wanted(&claim.subject).await
        {
            tracing::error!(
                fence,
                "the host was changed under a fence that the database does not know, and nobody works under it any more: did the \
                 database lose its last writes? It goes on above that fence"
            );
            return Finish::RunAgainAbove { at: now, fence };
        }
        let after = backoff(claim.attempts, &claim.subject);
        match error {
            // As when people are quicker than the job: it looks again. Again and again it is no chance any more.
            Error::Overtaken if claim.attempts <= OVERTAKEN => {
                tracing::info!(retry_in_ms = after.as_millis(), "job was overtaken, and runs again");
            }
            error => tracing::warn!(error = %causes(error), retry_in_ms = after.as_millis(), "job failed"),
        }
        Finish::RetryAt { at: self.after(after), error: causes(error) }
    }

    /// Whether by the database the workspace is to be deleted but somebody may have undone that since, or the database cannot be asked.
    async fn may_be_wanted(&self, subject: &str) -> bool {
        let Ok(id) = subject.parse() else { return false };
        match workspaces::load_for_job(&self.app.store, &id).await {
            Ok(row) => row.is_some_and(|row| row.phase == WorkspacePhase::ToBeDeleted),
            Err(_) => true,
        }
    }

    async fn dispatch_renewed(&self, claim: &Claim) -> Result<Outcome> {
        let lease = self.settings.lease;
        let renew = || jobs::renew(&self.app.store, claim, self.app.clock.now(), seconds(lease));
        renewed(self.dispatch(claim), lease / 3, renew).await
    }

    async fn dispatch(&self, claim: &Claim) -> Result<Outcome> {
        match (claim.kind.as_str(), &self.host) {
            (reconcile_workspace::KIND, Some(host)) => reconcile_workspace::run(&self.app, host, claim).await,
            (sweep_host::KIND, Some(host)) => sweep_host::run(&self.app, host).await,
            (sweep_store::KIND, Some(_)) => sweep_store::run(&self.app, claim).await,
            (keep_spares::KIND, Some(host)) => keep_spares::run(&self.app, host, claim).await,
            (keep_nodes::KIND, Some(host)) => keep_nodes::run(&self.app, host, claim).await,
            (refresh_tenant_keys::KIND, Some(_)) => refresh_tenant_keys::run(&self.app, claim).await,
            (send_invitation_mail::KIND, _) => send_invitation_mail::run(&self.app, claim).await,
            (unknown, _) => Err(Error::internal(format!("this worker does no job called {unknown}"))),
        }
    }

    async fn finish(&self, claim: &Claim, finish: Finish) -> Result<(), StoreError> {
        let tx = self.app.store.begin().await?;
        jobs::finish(&tx, claim, finish).await?;
        tx.commit().await
    }

    fn after(&self, delay: Duration) -> hexabase_core::time::Timestamp {
        self.app.clock.now().plus_millis(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX / 4_000))
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// About 2 s, 4 s, 8 s … up to a minute. Of jobs that failed together, as when the host is away, each comes back at a moment of its
/// own: up to a quarter earlier, by a number that follows from its subject.
fn backoff(attempts: u32, subject: &str) -> Duration {
    let whole = Duration::from_secs(1 << attempts.min(6)).min(Duration::from_secs(60));
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let spread = subject.bytes().fold(mix(0x811c_9dc5, attempts.to_le_bytes()[0]), mix) >> 24;
    whole - whole * spread / 1024
}

/// An error with all its causes, for the log and the job's row.
fn causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use hexabase_reconcile::HostSettings;
    use hexabase_testkit::kubernetes::FakeKubernetes;
    use hexabase_testkit::on_both_engines;
    use hexabase_testkit::store::TestStore;
    use serde_json::json;

    use super::*;
    use crate::clock::Clock;
    use crate::jobs::stage::Stage;

    #[test]
    fn what_failed_together_is_tried_again_at_moments_of_its_own() {
        let subjects = (0..50).map(|number| format!("ws-{number:020}")).collect::<Vec<_>>();
        for (attempts, seconds) in [(1, 2), (2, 4), (5, 32), (6, 60), (400, 60)] {
            let whole = Duration::from_secs(seconds);
            let pauses: Vec<Duration> = subjects.iter().map(|subject| backoff(attempts, subject)).collect();
            assert!(pauses.iter().all(|pause| *pause <= whole && *pause > whole * 3 / 4), "{pauses:?}");
            let different: std::collections::BTreeSet<_> = pauses.iter().collect();
            assert!(different.len() > 20, "{pauses:?}");
        }
    }

    struct PutBack {
        stage: Stage,
        clock: Clock,
        kubernetes: FakeKubernetes,
        path: String,
        worker: Worker,
    }

    impl PutBack {
        /// A workspace whose namespace was changed under the fence 5000 since.
        async fn set(store: &TestStore) -> anyhow::Result<Self> {
            let mut stage = Stage::set(store).await?;
            let clock = Clock::standing_at(stage.app.clock.now());
            stage.app.clock = clock.clone();
            let kubernetes = FakeKubernetes::start().await?;
            let settings = HostSettings::new(Some(kubernetes.kubeconfig()), "helm".into(), "chart".into());
            let host = Arc::new(Host::connect(settings).await?);
            let worker = Worker::new(stage.app.clone(), Some(host), WorkerSettings::new("worker".to_owned()));
            let path = format!("/api/v1/namespaces/hxb-{}", stage.id);
            let organization = stage.row().await?.organization_id;
            let labels = json!({ "app.kubernetes.io/managed-by": "hexabase", "hexabase.ai/workspace": stage.id.as_str(),
                "hexabase.ai/organization": organization.as_str() });
            let annotations = json!({ "hexabase.ai/fence": "5000", "hexabase.ai/owner": organization.as_str() });
            let metadata = json!({ "name": format!("hxb-{}", stage.id), "labels": labels, "annotations": annotations });
            kubernetes.put(&path, json!({ "metadata": metadata }));
            Ok(Self { stage, clock, kubernetes, path, worker })
        }

        fn fence(&self) -> Option<i64> {
            let found = self.kubernetes.get(&self.path)?;
            found["metadata"]["annotations"]["hexabase.ai/fence"].as_str()?.parse().ok()
        }

        /// Attempts, a minute apart; gives the claim for the next one.
        async fn attempts(&self, number: u32, first: Claim) -> anyhow::Result<Claim> {
            let mut claim = first;
            for _ in 0..number {
                self.worker.run_one(claim).await;
                self.clock.advance_seconds(60);
                claim = self.worker.claim().await?.context("it is tried again")?;
            }
            Ok(claim)
        }
    }

    on_both_engines! {
        async fn a_database_that_was_put_back_goes_on_above_the_hosts_fence_once_nobody_works_under_it(store: TestStore) {
            let scene = PutBack::set(&store).await?;
            let claim = scene.attempts(3, scene.stage.claim.clone()).await?;
            assert_eq!((claim.epoch, scene.fence()), (4, Some(5_000)));
            let claim = scene.attempts(1, claim).await?;
            assert!(claim.epoch > 1_000_000, "{claim:?}");
            let epoch = claim.epoch;
            scene.worker.run_one(claim).await;
            assert_eq!(scene.fence(), Some(epoch));
        }

        async fn a_database_that_was_put_back_deletes_nothing_that_may_be_wanted_back_since(store: TestStore) {
            let scene = PutBack::set(&store).await?;
            let Stage { app, alice, id, .. } = &scene.stage;
            crate::workspaces::delete_later(app, alice, id, 5).await?;
            let claim = scene.attempts(8, scene.stage.claim.clone()).await?;
            assert_eq!((claim.epoch, scene.fence()), (9, Some(5_000)));
            let row = scene.stage.row().await?;
            assert!(row.phase == WorkspacePhase::ToBeDeleted && row.removal_at < Some(scene.clock.now()), "{row:?}");
            // Whoever wants it back now gets it back.
            crate::workspaces::restore(app, alice, id).await?;
            let claim = scene.attempts(5, claim).await?;
            assert!(scene.fence() > Some(1_000_000), "{claim:?}");
        }

        async fn a_database_that_was_put_back_deletes_what_nobody_can_have_undone(store: TestStore) {
            let scene = PutBack::set(&store).await?;
            crate::workspaces::delete(&scene.stage.app, &scene.stage.alice, &scene.stage.id).await?;
            let claim = scene.attempts(4, scene.stage.claim.clone()).await?;
            assert!(claim.epoch > 1_000_000, "{claim:?}");
        }
    }
}
