//! What the devhost is to be: as it was made, with what is asked for now.

use anyhow::{Result, bail};

use super::Options;
use super::layout::{Ports, State};
use super::packages;
use crate::tools::{self, DEVHOST, ENFORCEMENT, PRETENCE, Tool};

/// First of the ports if none is asked for.
const PORT_BASE: u16 = 16000;

/// What can differ between one devhost and another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) ports: Ports,
    pub(crate) network_policy: bool,
    pub(crate) second_node: bool,
    pub(crate) kwok_nodes: u16,
}

impl Plan {
    /// Refuses what the devhost that is there cannot become. Nodes can be added to it, and stay until `down`.
    pub(crate) fn of(known: Option<&State>, options: &Options) -> Result<Self> {
        let plan = Self {
            ports: ports_of(known, options)?,
            network_policy: enforces(known, options)?,
            second_node: options.second_node || known.is_some_and(|state| state.second.is_some()),
            kwok_nodes: options.kwok_nodes.max(known.map_or(0, |state| state.kwok_nodes)),
        };
        if plan.second_node && plan.network_policy {
            bail!(
                "A devhost that enforces network policies has one node, which their agent looks after: leave out \
                 --second-node or --network-policy, and run `cargo xtask down` first if there is a devhost of the other kind."
            );
        }
        Ok(plan)
    }

    /// The one that this devhost follows.
    pub(crate) fn followed_by(state: &State) -> Self {
        Self {
            ports: state.ports,
            network_policy: state.network_policy,
            second_node: state.second.is_some(),
            kwok_nodes: state.kwok_nodes,
        }
    }

    /// What has to be built for it.
    pub(crate) fn tools(&self) -> Vec<Tool> {
        let enforcement = if self.network_policy { ENFORCEMENT } else { &[] };
        let pretence = if self.kwok_nodes > 0 { PRETENCE } else { &[] };
        DEVHOST.iter().chain(enforcement).chain(pretence).copied().collect()
    }

    /// Debian packages that are missing for it.
    pub(crate) fn missing_packages(&self) -> Result<Vec<&'static str>> {
        let compiler = tools::missing(DEVHOST)?.contains(&Tool::Kine);
        Ok(packages::missing(compiler, self.network_policy))
    }
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

#[cfg(test)]
mod tests {
    use super::super::layout::Kept;
    use super::*;

    fn state() -> State {
        State::on(10, 11, Ports::from_base(20000))
    }

    #[test]
    fn a_devhost_keeps_its_ports_and_says_so() {
        let state = state();
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
        let state = |network_policy| State { network_policy, ..state() };
        let asked = |network_policy| Options { network_policy, ..Options::default() };
        assert!(enforces(None, &asked(true)).unwrap() && !enforces(None, &asked(false)).unwrap());
        assert!(enforces(Some(&state(true)), &asked(true)).unwrap());
        assert!(enforces(Some(&state(true)), &asked(false)).unwrap());
        assert!(!enforces(Some(&state(false)), &asked(false)).unwrap());
        let refusal = enforces(Some(&state(false)), &asked(true)).unwrap_err().to_string();
        assert!(refusal.contains("cargo xtask down"), "{refusal}");
    }

    #[test]
    fn nodes_are_added_at_any_time_and_stay() {
        let more = Options { second_node: true, kwok_nodes: 100, ..Options::default() };
        let plan = Plan::of(Some(&state()), &more).unwrap();
        assert!(plan.second_node && plan.kwok_nodes == 100);
        let state = State { second: Some(Kept::default()), kwok_nodes: 100, ..state() };
        assert_eq!(Plan::of(Some(&state), &Options::default()).unwrap(), plan);
        assert_eq!(Plan::followed_by(&state), plan);
    }

    #[test]
    fn network_policies_are_enforced_on_one_node() {
        let both = Options { second_node: true, network_policy: true, ..Options::default() };
        assert!(Plan::of(None, &both).unwrap_err().to_string().contains("one node"));
        let enforcing = State { network_policy: true, ..state() };
        let second = Options { second_node: true, ..Options::default() };
        assert!(Plan::of(Some(&enforcing), &second).unwrap_err().to_string().contains("cargo xtask down"));
    }

    #[test]
    fn only_what_a_devhost_needs_is_built() {
        let tools = |options| Plan::of(None, &options).unwrap().tools();
        let plain = tools(Options::default());
        assert!(!plain.contains(&Tool::Cilium) && !plain.contains(&Tool::Kwok));
        assert_eq!(tools(Options { network_policy: true, ..Options::default() }).len(), plain.len() + 1);
        assert!(tools(Options { kwok_nodes: 1, ..Options::default() }).contains(&Tool::Kwok));
    }
}
