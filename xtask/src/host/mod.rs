//! The host cluster that the product is tried and tested on. `ensure` finds one or makes one; everything else in
//! xtask only needs the `Host` that it gives.

mod addons;
pub(crate) mod cgroups;
mod cilium;
mod containerd;
mod control_plane;
mod devhost;
mod external;
mod firewall;
mod health;
mod image_tar;
pub(crate) mod images;
mod kernel;
mod kube;
mod kubelet;
mod kwok;
mod layout;
mod netns;
mod network;
mod node;
mod owner;
pub(crate) mod packages;
mod pki;
mod plan;
mod ports;
mod preflight;
mod proc;
pub(crate) mod process;
mod space;
mod strays;
mod teardown;
mod traces;
#[cfg(test)]
mod whole_tests;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::lock::{self, Lock};
use crate::progress::Progress;
use crate::settings;
use crate::tools::Tools;

/// What kind of cluster a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostKind {
    Kubeconfig,
    K3s,
    K3d,
    Kind,
    Devhost,
}

/// What was asked for on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// KUBECONFIG if it is set, else an installed k3s, k3d or kind, else devhost.
    #[default]
    Auto,
    /// The cluster of KUBECONFIG, or of ~/.kube/config.
    Kubeconfig,
    /// K3s as installed on this machine.
    K3s,
    /// A cluster named hexabase, made with k3d.
    K3d,
    /// A cluster named hexabase, made with kind.
    Kind,
    /// Kubernetes on this machine, built from Go modules.
    Devhost,
}

/// How to find or make the host cluster.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Options {
    /// Which cluster to use; without it `up` takes what `auto` finds, and what runs tests, demos and benches takes devhost.
    #[arg(long, value_enum)]
    pub(crate) host: Option<Choice>,
    /// Install missing Debian packages without asking.
    #[arg(long)]
    pub(crate) yes: bool,
    /// First of the devhost's ports: 16000, the default, puts the API server at 16443.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1024..65000))]
    pub(crate) port_base: Option<u16>,
    /// Let the devhost enforce network policies, with Cilium. Only from its start; it stays so until `down`.
    #[arg(long)]
    pub(crate) network_policy: bool,
    /// Give the devhost a second node, in a network namespace. Can be added at any time; it stays until `down`.
    #[arg(long)]
    pub(crate) second_node: bool,
    /// Let the devhost pretend that it has this many nodes more, with kwok. They stay until `down`.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=999))]
    pub(crate) kwok_nodes: u16,
}

/// How many nodes are pretended for the cluster tests.
const KWOK_NODES_FOR_TESTS: u16 = 100;

impl Options {
    /// The devhost unless another host was asked for: KUBECONFIG may name a cluster that is nobody's to try things on.
    pub(crate) fn or_devhost(&self) -> Self {
        Self { host: self.host.or(Some(Choice::Devhost)), ..self.clone() }
    }

    /// With all nodes that the cluster tests can make use of, as far as the host can have them: only a devhost, and a second
    /// real one only where no network policies are enforced.
    pub(crate) fn with_nodes_for_tests(&self) -> Result<Self> {
        if chosen(self)? != HostKind::Devhost {
            return Ok(self.clone());
        }
        let second_node = self.second_node || !(self.network_policy || devhost::is_enforcing()?);
        Ok(Self { second_node, kwok_nodes: self.kwok_nodes.max(KWOK_NODES_FOR_TESTS), ..self.clone() })
    }
}

/// A host cluster that answers, and the tools to work with it.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) kind: HostKind,
    /// The administrator's, for xtask and what it runs.
    pub(crate) kubeconfig: PathBuf,
    /// The one to tell people of.
    pub(crate) kubeconfig_for_people: PathBuf,
    /// The node's own address, which pods reach (devhost only).
    pub(crate) node_ip: Option<Ipv4Addr>,
    /// The name of its second real node, which keeps pods away until its taint is removed (devhost only).
    pub(crate) second_node: Option<&'static str>,
    /// How many of its nodes are only pretended (devhost only).
    pub(crate) kwok_nodes: u16,
    /// Where its pods are plugged in, if network policies are known to be enforced there (devhost only).
    pub(crate) enforced: Option<Enforced>,
    pub(crate) tools: Tools,
}

/// A network in which policies are enforced.
#[derive(Clone, Debug)]
pub(crate) struct Enforced {
    pub(crate) bridge: &'static str,
    /// The pods' addresses.
    pub(crate) pods: String,
}

impl Host {
    /// kubectl as its administrator.
    pub(crate) fn kubectl(&self) -> Result<Command> {
        kubectl(&self.tools, &self.kubeconfig)
    }
}

/// kubectl without the preferences of whoever runs xtask, and without a trace in their home.
fn kubectl(tools: &Tools, kubeconfig: &Path) -> Result<Command> {
    let mut command = Command::new(&tools.kubectl);
    command.arg("--kubeconfig").arg(kubeconfig).arg("--cache-dir").arg(kubectl_cache()?).env("KUBERC", "off");
    Ok(command)
}

/// Where every kubectl that xtask runs keeps what it learns.
pub(crate) fn kubectl_cache() -> Result<PathBuf> {
    Ok(settings::cache_root()?.join("kubectl-cache"))
}

impl HostKind {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            HostKind::Kubeconfig => "kubeconfig",
            HostKind::K3s => "k3s",
            HostKind::K3d => "k3d",
            HostKind::Kind => "kind",
            HostKind::Devhost => "devhost",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Kubeconfig, Self::K3s, Self::K3d, Self::Kind, Self::Devhost].into_iter().find(|kind| kind.name() == name)
    }
}

/// Finds the host cluster or makes it; does nothing if it is there.
pub(crate) fn ensure(options: &Options) -> Result<Host> {
    let progress = Progress::new();
    let kind = chosen(options)?;
    refuse_for_others(kind, options)?;
    let host = if kind == HostKind::Devhost {
        let (layout, state) = devhost::up(options, &progress)?;
        Host {
            kind,
            kubeconfig: layout.kubeconfig(),
            kubeconfig_for_people: layout.kubeconfig_for_people(),
            node_ip: Some(state.node_ip),
            second_node: state.second.is_some().then_some(layout::SECOND_NODE),
            kwok_nodes: state.kwok_nodes,
            enforced: state.network_policy.then(|| Enforced { bridge: layout::BRIDGE, pods: state.pod_cidr.clone() }),
            tools: Tools::locate()?,
        }
    } else {
        external::up(kind, &progress)?
    };
    fs::write(record()?, kind.name()).context("cannot note which host is in use")?;
    Ok(host)
}

/// Only the devhost's network and nodes are ours to choose.
fn refuse_for_others(kind: HostKind, options: &Options) -> Result<()> {
    let flags = [
        ("--network-policy", options.network_policy),
        ("--second-node", options.second_node),
        ("--kwok-nodes", options.kwok_nodes > 0),
    ];
    match flags.into_iter().find(|(_, asked)| *asked) {
        Some((flag, _)) if kind != HostKind::Devhost => {
            bail!("{flag} is for the devhost: add --host devhost, or leave it to the {} cluster.", kind.name())
        }
        _ => Ok(()),
    }
}

/// Which kind of cluster `ensure` will give.
pub(crate) fn chosen(options: &Options) -> Result<HostKind> {
    Ok(resolve(options.host.unwrap_or_default(), kubeconfig_kind()?, external::is_installed))
}

/// Refuses what `ensure` would refuse after a look at this machine; changes nothing.
pub(crate) fn preflight(options: &Options) -> Result<()> {
    let kind = chosen(options)?;
    refuse_for_others(kind, options)?;
    if kind == HostKind::Devhost { devhost::preflight(options) } else { external::preflight(kind) }
}

/// Debian packages that `ensure` would install.
pub(crate) fn missing_packages(options: &Options) -> Result<Vec<&'static str>> {
    if chosen(options)? == HostKind::Devhost { devhost::missing_packages(options) } else { Ok(Vec::new()) }
}

/// Whether there is a devhost on this machine, in whatever state.
pub(crate) fn devhost_exists() -> Result<bool> {
    devhost::exists()
}

/// The node's address, if there is a devhost.
pub(crate) fn known_node() -> Result<Option<Ipv4Addr>> {
    Ok(layout::State::load(&layout()?)?.map(|state| state.node_ip))
}

/// Keeps `down` away from the host cluster as long as it is held.
pub(crate) fn hold() -> Result<Lock> {
    Lock::shared(&lock::path("use")?, || eprintln!("  waiting: the host cluster is being taken down"))
}

/// Where the records and logs of our processes lie.
pub(crate) fn layout() -> Result<layout::Layout> {
    layout::Layout::locate()
}

/// Takes down what earlier runs of `ensure` made.
pub(crate) fn down() -> Result<()> {
    let progress = Progress::new();
    let Some(_alone) = Lock::try_exclusive(&lock::path("use")?)? else {
        bail!("a demo, a check, a soak or a bench is running on the host cluster: wait for its end, or end it");
    };
    for name in ["demo", "bench"] {
        // One that was broken off has left its file.
        drop(Lock::try_exclusive(&lock::path(name)?)?);
    }
    let noted = fs::read_to_string(record()?).ok();
    let made = external::made()?;
    for kind in &made {
        external::down(*kind, &progress)?;
    }
    devhost::down(&progress)?;
    let is_theirs = |kind: &HostKind| *kind != HostKind::Devhost && !made.contains(kind);
    if let Some(kind) = noted.as_deref().and_then(HostKind::from_name).filter(is_theirs) {
        progress.say(&format!("the {} cluster is not of xtask's making: it stays as it is", kind.name()));
    }
    if noted.is_some() {
        fs::remove_file(record()?)?;
    }
    Ok(())
}

/// Prints what is there.
pub(crate) fn status(with_traces: bool) -> Result<()> {
    let noted = fs::read_to_string(record()?).unwrap_or_else(|_| "none".into());
    println!("host: {noted}");
    for line in devhost::status()? {
        println!("{line}");
    }
    if with_traces {
        print!("{}", traces::Snapshot::take(&layout::Layout::locate()?));
    }
    Ok(())
}

fn resolve(choice: Choice, kubeconfig: Option<HostKind>, is_installed: impl Fn(HostKind) -> bool) -> HostKind {
    match choice {
        Choice::Kubeconfig => HostKind::Kubeconfig,
        Choice::K3s => HostKind::K3s,
        Choice::K3d => HostKind::K3d,
        Choice::Kind => HostKind::Kind,
        Choice::Devhost => HostKind::Devhost,
        Choice::Auto => {
            let installed =
                || [HostKind::K3s, HostKind::K3d, HostKind::Kind].into_iter().find(|kind| is_installed(*kind));
            kubeconfig.or_else(installed).unwrap_or(HostKind::Devhost)
        }
    }
}

/// Whose cluster KUBECONFIG names: it may be set to one that an earlier `up` made.
fn kubeconfig_kind() -> Result<Option<HostKind>> {
    let Some(named) = settings::var("KUBECONFIG") else { return Ok(None) };
    let named = settings::resolve(Path::new(&named))?;
    let layout = layout()?;
    let ours = [
        (HostKind::Devhost, layout.kubeconfig_for_people()),
        (HostKind::Devhost, layout.kubeconfig()),
        (HostKind::K3d, external::made_kubeconfig(HostKind::K3d)?),
        (HostKind::Kind, external::made_kubeconfig(HostKind::Kind)?),
    ];
    let found = ours.into_iter().find(|(_, path)| *path == named);
    Ok(Some(found.map_or(HostKind::Kubeconfig, |(kind, _)| kind)))
}

fn record() -> Result<PathBuf> {
    Ok(settings::cache_root()?.join("host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_prefers_what_is_already_there() {
        let named = Some(HostKind::Kubeconfig);
        assert_eq!(resolve(Choice::Auto, named, |_| true), HostKind::Kubeconfig);
        assert_eq!(resolve(Choice::Auto, Some(HostKind::Devhost), |_| true), HostKind::Devhost);
        assert_eq!(resolve(Choice::Auto, None, |kind| kind == HostKind::Kind), HostKind::Kind);
        assert_eq!(resolve(Choice::Auto, None, |_| true), HostKind::K3s);
        assert_eq!(resolve(Choice::Auto, None, |_| false), HostKind::Devhost);
        assert_eq!(resolve(Choice::Devhost, named, |_| true), HostKind::Devhost);
    }

    #[test]
    fn nodes_and_policies_are_the_devhosts_to_give() {
        let second = Options { second_node: true, ..Options::default() };
        let kwok = Options { kwok_nodes: 3, ..Options::default() };
        for (asked, flag) in [(&second, "--second-node"), (&kwok, "--kwok-nodes")] {
            refuse_for_others(HostKind::Devhost, asked).unwrap();
            assert!(refuse_for_others(HostKind::Kind, asked).unwrap_err().to_string().starts_with(flag));
        }
        refuse_for_others(HostKind::Kind, &Options::default()).unwrap();
        assert_eq!(second.or_devhost().with_nodes_for_tests().unwrap().kwok_nodes, KWOK_NODES_FOR_TESTS);
    }

    #[test]
    fn only_what_is_asked_for_keeps_tests_away_from_the_devhost() {
        assert_eq!(Options::default().or_devhost().host, Some(Choice::Devhost));
        let asked = Options { host: Some(Choice::Kubeconfig), ..Options::default() };
        assert_eq!(asked.or_devhost().host, Some(Choice::Kubeconfig));
    }
}
