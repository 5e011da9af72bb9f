//! What a machine looks like from outside the cache: taken before `up` and after `down`, two snapshots are equal.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::layout::{AGENT_DEVICE, BRIDGE, LINK, Layout, NETWORK};
use super::{cgroups, firewall, kernel, network, proc};
use crate::cmd;

/// Folders outside the cache in which containerd, the kubelet and network plugins leave files.
pub(crate) const FOLDERS: [&str; 19] = [
    "/etc/cni",
    "/etc/kubernetes",
    "/opt/cni",
    "/opt/containerd",
    "/run/cilium",
    "/run/containerd",
    "/run/containerd/s",
    "/run/netns",
    "/run/runc",
    "/run/kubernetes",
    "/run/mount",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/cni/results",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/lib/kubelet/device-plugins",
    "/var/log/containers",
    "/var/log/pods",
];

/// Where network plugins keep what they did.
const RESULTS: &str = "/var/lib/cni/results";
/// The kubelet's place for this socket is fixed.
pub(crate) const DEVICE_SOCKET: &str = "/var/lib/kubelet/device-plugins/kubelet.sock";

/// What Cilium's agent keeps outside the cache: sockets, what is to be undone.
pub(crate) const AGENT_FOLDER: &str = "/run/cilium";
/// Interfaces of its own and the one made for it; another one goes with the first.
const AGENT_INTERFACES: [&str; 2] = ["cilium_host", AGENT_DEVICE];

/// Begins a line that stands for what could not be found out.
const UNKNOWN: &str = "unknown";

/// One look at the machine. Every line begins with what it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    lines: BTreeSet<String>,
}

impl Snapshot {
    /// Looks at processes (ours), mounts, interfaces, routes, network namespaces, packet filter, cgroups, kernel
    /// settings and files.
    pub(crate) fn take(layout: &Layout) -> Self {
        let mut lines = BTreeSet::new();
        let mut add = |kind: &str, found: Vec<String>| lines.extend(found.iter().map(|text| format!("{kind} {text}")));
        add("process", processes(layout).into_iter().map(|(pid, name)| format!("{pid} {name}")).collect());
        add("mount", mounts());
        add("interface", names_in("/sys/class/net"));
        add("route", lines_of("ip", &["-4", "route", "show", "table", "all"]));
        add("netns", names_in("/run/netns"));
        add("nft", lines_of("nft", &["list", "tables"]));
        add("iptables", iptables());
        add("cgroup", cgroups::existing().iter().map(|path| path.display().to_string()).collect());
        add("sysctl", kernel::read().into_iter().map(|(name, value)| format!("{name} = {value}")).collect());
        add("file", FOLDERS.iter().flat_map(|folder| files(Path::new(folder))).collect());
        Self { lines }
    }

    /// What is in `later` and not here (`+`), and the other way round (`-`).
    #[cfg(test)]
    pub(crate) fn changes(&self, later: &Self) -> Vec<String> {
        let added = later.lines.difference(&self.lines).map(|line| format!("+ {line}"));
        let removed = self.lines.difference(&later.lines).map(|line| format!("- {line}"));
        added.chain(removed).collect()
    }

    /// What could not be looked at.
    #[cfg(test)]
    pub(crate) fn unknown(&self) -> Vec<&str> {
        let stands_for_it = |line: &&str| line.split(' ').nth(1).is_some_and(|word| word.starts_with(UNKNOWN));
        self.lines.iter().map(String::as_str).filter(stands_for_it).collect()
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(out, "{line}"))
    }
}

/// All that is recognisably ours and still there; nothing after a `down`.
pub(crate) fn left_behind(layout: &Layout) -> Vec<String> {
    let root = layout.root().display().to_string();
    let mut found: Vec<String> =
        processes(layout).into_iter().map(|(pid, name)| format!("process {pid} ({name})")).collect();
    found.extend(mounts().into_iter().filter(|path| path.starts_with(&root)).map(|path| format!("mount {path}")));
    found.extend(ports_of_bridge().into_iter().map(|name| format!("interface {name}")));
    let own = [BRIDGE, LINK].into_iter().filter(|name| network::exists(name));
    found.extend(own.map(|name| format!("interface {name}")));
    found.extend(agent_interfaces().into_iter().map(|name| format!("interface {name}")));
    found.extend(network::has_table("ip", NETWORK).then(|| format!("nft table ip {NETWORK}")));
    let saved = cmd::output(&mut cmd::system("iptables-save")).unwrap_or_default();
    found.extend(firewall::own_rules(&saved).into_iter().map(|rule| format!("iptables rule {rule}")));
    found.extend(cgroups::existing().iter().map(|path| format!("cgroup {}", path.display())));
    found.extend(own_files(layout).iter().map(|path| format!("file {}", path.display())));
    found
}

/// Files outside the cache that belong to our pods: results of network plugins, links to logs.
pub(crate) fn own_files(layout: &Layout) -> Vec<PathBuf> {
    let results = names_in(RESULTS);
    let sandbox = |name: &String| Some(name.strip_prefix(NETWORK)?.strip_prefix('-')?.split('-').next()?.to_owned());
    let sandboxes: BTreeSet<String> = results.iter().filter_map(sandbox).collect();
    // `<network>-<sandbox>-<interface>`: also the loopback's, by the sandboxes that are in our network.
    let ours = |name: &String| name.rsplit('-').nth(1).is_some_and(|sandbox| sandboxes.contains(sandbox));
    let results = results.into_iter().filter(ours).map(|name| Path::new(RESULTS).join(name));
    let links = fs::read_dir("/var/log/containers").into_iter().flatten().flatten().map(|entry| entry.path());
    let links = links.filter(|path| fs::read_link(path).is_ok_and(|target| target.starts_with(layout.root())));
    results.chain(links).collect()
}

/// Mount points of this machine, in the order they were mounted.
pub(crate) fn mounts() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape).collect()
}

/// Interfaces that are plugged into our bridge.
pub(crate) fn ports_of_bridge() -> Vec<String> {
    names_in(&format!("/sys/class/net/{BRIDGE}/brif"))
}

/// Interfaces that came with the enforcement of network policies. Not another Cilium's: the machine has no second kubelet.
pub(crate) fn agent_interfaces() -> Vec<&'static str> {
    if !Path::new("/sys/class/net").join(AGENT_DEVICE).exists() {
        return Vec::new();
    }
    AGENT_INTERFACES.into_iter().filter(|name| Path::new("/sys/class/net").join(name).exists()).collect()
}

/// Processes that are in our cgroup or run on our files, with their names.
pub(crate) fn processes(layout: &Layout) -> Vec<(u32, String)> {
    let root = layout.root().display().to_string();
    let members = cgroups::members();
    let mut found = Vec::new();
    for pid in proc::pids() {
        let command = proc::command_line(pid);
        let program = command.first().cloned().unwrap_or_default();
        let on_our_files = || command.iter().any(|argument| argument.contains(&root));
        let daemon = program.contains("containerd-shim") || program.ends_with("/containerd");
        if members.contains(&pid) || (daemon && on_our_files()) {
            found.push((pid, if program.is_empty() { "ended".into() } else { program }));
        }
    }
    found
}

fn iptables() -> Vec<String> {
    let saved = lines_of("iptables-save", &[]).into_iter().chain(lines_of("ip6tables-save", &[]));
    saved.filter_map(|line| without_counters(&line)).collect()
}

/// A rule, a chain that somebody made, or a policy that somebody set; nothing else that `iptables-save` prints.
fn without_counters(line: &str) -> Option<String> {
    if line.starts_with("-A ") || line.starts_with(UNKNOWN) {
        return Some(line.to_owned());
    }
    let (chain, policy) = line.strip_prefix(':')?.split_once(' ')?;
    let policy = policy.split(' ').next().filter(|policy| *policy != "ACCEPT")?;
    Some(format!("{chain} {policy}"))
}

/// What a program prints. If it cannot tell, that is said: it must not look as if there were nothing.
fn lines_of(program: &str, arguments: &[&str]) -> Vec<String> {
    match cmd::output(cmd::system(program).args(arguments)) {
        Ok(text) => text.lines().map(|line| line.trim().to_owned()).collect(),
        Err(error) => vec![format!("{UNKNOWN}: {error:#}")],
    }
}

fn names_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn files(path: &Path) -> Vec<String> {
    let Ok(kind) = fs::symlink_metadata(path) else { return Vec::new() };
    let mut found = vec![path.display().to_string()];
    if kind.is_dir() {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        found.extend(entries.flat_map(|entry| files(&entry.path())));
    }
    found
}

/// mountinfo writes blanks and the like as `\040`.
fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        match after.get(..3).and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(code) => {
                plain.push(char::from(code));
                rest = &after[3..];
            }
            None => {
                plain.push('\\');
                rest = after;
            }
        }
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_tell_both_directions() {
        let snapshot = |lines: &[&str]| Snapshot { lines: lines.iter().map(|&line| line.to_owned()).collect() };
        let changes = snapshot(&["mount /a", "mount /b"]).changes(&snapshot(&["mount /b", "netns x"]));
        assert_eq!(changes, ["+ netns x", "- mount /a"]);
    }

    #[test]
    fn counters_of_the_packet_filter_are_no_change() {
        assert_eq!(without_counters(":FORWARD DROP [3:180]").unwrap(), "FORWARD DROP");
        assert_eq!(without_counters(":CNI-DN-1 - [0:0]").unwrap(), "CNI-DN-1 -");
        assert_eq!(without_counters("-A INPUT -j ACCEPT").unwrap(), "-A INPUT -j ACCEPT");
        assert_eq!(without_counters(":INPUT ACCEPT [7:1]"), None);
        assert_eq!(without_counters("# Generated at noon"), None);
    }

    #[test]
    fn a_tool_that_is_missing_does_not_look_like_nothing() {
        let lines = lines_of("hexabase-no-such-tool", &[]);
        assert!(lines.len() == 1 && lines[0].starts_with(UNKNOWN), "{lines:?}");
    }

    #[test]
    fn mount_points_are_read_with_their_blanks() {
        assert_eq!(unescape(r"/a\040b\134c"), r"/a b\c");
        assert_eq!(unescape("/plain"), "/plain");
    }
}
