//! Our own containerd: own socket, root, state and network configuration, so that one that is already on the machine is
//! not touched. It cannot pull: every registry is an address where nobody listens.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::images::PAUSE;
use super::layout::{BRIDGE, Layout, NETWORK, State};
use super::node::Node;
use super::process::{self, Spec};
use crate::cmd;
use crate::tools::Tool;

/// Where plugins of the container network lie: Debian's folder, else upstream's.
const PLUGIN_FOLDERS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// The process as it is to run.
pub(crate) fn spec(node: &Node, state: &State) -> Result<Spec> {
    let program = cmd::which("containerd").context("containerd is missing: install the package containerd")?;
    let config = config(&node.files, state)?;
    Ok(Spec {
        name: node.containerd,
        program,
        args: vec!["--config".into(), node.files.text("containerd/config.toml")],
        env: vec![],
        netns: node.netns.clone(),
        config: format!("{config}{}{}", network(node, state), NO_REGISTRY),
    })
}

/// Writes the configuration, starts containerd and waits until it answers.
pub(crate) fn ensure(layout: &Layout, node: &Node, state: &State) -> Result<bool> {
    node.files.write("containerd/config.toml", &config(&node.files, state)?)?;
    node.files.write("containerd/registries/_default/hosts.toml", NO_REGISTRY)?;
    if state.network_policy {
        // The network waits for the agent: a pod that is made without it stays without policies for life.
        link_plugins(&node.files)?;
    } else {
        write_network(node, state)?;
    }
    let started = process::ensure(layout, &spec(node, state)?)?;
    if started {
        process::wait(layout, node.containerd, Duration::from_secs(60), || {
            cmd::succeeds(ctr(node).args(["images", "ls", "-q"]))
        })?;
    }
    Ok(started)
}

/// Lets containerd make pods.
pub(crate) fn write_network(node: &Node, state: &State) -> Result<()> {
    node.files.write(NETWORK_FILE, &network(node, state))?;
    Ok(())
}

/// True if containerd may make pods.
pub(crate) fn has_network(node: &Node) -> bool {
    node.files.path(NETWORK_FILE).is_file()
}

/// containerd looks for plugins in one folder: ours holds links to those of the system and to Cilium's.
fn link_plugins(files: &Layout) -> Result<()> {
    let folder = files.path(OWN_PLUGINS);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let installed = plugin_folder().context("network plugins are missing: install containernetworking-plugins")?;
    let plugins = fs::read_dir(installed)?.flatten().map(|entry| entry.path());
    let plugins: Vec<PathBuf> = plugins.chain([Tool::Cilium.program("cilium-cni")?]).collect();
    for plugin in plugins {
        let Some(name) = plugin.file_name() else { continue };
        let link = folder.join(name);
        if fs::read_link(&link).is_ok_and(|target| target == plugin) {
            continue;
        }
        if fs::symlink_metadata(&link).is_ok() {
            fs::remove_file(&link)?;
        }
        symlink(&plugin, &link).with_context(|| format!("cannot create {}", link.display()))?;
    }
    Ok(())
}

/// The folder with the network plugins, if they are installed.
pub(crate) fn plugin_folder() -> Option<&'static str> {
    PLUGIN_FOLDERS.into_iter().find(|folder| Path::new(folder).join("bridge").is_file())
}

/// Names of the images that containerd holds.
pub(crate) fn images(node: &Node) -> Result<Vec<String>> {
    Ok(cmd::output(ctr(node).args(["images", "ls", "-q"]))?.lines().map(str::to_owned).collect())
}

/// Reads an archive into containerd.
pub(crate) fn import(node: &Node, archive: &Path) -> Result<()> {
    cmd::output(ctr(node).args(["images", "import"]).arg(archive))?;
    Ok(())
}

fn ctr(node: &Node) -> Command {
    let mut command = cmd::system("ctr");
    command.arg("--address").arg(node.files.containerd_socket()).args(["--namespace", "k8s.io"]);
    command
}

const NETWORK_FILE: &str = "cni/10-hexabase.conflist";
/// Below the node's folder.
const OWN_PLUGINS: &str = "cni-plugins";
const NO_REGISTRY: &str = "server = \"http://127.0.0.1:9\"\n";

fn config(files: &Layout, state: &State) -> Result<String> {
    let folder = |name: &str| files.text(&format!("containerd/{name}"));
    let plugins = plugin_folder().context("network plugins are missing: install containernetworking-plugins")?;
    let plugins = if state.network_policy { files.text(OWN_PLUGINS) } else { plugins.to_owned() };
    let runc = cmd::which("runc").context("runc is missing: install the package runc")?;
    let socket = files.containerd_socket();
    let restrict = !may_raise_limits();
    Ok(format!(
        r#"version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing", "io.containerd.nri.v1.nri"]

[grpc]
  address = "{socket}"

[ttrpc]
  address = "{socket}.ttrpc"

[debug]
  level = "warn"

[plugins."io.containerd.internal.v1.opt"]
  path = "{opt}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = {restrict}
  netns_mounts_under_state_dir = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{runc}"
        Root = "{runc_root}"
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{registries}"
"#,
        root = folder("root"),
        state = folder("state"),
        opt = folder("opt"),
        runc_root = folder("runc"),
        registries = folder("registries"),
        runc = runc.display(),
        socket = socket.display(),
        cni = files.text("cni"),
    ))
}

fn network(node: &Node, state: &State) -> String {
    let (from, to) = node.pods;
    let range = json!({ "subnet": state.pod_cidr, "rangeStart": from, "rangeEnd": to, "gateway": node.ip });
    let mut plugins = vec![
        json!({
            "type": "bridge",
            "bridge": BRIDGE,
            "isGateway": true,
            "ipMasq": false,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "dataDir": node.files.text("cni-addresses"),
                "ranges": [[range]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            },
        }),
        json!({ "type": "portmap", "capabilities": { "portMappings": true } }),
    ];
    if state.network_policy {
        plugins.push(json!({ "type": "cilium-cni", "chaining-mode": "generic-veth" }));
    }
    json!({ "cniVersion": "0.4.0", "name": NETWORK, "plugins": plugins }).to_string()
}

/// Without CAP_SYS_RESOURCE (bit 24) no process may be made less likely to be killed than we are.
fn may_raise_limits() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & (1 << 24) != 0)
}
