//! What makes a node of a machine or a namespace: kubelet and kube-proxy.

use std::fs;
use std::time::Duration;

use anyhow::Result;

use super::layout::{Layout, State};
use super::node::Node;
use super::process::{self, Spec};
use super::{health, kube, network};
use crate::tools::Tool;

/// Keeps pods from the second node until somebody takes it away: what knows one node only is to stay on it.
const TAINT: &str = "registerWithTaints: [{key: hexabase.ai/second-node, effect: NoSchedule}]\n";

/// The kubelet as it is to run.
pub(crate) fn kubelet(layout: &Layout, node: &Node, state: &State) -> Result<Spec> {
    let config = kubelet_config(layout, node, state);
    let args = vec![
        format!("--config={}", node.files.text("kubelet.yaml")),
        format!("--kubeconfig={}", node.files.text("pki/kubelet.kubeconfig")),
        format!("--root-dir={}", node.files.text("kubelet")),
        format!("--cert-dir={}", node.files.text("pki/kubelet")),
        format!("--hostname-override={}", node.name),
        format!("--node-ip={}", node.ip),
    ];
    let authority = fs::read_to_string(layout.path("pki/ca.crt")).unwrap_or_default();
    let program = Tool::Kubernetes.program("kubelet")?;
    let netns = node.netns.clone();
    Ok(Spec { name: node.kubelet, program, args, env: vec![], netns, config: config + &authority })
}

/// kube-proxy as it is to run.
pub(crate) fn kube_proxy(layout: &Layout, node: &Node, state: &State) -> Result<Spec> {
    let config = kube_proxy_config(layout, node, state);
    let args = vec![format!("--config={}", node.files.text("kube-proxy.yaml"))];
    let authority = fs::read_to_string(layout.path("pki/ca.crt")).unwrap_or_default();
    let program = Tool::Kubernetes.program("kube-proxy")?;
    let netns = node.netns.clone();
    Ok(Spec { name: node.kube_proxy, program, args, env: vec![], netns, config: config + &authority })
}

/// Starts both; at the end service addresses answer. The node may still be on its way to ready.
pub(crate) fn ensure(layout: &Layout, node: &Node, state: &State) -> Result<()> {
    node.files.write("kubelet.yaml", &kubelet_config(layout, node, state))?;
    node.files.write("kube-proxy.yaml", &kube_proxy_config(layout, node, state))?;
    // Where a pod with the node's own DNS asks: only our DNS, so that no question leaves the machine.
    node.files.write("resolv.conf", &format!("nameserver {}\n", state.dns_ip))?;
    fs::create_dir_all(node.files.path("storage"))?;
    let limit = Duration::from_secs(60);
    process::ensure(layout, &kubelet(layout, node, state)?)?;
    process::wait(layout, node.kubelet, limit, || kube::node_exists(layout, node.name))?;
    process::ensure(layout, &kube_proxy(layout, node, state)?)?;
    process::wait(layout, node.kube_proxy, limit, || is_proxy_serving(node, state))?;
    process::wait(layout, node.kubelet, limit, || is_kubelet_serving(node, state))
}

/// Waits until pods can be placed, and the pods of before are known again.
pub(crate) fn wait_ready(layout: &Layout, node: &Node, had_pods: bool) -> Result<()> {
    let ready = || kube::node_is_ready(layout, node.name) && (!had_pods || kube::kubelet_knows_pods(layout, node.name));
    process::wait(layout, node.kubelet, Duration::from_secs(120), ready)
}

/// True if both answer.
pub(crate) fn is_serving(node: &Node, state: &State) -> bool {
    is_kubelet_serving(node, state) && is_proxy_serving(node, state)
}

fn is_kubelet_serving(node: &Node, state: &State) -> bool {
    health::listens(node.ip, state.ports.kubelet) && health::is_healthy(node.health, state.ports.kubelet_health)
}

fn is_proxy_serving(node: &Node, state: &State) -> bool {
    network::has_services(node) && health::is_healthy(node.health, state.ports.proxy_health)
}

fn kubelet_config(layout: &Layout, node: &Node, state: &State) -> String {
    let socket = node.files.containerd_socket();
    let taint = if node.is_first() { "" } else { TAINT };
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: "{address}"
port: {port}
readOnlyPort: 0
healthzBindAddress: {health_address}
healthzPort: {health}
tlsCertFile: "{pki}/kubelet.crt"
tlsPrivateKeyFile: "{pki}/kubelet.key"
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: "{authority}"}}
authorization: {{mode: Webhook}}
containerRuntimeEndpoint: "unix://{socket}"
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
failCgroupV1: false
failSwapOn: false
clusterDomain: cluster.local
clusterDNS: ["{dns}"]
resolvConf: "{resolv}"
podLogsDir: "{logs}"
volumePluginDir: "{plugins}"
makeIPTablesUtilChains: false
maxPods: 250
serializeImagePulls: false
syncFrequency: 15s
# Images cannot be pulled again.
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
imageMaximumGCAge: 0s
evictionHard: {{memory.available: 100Mi, nodefs.available: 1Gi, imagefs.available: 1Gi}}
{taint}"#,
        address = node.ip,
        port = state.ports.kubelet,
        health_address = node.health,
        health = state.ports.kubelet_health,
        pki = node.files.text("pki"),
        authority = layout.text("pki/ca.crt"),
        cgroup = node.cgroup,
        socket = socket.display(),
        dns = state.dns_ip,
        resolv = node.files.text("resolv.conf"),
        logs = node.files.text("pod-logs"),
        plugins = node.files.text("kubelet-plugins"),
    )
}

fn kube_proxy_config(layout: &Layout, node: &Node, state: &State) -> String {
    format!(
        r#"apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: {name}
clusterCIDR: "{pods}"
detectLocalMode: ClusterCIDR
nodePortAddresses: [primary]
healthzBindAddress: {health_address}:{health}
metricsBindAddress: 127.0.0.1:{metrics}
clientConnection: {{kubeconfig: "{kubeconfig}"}}
nftables: {{syncPeriod: 30s, minSyncPeriod: 100ms}}
# Zero: the machine's connection tracking stays as it is.
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
"#,
        name = node.name,
        pods = state.pod_cidr,
        health_address = node.health,
        health = state.ports.proxy_health,
        metrics = state.ports.proxy_metrics,
        kubeconfig = layout.text("pki/kube-proxy.kubeconfig"),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::layout::Ports;
    use super::*;

    #[test]
    fn the_nodes_share_an_authority_and_no_file_else() {
        let layout = Layout::at(Path::new("/c/devhost"));
        let state = State::on(10, 11, Ports::from_base(16000));
        let first = kubelet_config(&layout, &Node::first(&layout, &state), &state);
        let second = kubelet_config(&layout, &Node::second(&layout, &state), &state);
        let files = |text: &str| {
            let quoted = text.split('"').filter(|part| part.contains("/c/devhost/") && !part.ends_with("pki/ca.crt"));
            quoted.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(files(&first).len(), 6, "{first}");
        assert!(files(&second).iter().all(|file| file.contains("/c/devhost/second/")), "{second}");
        assert!(second.contains("\"/c/devhost/pki/ca.crt\"") && second.contains("cgroupRoot: /hexabase/second\n"));
        assert!(second.contains("healthzBindAddress: 10.10.240.1\n"), "{second}");
        assert!(second.contains(TAINT) && !first.contains(TAINT));
    }
}
