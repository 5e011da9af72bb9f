//! The host cluster: how to reach it, and what the operator decides about the virtual clusters on it.

use std::path::PathBuf;

use hexabase_core::quantity::Cpu;

/// How to reach the host cluster and what to run on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSettings {
    /// The host's kubeconfig; without one, the service account of the pod this runs in, else the user's default.
    pub kubeconfig: Option<PathBuf>,
    /// The Helm binary, only ever run as `helm template`.
    pub helm: PathBuf,
    /// The vCluster chart: a folder or a `.tgz`.
    pub chart: PathBuf,
    /// Version of vCluster, equal to that of the chart: the tag of its image.
    pub vcluster_tag: String,
    /// Version of the tenants' Kubernetes, such as `v1.35.4`: the tag of its image.
    pub kubernetes_tag: String,
    /// A registry that holds all images instead of their own.
    pub image_registry: Option<String>,
    /// The image of the tenants' DNS; without it vCluster's choice for the Kubernetes version.
    pub coredns_image: Option<String>,
    /// What a control plane may use of its node's processors once it is up. It starts with two, and keeps them if this is no less.
    pub control_plane_cpu: Cpu,
    /// Class of the control planes' volumes; without it the host's default class.
    pub storage_class: Option<String>,
    /// Classes that tenants' volume claims may name beside that one and the host's default.
    pub tenant_storage_classes: Vec<String>,
    /// Runtime classes that tenants' pods may name; without any they run as everything else does.
    pub tenant_runtime_classes: Vec<String>,
    /// Networks that are closed to tenants' pods although their addresses are public, such as `192.0.2.0/24`. Private ranges
    /// and the nodes' addresses are closed in any case.
    pub closed_networks: Vec<String>,
    /// How tenant API servers are reached from here.
    pub endpoint: EndpointMode,
    /// Where the platform itself stands, as seen from the host's pods: these may reach tenant API servers, and tenant
    /// API servers may reach those of them that are namespaces for the issuer's keys.
    pub platform: Vec<Peer>,
    /// The port on which the platform's pods serve these keys; without it that of the issuer's URL.
    pub issuer_port: Option<u16>,
}

impl HostSettings {
    /// Settings for a host that is reached with `kubeconfig`, on the node itself.
    pub fn new(kubeconfig: Option<PathBuf>, helm: PathBuf, chart: PathBuf) -> Self {
        Self {
            kubeconfig,
            helm,
            chart,
            vcluster_tag: "0.36.1".to_owned(),
            kubernetes_tag: "v1.35.4".to_owned(),
            image_registry: None,
            coredns_image: None,
            control_plane_cpu: Cpu::from_millis(1_000),
            storage_class: None,
            tenant_storage_classes: Vec::new(),
            tenant_runtime_classes: Vec::new(),
            closed_networks: Vec::new(),
            endpoint: EndpointMode::ClusterIp,
            platform: Vec::new(),
            issuer_port: None,
        }
    }
}

/// How tenant API servers are reached from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointMode {
    /// By the Service's address: this process runs on a node, or where Service addresses are routed.
    ClusterIp,
    /// By the Service's name: this process runs in a pod of the host.
    ServiceDns,
    /// By a port of a node.
    NodePort {
        /// A node's address, or a name for all of them.
        address: String,
    },
}

/// Somebody that network policies let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// All pods of a namespace of the host.
    Namespace(String),
    /// A range of addresses, such as `192.0.2.0/24`.
    Cidr(String),
}
