//! Host clusters that somebody else runs, or that k3d or kind make for us.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{Host, HostKind};
use crate::progress::Progress;
use crate::tools::{self, CLIENT, Tools};
use crate::{cmd, settings};

/// Name of the cluster that k3d or kind makes.
const CLUSTER: &str = "hexabase";
const K3S_KUBECONFIG: &str = "/etc/rancher/k3s/k3s.yaml";

/// The kinds that make clusters.
const MAKERS: [HostKind; 2] = [HostKind::K3d, HostKind::Kind];

/// Finds or makes the cluster, and checks that it answers.
pub(crate) fn up(kind: HostKind, progress: &Progress) -> Result<Host> {
    preflight(kind)?;
    let (kubeconfig, kubeconfig_for_people) = match kind {
        HostKind::K3d | HostKind::Kind => made_by(kind, progress)?,
        HostKind::K3s => k3s(progress).map(|path| (path.clone(), path))?,
        _ => own_kubeconfig().map(|path| (path.clone(), path))?,
    };
    let tools = tools::ensure(CLIENT, progress)?;
    progress.step("reach the API server", || reach(&tools, &kubeconfig))?;
    Ok(Host {
        kind,
        kubeconfig,
        kubeconfig_for_people,
        node_ip: None,
        second_node: None,
        kwok_nodes: 0,
        enforced: None,
        tools,
    })
}

/// Refuses a kind that is not there.
pub(crate) fn preflight(kind: HostKind) -> Result<()> {
    match kind {
        HostKind::Devhost => bail!("the devhost is no external cluster"),
        HostKind::Kubeconfig => own_kubeconfig().map(drop),
        HostKind::K3s | HostKind::K3d | HostKind::Kind if is_installed(kind) => Ok(()),
        HostKind::K3s | HostKind::K3d | HostKind::Kind => bail!(
            "{} is not installed: install it, or let `--host devhost` build a cluster on this machine",
            kind.name()
        ),
    }
}

/// The kinds of which there is a cluster that we made.
pub(crate) fn made() -> Result<Vec<HostKind>> {
    let mut found = Vec::new();
    for kind in MAKERS {
        if mark(kind)?.exists() {
            found.push(kind);
        }
    }
    Ok(found)
}

/// Removes a cluster that we made.
pub(crate) fn down(kind: HostKind, progress: &Progress) -> Result<()> {
    let tool = kind.name();
    let delete: &[&str] = match kind {
        HostKind::K3d => &["cluster", "delete", CLUSTER],
        _ => &["delete", "cluster", "--name", CLUSTER],
    };
    progress.step(&format!("delete the {tool} cluster"), || cmd::output(cmd::system(tool).args(delete)))?;
    std::fs::remove_file(mark(kind)?)?;
    Ok(())
}

/// The file that says that the cluster of this kind was made by us: only such a one is ours to delete.
fn mark(kind: HostKind) -> Result<PathBuf> {
    Ok(settings::cache_root()?.join(kind.name()).join("made-by-xtask"))
}

/// True if `k3s`, `k3d` or `kind` is installed.
pub(crate) fn is_installed(kind: HostKind) -> bool {
    cmd::which(kind.name()).is_some()
}

/// Where the kubeconfig of a cluster lies that k3d or kind made for us.
pub(crate) fn made_kubeconfig(kind: HostKind) -> Result<PathBuf> {
    Ok(settings::cache_root()?.join(kind.name()).join("kubeconfig"))
}

fn own_kubeconfig() -> Result<PathBuf> {
    if let Some(list) = settings::var("KUBECONFIG") {
        // The first of a list is where kubectl looks for the current context.
        let first = list.split(':').next().unwrap_or_default();
        let path = PathBuf::from(first);
        return path.is_file().then_some(path).with_context(|| format!("KUBECONFIG names {first}, which is no file"));
    }
    let home = settings::var("HOME").context("set KUBECONFIG to the kubeconfig of your cluster")?;
    let path = Path::new(&home).join(".kube/config");
    path.is_file().then_some(path).context("set KUBECONFIG to the kubeconfig of your cluster: there is no default one")
}

fn k3s(progress: &Progress) -> Result<PathBuf> {
    let path = PathBuf::from(K3S_KUBECONFIG);
    if !path.is_file() && cmd::which("systemctl").is_some() {
        progress.step("start k3s", || cmd::output(cmd::system("systemctl").args(["start", "k3s"])))?;
    }
    if !path.is_file() {
        bail!("k3s is installed but has not run yet ({K3S_KUBECONFIG} is missing): start it and try again");
    }
    Ok(path)
}

/// The kubeconfigs of a cluster that k3d or kind makes: ours, and the one for people.
fn made_by(kind: HostKind, progress: &Progress) -> Result<(PathBuf, PathBuf)> {
    let tool = kind.name();
    let run = |arguments: &[&str]| cmd::output(cmd::system(tool).args(arguments));
    let (list, create, show): (&[&str], &[&str], &[&str]) = match kind {
        HostKind::K3d => (
            &["cluster", "list", "--no-headers"],
            &["cluster", "create", CLUSTER, "--kubeconfig-update-default=false", "--kubeconfig-switch-context=false"],
            &["kubeconfig", "get", CLUSTER],
        ),
        _ => {
            (&["get", "clusters"], &["create", "cluster", "--name", CLUSTER], &["get", "kubeconfig", "--name", CLUSTER])
        }
    };
    let for_people = made_kubeconfig(kind)?;
    let ours = for_people.with_extension("admin");
    std::fs::create_dir_all(for_people.parent().context("the cache has no folder")?)?;
    let exists = run(list)?.lines().any(|line| line.split_whitespace().next() == Some(CLUSTER));
    if !exists {
        // kind writes a kubeconfig when it creates; ours, not the user's.
        let create = || cmd::output(cmd::system(tool).args(create).env("KUBECONFIG", &ours));
        progress.long_step(&format!("create the {tool} cluster"), create)?;
        std::fs::write(mark(kind)?, "")?;
    }
    let text = run(show)?;
    let changed = std::fs::read_to_string(&ours).ok().as_deref() != Some(text.as_str());
    std::fs::write(&ours, &text)?;
    if changed || !exists || !for_people.is_file() {
        std::fs::write(&for_people, &text)?;
    }
    Ok((ours, for_people))
}

fn reach(tools: &Tools, kubeconfig: &Path) -> Result<()> {
    let mut kubectl = super::kubectl(tools, kubeconfig)?;
    kubectl.args(["get", "--raw", "/readyz", "--request-timeout=15s"]);
    cmd::output(&mut kubectl)
        .map(drop)
        .with_context(|| format!("the cluster of {} does not answer", kubeconfig.display()))
}
