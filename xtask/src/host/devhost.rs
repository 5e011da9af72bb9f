//! The devhost: Kubernetes on this machine from our own builds, as one node. Every step looks first and does only what
//! is missing, so the same path sets up, repairs and finds that there is nothing to do.
//!
//! ```text
//! preflight -> packages -> tools -> images -> network -> containerd -> kine -> API server -> kubelet -> kube-proxy -> addons
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::kernel::Settings;
use super::layout::{Layout, Ports, State, boot_id};
use super::preflight::{Facts, belongs_to};
use super::{Options, strays, teardown};
use super::{addons, cgroups, containerd, control_plane, firewall, images, kernel, kube, network, node};
use super::{owner, packages, pki, process, traces};
use crate::lock::{self, Lock};
use crate::progress::{Progress, seconds};
use crate::tools::{self, DEVHOST};
use crate::{prune, settings};

/// First of the ports if none is asked for.
const PORT_BASE: u16 = 16000;

/// Names of all our processes, in the order they start.
pub(crate) const PROCESSES: [&str; 7] =
    ["containerd", "kine", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"];

/// Brings the devhost up, or repairs it, and gives its state.
pub(crate) fn up(options: &Options, progress: &Progress) -> Result<(Layout, State)> {
    let layout = Layout::locate()?;
    let _lock = lock(progress)?;
    let known = known(&layout)?;
    let ports = ports_of(known.as_ref(), options)?;
    if let Some(state) = &known
        && is_up(&layout, state)?
    {
        prune::run(&in_use()?)?;
        progress.say(&format!("devhost is up already ({})", seconds(progress.elapsed())));
        return Ok((layout, state.clone()));
    }

    let missing = tools::missing(DEVHOST)?;
    let strays = strays::find(&layout, &settings::cache_root()?);
    progress.step("check this machine", || {
        Facts::gather(&layout, known.as_ref(), ports, &missing, !strays.is_empty())?.check()?;
        if !strays.is_empty() {
            strays::end(&strays);
            Facts::gather(&layout, known.as_ref(), ports, &missing, false)?.check()?;
        }
        Ok(())
    })?;
    packages::ensure(&missing_packages()?, options.yes, progress)?;
    tools::ensure(DEVHOST, progress)?;
    images::ensure_archives(progress)?;

    let mut state = progress.step("prepare the node", || prepare(&layout, known, ports))?;
    progress.step("start containerd", || containerd::ensure(&layout, &state))?;
    progress.step("start the control plane", || control_plane::ensure(&layout, &state))?;
    images::import(&layout, &mut state, progress)?;
    progress.step("start kubelet and kube-proxy", || node::ensure(&layout, &state))?;
    let had_pods = !state.addons.is_empty();
    addons::ensure(&layout, &mut state, progress)?;
    progress.step("wait for the node", || node::wait_ready(&layout, had_pods))?;
    progress.step("wait for DNS, storage and metrics", || addons::wait(&layout))?;
    remember_settings(&layout, &mut state)?;
    prune::run(&in_use()?)?;
    progress.say(&format!("devhost is up ({})", seconds(progress.elapsed())));
    Ok((layout, state))
}

/// Refuses what `up` would refuse, and changes nothing.
pub(crate) fn preflight(options: &Options) -> Result<()> {
    let layout = Layout::locate()?;
    let known = known(&layout)?;
    let ports = ports_of(known.as_ref(), options)?;
    if let Some(state) = &known
        && is_up(&layout, state)?
    {
        return Ok(());
    }
    let has_strays = !strays::find(&layout, &settings::cache_root()?).is_empty();
    Facts::gather(&layout, known.as_ref(), ports, &tools::missing(DEVHOST)?, has_strays)?.check()
}

/// Debian packages that `up` would install.
pub(crate) fn missing_packages() -> Result<Vec<&'static str>> {
    let compiler = tools::missing(DEVHOST)?.contains(&tools::Tool::Kine);
    Ok(packages::missing(compiler))
}

/// Takes it down, whatever state it is in.
pub(crate) fn down(progress: &Progress) -> Result<()> {
    let layout = Layout::locate()?;
    let _lock = lock(progress)?;
    if let Some(other) = owner::other(&layout) {
        bail!("{}", belongs_to(&other));
    }
    if !fs::exists(layout.root())? && traces::left_behind(&layout).is_empty() {
        progress.say("there is no devhost");
        return Ok(());
    }
    if !settings::is_root() {
        bail!("Taking the devhost down needs root: run it as root.");
    }
    teardown::run(&layout, progress)?;
    progress.say(&format!("devhost is down ({})", seconds(progress.elapsed())));
    Ok(())
}

/// True if there is a devhost on this machine, of whatever cache and in whatever state.
pub(crate) fn exists() -> Result<bool> {
    let layout = Layout::locate()?;
    Ok(layout.path("state.json").exists() || owner::other(&layout).is_some() || !process::recorded(&layout).is_empty())
}

/// Lines that tell what runs.
pub(crate) fn status() -> Result<Vec<String>> {
    let layout = Layout::locate()?;
    if let Some(other) = owner::other(&layout) {
        return Ok(vec![belongs_to(&other)]);
    }
    let Some(state) = State::load(&layout)? else { return Ok(vec!["devhost: down".into()]) };
    let mut lines = vec![
        format!("devhost: {}", if is_up(&layout, &state)? { "up" } else { "needs repair: run `cargo xtask up`" }),
        format!("  kubeconfig  {}", layout.kubeconfig_for_people().display()),
        format!("  API server  {}", state.api_url()),
        format!("  pods        {}", state.pod_cidr),
        format!("  services    {}", state.service_cidr),
        format!("  logs        {}", layout.path("logs").display()),
    ];
    for name in PROCESSES {
        let pid = process::running(&layout, name).map_or("not running".to_owned(), |pid| format!("pid {pid}"));
        lines.push(format!("  {name:<24} {pid}"));
    }
    Ok(lines)
}

/// True if there is nothing to do.
fn is_up(layout: &Layout, state: &State) -> Result<bool> {
    if state.boot != boot_id() || !tools::missing(DEVHOST)?.is_empty() || !packages::missing(false).is_empty() {
        return Ok(false);
    }
    let specs = [
        containerd::spec(layout, state)?,
        control_plane::kine(layout)?,
        control_plane::api_server(layout, state)?,
        control_plane::controller_manager(layout, state)?,
        control_plane::scheduler(layout, state)?,
        node::kubelet(layout, state)?,
        node::kube_proxy(layout, state)?,
    ];
    let all_run = || specs.iter().all(|spec| process::is_current(layout, spec));
    Ok(all_run()
        && network::is_ready(layout, state)
        && control_plane::is_serving(state)
        && node::is_serving(state)
        && layout.kubeconfig().is_file()
        && layout.kubeconfig_for_people().is_file()
        && images::are_imported(state)?
        && images::are_present(layout)
        && addons::are_applied(layout, state)?
        && kube::is_ready(layout)
        && kube::node_is_ready(layout)
        && addons::waiting_for(layout).is_none()
        // One that was killed a moment ago may have looked alive.
        && all_run())
}

/// State, kernel settings, network, cgroup and certificates.
fn prepare(layout: &Layout, known: Option<State>, ports: Ports) -> Result<State> {
    let mut state = match known {
        Some(state) if state.boot == boot_id() => state,
        // What lies on the disk since the boot before is ours, not the machine's.
        Some(state) => State { folders: state.folders.clone(), ..remember_machine(state)? },
        None => {
            let (pods, services) = network::choose(&network::taken()?)?;
            remember_machine(State::on(pods, services, ports))?
        }
    };
    fs::create_dir_all(layout.root()).with_context(|| format!("cannot create {}", layout.root().display()))?;
    // Below it lie keys, the store with all Secrets and the volumes.
    fs::set_permissions(layout.root(), fs::Permissions::from_mode(0o700))?;
    state.save(layout)?;
    kernel::load_modules()?;
    if state.sysctls.is_empty() {
        state.sysctls = kernel::read();
        state.save(layout)?;
    }
    state.table = network::ensure(layout, &state)?;
    state.save(layout)?;
    cgroups::ensure()?;
    pki::ensure(layout, &state)?;
    Ok(state)
}

/// Notes how the machine is before we change it; again after each boot. Settings are noted when the modules are loaded
/// that have them.
fn remember_machine(state: State) -> Result<State> {
    // Asking iptables for its rules may create tables; that shall not count as having been there.
    let nft_tables = network::tables()?;
    let folders = traces::FOLDERS.iter().filter(|folder| Path::new(folder).exists());
    Ok(State {
        folders: folders.map(|folder| (*folder).to_owned()).collect(),
        boot: boot_id(),
        sysctls: Settings::new(),
        sysctls_left: Settings::new(),
        nft_tables,
        port_chains: firewall::has_port_chains(),
        loads_bridge_filter: !kernel::filters_bridges(),
        controllers: cgroups::not_handed_on(),
        ..state
    })
}

/// Notes the kernel's settings as they are when all of ours has started: what differs later, somebody else has set.
fn remember_settings(layout: &Layout, state: &mut State) -> Result<()> {
    for (name, value) in kernel::read() {
        state.sysctls_left.entry(name).or_insert(value);
    }
    state.save(layout)
}

/// The state of the devhost that is there. Who may not read it is refused later, with a sentence.
fn known(layout: &Layout) -> Result<Option<State>> {
    if settings::is_root() { State::load(layout) } else { Ok(None) }
}

/// The ports of the devhost that is there, or those that are asked for.
fn ports_of(known: Option<&State>, options: &Options) -> Result<Ports> {
    let asked = options.port_base.map(Ports::from_base);
    match (known.map(|state| state.ports), asked) {
        (Some(ports), Some(asked)) if ports != asked => bail!(
            "The devhost has its API server at port {} and keeps its ports for life: run `cargo xtask down` first to \
             choose others.",
            ports.api
        ),
        (Some(ports), _) => Ok(ports),
        (None, asked) => Ok(asked.unwrap_or(Ports::from_base(PORT_BASE))),
    }
}

/// What of the cache this version works with.
fn in_use() -> Result<Vec<PathBuf>> {
    let mut used: Vec<PathBuf> = DEVHOST.iter().map(|tool| tool.folder()).collect::<Result<_>>()?;
    used.extend(images::archives()?);
    Ok(used)
}

/// One xtask at a time changes the devhost of this machine. Who may not is refused later, with a sentence.
fn lock(progress: &Progress) -> Result<Option<Lock>> {
    if !settings::is_root() {
        return Ok(None);
    }
    Lock::exclusive(&lock::path("devhost")?, || progress.say("waiting for another xtask")).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_devhost_keeps_its_ports_and_says_so() {
        let state = State::on(10, 11, Ports::from_base(20000));
        let asked = |port_base| Options { port_base, ..Options::default() };
        assert_eq!(ports_of(None, &asked(None)).unwrap(), Ports::from_base(16000));
        assert_eq!(ports_of(None, &asked(Some(17000))).unwrap(), Ports::from_base(17000));
        assert_eq!(ports_of(Some(&state), &asked(None)).unwrap(), state.ports);
        assert_eq!(ports_of(Some(&state), &asked(Some(20000))).unwrap(), state.ports);
        let refusal = ports_of(Some(&state), &asked(Some(17000))).unwrap_err().to_string();
        assert!(refusal.contains("20443") && refusal.contains("cargo xtask down"), "{refusal}");
    }
}
