//! Looks at the machine before anything is changed, and says in one sentence each what stands in the way.

use std::os::unix::net::UnixStream;

use anyhow::{Result, bail};

use super::layout::{BRIDGE, Layout, State};
use super::plan::Plan;
use super::ports::Taken;
use super::space::{self, Space};
use super::{cgroups, network, owner, ports, traces};
use crate::settings;
use crate::tools::{self, Tool};

/// Unix sockets have short paths; this much is left for the devhost's folder by the longest of ours, a second kubelet's.
const LONGEST_ROOT: usize = 63;

/// What matters about a machine.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) linux: bool,
    pub(crate) root: bool,
    pub(crate) cgroups: bool,
    pub(crate) spaces: Vec<Space>,
    pub(crate) root_length: usize,
    /// Needed Go version, if something must be built, and the installed one.
    pub(crate) go_needed: Option<(u32, u32, u32)>,
    pub(crate) go_installed: Option<(u32, u32, u32)>,
    /// Ports that somebody else listens on, with what we want them for.
    pub(crate) ports_taken: Vec<Taken>,
    /// The folder of another devhost on this machine; empty if unknown.
    pub(crate) other_devhost: Option<String>,
    /// A network of ours that something else uses by now.
    pub(crate) network_lost: Option<String>,
    pub(crate) other_kube_proxy: bool,
    pub(crate) other_kubelet: bool,
}

impl Facts {
    /// Looks. `missing` are the tools that must be built. Ports are not looked at while strays of ours may hold them.
    pub(crate) fn gather(
        layout: &Layout,
        state: Option<&State>,
        plan: &Plan,
        missing: &[Tool],
        has_strays: bool,
    ) -> Result<Self> {
        let other_devhost = owner::other(layout);
        let skip_ports = has_strays || other_devhost.is_some();
        let network_lost = state.and_then(|state| {
            let taken = network::taken(Some(state.node_ip)).unwrap_or_default();
            network::lost(&[&state.pod_cidr, &state.service_cidr], &taken).map(str::to_owned)
        });
        Ok(Self {
            linux: cfg!(target_os = "linux"),
            root: settings::is_root(),
            cgroups: cgroups::version().is_some(),
            spaces: space::wanted(state, plan.second_node, missing)?,
            root_length: layout.root().as_os_str().len(),
            go_needed: tools::go_needed(missing)?,
            go_installed: if missing.is_empty() { None } else { tools::go_installed() },
            ports_taken: if skip_ports { Vec::new() } else { ports::taken(layout, plan.ports) },
            other_devhost,
            network_lost,
            other_kube_proxy: state.is_none() && network::has_table("ip", "kube-proxy"),
            other_kubelet: state.is_none() && UnixStream::connect(traces::DEVICE_SOCKET).is_ok(),
        })
    }

    /// One sentence for each thing in the way.
    pub(crate) fn problems(&self) -> Vec<String> {
        if !self.linux {
            return vec![
                "The devhost runs on Linux only: use another cluster with --host kubeconfig, k3d or kind.".into(),
            ];
        }
        if !self.root {
            // Most of the rest cannot be seen.
            let why = "it makes mounts, interfaces and cgroups";
            let how = "run it as root, or use another cluster with --host kubeconfig";
            return vec![format!("The devhost needs root ({why}): {how}.")];
        }
        let mut found: Vec<String> = self.spaces.iter().filter_map(Space::problem).collect();
        let mut say = |wrong: bool, sentence: String| {
            if wrong {
                found.push(sentence);
            }
        };
        say(
            !self.cgroups,
            "There are no writable cgroups at /sys/fs/cgroup: mount them, or start this container as privileged."
                .into(),
        );
        say(
            self.root_length > LONGEST_ROOT,
            format!(
                "The cache's path is too long for Unix sockets (more than {LONGEST_ROOT} characters): set HEXABASE_CACHE to a shorter one."
            ),
        );
        if let Some(needed) = self.go_needed {
            let text = |(a, b, c): (u32, u32, u32)| format!("{a}.{b}.{c}");
            match self.go_installed {
                None => {
                    say(true, format!("Go is missing: install Go {} or newer (programs are built once).", text(needed)))
                }
                Some(had) => say(
                    had < needed,
                    format!(
                        "Go {} is too old: install Go {} or newer (programs are built once).",
                        text(had),
                        text(needed)
                    ),
                ),
            }
        }
        if let Some(other) = &self.other_devhost {
            // It has our ports, kubelet and kube-proxy too; one sentence is enough.
            say(true, belongs_to(other));
            return found;
        }
        for (port, what) in &self.ports_taken {
            let how = "end what listens there, or choose others with --port-base";
            say(true, format!("Port {port} is taken and {what} needs it: {how}."));
        }
        if let Some(network) = &self.network_lost {
            say(
                true,
                format!(
                    "This devhost's network {network} is used by another route of this machine now: remove the route, or \
                     let the devhost choose again with `cargo xtask down` and `up`."
                ),
            );
        }
        say(
            self.other_kube_proxy,
            "Another kube-proxy manages this machine's nft table `kube-proxy`: use that cluster with --host kubeconfig."
                .into(),
        );
        say(
            self.other_kubelet,
            "Another kubelet runs on this machine: use the cluster that it belongs to with --host kubeconfig.".into(),
        );
        found
    }

    /// Fails with all the sentences.
    pub(crate) fn check(&self) -> Result<()> {
        let problems = self.problems();
        if !problems.is_empty() {
            bail!("{}", problems.join("\n"));
        }
        Ok(())
    }
}

/// Whose devhost this machine has, and how to get rid of it.
pub(crate) fn belongs_to(other: &str) -> String {
    match other.strip_suffix("/devhost") {
        Some(cache) => format!(
            "This machine runs the devhost in {other}, and there is room for one: take it down first with \
             `HEXABASE_CACHE={cache} cargo xtask down`."
        ),
        None => format!(
            "The interface {BRIDGE} is not ours and nobody can tell whose it is: if nothing needs it, remove it with \
             `ip link delete {BRIDGE}`."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(free_gib: u64) -> Space {
        Space { folders: vec![("/cache".into(), "HEXABASE_CACHE")], free_gib, needed_gib: 4 }
    }

    fn fine() -> Facts {
        Facts {
            linux: true,
            root: true,
            cgroups: true,
            spaces: vec![space(50)],
            root_length: 30,
            go_needed: None,
            go_installed: None,
            ports_taken: vec![],
            other_devhost: None,
            network_lost: None,
            other_kube_proxy: false,
            other_kubelet: false,
        }
    }

    fn only(facts: Facts) -> String {
        let problems = facts.problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].clone()
    }

    #[test]
    fn a_fine_machine_has_no_problems() {
        assert!(fine().problems().is_empty());
        assert!(fine().check().is_ok());
        let go = Facts { go_needed: Some((1, 26, 5)), go_installed: Some((1, 26, 8)), ..fine() };
        assert!(go.problems().is_empty());
    }

    #[test]
    fn each_obstacle_is_one_sentence() {
        assert!(only(Facts { root: false, ..fine() }).contains("needs root"));
        assert!(only(Facts { cgroups: false, ..fine() }).contains("cgroups"));
        assert!(only(Facts { spaces: vec![space(50), space(3)], ..fine() }).contains("Only 3 GiB"));
        assert!(only(Facts { root_length: 90, ..fine() }).contains("HEXABASE_CACHE"));
        assert!(only(Facts { ports_taken: vec![(16443, "the API server")], ..fine() }).contains("Port 16443"));
        let other = only(Facts { other_devhost: Some("/elsewhere/devhost".into()), ..fine() });
        assert!(other.contains("`HEXABASE_CACHE=/elsewhere cargo xtask down`"), "{other}");
        assert!(only(Facts { other_devhost: Some(String::new()), ..fine() }).contains("ip link delete hxb0"));
        assert!(only(Facts { network_lost: Some("10.143.0.0/16".into()), ..fine() }).contains("10.143.0.0/16"));
        assert!(only(Facts { other_kube_proxy: true, ..fine() }).contains("kube-proxy"));
        assert!(only(Facts { other_kubelet: true, ..fine() }).contains("kubelet"));
        let old = Facts { go_needed: Some((1, 26, 5)), go_installed: Some((1, 19, 8)), ..fine() };
        assert_eq!(only(old), "Go 1.19.8 is too old: install Go 1.26.5 or newer (programs are built once).");
        let none = Facts { go_needed: Some((1, 26, 5)), ..fine() };
        assert!(only(none).contains("Go is missing"));
    }
}
