//! The devhost's own network, on each node: a bridge with the node's address, kernel settings (remembered), and an nft table
//! that fails closed: nothing leaves the machine from a pod, and no service address is ever answered by somebody else.
//! The namespace of the second node has no way out but to the first one's bridge.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Value;

use super::layout::{AGENT_DEVICE, BRIDGE, LINK, Layout, NETWORK, State};
use super::node::Node;
use super::{kernel, netns};
use crate::{cmd, hash};

/// Second octets of 10.x.0.0/16 to try: pods take the first free one, services the next.
const CANDIDATES: &[u8] = &[143, 144, 147, 148, 153, 154, 167, 168, 211, 212];

const LOOPBACK: &str = "lo";

/// An IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cidr {
    address: u32,
    prefix: u32,
}

impl Cidr {
    /// Reads `10.0.0.0/8`, or an address alone.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let (address, prefix): (Ipv4Addr, u32) = (address.parse().ok()?, prefix.parse().ok()?);
        (prefix <= 32).then_some(Self { address: address.to_bits(), prefix })
    }

    /// True if an address is in both.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        let mask = u32::MAX.checked_shl(32 - self.prefix.min(other.prefix)).unwrap_or(0);
        self.address & mask == other.address & mask
    }
}

/// Two /16 networks (for pods and for services) that nothing on this machine uses.
pub(crate) fn choose(taken: &[Cidr]) -> Result<(u8, u8)> {
    let free = |octet: &u8| {
        let own = Cidr { address: Ipv4Addr::new(10, *octet, 0, 0).to_bits(), prefix: 16 };
        !taken.iter().any(|other| own.overlaps(*other))
    };
    let mut free = CANDIDATES.iter().copied().filter(free);
    match (free.next(), free.next()) {
        (Some(pods), Some(services)) => Ok((pods, services)),
        _ => bail!(
            "no two of the networks 10.x.0.0/16 with x in {CANDIDATES:?} are free on this machine: remove a route"
        ),
    }
}

/// Networks of all addresses, routes (but the default one) and name servers of this machine, without our own bridge's and
/// the node's address.
pub(crate) fn taken(node: Option<Ipv4Addr>) -> Result<Vec<Cidr>> {
    let routes = cmd::output(cmd::system("ip").args(["-4", "route", "show", "table", "all"]))?;
    let mut networks = routed(&routes, node);
    let resolvers = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let resolvers = resolvers.lines().filter_map(|line| line.strip_prefix("nameserver "));
    networks.extend(resolvers.filter_map(|text| Cidr::parse(text.trim())));
    Ok(networks)
}

fn routed(routes: &str, node: Option<Ipv4Addr>) -> Vec<Cidr> {
    let node = node.map(|address| address.to_string());
    let mut networks = Vec::new();
    for line in routes.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_ours = |pair: &[&str]| matches!(pair, ["dev", BRIDGE | AGENT_DEVICE]);
        let is_node = words.first() == Some(&"local") && words.get(1).copied() == node.as_deref();
        if is_node || words.windows(2).any(is_ours) {
            continue;
        }
        // The first word may be the kind of route.
        let texts = words.iter().take(2).filter(|word| !matches!(**word, "default" | "0.0.0.0/0"));
        networks.extend(texts.filter_map(|text| Cidr::parse(text)));
    }
    networks
}

/// The first of our own networks that something else on this machine uses by now.
pub(crate) fn lost<'a>(own: &[&'a str], taken: &[Cidr]) -> Option<&'a str> {
    let is_taken = |own: Cidr| taken.iter().any(|other| own.overlaps(*other));
    own.iter().copied().find(|text| Cidr::parse(text).is_some_and(is_taken))
}

/// True if our bridge exists.
pub(crate) fn bridge_exists() -> bool {
    exists(BRIDGE)
}

/// True if the machine itself has an interface of this name.
pub(crate) fn exists(interface: &str) -> bool {
    Path::new("/sys/class/net").join(interface).exists()
}

fn has(node: &Node, interface: &str) -> bool {
    cmd::succeeds(node.command("ip").args(["link", "show", "dev", interface]))
}

/// What a bridge of our name is labelled with: the folder of the devhost that it belongs to.
pub(crate) fn bridge_label() -> Option<String> {
    let alias = fs::read_to_string(format!("/sys/class/net/{BRIDGE}/ifalias")).ok()?;
    Some(alias.trim().to_owned())
}

/// True if bridge, route and table are as wanted.
pub(crate) fn is_ready(layout: &Layout, node: &Node, state: &State) -> bool {
    let route = || cmd::output(node.command("ip").args(["-4", "route", "show", &state.service_cidr]));
    let has_table = |key: String| node.kept(state).is_some_and(|kept| kept.table == key);
    let is_connected = match &node.netns {
        None => bridge_label().is_some_and(|label| label == layout.root().display().to_string()),
        Some(file) => netns::exists(file) && is_linked(node),
    };
    is_connected
        && route().is_ok_and(|text| text.contains(BRIDGE))
        && table_key(node, state).is_ok_and(has_table)
        && has_address(node, BRIDGE)
        && (!state.network_policy || is_ready_for_agent(node))
        && missing_rules(node).is_empty()
}

fn is_ready_for_agent(node: &Node) -> bool {
    has_address(node, LOOPBACK) && exists(AGENT_DEVICE)
}

/// Makes bridge, route, table and settings; each is left as it is if it is right. Gives the key of the table.
pub(crate) fn ensure(layout: &Layout, node: &Node, state: &State) -> Result<String> {
    match &node.netns {
        None => kernel::apply()?,
        Some(file) => {
            netns::ensure(file)?;
            kernel::apply_in(node)?;
        }
    }
    let ip = |arguments: &[&str]| cmd::output(node.command("ip").args(arguments));
    if !has(node, BRIDGE) {
        ip(&["link", "add", BRIDGE, "type", "bridge"])?;
    }
    // A fixed address, or it would change with each pod that comes and goes.
    let [_, _, c, d] = node.ip.octets();
    ip(&["link", "set", BRIDGE, "alias", &layout.root().display().to_string()])?;
    ip(&["link", "set", BRIDGE, "address", &format!("02:68:78:62:{c:02x}:{d:02x}")])?;
    if !has_address(node, BRIDGE) {
        ip(&["address", "add", &format!("{}/16", node.ip), "dev", BRIDGE])?;
    }
    ip(&["link", "set", BRIDGE, "up"])?;
    ip(&["route", "replace", &state.service_cidr, "dev", BRIDGE, "src", &node.ip.to_string()])?;
    if let Some(file) = &node.netns {
        ip(&["link", "set", LOOPBACK, "up"])?;
        link(node, file)?;
    }
    if state.network_policy {
        // The agent takes a bridge for nothing of the machine: by this address it knows the kubelet's probes.
        if !has_address(node, LOOPBACK) {
            ip(&["address", "add", &format!("{}/32", node.ip), "dev", LOOPBACK])?;
        }
        if !exists(AGENT_DEVICE) {
            ip(&["link", "add", AGENT_DEVICE, "type", "bridge"])?;
        }
        ip(&["link", "set", AGENT_DEVICE, "up"])?;
    }
    cmd::output_with_input(node.command("nft").args(["-f", "-"]), table(node, state).as_bytes())?;
    for rule in missing_rules(node) {
        cmd::output(node.command("iptables").arg("-I").args(&rule))?;
    }
    table_key(node, state)
}

/// Joins the bridge in a namespace with the machine's own: what is on one is then on the other.
fn link(node: &Node, netns: &Path) -> Result<()> {
    let ip = |arguments: &[&str]| cmd::output(cmd::system("ip").args(arguments));
    if !(exists(LINK) && has(node, LINK)) {
        // One that leads elsewhere is left from a namespace of before; it takes its other end along.
        cmd::succeeds(cmd::system("ip").args(["link", "delete", LINK]));
        let netns = netns.display().to_string();
        ip(&["link", "add", LINK, "type", "veth", "peer", "name", LINK, "netns", &netns])?;
    }
    let each: [&[&str]; 2] = [&["link", "set", LINK, "master", BRIDGE], &["link", "set", LINK, "up"]];
    for arguments in each {
        ip(arguments)?;
        cmd::output(node.command("ip").args(arguments))?;
    }
    Ok(())
}

fn is_linked(node: &Node) -> bool {
    let is_port = |text: String| text.contains(&format!("master {BRIDGE}")) && text.contains(",UP");
    let show = ["link", "show", "dev", LINK];
    cmd::output(cmd::system("ip").args(show)).is_ok_and(is_port)
        && cmd::output(node.command("ip").args(show)).is_ok_and(is_port)
}

/// Changes when our table is to be another one, and when somebody changed the one that is loaded.
fn table_key(node: &Node, state: &State) -> Result<String> {
    let loaded = cmd::output(node.command("nft").args(["list", "table", "ip", NETWORK]))?;
    Ok(hash::of([table(node, state).as_bytes(), loaded.as_bytes()]))
}

/// Tables of nft as `family name`.
pub(crate) fn tables() -> Result<Vec<String>> {
    let text = cmd::output(cmd::system("nft").args(["list", "tables"]))?;
    Ok(text.lines().filter_map(|line| line.strip_prefix("table ")).map(|line| line.trim().to_owned()).collect())
}

/// True if the machine itself has an nft table of this name.
pub(crate) fn has_table(family: &str, name: &str) -> bool {
    cmd::succeeds(cmd::system("nft").args(["list", "table", family, name]))
}

/// True if kube-proxy has its table in the node's network.
pub(crate) fn has_services(node: &Node) -> bool {
    cmd::succeeds(node.command("nft").args(["list", "table", "ip", "kube-proxy"]))
}

/// Rules in the machine's own FORWARD chain that are ours, as arguments after `-A`.
pub(crate) fn forward_rules() -> [Vec<&'static str>; 2] {
    let rule = |direction| vec!["FORWARD", direction, BRIDGE, "-m", "comment", "--comment", NETWORK, "-j", "ACCEPT"];
    [rule("-i"), rule("-o")]
}

/// Takes the node's address from the loopback interface.
pub(crate) fn forget_loopback_address(state: &State) {
    if state.network_policy {
        // It may be gone already.
        cmd::succeeds(cmd::system("ip").args(["address", "delete", &format!("{}/32", state.node_ip), "dev", LOOPBACK]));
    }
}

fn has_address(node: &Node, interface: &str) -> bool {
    let found = cmd::output(node.command("ip").args(["-j", "address", "show", "dev", interface])).unwrap_or_default();
    let found: Value = serde_json::from_str(&found).unwrap_or_default();
    let addresses = found[0]["addr_info"].as_array();
    addresses.is_some_and(|list| list.iter().any(|entry| entry["local"] == node.ip.to_string()))
}

/// The rules that let our bridge through and are not there. Only where the machine's firewall drops what it forwards
/// (Docker sets that).
fn missing_rules(node: &Node) -> Vec<Vec<&'static str>> {
    let chain = cmd::output(node.command("iptables").args(["-S", "FORWARD"])).unwrap_or_default();
    if chain.lines().next() != Some("-P FORWARD DROP") {
        return Vec::new();
    }
    let is_there = |rule: &Vec<&str>| cmd::succeeds(node.command("iptables").arg("-C").args(rule));
    forward_rules().into_iter().filter(|rule| !is_there(rule)).collect()
}

fn table(node: &Node, state: &State) -> String {
    let (pods, services, node) = (&state.pod_cidr, &state.service_cidr, node.ip);
    format!(
        "table ip {NETWORK} {{}}\n\
         delete table ip {NETWORK}\n\
         table ip {NETWORK} {{\n\
         \tchain input {{\n\
         \t\ttype filter hook input priority 0; policy accept;\n\
         \t\tiifname != {{ \"lo\", \"{BRIDGE}\" }} ip daddr {{ {node}, {services} }} drop\n\
         \t}}\n\
         \tchain output {{\n\
         \t\ttype filter hook output priority 0; policy accept;\n\
         \t\tip daddr {services} reject with icmp type host-unreachable\n\
         \t}}\n\
         \tchain forward {{\n\
         \t\ttype filter hook forward priority 0; policy accept;\n\
         \t\tip daddr {services} reject with icmp type host-unreachable\n\
         \t\tiifname \"{BRIDGE}\" oifname != \"{BRIDGE}\" reject with icmp type admin-prohibited\n\
         \t\tiifname != \"{BRIDGE}\" oifname \"{BRIDGE}\" drop\n\
         \t\tip saddr {pods} oifname != \"{BRIDGE}\" drop\n\
         \t}}\n\
         }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::layout::Ports;
    use super::*;

    #[test]
    fn networks_in_use_are_left_alone() {
        let taken = ["10.143.7.0/24", "192.168.0.0/16", "10.148.0.1"].map(|text| Cidr::parse(text).unwrap());
        assert_eq!(choose(&taken).unwrap(), (144, 147));
        assert_eq!(choose(&[]).unwrap(), (143, 144));
        assert!(choose(&[Cidr::parse("10.0.0.0/8").unwrap()]).is_err());
    }

    #[test]
    fn routes_of_our_own_bridge_take_nothing() {
        let routes = "default via 172.16.0.1 dev eth0\n10.143.0.0/16 dev hxb0 proto kernel scope link src 10.143.0.1\n\
                      local 10.143.0.1 dev hxb0 table local\n10.144.0.0/20 via 172.16.0.9 dev eth0\n\
                      broadcast 172.16.0.255 dev eth0 table local\n";
        let expected = ["10.144.0.0/20", "172.16.0.255"].map(|text| Cidr::parse(text).unwrap());
        assert_eq!(routed(routes, None), expected);
    }

    #[test]
    fn the_nodes_own_address_is_not_taken_by_somebody_else() {
        let routes = "local 10.143.0.1 dev lo table local proto kernel scope host src 10.143.0.1\n\
                      local 10.147.0.1 dev lo table local\n";
        let node = Ipv4Addr::new(10, 143, 0, 1);
        assert_eq!(routed(routes, Some(node)), [Cidr::parse("10.147.0.1").unwrap()]);
        assert_eq!(routed(routes, None).len(), 2);
    }

    #[test]
    fn a_network_is_lost_when_a_route_into_it_appears() {
        let taken = [Cidr::parse("10.144.7.0/24").unwrap()];
        assert_eq!(lost(&["10.143.0.0/16", "10.144.0.0/16"], &taken), Some("10.144.0.0/16"));
        assert_eq!(lost(&["10.143.0.0/16"], &taken), None);
    }

    #[test]
    fn overlap_goes_by_the_shorter_prefix() {
        let cidr = |text| Cidr::parse(text).unwrap();
        assert!(cidr("10.0.0.0/8").overlaps(cidr("10.9.9.9/32")));
        assert!(!cidr("10.1.0.0/16").overlaps(cidr("10.2.0.0/16")));
        assert!(cidr("0.0.0.0/0").overlaps(cidr("10.2.0.0/16")));
        assert!(Cidr::parse("fe80::1/64").is_none());
    }
    #[test]
    fn each_node_answers_for_its_own_address_and_for_services_only() {
        let layout = Layout::at(Path::new("/c/devhost"));
        let state = State::on(10, 11, Ports::from_base(16000));
        let first = table(&Node::first(&layout, &state), &state);
        let second = table(&Node::second(&layout, &state), &state);
        assert!(first.contains("ip daddr { 10.10.0.1, 10.11.0.0/16 } drop"), "{first}");
        assert!(second.contains("ip daddr { 10.10.240.1, 10.11.0.0/16 } drop"), "{second}");
        assert_eq!(second.replace("10.10.240.1", "10.10.0.1"), first);
    }
}
