//! Kernel settings and modules that the devhost changes, and how they are put back.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::node::Node;
use crate::cmd;

/// Kernel settings that we, the kubelet or the bridge plugin change. All are put back by `down`.
const SETTINGS: &[(&str, Option<&str>)] = &[
    ("net/ipv4/ip_forward", Some("1")),
    ("net/bridge/bridge-nf-call-iptables", Some("1")),
    ("fs/inotify/max_user_instances", Some("8192")),
    ("fs/inotify/max_user_watches", Some("524288")),
    // The kernel sets this one along with ip_forward.
    ("net/ipv4/conf/all/accept_redirects", None),
    // Set by the kubelet itself.
    ("vm/overcommit_memory", None),
    ("vm/panic_on_oom", None),
    ("kernel/panic", None),
    ("kernel/panic_on_oops", None),
    ("kernel/keys/root_maxkeys", None),
    ("kernel/keys/root_maxbytes", None),
    // kube-proxy's wish.
    ("net/ipv4/vs/conntrack", None),
    ("net/netfilter/nf_conntrack_max", None),
    ("net/netfilter/nf_conntrack_tcp_be_liberal", None),
    ("net/netfilter/nf_conntrack_tcp_timeout_established", None),
    ("net/netfilter/nf_conntrack_tcp_timeout_close_wait", None),
    // Cilium's. It also forbids programs of the kernel to ordinary users, which holds until the machine is started again.
    ("kernel/timer_migration", None),
    ("net/core/bpf_jit_enable", None),
    ("net/ipv4/conf/all/rp_filter", None),
    ("net/ipv4/fib_multipath_use_neigh", None),
];

/// Settings with their values, by name.
pub(crate) type Settings = BTreeMap<String, String>;

/// Values of those that exist now.
pub(crate) fn read() -> Settings {
    SETTINGS.iter().filter_map(|(name, _)| Some(((*name).to_owned(), value(name)?))).collect()
}

/// Sets what we need, unless a limit is higher already.
pub(crate) fn apply() -> Result<()> {
    for (name, wanted) in SETTINGS {
        let Some(wanted) = wanted else { continue };
        let now = value(name).with_context(|| format!("the kernel has no setting {name}"))?;
        let enough = match (now.parse::<u64>(), wanted.parse::<u64>()) {
            (Ok(now), Ok(wanted)) if name.starts_with("fs/") => now >= wanted,
            _ => now == *wanted,
        };
        if !enough {
            set(name, wanted)?;
        }
    }
    Ok(())
}

/// The same in the network namespace of a node, which has settings of the network of its own, and goes with them.
pub(crate) fn apply_in(node: &Node) -> Result<()> {
    for (name, wanted) in SETTINGS.iter().filter(|(name, _)| name.starts_with("net/")) {
        if let Some(wanted) = wanted {
            // The kernel shows those of whoever opens the file.
            let mut write = node.command("tee");
            cmd::output_with_input(write.arg(format!("/proc/sys/{name}")), wanted.as_bytes())?;
        }
    }
    Ok(())
}

/// Puts back what was there before, except where somebody else has set something since.
pub(crate) fn restore(before: &Settings, left: &Settings) -> Result<()> {
    let wanted = targets(before, left, &read());
    // Twice: ip_forward changes others when it is set.
    for _ in 0..2 {
        for (name, wanted) in &wanted {
            if value(name).is_some_and(|now| now != *wanted) {
                set(name, wanted)?;
            }
        }
    }
    Ok(())
}

/// What each setting is to be after `down`. `left` is what `up` left behind when it was done; where it was not, all
/// changes are ours.
fn targets(before: &Settings, left: &Settings, now: &Settings) -> Settings {
    let is_ours = |name: &str, now: &str| left.get(name).is_none_or(|left| left == now);
    let target = |(name, now): (&String, &String)| {
        let before = before.get(name)?;
        Some((name.clone(), if is_ours(name, now) { before.clone() } else { now.clone() }))
    };
    now.iter().filter_map(target).collect()
}

/// True if the kernel filters what crosses a bridge; where it is a module, somebody has to load it.
pub(crate) fn filters_bridges() -> bool {
    Path::new("/proc/sys/net/bridge").exists()
}

/// Loads what the devhost needs from the kernel. Connection tracking has settings only once it is in use.
pub(crate) fn load_modules() -> Result<()> {
    if !filters_bridges() && !cmd::succeeds(cmd::system("modprobe").arg("br_netfilter")) {
        bail!("the kernel has no bridge netfilter: load it with `modprobe br_netfilter` (package kmod)");
    }
    cmd::succeeds(cmd::system("conntrack").arg("-C"));
    Ok(())
}

/// Unloads the filter of bridges that came with us, unless there is a bridge that may rely on it by now.
pub(crate) fn unload_bridge_filter() {
    let mut interfaces = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    if filters_bridges() && !interfaces.any(|interface| interface.path().join("bridge").exists()) {
        cmd::succeeds(cmd::system("modprobe").args(["-r", "br_netfilter"]));
    }
}

fn value(name: &str) -> Option<String> {
    Some(fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?.trim().to_owned())
}

fn set(name: &str, value: &str) -> Result<()> {
    fs::write(Path::new("/proc/sys").join(name), value).with_context(|| format!("cannot set {name} to {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(values: &[(&str, &str)]) -> Settings {
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_we_set_is_put_back_and_what_others_set_since_stays() {
        let before = settings(&[("forward", "0"), ("panic", "0"), ("watches", "8")]);
        let left = settings(&[("forward", "1"), ("panic", "10"), ("watches", "8")]);
        let now = settings(&[("forward", "1"), ("panic", "30"), ("watches", "9")]);
        assert_eq!(targets(&before, &left, &now), settings(&[("forward", "0"), ("panic", "30"), ("watches", "9")]));
    }

    #[test]
    fn after_an_interrupted_up_all_is_put_back() {
        let before = settings(&[("forward", "0")]);
        assert_eq!(targets(&before, &Settings::new(), &settings(&[("forward", "1"), ("new", "1")])), before);
    }
}
