//! Ports of the devhost that somebody else listens on.

use std::net::{Ipv4Addr, TcpListener};
use std::thread::sleep;
use std::time::Duration;

use super::layout::{Layout, Ports};
use super::process;

/// A port with what we want it for.
pub(crate) type Taken = (u16, &'static str);

/// Looks again for a moment: one of ours that was just ended may not have let go yet.
pub(crate) fn taken(layout: &Layout, ports: Ports) -> Vec<Taken> {
    for _ in 0..15 {
        if taken_now(layout, ports).is_empty() {
            return Vec::new();
        }
        sleep(Duration::from_millis(200));
    }
    taken_now(layout, ports)
}

fn taken_now(layout: &Layout, ports: Ports) -> Vec<Taken> {
    let wanted = [
        (ports.api, "kube-apiserver", "the API server"),
        (ports.kubelet, "kubelet", "the kubelet"),
        (ports.kubelet_health, "kubelet", "the kubelet's health check"),
        (ports.controller_manager, "kube-controller-manager", "the controller manager"),
        (ports.scheduler, "kube-scheduler", "the scheduler"),
        (ports.proxy_health, "kube-proxy", "kube-proxy's health check"),
        (ports.proxy_metrics, "kube-proxy", "kube-proxy's metrics"),
        (ports.agent_health, "cilium-agent", "the health check of the network policies' agent"),
    ];
    let foreign = |(port, process, what): (u16, &str, &'static str)| {
        let ours = process::running(layout, process).is_some();
        (!ours && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_err()).then_some((port, what))
    };
    wanted.into_iter().filter_map(foreign).collect()
}
