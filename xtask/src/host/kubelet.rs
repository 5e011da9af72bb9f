//! The one node: kubelet and kube-proxy.

use std::fs;
use std::time::Duration;

use anyhow::Result;

use super::layout::{Layout, NETWORK, NODE, State};
use super::process::{self, Spec};
use super::{health, kube, network};
use crate::tools::Tool;

/// The kubelet as it is to run.
pub(crate) fn kubelet(layout: &Layout, state: &State) -> Result<Spec> {
    let config = kubelet_config(layout, state);
    let args = vec![
        format!("--config={}", layout.text("kubelet.yaml")),
        format!("--kubeconfig={}", layout.text("pki/kubelet.kubeconfig")),
        format!("--root-dir={}", layout.text("kubelet")),
        format!("--cert-dir={}", layout.text("pki/kubelet")),
        format!("--hostname-override={NODE}"),
        format!("--node-ip={}", state.node_ip),
    ];
    let authority = fs::read_to_string(layout.path("pki/ca.crt")).unwrap_or_default();
    let program = Tool::Kubernetes.program("kubelet")?;
    Ok(Spec { name: "kubelet", program, args, env: vec![], config: config + &authority })
}

/// kube-proxy as it is to run.
pub(crate) fn kube_proxy(layout: &Layout, state: &State) -> Result<Spec> {
    let config = kube_proxy_config(layout, state);
    let args = vec![format!("--config={}", layout.text("kube-proxy.yaml"))];
    let authority = fs::read_to_string(layout.path("pki/ca.crt")).unwrap_or_default();
    let program = Tool::Kubernetes.program("kube-proxy")?;
    Ok(Spec { name: "kube-proxy", program, args, env: vec![], config: config + &authority })
}

/// Starts both; at the end service addresses answer. The node may still be on its way to ready.
pub(crate) fn ensure(layout: &Layout, state: &State) -> Result<()> {
    layout.write("kubelet.yaml", &kubelet_config(layout, state))?;
    layout.write("kube-proxy.yaml", &kube_proxy_config(layout, state))?;
    // Where a pod with the node's own DNS asks: only our DNS, so that no question leaves the machine.
    layout.write("resolv.conf", &format!("nameserver {}\n", state.dns_ip))?;
    fs::create_dir_all(layout.path("storage"))?;
    process::ensure(layout, &kubelet(layout, state)?)?;
    process::wait(layout, "kubelet", Duration::from_secs(60), || kube::node_exists(layout))?;
    process::ensure(layout, &kube_proxy(layout, state)?)?;
    process::wait(layout, "kube-proxy", Duration::from_secs(60), || is_proxy_serving(state))?;
    process::wait(layout, "kubelet", Duration::from_secs(60), || is_kubelet_serving(state))
}

/// Waits until pods can be placed, and the pods of before are known again.
pub(crate) fn wait_ready(layout: &Layout, had_pods: bool) -> Result<()> {
    let ready = || kube::node_is_ready(layout) && (!had_pods || kube::kubelet_knows_pods(layout));
    process::wait(layout, "kubelet", Duration::from_secs(120), ready)
}

/// True if both answer.
pub(crate) fn is_serving(state: &State) -> bool {
    is_kubelet_serving(state) && is_proxy_serving(state)
}

fn is_kubelet_serving(state: &State) -> bool {
    health::listens(state.node_ip, state.ports.kubelet) && health::is_healthy(state.ports.kubelet_health)
}

fn is_proxy_serving(state: &State) -> bool {
    network::has_table("ip", "kube-proxy") && health::is_healthy(state.ports.proxy_health)
}

fn kubelet_config(layout: &Layout, state: &State) -> String {
    let socket = layout.containerd_socket();
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: "{node}"
port: {port}
readOnlyPort: 0
healthzBindAddress: 127.0.0.1
healthzPort: {health}
tlsCertFile: "{pki}/kubelet.crt"
tlsPrivateKeyFile: "{pki}/kubelet.key"
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: "{pki}/ca.crt"}}
authorization: {{mode: Webhook}}
containerRuntimeEndpoint: "unix://{socket}"
cgroupDriver: cgroupfs
cgroupRoot: /{NETWORK}
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
"#,
        node = state.node_ip,
        port = state.ports.kubelet,
        health = state.ports.kubelet_health,
        pki = layout.text("pki"),
        socket = socket.display(),
        dns = state.dns_ip,
        resolv = layout.text("resolv.conf"),
        logs = layout.text("pod-logs"),
        plugins = layout.text("kubelet-plugins"),
    )
}

fn kube_proxy_config(layout: &Layout, state: &State) -> String {
    format!(
        r#"apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: {NODE}
clusterCIDR: "{pods}"
detectLocalMode: ClusterCIDR
nodePortAddresses: [primary]
healthzBindAddress: 127.0.0.1:{health}
metricsBindAddress: 127.0.0.1:{metrics}
clientConnection: {{kubeconfig: "{kubeconfig}"}}
nftables: {{syncPeriod: 30s, minSyncPeriod: 100ms}}
# Zero: the machine's connection tracking stays as it is.
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
"#,
        pods = state.pod_cidr,
        health = state.ports.proxy_health,
        metrics = state.ports.proxy_metrics,
        kubeconfig = layout.text("pki/kube-proxy.kubeconfig"),
    )
}
