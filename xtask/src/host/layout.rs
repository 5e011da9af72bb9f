//! The devhost's folder in the cache: which file lies where, and the state that later runs read.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::kernel::Settings;
use crate::settings;

/// Name of the node that is the machine itself.
pub(crate) const NODE: &str = "devhost";
/// Name of the node in a network namespace.
pub(crate) const SECOND_NODE: &str = "devhost-second";
/// Name of our bridge, in each node's network; pods and the node's own address are on it.
pub(crate) const BRIDGE: &str = "hxb0";
/// Name of both interfaces of the pair that joins the nodes' bridges.
pub(crate) const LINK: &str = "hxb2";
/// Name of an interface without traffic: the one that Cilium's agent takes for the machine's, so that it leaves the
/// machine's own ones alone.
pub(crate) const AGENT_DEVICE: &str = "hxb1";
/// Name of our CNI network, our nft table and our cgroup.
pub(crate) const NETWORK: &str = "hexabase";

/// Paths below the devhost's folder.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout in the configured cache.
    pub(crate) fn locate() -> Result<Self> {
        Ok(Self { root: settings::cache_root()?.join("devhost") })
    }

    /// A layout in a folder of the caller's.
    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// The same files once more, in a folder of their own.
    pub(crate) fn below(&self, folder: &str) -> Self {
        Self { root: self.root.join(folder) }
    }

    /// The devhost's folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A path below the devhost's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Same as text, for configuration files.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The administrator's kubeconfig, for xtask and what it runs.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.path("pki/admin.kubeconfig")
    }

    /// A copy of it for people, who may add to it and choose contexts in it.
    pub(crate) fn kubeconfig_for_people(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    /// containerd's socket.
    pub(crate) fn containerd_socket(&self) -> PathBuf {
        self.path("containerd/containerd.sock")
    }

    /// Writes a file that only its owner reads, if its content changes. True if it was written.
    pub(crate) fn write(&self, name: &str, content: &str) -> Result<bool> {
        let path = self.path(name);
        if fs::read_to_string(&path).is_ok_and(|old| old == content) {
            return Ok(false);
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        let staging = path.with_extension("new");
        fs::write(&staging, content).with_context(|| format!("cannot write {}", staging.display()))?;
        fs::set_permissions(&staging, fs::Permissions::from_mode(0o600))?;
        fs::rename(&staging, &path)?;
        Ok(true)
    }
}

/// Ports that our processes listen on, all on loopback or on a bridge's address. The second node has the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ports {
    pub(crate) api: u16,
    pub(crate) kubelet: u16,
    pub(crate) kubelet_health: u16,
    pub(crate) controller_manager: u16,
    pub(crate) scheduler: u16,
    pub(crate) proxy_health: u16,
    pub(crate) proxy_metrics: u16,
    /// Zero on a devhost from before there was one.
    #[serde(default)]
    pub(crate) agent_health: u16,
}

impl Ports {
    /// The usual ports moved to a range of our own: 16443 for the API server if `base` is 16000.
    pub(crate) fn from_base(base: u16) -> Self {
        Self {
            api: base + 443,
            kubelet: base + 250,
            kubelet_health: base + 248,
            controller_manager: base + 257,
            scheduler: base + 259,
            proxy_health: base + 256,
            proxy_metrics: base + 249,
            agent_health: base + 245,
        }
    }
}

/// What is kept about one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Key of our nft table as it was loaded last.
    #[serde(default)]
    pub(crate) table: String,
    /// Image archive by image name, as imported into the node's containerd.
    pub(crate) imported: BTreeMap<String, String>,
}

/// What was chosen or found at the first `up` and must stay the same until `down`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) pod_cidr: String,
    pub(crate) service_cidr: String,
    pub(crate) node_ip: Ipv4Addr,
    pub(crate) dns_ip: Ipv4Addr,
    pub(crate) api_service_ip: Ipv4Addr,
    pub(crate) ports: Ports,
    /// Whether network policies are enforced.
    #[serde(default)]
    pub(crate) network_policy: bool,
    /// Folders outside the cache that were there before us.
    pub(crate) folders: Vec<String>,
    /// The kernel's boot that the rest of what was there belongs to.
    pub(crate) boot: String,
    /// Kernel settings as they were before us.
    pub(crate) sysctls: Settings,
    /// The same as `up` left them when it was done; empty until then.
    #[serde(default)]
    pub(crate) sysctls_left: Settings,
    /// nft tables that were there before us.
    pub(crate) nft_tables: Vec<String>,
    /// Whether the port plugin's shared chains were there before us.
    #[serde(default)]
    pub(crate) port_chains: bool,
    /// Whether the kernel did not filter bridges before us.
    #[serde(default)]
    pub(crate) loads_bridge_filter: bool,
    /// Controllers that the root cgroup (of the second generation) did not hand on before us.
    #[serde(default)]
    pub(crate) controllers: Vec<String>,
    #[serde(flatten)]
    pub(crate) first: Kept,
    /// None if there is no second node.
    #[serde(default)]
    pub(crate) second: Option<Kept>,
    /// How many nodes are pretended.
    #[serde(default)]
    pub(crate) kwok_nodes: u16,
    /// Key of the addon manifests that were applied last.
    pub(crate) addons: String,
}

impl State {
    /// A new one: pods in 10.`pods`.0.0/16, services in 10.`services`.0.0/16, and nothing noted about the machine.
    pub(crate) fn on(pods: u8, services: u8, ports: Ports) -> Self {
        Self {
            pod_cidr: format!("10.{pods}.0.0/16"),
            service_cidr: format!("10.{services}.0.0/16"),
            node_ip: Ipv4Addr::new(10, pods, 0, 1),
            dns_ip: Ipv4Addr::new(10, services, 0, 10),
            api_service_ip: Ipv4Addr::new(10, services, 0, 1),
            ports,
            network_policy: false,
            folders: vec![],
            boot: String::new(),
            sysctls: Settings::new(),
            sysctls_left: Settings::new(),
            nft_tables: vec![],
            port_chains: false,
            loads_bridge_filter: false,
            controllers: vec![],
            first: Kept::default(),
            second: None,
            kwok_nodes: 0,
            addons: String::new(),
        }
    }

    /// The state of a devhost that was set up before, if any.
    pub(crate) fn load(layout: &Layout) -> Result<Option<Self>> {
        let path = layout.path("state.json");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(serde_json::from_str(&text).with_context(|| {
                format!("{} cannot be read: run `cargo xtask down` and remove that file", path.display())
            })?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Keeps the state for the next run.
    pub(crate) fn save(&self, layout: &Layout) -> Result<()> {
        layout.write("state.json", &serde_json::to_string_pretty(self)?)?;
        Ok(())
    }

    /// Where the API server answers.
    pub(crate) fn api_url(&self) -> String {
        format!("https://{}:{}", self.node_ip, self.ports.api)
    }
}

/// Tells one boot of the machine from the next.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_from_before_there_were_more_nodes_is_read() {
        let state = State::on(10, 11, Ports::from_base(16000));
        let mut old = serde_json::to_value(&state).unwrap();
        let fields = old.as_object_mut().unwrap();
        assert!(fields.remove("second").is_some() && fields.remove("kwok_nodes").is_some());
        fields.insert("imported".into(), serde_json::json!({ "busybox": "archive" }));
        let read: State = serde_json::from_value(old).unwrap();
        assert_eq!(read.first.imported["busybox"], "archive");
        assert_eq!((read.second, read.kwok_nodes), (None, 0));
    }
}
