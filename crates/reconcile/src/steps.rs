//! The order in which a workspace comes to life.

use std::time::Duration;

use hexabase_core::ids::WorkspaceId;
use hexabase_core::phases::WorkspaceStep;
use k8s_openapi::api::core::v1::Pod;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::apply::Cluster;
use crate::desired::DesiredWorkspace;
use crate::error::ReconcileError;
use crate::helm::Chart;
use crate::host::namespace::Claim;
use crate::host::{api_server, authentication, limits, namespace, network, removal, virtual_cluster, workload};
use crate::labels::{self, MANAGED_BY, MANAGER, Names, WORKSPACE};
use crate::manifest::{Kind, Manifest, label};
use crate::preflight::{self, Finding};
use crate::receipt::{Removal, Removed};
use crate::settings::HostSettings;
use crate::status::{Observed, Progress, StepStatus, TenantEndpoint};
use crate::tenant::{self, access, projects};

/// Longest time for a connection to the host and for an answer of it.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(15);

/// The cluster that carries the workspaces. Cheap to share; holds no state of theirs.
pub struct Host {
    settings: HostSettings,
    cluster: Cluster,
    chart: Chart,
}

impl Host {
    /// A client for the host. Makes no call yet: a host that is down now may be up later.
    pub async fn connect(settings: HostSettings) -> Result<Self, ReconcileError> {
        let configuration = |error: Box<dyn std::error::Error + Send + Sync>| ReconcileError::Configuration(error);
        let mut config = match &settings.kubeconfig {
            Some(path) => {
                let kubeconfig = Kubeconfig::read_from(path).map_err(|error| configuration(error.into()))?;
                let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
                config.map_err(|error| configuration(error.into()))?
            }
            None => match Config::incluster() {
                Ok(config) => config,
                Err(_) => Config::infer().await.map_err(|error| configuration(error.into()))?,
            },
        };
        tenant::limit(&mut config, CONNECT, ANSWER);
        let client = Client::try_from(config).map_err(|error| configuration(error.into()))?;
        let chart = Chart::new(settings.helm.clone(), settings.chart.clone());
        Ok(Self { settings, cluster: Cluster { client, title: "the host's API server" }, chart })
    }

    /// Brings the workspace one call nearer to what is desired, and says how far it is.
    pub async fn reconcile(&self, desired: &DesiredWorkspace) -> Result<Observed, ReconcileError> {
        let names = Names::of(&desired.id);
        let mut ledger = Ledger::default();

        let Some(pod) = self.host_side(desired, &names, &mut ledger).await? else { return Ok(ledger.finish()) };
        let host = &self.cluster;
        let tenant = match settle(api_server::progress(host, &self.settings.endpoint, &names, &pod).await)? {
            Ok(Ok(tenant)) => tenant,
            Ok(Err(wait)) | Err(wait) => {
                ledger.record(WorkspaceStep::ApiServer, wait);
                return Ok(ledger.finish());
            }
        };
        ledger.record(WorkspaceStep::ApiServer, Progress::Done);
        ledger.tenant = Some(tenant.endpoint);
        let tenant = tenant.cluster;

        let access = tolerate(access::progress(&tenant, &desired.cluster_roles).await);
        if !ledger.record(WorkspaceStep::Access, access.unwrap_or_else(|wait| wait)) {
            return Ok(ledger.finish());
        }
        let projects = match tolerate(projects::progress(&tenant, &desired.projects).await) {
            Ok((progress, phases)) => {
                ledger.projects = phases;
                progress
            }
            Err(wait) => wait,
        };
        ledger.record(WorkspaceStep::Projects, projects);
        Ok(ledger.finish())
    }

    /// The steps on the host: everything is applied before anything is waited for, but nothing starts before its limits
    /// are in force. Gives the control plane's pod once it runs.
    async fn host_side(
        &self,
        desired: &DesiredWorkspace,
        names: &Names,
        ledger: &mut Ledger,
    ) -> Result<Option<Pod>, ReconcileError> {
        let host = &self.cluster;
        let rendering = match settle(namespace::ensure(host, names, desired).await)? {
            Ok(Claim::Ours { terminating: false, rendering }) => rendering,
            Ok(_) => {
                let text = format!("namespace {}: is still being removed", names.namespace);
                ledger.record(WorkspaceStep::Namespace, Progress::wait(2_000, text));
                return Ok(None);
            }
            Err(wait) => {
                ledger.record(WorkspaceStep::Namespace, wait);
                return Ok(None);
            }
        };
        ledger.record(WorkspaceStep::Namespace, Progress::Done);

        let limits = settle(self.limits(desired, names).await)?.unwrap_or_else(|wait| wait);
        if !ledger.record(WorkspaceStep::Limits, limits) {
            return Ok(None);
        }

        let own = labels::of_workspace(&desired.id, &desired.organization);
        let secret = authentication::build(desired, &self.settings.kubernetes_tag, names, &own);
        let applied = settle(host.apply(&secret).await)?;
        if !ledger.record(WorkspaceStep::Authentication, applied.map_or_else(|wait| wait, |_| Progress::Done)) {
            return Ok(None);
        }

        let (running, pod) = match settle(self.virtual_cluster(desired, names, rendering.as_deref()).await)? {
            Ok(found) => found,
            Err(wait) => (wait, None),
        };
        let runs = ledger.record(WorkspaceStep::VirtualCluster, running);
        Ok(pod.filter(|_| runs))
    }

    async fn limits(&self, desired: &DesiredWorkspace, names: &Names) -> Result<Progress, ReconcileError> {
        let host = &self.cluster;
        let own = labels::of_workspace(&desired.id, &desired.organization);
        let host_api = network::host_api(host).await?;
        let mut manifests = network::build(&self.settings, &desired.authentication, &host_api, names, &own);
        let amounts = limits::build(&desired.limits, &self.settings.endpoint, names, &own);
        let (quotas, ranges): (Vec<Manifest>, Vec<Manifest>) =
            amounts.into_iter().partition(|manifest| manifest.kind == Kind::ResourceQuota);
        manifests.extend(ranges);
        host.apply_all(&manifests).await?;
        for quota in &quotas {
            if !limits::is_counted(&host.apply(quota).await?) {
                return Ok(Progress::wait(150, format!("{}: is not counted yet", quota.title())));
            }
        }
        Ok(Progress::Done)
    }

    async fn virtual_cluster(
        &self,
        desired: &DesiredWorkspace,
        names: &Names,
        rendering: Option<&str>,
    ) -> Result<(Progress, Option<Pod>), ReconcileError> {
        let host = &self.cluster;
        let version = host.client.apiserver_version().await;
        let version =
            version.map_err(|error| ReconcileError::Unreachable { api: host.title, source: Box::new(error) })?;
        let manifests =
            virtual_cluster::render(&self.chart, &self.settings, desired, names, &version.git_version).await?;
        virtual_cluster::apply(host, names, &manifests, rendering).await?;
        let pod = workload::pod(host, names).await?;
        Ok((workload::progress(host, names, pod.as_ref()).await?, pod))
    }

    /// Brings the removal of a workspace one call nearer to its end. Needs no tenant API server, and nothing of the
    /// workspace has to exist.
    pub async fn remove(&self, removal: &Removal) -> Result<Removed, ReconcileError> {
        removal::remove(&self.cluster, removal).await
    }

    /// Every workspace that has a namespace on the host: those that the store does not know are left-overs.
    pub async fn workspaces(&self) -> Result<Vec<WorkspaceId>, ReconcileError> {
        let selector = format!("{MANAGED_BY}={MANAGER},{WORKSPACE}");
        let found = self.cluster.list(Kind::Namespace, None, &selector).await?;
        Ok(found.iter().filter_map(|namespace| label(namespace, WORKSPACE)?.parse().ok()).collect())
    }

    /// Checks the host and the tools, for `doctor` and for start-up.
    pub async fn preflight(&self) -> Vec<Finding> {
        preflight::run(&self.cluster, &self.chart, &self.settings).await
    }
}

/// What the API server refused is not broken but has to wait for somebody: the reason is shown.
fn settle<T>(result: Result<T, ReconcileError>) -> Result<Result<T, Progress>, ReconcileError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(ReconcileError::Refused { action, object, code, message }) => {
            // A conflict or a missing namespace is somebody else's change a moment ago.
            let after = if matches!(code, 404 | 409) { 500 } else { 10_000 };
            Ok(Err(Progress::wait(after, format!("{action} {object}: {message}"))))
        }
        Err(error) => Err(error),
    }
}

/// Nothing that a tenant's API server does may fail the whole call.
fn tolerate<T>(result: Result<T, ReconcileError>) -> Result<T, Progress> {
    match settle(result) {
        Ok(settled) => settled,
        Err(error) => {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            Err(Progress::wait(2_000, format!("{error}{source}")))
        }
    }
}

/// What has been found in the course of one call.
#[derive(Default)]
struct Ledger {
    steps: Vec<StepStatus>,
    tenant: Option<TenantEndpoint>,
    projects: Vec<(hexabase_core::ids::ProjectId, hexabase_core::phases::ProjectPhase)>,
}

impl Ledger {
    /// Notes a step; says whether the next one may be taken.
    fn record(&mut self, step: WorkspaceStep, progress: Progress) -> bool {
        let done = progress == Progress::Done;
        self.steps.push(StepStatus { step, progress });
        done
    }

    /// The steps that were not taken wait for the last one that was.
    fn finish(mut self) -> Observed {
        let (last, after) = match self.steps.last() {
            Some(StepStatus { step, progress: Progress::Wait { after, .. } }) => (step.as_str(), *after),
            _ => ("", Duration::ZERO),
        };
        for step in WorkspaceStep::ALL.iter().skip(self.steps.len()) {
            let reason = format!("waits for {last}");
            self.steps.push(StepStatus { step: *step, progress: Progress::Wait { reason, after } });
        }
        Observed { steps: self.steps, tenant: self.tenant, projects: self.projects }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Workers are spawned: this compiles only as long as the calls may move between threads.
    #[expect(dead_code, reason = "only the compiler looks at it")]
    fn calls_can_be_spawned(host: Arc<Host>, desired: DesiredWorkspace, removal: Removal) {
        tokio::spawn(async move {
            let _ = host.reconcile(&desired).await;
            let _ = host.remove(&removal).await;
            let _ = (host.workspaces().await, host.preflight().await);
        });
    }

    #[test]
    fn every_step_is_reported_in_order_and_later_ones_wait_for_the_first_that_waits() {
        let mut ledger = Ledger::default();
        assert!(ledger.record(WorkspaceStep::Namespace, Progress::Done));
        assert!(!ledger.record(WorkspaceStep::Limits, Progress::wait(150, "ResourceQuota hexabase: not counted")));
        let observed = ledger.finish();
        let steps: Vec<WorkspaceStep> = observed.steps.iter().map(|status| status.step).collect();
        assert_eq!(steps, WorkspaceStep::ALL);
        let (step, reason, after) = observed.waiting().unwrap();
        assert_eq!((step, after), (WorkspaceStep::Limits, Duration::from_millis(150)));
        assert!(reason.starts_with("ResourceQuota"));
        assert!(observed.is_done(WorkspaceStep::Namespace) && !observed.is_done(WorkspaceStep::Limits));
    }

    #[test]
    fn what_the_api_server_refuses_is_shown_and_tried_again() {
        let refused = |code| ReconcileError::Refused {
            action: "apply",
            object: "StatefulSet ws".to_owned(),
            code,
            message: "spec is immutable".to_owned(),
        };
        let Ok(Err(Progress::Wait { reason, after })) = settle::<()>(Err(refused(422))) else { panic!() };
        assert_eq!(reason, "apply StatefulSet ws: spec is immutable");
        assert_eq!(after, Duration::from_secs(10));
        let Ok(Err(Progress::Wait { after, .. })) = settle::<()>(Err(refused(409))) else { panic!() };
        assert!(after < Duration::from_secs(1));
        let fenced = ReconcileError::Fenced { namespace: "n".to_owned(), own: 1, found: 2 };
        assert!(settle::<()>(Err(fenced)).is_err());
    }
}
