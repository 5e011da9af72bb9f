//! The control plane as plain processes: kine on SQLite, API server, controller manager, scheduler.

use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::Result;

use super::layout::{Layout, State};
use super::process::{self, Spec};
use super::{health, kube};
use crate::tools::Tool;

/// The store: what etcd is elsewhere, on one SQLite file, as K3s does it.
pub(crate) fn kine(layout: &Layout) -> Result<Spec> {
    let store = layout.text("kine/state.db");
    Ok(Spec {
        name: "kine",
        program: Tool::Kine.program("kine")?,
        args: vec![
            format!("--listen-address=unix://{}", layout.text("kine/kine.sock")),
            format!("--endpoint=sqlite://{store}?_journal=WAL&cache=shared&_busy_timeout=30000&_txlock=immediate"),
            "--metrics-bind-address=0".into(),
        ],
        env: vec![],
        netns: None,
        config: String::new(),
    })
}

/// The API server, on the bridge's address.
pub(crate) fn api_server(layout: &Layout, state: &State) -> Result<Spec> {
    let pki = |name: &str| layout.text(&format!("pki/{name}"));
    let args = vec![
        format!("--advertise-address={}", state.node_ip),
        format!("--bind-address={}", state.node_ip),
        format!("--secure-port={}", state.ports.api),
        format!("--etcd-servers=unix://{}", layout.text("kine/kine.sock")),
        format!("--service-cluster-ip-range={}", state.service_cidr),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--allow-privileged=true".into(),
        "--profiling=false".into(),
        format!("--client-ca-file={}", pki("ca.crt")),
        format!("--tls-cert-file={}", pki("apiserver.crt")),
        format!("--tls-private-key-file={}", pki("apiserver.key")),
        format!("--kubelet-certificate-authority={}", pki("ca.crt")),
        format!("--kubelet-client-certificate={}", pki("apiserver-kubelet-client.crt")),
        format!("--kubelet-client-key={}", pki("apiserver-kubelet-client.key")),
        "--kubelet-preferred-address-types=InternalIP".into(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        format!("--service-account-key-file={}", pki("service-accounts.pub")),
        format!("--service-account-signing-key-file={}", pki("service-accounts.key")),
        format!("--requestheader-client-ca-file={}", pki("front-proxy-ca.crt")),
        "--requestheader-allowed-names=front-proxy-client".into(),
        "--requestheader-username-headers=X-Remote-User".into(),
        "--requestheader-group-headers=X-Remote-Group".into(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
        format!("--proxy-client-cert-file={}", pki("front-proxy-client.crt")),
        format!("--proxy-client-key-file={}", pki("front-proxy-client.key")),
    ];
    let config = made_for(layout);
    Ok(Spec {
        name: "kube-apiserver",
        program: Tool::Kubernetes.program("kube-apiserver")?,
        args,
        env: vec![],
        netns: None,
        config,
    })
}

/// The controller manager; alone, so without leader election.
pub(crate) fn controller_manager(layout: &Layout, state: &State) -> Result<Spec> {
    let pki = |name: &str| layout.text(&format!("pki/{name}"));
    let kubeconfig = pki("controller-manager.kubeconfig");
    let args = vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={}", state.ports.controller_manager),
        format!("--cert-dir={}", pki("controller-manager")),
        "--leader-elect=false".into(),
        "--use-service-account-credentials=true".into(),
        format!("--service-account-private-key-file={}", pki("service-accounts.key")),
        format!("--root-ca-file={}", pki("ca.crt")),
        format!("--cluster-signing-cert-file={}", pki("ca.crt")),
        format!("--cluster-signing-key-file={}", pki("ca.key")),
        format!("--flex-volume-plugin-dir={}", layout.text("kubelet-plugins")),
        "--profiling=false".into(),
    ];
    let program = Tool::Kubernetes.program("kube-controller-manager")?;
    Ok(Spec { name: "kube-controller-manager", program, args, env: vec![], netns: None, config: made_for(layout) })
}

/// The scheduler; alone, so without leader election.
pub(crate) fn scheduler(layout: &Layout, state: &State) -> Result<Spec> {
    let kubeconfig = layout.text("pki/scheduler.kubeconfig");
    let args = vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={}", state.ports.scheduler),
        format!("--cert-dir={}", layout.text("pki/scheduler")),
        "--leader-elect=false".into(),
        "--profiling=false".into(),
    ];
    let program = Tool::Kubernetes.program("kube-scheduler")?;
    Ok(Spec { name: "kube-scheduler", program, args, env: vec![], netns: None, config: made_for(layout) })
}

/// Starts what does not run and waits until the API server is ready.
pub(crate) fn ensure(layout: &Layout, state: &State) -> Result<()> {
    std::fs::create_dir_all(layout.path("kine"))?;
    if process::ensure(layout, &kine(layout)?)? {
        let socket = layout.path("kine/kine.sock");
        process::wait(layout, "kine", Duration::from_secs(30), || UnixStream::connect(&socket).is_ok())?;
        // One that lost its store tries again only after a pause that grows to minutes.
        process::stop(layout, "kube-apiserver", Duration::from_secs(2))?;
    }
    process::ensure(layout, &api_server(layout, state)?)?;
    process::wait(layout, "kube-apiserver", Duration::from_secs(120), || kube::is_ready(layout))?;
    process::ensure(layout, &controller_manager(layout, state)?)?;
    process::ensure(layout, &scheduler(layout, state)?)?;
    for (name, port) in secondary(state) {
        process::wait(layout, name, Duration::from_secs(60), || health::listens(Ipv4Addr::LOCALHOST, port))?;
    }
    Ok(())
}

/// True if controller manager and scheduler serve; the API server is asked separately.
pub(crate) fn is_serving(state: &State) -> bool {
    secondary(state).iter().all(|(_, port)| health::listens(Ipv4Addr::LOCALHOST, *port))
}

fn secondary(state: &State) -> [(&'static str, u16); 2] {
    [("kube-controller-manager", state.ports.controller_manager), ("kube-scheduler", state.ports.scheduler)]
}

/// New certificates mean new processes.
fn made_for(layout: &Layout) -> String {
    std::fs::read_to_string(layout.path("pki/ca.crt")).unwrap_or_default()
}
