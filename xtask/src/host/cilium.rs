//! Enforcement of network policies, if it was asked for: Cilium's agent, chained behind the bridge plugin, which goes on to
//! give pods their addresses. Its operator is not needed: the kinds are applied here, and identities of pods that are gone
//! stay until `down`.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};

use super::layout::{AGENT_DEVICE, Layout, NODE, State};
use super::node::Node;
use super::process::{self, Spec};
use super::{cgroups, containerd, health, kube, packages};
use crate::cmd;
use crate::tools::Tool;

pub(crate) const AGENT: &str = "cilium-agent";

/// An address that nothing else uses; the agent wants one for itself.
const ROUTER: &str = "169.254.23.0";
/// What it has to offer beside network policies.
const OFF: [&str; 15] = [
    "cni-exclusive",
    "enable-drift-checker",
    "enable-dynamic-config",
    "enable-endpoint-health-checking",
    "enable-envoy-config",
    "enable-gops",
    "enable-health-checking",
    "enable-hubble",
    "enable-ipv4-masquerade",
    "enable-ipv6",
    "enable-l7-proxy",
    "enable-lb-ipam",
    "enable-local-node-route",
    "enable-node-ipam",
    "kube-proxy-replacement",
];

/// The agent as it is to run.
pub(crate) fn agent(layout: &Layout, state: &State) -> Result<Spec> {
    let cgroup = cgroups::unified().unwrap_or_else(|| layout.path("cilium/cgroup"));
    let mut args: Vec<String> = OFF.iter().map(|name| format!("--{name}=false")).collect();
    args.extend([
        format!("--agent-health-port={}", state.ports.agent_health),
        // Under a policy that denies everything, the kubelet's probes are still let in.
        "--allow-localhost=always".to_owned(),
        // Below our folder, so that `down` finds the mount.
        format!("--bpf-root={}", layout.text("cilium/bpf")),
        format!("--cgroup-root={}", cgroup.display()),
        "--cni-chaining-mode=generic-veth".to_owned(),
        format!("--devices={AGENT_DEVICE}"),
        "--identity-allocation-mode=crd".to_owned(),
        "--ipam=delegated-plugin".to_owned(),
        format!("--ipv4-native-routing-cidr={}", state.pod_cidr),
        format!("--k8s-kubeconfig-path={}", layout.kubeconfig().display()),
        format!("--lib-dir={}", Tool::Cilium.folder()?.display()),
        format!("--local-router-ipv4={ROUTER}"),
        // Blocks of addresses are about nodes too, as other network plugins have it.
        "--policy-cidr-match-mode=nodes".to_owned(),
        "--preallocate-bpf-maps=false".to_owned(),
        "--routing-mode=native".to_owned(),
    ]);
    Ok(Spec {
        name: AGENT,
        program: Tool::Cilium.program("daemon")?,
        args,
        env: vec![("K8S_NODE_NAME", NODE.to_owned()), ("PATH", format!("{}:{}", packages::LLVM, cmd::SYSTEM_PATH))],
        netns: None,
        config: String::new(),
    })
}

/// Starts the agent, waits until it enforces, and lets containerd make pods through it.
pub(crate) fn ensure(layout: &Layout, state: &State) -> Result<()> {
    let spec = agent(layout, state)?;
    if !process::is_current(layout, &spec) {
        // Before it starts: it waits for its kinds, and nobody else makes them.
        let kinds = Tool::Cilium.folder()?.join("crds");
        let apply = ["apply", "--server-side", "--force-conflicts", "--recursive", "-f"];
        cmd::output(kube::kubectl(layout)?.args(apply).arg(kinds)).context("the kinds of Cilium cannot be applied")?;
        process::ensure(layout, &spec)?;
    }
    process::wait(layout, AGENT, Duration::from_secs(180), || is_serving(state))?;
    containerd::write_network(&Node::first(layout, state), state)
}

/// True if it answers that all is well.
pub(crate) fn is_serving(state: &State) -> bool {
    health::is_healthy(Ipv4Addr::LOCALHOST, state.ports.agent_health)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::host::layout::Ports;

    #[test]
    fn the_agent_keeps_to_our_folder_and_leaves_the_machines_interfaces_alone() {
        let layout = Layout::at(Path::new("/c/devhost"));
        let spec = agent(&layout, &State::on(10, 11, Ports::from_base(16000))).unwrap();
        for expected in [
            "--devices=hxb1",
            "--bpf-root=/c/devhost/cilium/bpf",
            "--agent-health-port=16245",
            "--ipv4-native-routing-cidr=10.10.0.0/16",
            "--kube-proxy-replacement=false",
            "--enable-l7-proxy=false",
        ] {
            assert!(spec.args.iter().any(|arg| arg == expected), "{expected}: {:?}", spec.args);
        }
        let path = spec.env.iter().find(|(name, _)| *name == "PATH").map(|(_, value)| value.as_str());
        assert!(path.is_some_and(|path| path.starts_with("/usr/lib/llvm-19/bin:/usr/local/sbin")), "{path:?}");
    }
}
