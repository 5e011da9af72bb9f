//! Takes the devhost down: afterwards the machine is as it was, but for the cache with built programs and images.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::mount::{UnmountFlags, unmount};

use super::layout::{BRIDGE, LINK, Layout, State, boot_id};
use super::node::SECOND_FOLDER;
use super::traces::{self, AGENT_FOLDER, DEVICE_SOCKET};
use super::{cgroups, firewall, kernel, network, owner, packages, process};
use crate::cmd;
use crate::progress::Progress;

/// In this order nothing that ends is started again, or complains for long about what is already gone.
const ORDER: [&str; 9] = [
    "kubelet",
    "second-kubelet",
    "kwok",
    "kube-scheduler",
    "kube-controller-manager",
    "containerd",
    "second-containerd",
    "kube-proxy",
    "second-kube-proxy",
];
const LAST: [&str; 2] = ["kube-apiserver", "kine"];

/// Ends and removes everything that `up` made.
pub(crate) fn run(layout: &Layout, progress: &Progress) -> Result<()> {
    // A state that cannot be read must not keep anybody from taking things down.
    let state = State::load(layout).ok().flatten();
    let sockets = shim_sockets(layout);
    progress.step("end processes", || end_processes(layout))?;
    progress.step("remove mounts", || unmount_all(layout))?;
    progress.step("remove interfaces, rules and cgroups", || {
        remove_interfaces(layout)?;
        if let Some(state) = &state {
            network::forget_loopback_address(state);
        }
        firewall::clean(state.as_ref())?;
        let stuck = cgroups::remove();
        if !stuck.is_empty() {
            bail!("cgroups cannot be removed: {stuck:?}");
        }
        if let Some(state) = of_this_boot(state.as_ref()) {
            cgroups::take_back(&state.controllers);
        }
        Ok(())
    })?;
    progress.step("remove files, restore kernel settings", || {
        remove_files(layout, state.as_ref(), &sockets)?;
        packages::allow_services()?;
        restore_kernel(state.as_ref())?;
        remove_folder(layout)
    })?;
    let left = traces::left_behind(layout);
    if !left.is_empty() {
        bail!("this could not be removed:\n  {}", left.join("\n  "));
    }
    Ok(())
}

fn end_processes(layout: &Layout) -> Result<()> {
    for name in ORDER {
        process::stop(layout, name, Duration::from_secs(5))?;
    }
    // The API server would wait for its clients, which are all gone.
    for name in LAST.into_iter().map(str::to_owned).chain(process::recorded(layout)) {
        process::stop(layout, &name, Duration::from_secs(1))?;
    }
    // Pods and their shims: all that is left in our cgroup.
    let begun = Instant::now();
    loop {
        let alive = traces::processes(layout);
        if alive.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(20) {
            bail!("these processes do not end: {alive:?}");
        }
        alive.iter().for_each(|(pid, _)| process::kill(*pid));
        sleep(Duration::from_millis(50));
    }
}

fn unmount_all(layout: &Layout) -> Result<()> {
    for path in traces::mounts().into_iter().rev().filter(|path| PathBuf::from(path).starts_with(layout.root())) {
        unmount(path.as_str(), UnmountFlags::DETACH).with_context(|| format!("cannot unmount {path}"))?;
    }
    Ok(())
}

fn remove_interfaces(layout: &Layout) -> Result<()> {
    if !owner::has_bridge(layout) {
        return Ok(());
    }
    let agents = traces::agent_interfaces().into_iter().chain([LINK]).map(str::to_owned);
    for name in traces::ports_of_bridge().into_iter().chain(agents) {
        // It may vanish by itself, with its network namespace.
        cmd::succeeds(cmd::system("ip").args(["link", "delete", &name]));
    }
    cmd::output(cmd::system("ip").args(["link", "delete", BRIDGE]))?;
    Ok(())
}

/// Sockets of our containers' shims on all nodes; containerd keeps their addresses in its state.
fn shim_sockets(layout: &Layout) -> Vec<PathBuf> {
    let bundles = [layout.clone(), layout.below(SECOND_FOLDER)]
        .map(|files| files.path("containerd/state/io.containerd.runtime.v2.task/k8s.io"));
    let entries = bundles.into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let address = |folder: PathBuf| fs::read_to_string(folder.join("address")).ok();
    let addresses = entries.filter_map(|entry| address(entry.path()));
    addresses.filter_map(|text| Some(PathBuf::from(text.trim().strip_prefix("unix://")?))).collect()
}

fn remove_files(layout: &Layout, state: Option<&State>, sockets: &[PathBuf]) -> Result<()> {
    for path in sockets.iter().chain(&traces::own_files(layout)) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    let Some(state) = state else { return Ok(()) };
    if state.network_policy && !state.folders.iter().any(|folder| folder == AGENT_FOLDER) {
        // It may not have come so far.
        let _ = fs::remove_dir_all(AGENT_FOLDER);
    }
    if !state.folders.iter().any(|folder| Path::new(DEVICE_SOCKET).starts_with(folder)) {
        // The kubelet may have ended without making it.
        let _ = fs::remove_file(DEVICE_SOCKET);
    }
    // Inner folders come later in the list. What holds somebody's files stays.
    for folder in traces::FOLDERS.iter().rev().filter(|folder| !state.folders.iter().any(|had| had == *folder)) {
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

fn restore_kernel(state: Option<&State>) -> Result<()> {
    let Some(state) = of_this_boot(state) else { return Ok(()) };
    if state.loads_bridge_filter {
        kernel::unload_bridge_filter();
    }
    kernel::restore(&state.sysctls, &state.sysctls_left)
}

/// What was noted about the kernel holds until the machine is started again.
fn of_this_boot(state: Option<&State>) -> Option<&State> {
    state.filter(|state| state.boot == boot_id())
}

fn remove_folder(layout: &Layout) -> Result<()> {
    match fs::remove_dir_all(layout.root()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", layout.root().display()))
        }
        _ => Ok(()),
    }
}
