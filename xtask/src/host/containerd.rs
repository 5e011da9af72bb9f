//! Our own containerd: own socket, root, state and network configuration, so that one that is already on the machine is
//! not touched. It cannot pull: every registry is an address where nobody listens.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::images::PAUSE;
use super::layout::{BRIDGE, Layout, NETWORK, State};
use super::process::{self, Spec};
use crate::cmd;

/// Where plugins of the container network lie: Debian's folder, else upstream's.
const PLUGIN_FOLDERS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// The process as it is to run.
pub(crate) fn spec(layout: &Layout, state: &State) -> Result<Spec> {
    let program = cmd::which("containerd").context("containerd is missing: install the package containerd")?;
    let config = config(layout)?;
    Ok(Spec {
        name: "containerd",
        program,
        args: vec!["--config".into(), layout.text("containerd/config.toml")],
        env: vec![],
        config: format!("{config}{}{}", network(layout, state), NO_REGISTRY),
    })
}

/// Writes the configuration, starts containerd and waits until it answers.
pub(crate) fn ensure(layout: &Layout, state: &State) -> Result<bool> {
    layout.write("containerd/config.toml", &config(layout)?)?;
    layout.write("containerd/registries/_default/hosts.toml", NO_REGISTRY)?;
    layout.write("cni/10-hexabase.conflist", &network(layout, state))?;
    let started = process::ensure(layout, &spec(layout, state)?)?;
    if started {
        process::wait(layout, "containerd", Duration::from_secs(60), || {
            cmd::succeeds(ctr(layout).args(["images", "ls", "-q"]))
        })?;
    }
    Ok(started)
}

/// The folder with the network plugins, if they are installed.
pub(crate) fn plugin_folder() -> Option<&'static str> {
    PLUGIN_FOLDERS.into_iter().find(|folder| Path::new(folder).join("bridge").is_file())
}

/// Names of the images that containerd holds.
pub(crate) fn images(layout: &Layout) -> Result<Vec<String>> {
    Ok(cmd::output(ctr(layout).args(["images", "ls", "-q"]))?.lines().map(str::to_owned).collect())
}

/// Reads an archive into containerd.
pub(crate) fn import(layout: &Layout, archive: &Path) -> Result<()> {
    cmd::output(ctr(layout).args(["images", "import"]).arg(archive))?;
    Ok(())
}

fn ctr(layout: &Layout) -> Command {
    let mut command = cmd::system("ctr");
    command.arg("--address").arg(layout.containerd_socket()).args(["--namespace", "k8s.io"]);
    command
}

const NO_REGISTRY: &str = "server = \"http://127.0.0.1:9\"\n";

fn config(layout: &Layout) -> Result<String> {
    let folder = |name: &str| layout.text(&format!("containerd/{name}"));
    let plugins = plugin_folder().context("network plugins are missing: install containernetworking-plugins")?;
    let runc = cmd::which("runc").context("runc is missing: install the package runc")?;
    let socket = layout.containerd_socket();
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
        cni = layout.text("cni"),
    ))
}

fn network(layout: &Layout, state: &State) -> String {
    serde_json::json!({
        "cniVersion": "0.4.0",
        "name": NETWORK,
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": true,
                "ipMasq": false,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": layout.text("cni-addresses"),
                    "ranges": [[{ "subnet": state.pod_cidr, "gateway": state.node_ip }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
    .to_string()
}

/// Without CAP_SYS_RESOURCE (bit 24) no process may be made less likely to be killed than we are.
fn may_raise_limits() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & (1 << 24) != 0)
}
