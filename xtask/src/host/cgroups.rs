//! Our cgroup, `/hexabase`, in every hierarchy: pods below it by the kubelet, our own processes in `system`, and the second
//! node's pods in one of their own.
//! It is also the list of what is ours: whatever runs in it, we started.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::layout::NETWORK;
use super::node::Node;

/// The file that tells, and is told, which controllers a cgroup hands on.
const SUBTREE: &str = "cgroup.subtree_control";

/// The generation of cgroups that carries the controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// Which generation this machine uses; none if cgroups are not mounted or cannot be written.
pub(crate) fn version() -> Option<Version> {
    let mounts = mounts();
    let has_memory = |mount: &Mount| mount.options.split(',').any(|option| option == "memory");
    let found = if let Some(mount) = mounts.iter().find(|mount| mount.kind == "cgroup" && has_memory(mount)) {
        (Version::V1, mount)
    } else {
        (Version::V2, mounts.iter().find(|mount| mount.kind == "cgroup2")?)
    };
    let writable = !found.1.flags.split(',').any(|flag| flag == "ro");
    writable.then_some(found.0)
}

/// Creates our cgroup everywhere, with what these nodes need of it; the first one's comes first, as others are in it.
pub(crate) fn ensure(nodes: &[Node]) -> Result<()> {
    let Some(version) = version() else { bail!("cgroups are not mounted") };
    for mount in mounts() {
        let hands_on = version == Version::V2 && mount.kind == "cgroup2";
        if hands_on {
            delegate(&mount.path)?;
        }
        for node in nodes {
            let own = mount.path.join(&node.cgroup);
            fs::create_dir_all(&own).with_context(|| format!("cannot create {}", own.display()))?;
            if hands_on {
                delegate(&own)?;
            }
            if mount.options.split(',').any(|option| option == "cpuset") {
                inherit(&mount.path, &own, "cpuset.cpus")?;
                inherit(&mount.path, &own, "cpuset.mems")?;
            }
        }
        if is_tracker(&mount, version) {
            fs::create_dir_all(mount.path.join(NETWORK).join("system"))?;
        }
    }
    Ok(())
}

/// Controllers that the root cgroup of the second generation has and does not hand on; none with the first.
pub(crate) fn not_handed_on() -> Vec<String> {
    root().and_then(|root| missing_controllers(&root).ok()).unwrap_or_default()
}

/// Lets the root cgroup no longer hand on these controllers. The kernel refuses that for one that another cgroup hands
/// on by now; it stays.
pub(crate) fn take_back(controllers: &[String]) {
    for (root, controller) in root().iter().flat_map(|root| controllers.iter().map(move |name| (root, name))) {
        let _ = fs::write(root.join(SUBTREE), format!("-{controller}"));
    }
}

/// Puts one of our processes into our cgroup, where its children stay too.
pub(crate) fn adopt(pid: u32) -> Result<()> {
    let Some(version) = version() else { bail!("cgroups are not mounted") };
    for mount in mounts().iter().filter(|mount| is_tracker(mount, version)) {
        let file = mount.path.join(NETWORK).join("system/cgroup.procs");
        fs::write(&file, pid.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Puts one of our processes into a cgroup beside ours, where it runs only while nothing else on the machine would (`cpu.idle`, since
/// Linux 5.15). Its folder, to be removed when the process has ended; none where there is no such thing.
pub(crate) fn idle(pid: u32) -> Option<PathBuf> {
    let second = version()? == Version::V2;
    let carries_cpu = |mount: &Mount| match second {
        true => mount.kind == "cgroup2",
        false => mount.options.split(',').any(|option| option == "cpu"),
    };
    let folder = mounts().into_iter().find(carries_cpu)?.path.join(format!("{NETWORK}-idle"));
    fs::create_dir_all(&folder).ok()?;
    let moved =
        fs::write(folder.join("cpu.idle"), "1").and_then(|()| fs::write(folder.join("cgroup.procs"), pid.to_string()));
    if moved.is_err() {
        let _ = fs::remove_dir(&folder);
        return None;
    }
    Some(folder)
}

/// Pids of all processes in our cgroup: ours, containerd's shims and everything in pods.
pub(crate) fn members() -> Vec<u32> {
    let mut pids = BTreeSet::new();
    for folder in existing() {
        let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|&pid| pid != 0));
    }
    pids.into_iter().collect()
}

/// Pids of what we started ourselves, and of containerd's shims; not of what runs in pods.
pub(crate) fn system_members() -> Vec<u32> {
    let folders = mounts().into_iter().map(|mount| mount.path.join(NETWORK).join("system/cgroup.procs"));
    let texts = folders.filter_map(|file| fs::read_to_string(file).ok());
    texts.flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<u32>>()).collect()
}

/// Our cgroup's folders in all hierarchies, inner ones first.
pub(crate) fn existing() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for mount in mounts() {
        collect(&mount.path.join(NETWORK), &mut folders);
    }
    folders
}

/// Removes our cgroup, which must hold no process any more. Gives what could not be removed.
pub(crate) fn remove() -> Vec<PathBuf> {
    existing().into_iter().filter(|folder| fs::remove_dir(folder).is_err() && folder.exists()).collect()
}

struct Mount {
    path: PathBuf,
    kind: String,
    /// Flags of the mount itself (`ro`).
    flags: String,
    /// Options of the file system (its controllers, for the first generation).
    options: String,
}

fn mounts() -> Vec<Mount> {
    parse_mounts(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

fn parse_mounts(text: &str) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for line in text.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (left, right): (Vec<&str>, Vec<&str>) = (left.split(' ').collect(), right.split(' ').collect());
        let (Some(path), Some(flags), Some(kind), Some(options)) =
            (left.get(4), left.get(5), right.first(), right.get(2))
        else {
            continue;
        };
        // A hierarchy that is mounted a second time (inside a container's root, say) is not another one.
        let known = mounts.iter().any(|mount| mount.options == *options && mount.kind == *kind);
        if kind.starts_with("cgroup") && path.starts_with("/sys/fs/cgroup") && !known {
            mounts.push(Mount {
                path: PathBuf::from(path),
                kind: (*kind).to_owned(),
                flags: (*flags).to_owned(),
                options: (*options).to_owned(),
            });
        }
    }
    mounts
}

/// The one hierarchy in which our own processes are held together. Not the memory one: what they use is still
/// counted where they were started from.
fn is_tracker(mount: &Mount, version: Version) -> bool {
    match version {
        Version::V1 => mount.kind == "cgroup" && mount.options.split(',').any(|option| option == "pids"),
        Version::V2 => mount.kind == "cgroup2",
    }
}

/// Where the second generation is mounted, whether it carries the controllers or not.
pub(crate) fn unified() -> Option<PathBuf> {
    mounts().into_iter().find(|mount| mount.kind == "cgroup2").map(|mount| mount.path)
}

/// The root cgroup, if the second generation carries the controllers.
fn root() -> Option<PathBuf> {
    let is_second = version() == Some(Version::V2);
    mounts().into_iter().find(|mount| is_second && mount.kind == "cgroup2").map(|mount| mount.path)
}

/// Controllers that a cgroup of the second generation has and does not hand on to its children.
fn missing_controllers(folder: &Path) -> Result<Vec<String>> {
    let controllers = fs::read_to_string(folder.join("cgroup.controllers"))?;
    let active = fs::read_to_string(folder.join(SUBTREE))?;
    let is_active = |name: &str| active.split_whitespace().any(|had| had == name);
    Ok(controllers.split_whitespace().filter(|name| !is_active(name)).map(str::to_owned).collect())
}

/// Hands all controllers on to the children of a cgroup of the second generation.
fn delegate(folder: &Path) -> Result<()> {
    for controller in missing_controllers(folder)? {
        let result = fs::write(folder.join(SUBTREE), format!("+{controller}"));
        if result.is_err() && ["cpu", "memory", "pids"].contains(&controller.as_str()) {
            bail!(
                "the cgroup controller {controller} cannot be handed on from {}: in a container, start it with its own \
                 cgroup namespace and move its processes out of the root cgroup",
                folder.display()
            );
        }
    }
    Ok(())
}

fn inherit(from: &Path, to: &Path, file: &str) -> Result<()> {
    if fs::read_to_string(to.join(file)).is_ok_and(|text| text.trim().is_empty()) {
        fs::write(to.join(file), fs::read_to_string(from.join(file))?)?;
    }
    Ok(())
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        collect(&entry.path(), found);
    }
    found.push(folder.to_path_buf());
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "30 20 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n\
        31 30 0:27 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
        32 30 0:28 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
        33 30 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
        34 30 0:28 / /sys/fs/cgroup/again rw,relatime - cgroup cgroup rw,pids\n";

    #[test]
    fn hierarchies_are_found_once_each() {
        let mounts = parse_mounts(HYBRID);
        let paths: Vec<_> = mounts.iter().map(|mount| mount.path.display().to_string()).collect();
        assert_eq!(paths, ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified"]);
        let trackers: Vec<bool> = mounts.iter().map(|mount| is_tracker(mount, Version::V1)).collect();
        assert_eq!(trackers, [false, true, false]);
    }

    #[test]
    fn controllers_that_are_handed_on_already_are_not_ours_to_take_back() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        fs::write(folder.path().join(SUBTREE), "cpu memory pids\n").unwrap();
        assert_eq!(missing_controllers(folder.path()).unwrap(), ["cpuset", "io"]);
    }
}
