//! The devhost: Kubernetes on this machine from our own builds. Every step looks first and does only what is missing, so
//! the same path sets up, repairs and finds that there is nothing to do.
//!
//! ```text
//! preflight -> packages -> tools -> images -> network -> containerd -> kine -> API server -> kubelet -> kube-proxy -> addons
//! ```
//!
//! It has one node, and with `--second-node` another one: what is about nodes is done for each. With `--network-policy`
//! Cilium's agent comes before the addons, and no pod before the agent.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::kernel::Settings;
use super::layout::{Layout, State, boot_id};
use super::node::Node;
use super::plan::Plan;
use super::preflight::{Facts, belongs_to};
use super::{Options, strays, teardown};
use super::{addons, cgroups, cilium, containerd, control_plane, firewall, images, kernel, kube, kubelet};
use super::{kwok, network, owner, packages, pki, process, traces};
use crate::lock::{self, Lock};
use crate::progress::{Progress, seconds};
use crate::{prune, settings, tools};

const CONTROL_PLANE: [&str; 4] = ["kine", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// Names of all processes of this devhost, in the order they start.
pub(crate) fn processes(layout: &Layout, state: &State) -> Vec<&'static str> {
    let nodes = Node::all(layout, state);
    let mut names: Vec<_> = nodes.iter().map(|node| node.containerd).collect();
    names.extend(CONTROL_PLANE);
    names.extend(nodes.iter().flat_map(|node| [node.kubelet, node.kube_proxy]));
    names.extend(state.network_policy.then_some(cilium::AGENT));
    names.extend((state.kwok_nodes > 0).then_some(kwok::CONTROLLER));
    names
}

/// Brings the devhost up, or repairs it, and gives its state.
pub(crate) fn up(options: &Options, progress: &Progress) -> Result<(Layout, State)> {
    let layout = Layout::locate()?;
    let _lock = lock(progress)?;
    let known = known(&layout)?;
    let plan = Plan::of(known.as_ref(), options)?;
    if let Some(state) = &known
        && is_up(&layout, &plan, state)?
    {
        prune::run(&in_use(&plan)?)?;
        progress.say(&format!("devhost is up already ({})", seconds(progress.elapsed())));
        return Ok((layout, state.clone()));
    }

    let missing = tools::missing(&plan.tools())?;
    let strays = strays::find(&layout, &settings::cache_root()?);
    progress.step("check this machine", || {
        Facts::gather(&layout, known.as_ref(), &plan, &missing, !strays.is_empty())?.check()?;
        if !strays.is_empty() {
            strays::end(&strays);
            Facts::gather(&layout, known.as_ref(), &plan, &missing, false)?.check()?;
        }
        Ok(())
    })?;
    packages::ensure(&plan.missing_packages()?, options.yes, progress)?;
    tools::ensure(&plan.tools(), progress)?;
    images::ensure_archives(progress)?;

    let mut state = progress.step("prepare the nodes", || prepare(&layout, known, &plan))?;
    let nodes = Node::all(&layout, &state);
    for node in &nodes {
        progress.step(&format!("start {}", node.containerd), || containerd::ensure(&layout, node, &state))?;
    }
    progress.step("start the control plane", || control_plane::ensure(&layout, &state))?;
    for node in &nodes {
        images::import(&layout, node, &mut state, progress)?;
    }
    for node in &nodes {
        let what = format!("start {} and {}", node.kubelet, node.kube_proxy);
        progress.step(&what, || kubelet::ensure(&layout, node, &state))?;
    }
    if state.network_policy {
        progress.step("start the network policies' agent", || cilium::ensure(&layout, &state))?;
    }
    let had_pods = !state.addons.is_empty();
    addons::ensure(&layout, &mut state, progress)?;
    for node in &nodes {
        // Only the first one is sure to have some.
        let had_pods = had_pods && node.is_first();
        progress.step(&format!("wait for {}", node.name), || kubelet::wait_ready(&layout, node, had_pods))?;
    }
    progress.step("wait for DNS, storage and metrics", || addons::wait(&layout))?;
    if state.kwok_nodes > 0 {
        progress.step(&format!("pretend {} nodes", state.kwok_nodes), || kwok::ensure(&layout, &state))?;
    }
    remember_settings(&layout, &mut state)?;
    prune::run(&in_use(&plan)?)?;
    progress.say(&format!("devhost is up ({})", seconds(progress.elapsed())));
    Ok((layout, state))
}

/// Refuses what `up` would refuse, and changes nothing.
pub(crate) fn preflight(options: &Options) -> Result<()> {
    let layout = Layout::locate()?;
    let known = known(&layout)?;
    let plan = Plan::of(known.as_ref(), options)?;
    if let Some(state) = &known
        && is_up(&layout, &plan, state)?
    {
        return Ok(());
    }
    let has_strays = !strays::find(&layout, &settings::cache_root()?).is_empty();
    Facts::gather(&layout, known.as_ref(), &plan, &tools::missing(&plan.tools())?, has_strays)?.check()
}

/// Debian packages that `up` would install.
pub(crate) fn missing_packages(options: &Options) -> Result<Vec<&'static str>> {
    Plan::of(known(&Layout::locate()?)?.as_ref(), options)?.missing_packages()
}

/// True if there is a devhost that enforces network policies.
pub(crate) fn is_enforcing() -> Result<bool> {
    Ok(known(&Layout::locate()?)?.is_some_and(|state| state.network_policy))
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
    let is_up = is_up(&layout, &Plan::followed_by(&state), &state)?;
    let nodes = Node::all(&layout, &state);
    let mut names: Vec<String> = nodes.iter().map(|node| node.name.to_owned()).collect();
    names.extend((state.kwok_nodes > 0).then(|| format!("{} pretended", state.kwok_nodes)));
    let mut lines = vec![
        format!("devhost: {}", if is_up { "up" } else { "needs repair: run `cargo xtask up`" }),
        format!("  kubeconfig  {}", layout.kubeconfig_for_people().display()),
        format!("  API server  {}", state.api_url()),
        format!("  nodes       {}", names.join(", ")),
        format!("  pods        {}", state.pod_cidr),
        format!("  services    {}", state.service_cidr),
        format!("  logs        {}", layout.path("logs").display()),
    ];
    for name in processes(&layout, &state) {
        let pid = process::running(&layout, name).map_or("not running".to_owned(), |pid| format!("pid {pid}"));
        lines.push(format!("  {name:<24} {pid}"));
    }
    Ok(lines)
}

/// True if there is nothing to do.
fn is_up(layout: &Layout, plan: &Plan, state: &State) -> Result<bool> {
    if state.boot != boot_id()
        || Plan::followed_by(state) != *plan
        || !tools::missing(&plan.tools())?.is_empty()
        || !packages::missing(false, plan.network_policy).is_empty()
    {
        return Ok(false);
    }
    let mut specs = vec![
        control_plane::kine(layout)?,
        control_plane::api_server(layout, state)?,
        control_plane::controller_manager(layout, state)?,
        control_plane::scheduler(layout, state)?,
    ];
    let nodes = Node::all(layout, state);
    for node in &nodes {
        specs.push(containerd::spec(node, state)?);
        specs.push(kubelet::kubelet(layout, node, state)?);
        specs.push(kubelet::kube_proxy(layout, node, state)?);
    }
    if state.network_policy {
        specs.push(cilium::agent(layout, state)?);
    }
    if state.kwok_nodes > 0 {
        specs.push(kwok::controller(layout)?);
    }
    let all_run = || specs.iter().all(|spec| process::is_current(layout, spec));
    if !all_run() {
        return Ok(false);
    }
    for node in &nodes {
        if !is_node_up(layout, node, state)? {
            return Ok(false);
        }
    }
    Ok(control_plane::is_serving(state)
        && (!state.network_policy || cilium::is_serving(state))
        && layout.kubeconfig().is_file()
        && layout.kubeconfig_for_people().is_file()
        && addons::are_applied(layout, state)?
        && kube::is_ready(layout)
        && nodes.iter().all(|node| kube::node_is_ready(layout, node.name))
        && (state.kwok_nodes == 0 || kwok::are_ready(layout, state))
        && addons::waiting_for(layout).is_none()
        // One that was killed a moment ago may have looked alive.
        && all_run())
}

/// The same for a node, as far as it can be seen without the API server.
fn is_node_up(layout: &Layout, node: &Node, state: &State) -> Result<bool> {
    let Some(kept) = node.kept(state) else { return Ok(false) };
    Ok(network::is_ready(layout, node, state)
        && kubelet::is_serving(node, state)
        && containerd::has_network(node)
        && images::are_imported(kept, node.is_first())?
        && images::are_present(node))
}

/// State, kernel settings, network, cgroups and certificates.
fn prepare(layout: &Layout, known: Option<State>, plan: &Plan) -> Result<State> {
    let mut state = match known {
        Some(state) if state.boot == boot_id() => state,
        // What lies on the disk since the boot before is ours, not the machine's.
        Some(state) => State { folders: state.folders.clone(), ..remember_machine(state)? },
        None => {
            let (pods, services) = network::choose(&network::taken(None)?)?;
            let network_policy = plan.network_policy;
            remember_machine(State { network_policy, ..State::on(pods, services, plan.ports) })?
        }
    };
    if plan.second_node {
        state.second.get_or_insert_default();
    }
    state.kwok_nodes = plan.kwok_nodes;
    fs::create_dir_all(layout.root()).with_context(|| format!("cannot create {}", layout.root().display()))?;
    // Below it lie keys, the store with all Secrets and the volumes.
    fs::set_permissions(layout.root(), fs::Permissions::from_mode(0o700))?;
    state.save(layout)?;
    kernel::load_modules()?;
    if state.sysctls.is_empty() {
        state.sysctls = kernel::read();
        state.save(layout)?;
    }
    let nodes = Node::all(layout, &state);
    for node in &nodes {
        let table = network::ensure(layout, node, &state)?;
        node.kept_mut(&mut state).table = table;
        state.save(layout)?;
    }
    cgroups::ensure(&nodes)?;
    pki::ensure(layout, &state)?;
    for node in nodes.iter().filter(|node| !node.is_first()) {
        pki::ensure_node(layout, node, &state)?;
    }
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

/// What of the cache this version works with.
fn in_use(plan: &Plan) -> Result<Vec<PathBuf>> {
    let mut used: Vec<PathBuf> = plan.tools().iter().map(|tool| tool.folder()).collect::<Result<_>>()?;
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
