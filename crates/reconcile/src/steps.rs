//! The order in which a workspace comes to life.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use hexabase_core::ids::WorkspaceId;
use hexabase_core::phases::WorkspaceStep;
use hexabase_core::quota::Amounts;
use hexabase_core::time::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::apply::Cluster;
use crate::connection::Host;
use crate::desired::{DesiredWorkspace, Workloads};
use crate::error::ReconcileError;
use crate::host::limits::ControlPlane;
use crate::host::namespace::Claim;
use crate::host::places::{self, Places};
use crate::host::virtual_cluster::Power;
use crate::host::{
    api_server, authentication, excess, limits, namespace, network, policies, resize, rest, storage, virtual_cluster,
    workload,
};
use crate::labels::{self, Names};
use crate::ledger::{Ledger, settle, tolerate};
use crate::manifest::{Kind, Manifest};
use crate::moving;
use crate::status::{Fit, Observed, Progress, Rest, Unbound};
use crate::tenant::{access, makers, projects};

/// How long the policies for all workspaces are taken to be as they were applied, and the host as it was found.
const HOLD: Duration = Duration::from_secs(20);
/// How long what was applied to a workspace is taken to be so while its control plane starts.
const START_HOLD: Duration = Duration::from_secs(5);
/// When to look again at what says no time itself.
const A_MOMENT: Duration = Duration::from_secs(1);

/// What the host counts of a workspace.
#[derive(Default)]
struct Counted {
    used: Option<Amounts>,
    fit: Option<Fit>,
}

impl Host {
    /// Brings the workspace one call nearer to what is desired, and says how far it is.
    ///
    /// A step that waits holds up those after it, with one exception: what happens inside a tenant whose API server is
    /// up is done in any case. A right that was taken away must not live on because a host object cannot be applied.
    pub async fn reconcile(&self, desired: &DesiredWorkspace) -> Result<Observed, ReconcileError> {
        let names = Names::of(&desired.id);
        let mut ledger = Ledger::default();
        let Some(rendering) = self.namespace(desired, &names, &mut ledger).await? else { return Ok(ledger.finish()) };
        let Some(pod) = self.host_side(desired, &names, rendering.as_deref(), &mut ledger).await? else {
            return Ok(ledger.finish());
        };
        self.inside(desired, &names, &mut ledger).await?;
        let mut observed = ledger.finish();
        observed.unbound = resize::unbound(&names, &pod, observed.is_open(), self.settings.control_plane_cpu);
        Ok(observed)
    }

    /// Takes from a control plane that is up what only its start needs. To be called once what was found is stored, since somebody waits
    /// for that and nobody for this.
    pub async fn bind(&self, id: &WorkspaceId, unbound: &Unbound) {
        let most = self.settings.control_plane_cpu;
        resize::bind(&self.cluster, &self.unbindable, &Names::of(id), unbound, most).await;
    }

    /// What is inside the tenant, once its API server answers.
    async fn inside(
        &self,
        desired: &DesiredWorkspace,
        names: &Names,
        ledger: &mut Ledger,
    ) -> Result<(), ReconcileError> {
        let answer = api_server::progress(&self.cluster, &self.settings.endpoint, names, desired).await;
        let tenant = match settle(answer)? {
            Ok(Ok(tenant)) => tenant,
            Ok(Err(wait)) | Err(wait) => {
                ledger.record(WorkspaceStep::ApiServer, wait);
                return Ok(());
            }
        };
        ledger.record(WorkspaceStep::ApiServer, Progress::Done);
        ledger.tenant = Some(tenant.endpoint);
        tenant_side(&tenant.cluster, desired, &desired.kubernetes_tag(&self.settings), ledger).await;
        let moved = moving::progress(&self.cluster, &tenant.cluster, desired, names).await;
        ledger.moved = Some(tolerate(moved).unwrap_or_else(|wait| wait));
        Ok(())
    }

    /// Brings the workspace one call nearer to sleep: everything of it on the host stays and is kept as it should be, and
    /// nothing of it runs. Needs no tenant API server.
    ///
    /// What cannot be applied keeps nothing running. It is begun anew, with all of its rights made true before anybody is let
    /// in, by [`Self::reconcile`].
    pub async fn rest(
        &self,
        desired: &DesiredWorkspace,
        workloads: Workloads,
        now: Timestamp,
    ) -> Result<Rest, ReconcileError> {
        let names = Names::of(&desired.id);
        self.forget_applied(desired);
        let mut ledger = Ledger::default();
        let Some(rendering) = self.namespace(desired, &names, &mut ledger).await? else {
            let observed = ledger.finish();
            let (_, reason, after) = observed.waiting().unwrap_or((WorkspaceStep::Namespace, "", A_MOMENT));
            let waits = Progress::Wait { reason: reason.to_owned(), after };
            return Ok(Rest { stopped: waits.clone(), kept: waits, fit: None });
        };
        let left = if workloads == Workloads::Stay { ControlPlane::OnlyDns } else { ControlPlane::Rests };
        let (limits, counted) = settled_limits(self.limits(desired, &names, left).await)?;
        let trusted = settle(self.authentication(desired, &names).await)?.err().unwrap_or(Progress::Done);
        let chart = self.virtual_cluster(desired, &names, rendering.as_deref(), Power::Off).await;
        let chart = settle(chart)?.err().unwrap_or(Progress::Done);
        let stopped = settle(rest::progress(&self.cluster, &names, workloads, now).await)?.unwrap_or_else(|wait| wait);
        let fit = counted.fit.filter(|_| stopped == Progress::Done);
        Ok(Rest { stopped, kept: limits.and(trusted).and(chart), fit })
    }

    /// The namespace; gives the rendering that was applied last, or nothing if the namespace is not to be written to.
    async fn namespace(
        &self,
        desired: &DesiredWorkspace,
        names: &Names,
        ledger: &mut Ledger,
    ) -> Result<Option<Option<String>>, ReconcileError> {
        // Rights that end and sleep do not wait for a list of the host's. `limits` does, and says why.
        let classes = match self.storage_classes().await {
            Err(ReconcileError::Refused { .. }) => storage::named(&self.settings),
            found => found?,
        };
        let ensured = namespace::ensure(&self.cluster, &self.settings, &classes, names, desired).await;
        let wait = match settle(ensured)? {
            Ok(Claim::Ours { ending: None, rendering, .. }) => {
                ledger.record(WorkspaceStep::Namespace, Progress::Done);
                return Ok(Some(rendering));
            }
            Ok(Claim::Ours { ending: Some(ending), .. }) => {
                Progress::wait(2_000, format!("namespace {}: {ending}", names.namespace))
            }
            Ok(Claim::Absent) => Progress::wait(500, format!("namespace {}: was removed just now", names.namespace)),
            Err(wait) => wait,
        };
        ledger.record(WorkspaceStep::Namespace, wait);
        Ok(None)
    }

    /// Everything else on the host: applied before anything is waited for, but nothing is started before its limits are
    /// in force. Gives the control plane's pod if its API server may be called.
    async fn host_side(
        &self,
        desired: &DesiredWorkspace,
        names: &Names,
        rendering: Option<&str>,
        ledger: &mut Ledger,
    ) -> Result<Option<Pod>, ReconcileError> {
        let host = &self.cluster;
        let pod = workload::pod(host, names).await?;
        let runs = pod.as_ref().is_some_and(workload::is_ready);
        let starts = |pod: &Pod| pod.metadata.deletion_timestamp.is_none() && !workload::is_ready(pod);
        if let Some(pod) = pod.filter(|pod| starts(pod) && self.was_applied(desired)) {
            // While it starts, a look every quarter of a second costs a few reads. On a small host, applying everything anew
            // each time would take from the start what it needs.
            for step in [WorkspaceStep::Limits, WorkspaceStep::Authentication] {
                ledger.record(step, Progress::Done);
            }
            let running = workload::progress(host, names, Some(&pod)).await?;
            return Ok(ledger.record(WorkspaceStep::VirtualCluster, running).then_some(pod));
        }
        // Of what is wanted now a part may be refused or waited for: then the host is as neither wish would have it.
        self.forget_applied(desired);
        let control_plane = if runs { ControlPlane::Runs } else { ControlPlane::Rests };
        let (limits, counted) = settled_limits(self.limits(desired, names, control_plane).await)?;
        // While it does not run, what is counted is not all.
        if runs {
            ledger.used = counted.used;
            ledger.fit = counted.fit;
        }
        let mut go_on = ledger.record(WorkspaceStep::Limits, limits);
        if go_on {
            let applied = ledger.bear(self.authentication(desired, names).await);
            let applied = settle(applied)?.err().unwrap_or(Progress::Done);
            go_on = ledger.record(WorkspaceStep::Authentication, applied);
        }
        let applied = match go_on {
            true => {
                let applied = self.virtual_cluster(desired, names, rendering, Power::On).await;
                Some(settle(ledger.bear(applied))?)
            }
            false => None,
        };
        let pod = workload::pod(host, names).await?;
        let runs = match applied {
            Some(Ok(())) => {
                self.note_applied(desired, pod.as_ref());
                let running = workload::progress(host, names, pod.as_ref()).await?;
                ledger.record(WorkspaceStep::VirtualCluster, running)
            }
            Some(Err(wait)) => ledger.record(WorkspaceStep::VirtualCluster, wait),
            None => false,
        };
        Ok(pod.filter(|pod| runs || workload::is_ready(pod)))
    }

    /// Whether everything on the host was applied a moment ago as it is wanted now, and the control plane is starting since.
    fn was_applied(&self, desired: &DesiredWorkspace) -> bool {
        let starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        let last = starting.get(&desired.id).filter(|(moment, _)| moment.elapsed() < START_HOLD);
        last.is_some_and(|(_, applied)| *applied == desired.on_host())
    }

    fn note_applied(&self, desired: &DesiredWorkspace, pod: Option<&Pod>) {
        let mut starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        starting.retain(|_, (moment, _)| moment.elapsed() < START_HOLD);
        if pod.is_some_and(workload::is_ready) {
            starting.remove(&desired.id);
        } else {
            starting.insert(desired.id.clone(), (Instant::now(), desired.on_host()));
        }
    }

    /// Has everything be applied with the next look.
    fn forget_applied(&self, desired: &DesiredWorkspace) {
        self.starting.lock().unwrap_or_else(PoisonError::into_inner).remove(&desired.id);
    }

    /// How far they are, and what is used of them.
    async fn limits(
        &self,
        desired: &DesiredWorkspace,
        names: &Names,
        control_plane: ControlPlane,
    ) -> Result<(Progress, Counted), ReconcileError> {
        let host = &self.cluster;
        self.policies().await?;
        let own = labels::of_workspace(&desired.id, desired.organization.as_ref());
        let (trusted, places) = (&desired.authentication, self.places().await?);
        let policies = network::build(&self.settings, trusted, &places, names, &own, &desired.projects);
        host.apply_all_exactly(&policies).await?;
        network::prune(host, names, &policies).await?;
        let both = desired.smaller.as_ref().map(|smaller| desired.limits.both(smaller));
        let amounts = limits::build(both.as_ref().unwrap_or(&desired.limits), &self.settings.endpoint, names, &own);
        let (quotas, ranges): (Vec<Manifest>, Vec<Manifest>) =
            amounts.into_iter().partition(|manifest| manifest.kind == Kind::ResourceQuota);
        host.apply_all_exactly(&ranges).await?;
        let mut counted = Counted::default();
        for quota in quotas {
            let mut bearable = quota.clone();
            if desired.smaller.is_some()
                && let Some(found) = host.get(quota.kind, quota.namespace.as_deref(), &quota.name).await?
            {
                limits::spare(&mut bearable, &found, control_plane);
            }
            let applied = host.apply_exactly(&bearable).await?;
            if let Some(smaller) = &desired.smaller
                && let Some(over) = limits::over(&quota, &applied, control_plane)
            {
                counted.fit = Some(match over.as_slice() {
                    [] => Fit::Fits,
                    over => Fit::Exceeds(excess::told(&smaller.amounts, over)),
                });
            }
            if !limits::is_counted(&applied) {
                return Ok((Progress::wait(150, format!("{}: is not counted yet", quota.title())), counted));
            }
            counted.used = limits::used(&applied, desired.limits.projects);
        }
        self.storage_classes().await?;
        Ok((Progress::Done, counted))
    }

    /// Applies what holds for all workspaces, now and then.
    async fn policies(&self) -> Result<(), ReconcileError> {
        let applied = *self.policies_applied.lock().unwrap_or_else(PoisonError::into_inner);
        if applied.is_some_and(|moment| moment.elapsed() < HOLD) {
            return Ok(());
        }
        self.cluster.apply_all_exactly(&policies::build()).await?;
        *self.policies_applied.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }

    /// Where the host's own parts are, read now and then.
    async fn places(&self) -> Result<Places, ReconcileError> {
        let found = self.places_found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((moment, places)) = found
            && moment.elapsed() < HOLD
        {
            return Ok(places);
        }
        let places = places::find(&self.cluster).await?;
        *self.places_found.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), places.clone()));
        Ok(places)
    }

    /// Which storage classes claims may name, read now and then.
    async fn storage_classes(&self) -> Result<Vec<String>, ReconcileError> {
        let found = self.classes_found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((moment, classes)) = found
            && moment.elapsed() < HOLD
        {
            return Ok(classes);
        }
        let classes = storage::classes(&self.cluster, &self.settings).await?;
        *self.classes_found.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), classes.clone()));
        Ok(classes)
    }

    async fn authentication(&self, desired: &DesiredWorkspace, names: &Names) -> Result<(), ReconcileError> {
        let own = labels::of_workspace(&desired.id, desired.organization.as_ref());
        let secret = authentication::build(desired, &desired.kubernetes_tag(&self.settings), names, &own);
        self.cluster.apply_exactly(&secret).await.map(drop)
    }

    async fn virtual_cluster(
        &self,
        desired: &DesiredWorkspace,
        names: &Names,
        rendering: Option<&str>,
        power: Power,
    ) -> Result<(), ReconcileError> {
        let host = &self.cluster;
        let version = host.client.apiserver_version().await;
        let version =
            version.map_err(|error| ReconcileError::Unreachable { api: host.title, source: Box::new(error) })?;
        let (version, metrics) = (version.git_version, self.places().await?.metrics);
        let manifests =
            virtual_cluster::render(&self.chart, &self.settings, desired, names, &version, metrics.as_ref()).await?;
        virtual_cluster::apply(host, names, &manifests, rendering, power).await
    }
}

fn settled_limits(found: Result<(Progress, Counted), ReconcileError>) -> Result<(Progress, Counted), ReconcileError> {
    Ok(settle(found)?.unwrap_or_else(|wait| (wait, Counted::default())))
}

/// The steps inside the tenant.
async fn tenant_side(tenant: &Cluster, desired: &DesiredWorkspace, kubernetes_tag: &str, ledger: &mut Ledger) {
    let bindings = access::progress(tenant, &desired.cluster_roles, &desired.custom_roles).await;
    let bindings = tolerate(bindings).unwrap_or_else(|wait| wait);
    let policies = tolerate(makers::progress(tenant, kubernetes_tag).await).unwrap_or_else(|wait| wait);
    let access = match bindings.and(policies) {
        Progress::Done => tolerate(access::proof(tenant, desired.proof.as_ref()).await).unwrap_or_else(|wait| wait),
        wait => wait,
    };
    ledger.record(WorkspaceStep::Access, access);
    // Projects do not wait for that: what was taken away goes although an object is refused or nobody can sign in.
    let projects = match tolerate(projects::progress(tenant, &desired.projects).await) {
        Ok(found) => {
            ledger.projects = found.phases;
            ledger.project_rights = Some(found.rights);
            found.progress
        }
        // What they are like is not known.
        Err(wait) => {
            ledger.project_rights = Some(wait.clone());
            wait
        }
    };
    ledger.record(WorkspaceStep::Projects, projects);
}

#[cfg(test)]
mod tests;
