//! Processes of ours that no record tells of: an xtask was interrupted between starting and recording one.

use std::path::Path;

use super::layout::Layout;
use super::{cgroups, proc, process};

/// All of them. They are ours by their command lines, whatever else runs on this machine.
pub(crate) fn find(layout: &Layout, cache: &Path) -> Vec<u32> {
    let known: Vec<u32> = process::recorded(layout).iter().filter_map(|name| process::running(layout, name)).collect();
    let mut found = cgroups::system_members();
    found.retain(|pid| {
        !descends(*pid, &known, proc::parent) && is_ours(&proc::command_line(*pid), cache, layout.root())
    });
    // Not in our cgroup yet.
    found.extend(process::recorded(layout).iter().flat_map(|name| process::pending(layout, name)));
    found
}

/// Ends them at once.
pub(crate) fn end(strays: &[u32]) {
    strays.iter().copied().for_each(process::kill);
}

/// True for a process of the list and for all that it started.
fn descends(pid: u32, known: &[u32], parent: impl Fn(u32) -> Option<u32>) -> bool {
    let mut at = Some(pid);
    while let Some(pid) = at.filter(|pid| *pid > 1) {
        if known.contains(&pid) {
            return true;
        }
        at = parent(pid);
    }
    false
}

/// A program that we built, or one of the machine's or the checkout's that was told our folders. Not a container's
/// shim: it lives on while containerd is repaired, and its pod with it.
fn is_ours(command: &[String], cache: &Path, root: &Path) -> bool {
    let Some((program, arguments)) = command.split_first() else { return false };
    let program = Path::new(program);
    let is = |name: &str| program.file_name().is_some_and(|had| had == name);
    let told = |folder: &Path| {
        let folder = format!("{}/", folder.display());
        arguments.iter().any(|argument| argument.contains(&folder))
    };
    program.starts_with(cache.join("tools")) || (is("containerd") && told(root)) || (is("hexabase") && told(cache))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(command: &[&str]) -> bool {
        let command: Vec<String> = command.iter().map(|&part| part.to_owned()).collect();
        is_ours(&command, Path::new("/cache"), Path::new("/cache/devhost"))
    }

    #[test]
    fn our_programs_are_told_by_the_folders_they_use() {
        assert!(ours(&["/cache/tools/kine-0123/bin/kine", "--x"]));
        assert!(ours(&["/usr/bin/containerd", "--config", "/cache/devhost/containerd/config.toml"]));
        assert!(ours(&["/checkout/target/debug/hexabase", "--config", "/cache/demo/hexabase.toml", "all"]));
    }

    #[test]
    fn those_of_others_and_shims_are_left_alone() {
        assert!(!ours(&["/usr/bin/containerd"]));
        assert!(!ours(&["/usr/bin/containerd", "--config", "/cache/devhost2/containerd/config.toml"]));
        assert!(!ours(&["/usr/bin/containerd-shim-runc-v2", "-address", "/cache/devhost/containerd/containerd.sock"]));
        assert!(!ours(&["/srv/hexabase", "--config", "/etc/hexabase.toml"]));
        assert!(!ours(&[]));
    }

    #[test]
    fn what_a_known_process_started_is_no_stray() {
        let parent = |pid| [(9, 7), (7, 5), (5, 1)].into_iter().find(|(child, _)| *child == pid).map(|(_, of)| of);
        assert!(descends(9, &[5], parent));
        assert!(descends(5, &[5], parent));
        assert!(!descends(9, &[8], parent));
    }
}
