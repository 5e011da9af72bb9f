//! The devhost: Kubernetes on this machine from our own builds, as one node. Every step looks first and does only what
//! is missing, so the same path sets up, repairs and finds that there is nothing to do.
//!
//! ```text
//! preflight -> packages -> tools -> images -> network -> containerd -> kine -> API server -> kubelet -> kube-proxy -> addons
//! ```
//!
//! With `--network-policy` Cilium's agent comes before the addons, and no pod before the agent.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::kernel::Settings;
use super::layout::{Layout, Ports, State, boot_id};
use super::preflight::{Facts, belongs_to};
use super::{Options, strays, teardown};
use super::{addons, cgroups, cilium, containerd, control_plane, firewall, images, kernel, kube, network, node};
use super::{owner, packages, pki, process, traces};
use crate::lock::{self, Lock};
use crate::progress::{Progress, seconds};
use crate::tools::{self, DEVHOST, ENFORCEMENT, Tool};
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
    let network_policy = enforces(known.as_ref(), options)?;
    if let Some(state) = &known
        && is_up(&layout, state)?
    {
        prune::run(&in_use(network_policy)?)?;
        progress.say(&format!("devhost is up already ({})", seconds(progress.elapsed())));
        return Ok((layout, state.clone()));
    }

    let missing = tools::missing(&tools_for(network_policy))?;
    let strays = strays::find(&layout, &settings::cache_root()?);
    progress.step("check this machine", || {
        Facts::gather(&layout, known.as_ref(), ports, &missing, !strays.is_empty())?.check()?;
        if !strays.is_empty() {
            strays::end(&strays);
            Facts::gather(&layout, known.as_ref(), ports, &missing, false)?.check()?;
        }
        Ok(())
    })?;
    packages::ensure(&packages_for(network_policy)?, options.yes, progress)?;
    tools::ensure(&tools_for(network_policy), progress)?;
    images::ensure_archives(progress)?;

    let mut state = progress.step("prepare the node", || prepare(&layout, known, ports, network_policy))?;
    progress.step("start containerd", || containerd::ensure(&layout, &state))?;
    progress.step("start the control plane", || control_plane::ensure(&layout, &state))?;
    images::import(&layout, &mut state, progress)?;
    progress.step("start kubelet and kube-proxy", || node::ensure(&layout, &state))?;
    if state.network_policy {
        progress.step("start the network policies' agent", || cilium::ensure(&layout, &state))?;
    }
    let had_pods = !state.addons.is_empty();
    addons::ensure(&layout, &mut state, progress)?;
    progress.step("wait for the node", || node::wait_ready(&layout, had_pods))?;
    progress.step("wait for DNS, storage and metrics", || addons::wait(&layout))?;
    remember_settings(&layout, &mut state)?;
    prune::run(&in_use(network_policy)?)?;
    progress.say(&format!("devhost is up ({})", seconds(progress.elapsed())));
    Ok((layout, state))
}

/// Refuses what `up` would refuse, and changes nothing.
pub(crate) fn preflight(options: &Options) -> Result<()> {
    let layout = Layout::locate()?;
    let known = known(&layout)?;
    let ports = ports_of(known.as_ref(), options)?;
    let network_policy = enforces(known.as_ref(), options)?;
    if let Some(state) = &known
        && is_up(&layout, state)?
    {
        return Ok(());
    }
    let has_strays = !strays::find(&layout, &settings::cache_root()?).is_empty();
    Facts::gather(&layout, known.as_ref(), ports, &tools::missing(&tools_for(network_policy))?, has_strays)?.check()
}

/// Debian packages that `up` would install.
pub(crate) fn missing_packages(options: &Options) -> Result<Vec<&'static str>> {
    packages_for(enforces(known(&Layout::locate()?)?.as_ref(), options)?)
}

fn packages_for(network_policy: bool) -> Result<Vec<&'static str>> {
    let compiler = tools::missing(DEVHOST)?.contains(&Tool::Kine);
    Ok(packages::missing(compiler, network_policy))
}

fn tools_for(network_policy: bool) -> Vec<Tool> {
    DEVHOST.iter().chain(if network_policy { ENFORCEMENT } else { &[] }).copied().collect()
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
    let agent = state.network_policy.then_some(cilium::AGENT);
    for name in PROCESSES.into_iter().chain(agent) {
        let pid = process::running(&layout, name).map_or("not running".to_owned(), |pid| format!("pid {pid}"));
        lines.push(format!("  {name:<24} {pid}"));
    }
    Ok(lines)
}

/// True if there is nothing to do.
fn is_up(layout: &Layout, state: &State) -> Result<bool> {
    let missing = tools::missing(&tools_for(state.network_policy))?;
    if state.boot != boot_id() || !missing.is_empty() || !packages::missing(false, state.network_policy).is_empty() {
        return Ok(false);
    }
    let mut specs = vec![
        containerd::spec(layout, state)?,
        control_plane::kine(layout)?,
        control_plane::api_server(layout, state)?,
        control_plane::controller_manager(layout, state)?,
        control_plane::scheduler(layout, state)?,
        node::kubelet(layout, state)?,
        node::kube_proxy(layout, state)?,
    ];
    if state.network_policy {
        specs.push(cilium::agent(layout, state)?);
    }
    let all_run = || specs.iter().all(|spec| process::is_current(layout, spec));
    Ok(all_run()
        && network::is_ready(layout, state)
        && control_plane::is_serving(state)
        && node::is_serving(state)
        && (!state.network_policy || cilium::is_serving(state))
        && containerd::has_network(layout)
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
fn prepare(layout: &Layout, known: Option<State>, ports: Ports, network_policy: bool) -> Result<State> {
    let mut state = match known {
        Some(state) if state.boot == boot_id() => state,
        // What lies on the disk since the boot before is ours, not the machine's.
        Some(state) => State { folders: state.folders.clone(), ..remember_machine(state)? },
        None => {
            let (pods, services) = network::choose(&network::taken(None)?)?;
            remember_machine(State { network_policy, ..State::on(pods, services, ports) })?
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
        (Some(ports), Some(asked)) if ports.api != asked.api => bail!(
            "The devhost has its API server at port {} and keeps its ports for life: run `cargo xtask down` first to \
             choose others.",
            ports.api
        ),
        (Some(ports), _) => Ok(ports),
        (None, asked) => Ok(asked.unwrap_or(Ports::from_base(PORT_BASE))),
    }
}

/// Whether the devhost that is there enforces network policies, or the one that is asked for.
fn enforces(known: Option<&State>, options: &Options) -> Result<bool> {
    match known.map(|state| state.network_policy) {
        Some(false) if options.network_policy => bail!(
            "The devhost enforces no network policies, and its pods would go on without: run `cargo xtask down` first."
        ),
        Some(enforced) => Ok(enforced),
        None => Ok(options.network_policy),
    }
}

/// What of the cache this version works with.
fn in_use(network_policy: bool) -> Result<Vec<PathBuf>> {
    let tools = tools_for(network_policy);
    let mut used: Vec<PathBuf> = tools.iter().map(|tool| tool.folder()).collect::<Result<_>>()?;
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

    #[test]
    fn a_devhost_enforces_network_policies_from_its_start_or_never() {
        let state = |network_policy| State { network_policy, ..State::on(10, 11, Ports::from_base(20000)) };
        let asked = |network_policy| Options { network_policy, ..Options::default() };
        assert!(enforces(None, &asked(true)).unwrap() && !enforces(None, &asked(false)).unwrap());
        assert!(enforces(Some(&state(true)), &asked(true)).unwrap());
        assert!(enforces(Some(&state(true)), &asked(false)).unwrap());
        assert!(!enforces(Some(&state(false)), &asked(false)).unwrap());
        let refusal = enforces(Some(&state(false)), &asked(true)).unwrap_err().to_string();
        assert!(refusal.contains("cargo xtask down"), "{refusal}");
        assert_eq!(tools_for(true).len(), tools_for(false).len() + 1);
    }
}
