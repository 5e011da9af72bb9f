//! The host cluster and how virtual clusters are made on it.

use std::path::PathBuf;

use hexabase_core::plans::{CONTROL_PLANE_CPU_REQUEST, CONTROL_PLANE_STORAGE, KubernetesVersion};
use hexabase_core::quantity::{Bytes, Cpu};
use serde::Deserialize;

use super::{ConfigError, existing, invalid, networks};

/// Most workspaces that are made ahead.
const MOST_SPARES: usize = 100;
/// The widest network that can be closed.
const WIDEST_CLOSED: u8 = 4;

/// The host cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostConfig {
    /// Kubeconfig of the host cluster; absent means the pod's own service account.
    pub kubeconfig: Option<PathBuf>,
    /// The `helm` program, which renders the chart (it never talks to the cluster).
    pub helm: PathBuf,
    /// The vCluster chart, a folder or an archive.
    pub vcluster_chart: Option<PathBuf>,
    /// Version of Kubernetes in new workspaces; the tag of its image.
    pub kubernetes_version: String,
    /// Releases beside that one whose images there are, so that plans may name them.
    pub kubernetes_releases: Vec<KubernetesVersion>,
    /// CPU that a workspace's control plane may use once it is up. It starts with two.
    pub control_plane_cpu: Cpu,
    /// How this server reaches a workspace's API server.
    pub endpoint: EndpointKind,
    /// Address of a node, for `node-port`.
    pub node_address: Option<String>,
    /// Networks (CIDR) from which this server calls workspaces' API servers, where it is not a pod of the host cluster.
    pub platform_networks: Vec<String>,
    /// Namespaces of the host cluster from whose pods this server, and others that share its database, call them; absent means
    /// the one in which this server is a pod.
    pub platform_namespaces: Vec<String>,
    /// Storage classes that workspaces' volume claims may name beside the host's default one.
    pub tenant_storage_classes: Vec<String>,
    /// Runtime classes that workspaces' pods may name.
    pub tenant_runtime_classes: Vec<String>,
    /// Networks (CIDR) with public addresses that workspaces' pods must not reach.
    pub closed_networks: Vec<String>,
    /// Workspaces that are made ahead and kept asleep, for whoever asks for one next.
    pub spare_workspaces: usize,
    /// How much storage they may claim on the host together.
    pub spare_storage: Bytes,
}

/// How a workspace's API server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointKind {
    /// By the Service's cluster address: the server runs on a node or in a pod.
    ClusterIp,
    /// By the Service's name in cluster DNS: the server runs in a pod.
    ServiceDns,
    /// By a node port: the server runs outside the cluster.
    NodePort,
}

impl HostConfig {
    /// How many workspaces are to be made ahead, as far as storage goes.
    pub fn spares(&self) -> usize {
        let room = self.spare_storage.get() / CONTROL_PLANE_STORAGE.get();
        self.spare_workspaces.min(usize::try_from(room).unwrap_or(usize::MAX))
    }

    /// The releases that a plan may name: of any other there may be no image, and no way back once a workspace was put on it.
    pub fn releases(&self) -> Vec<String> {
        let more = self.kubernetes_releases.iter().map(ToString::to_string);
        let more = more.filter(|release| *release != self.kubernetes_version);
        std::iter::once(self.kubernetes_version.clone()).chain(more).collect()
    }

    /// From which namespaces workspaces are called; `own` is the one in which this server is a pod. A node port is open to
    /// everybody until it is said who calls, so nobody is added there.
    pub fn callers(&self, own: Option<&str>) -> Vec<String> {
        match own.map(str::trim).filter(|own| !own.is_empty()) {
            Some(own) if self.platform_namespaces.is_empty() && self.endpoint != EndpointKind::NodePort => {
                vec![own.to_owned()]
            }
            _ => self.platform_namespaces.clone(),
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if !self.kubernetes_version.starts_with("v1.") {
            return Err(invalid("host.kubernetes_version", "must be a tag such as v1.35.4"));
        }
        for (key, path) in [("host.kubeconfig", &self.kubeconfig), ("host.vcluster_chart", &self.vcluster_chart)] {
            existing(key, path.as_deref())?;
        }
        let no_address = self.node_address.as_deref().is_none_or(str::is_empty);
        if self.spare_workspaces > MOST_SPARES {
            return Err(invalid("host.spare_workspaces", format!("must be at most {MOST_SPARES}")));
        }
        if self.control_plane_cpu < CONTROL_PLANE_CPU_REQUEST {
            return Err(invalid(
                "host.control_plane_cpu",
                format!("must be at least {CONTROL_PLANE_CPU_REQUEST}, which a control plane asks its node for"),
            ));
        }
        if self.endpoint == EndpointKind::NodePort && no_address {
            return Err(invalid("host.node_address", "is required with host.endpoint = \"node-port\""));
        }
        object_names("host.tenant_storage_classes", "class", &self.tenant_storage_classes)?;
        object_names("host.tenant_runtime_classes", "class", &self.tenant_runtime_classes)?;
        object_names("host.platform_namespaces", "namespace", &self.platform_namespaces)?;
        let closed = networks("host.closed_networks", &self.closed_networks)?;
        if closed.iter().any(|network| network.length() < WIDEST_CLOSED) {
            // A network policy takes out of a block only what is smaller.
            return Err(invalid(
                "host.closed_networks",
                format!("must not hold a network wider than /{WIDEST_CLOSED}"),
            ));
        }
        networks("host.platform_networks", &self.platform_networks).map(drop)
    }
}

/// Classes are written side by side, separated by commas, where the host's policies read them.
fn object_names(key: &'static str, what: &str, names: &[String]) -> Result<(), ConfigError> {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    match names.iter().find(|name| name.is_empty() || !name.bytes().all(is_part)) {
        Some(name) => Err(invalid(key, format!("\"{name}\" must be the name of a {what}"))),
        None => Ok(()),
    }
}
