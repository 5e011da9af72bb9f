//! The host cluster as the rest of the platform holds it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hexabase_core::ids::WorkspaceId;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::apply::Cluster;
use crate::desired::OnHost;
use crate::error::ReconcileError;
use crate::exact::fights::Fights;
use crate::helm::Chart;
use crate::host::places::Places;
use crate::host::resize::Refusals;
use crate::host::{inventory, removal};
use crate::labels::Names;
use crate::preflight::{self, Finding};
use crate::receipt::{Inventory, Lasting, ObjectRef, Removal, Removed};
use crate::settings::HostSettings;
use crate::tenant;

/// Longest time for a connection to the host and for an answer of it.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(15);

/// The cluster that carries the workspaces. Holds no state of theirs but what was looked at or done a moment ago, so any number of
/// workers may share it.
pub struct Host {
    pub(crate) settings: HostSettings,
    pub(crate) cluster: Cluster,
    pub(crate) chart: Chart,
    /// When the policies for all workspaces were applied last.
    pub(crate) policies_applied: Mutex<Option<Instant>>,
    /// Where the host's own parts were found last, and when.
    pub(crate) places_found: Mutex<Option<(Instant, Places)>>,
    /// Which storage classes claims may name, as it was found last, and when.
    pub(crate) classes_found: Mutex<Option<(Instant, Vec<String>)>>,
    /// What was applied to the host last of workspaces whose control plane is starting, all of it, and when.
    pub(crate) starting: Mutex<HashMap<WorkspaceId, (Instant, OnHost)>>,
    /// Control planes that the host does not bind.
    pub(crate) unbindable: Refusals,
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
            // Never whatever a person's kubeconfig happens to point at: this account may change everything there.
            None => Config::incluster().map_err(|error| configuration(error.into()))?,
        };
        tenant::limit(&mut config, CONNECT, ANSWER);
        let client = Client::try_from(config).map_err(|error| configuration(error.into()))?;
        let chart = Chart::new(settings.helm.clone(), settings.chart.clone());
        let cluster = Cluster { client, title: "the host's API server", fights: Fights::default() };
        Ok(Self {
            settings,
            cluster,
            chart,
            policies_applied: Mutex::new(None),
            places_found: Mutex::new(None),
            classes_found: Mutex::new(None),
            starting: Mutex::default(),
            unbindable: Refusals::default(),
        })
    }

    /// By which versions workspaces are made: one that was made by others starts more slowly, or not at all.
    pub fn version(&self) -> String {
        let HostSettings { vcluster_tag, kubernetes_tag, .. } = &self.settings;
        format!("vcluster {vcluster_tag}, kubernetes {kubernetes_tag}")
    }

    /// Brings the removal of a workspace one call nearer to its end. Needs no tenant API server, and nothing of the
    /// workspace has to exist.
    pub async fn remove(&self, removal: &Removal) -> Result<Removed, ReconcileError> {
        // The configuration of its whole control plane would stay in memory until so many others had come.
        self.chart.forget(&Names::of(&removal.id).name);
        removal::remove(&self.cluster, removal).await
    }

    /// Every workspace of which something stands on the host: those that the store does not know, or knows to be deleted,
    /// are left-overs.
    pub async fn workspaces(&self) -> Result<Vec<WorkspaceId>, ReconcileError> {
        Ok(inventory::workspaces(&self.cluster).await?.into_iter().collect())
    }

    /// Everything that stands on the host of a workspace: what is there when it is ready is compared with what is gone when it is
    /// deleted.
    pub async fn inventory(&self, id: &WorkspaceId) -> Result<Inventory, ReconcileError> {
        inventory::take(&self.cluster, &Names::of(id)).await
    }

    /// What of this is not on the host any more. To be asked before anything is removed: afterwards nobody can tell.
    pub async fn missing(&self, id: &WorkspaceId, lasting: &Lasting) -> Result<Vec<ObjectRef>, ReconcileError> {
        inventory::missing(&self.cluster, &Names::of(id), lasting).await
    }

    /// Checks the host and the tools, for `doctor` and for start-up.
    pub async fn preflight(&self) -> Vec<Finding> {
        preflight::run(&self.cluster, &self.chart, &self.settings).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::desired::{DesiredWorkspace, Workloads};
    use crate::nodes::WantedNodes;

    /// Workers are spawned: this compiles only as long as the calls may move between threads.
    #[expect(dead_code, reason = "only the compiler looks at it")]
    fn calls_can_be_spawned(host: Arc<Host>, desired: DesiredWorkspace, removal: Removal, nodes: WantedNodes) {
        let lasting = Lasting::default();
        tokio::spawn(async move {
            let _ = host.reconcile(&desired).await;
            let _ = host.rest(&desired, Workloads::Stop, removal.now).await;
            let _ = (host.inventory(&desired.id).await, host.missing(&desired.id, &lasting).await);
            let _ = host.remove(&removal).await;
            let _ = (host.workspaces().await, host.preflight().await);
            let _ = (
                host.claim(&desired.id, desired.organization.as_ref(), desired.fence).await,
                host.settle_nodes(&nodes).await,
            );
            for node in host.nodes().await.into_iter().flatten() {
                let _ = (host.keep_free(&node, true).await, host.hand_back(&nodes.id, &node.name).await);
                let _ = host.disown(&nodes.id, &node.name, true).await;
            }
        });
    }
}
