//! Who reaches whom by all policies together: three workspaces and others on one host, every pair, in both families, however
//! the network plugin understands blocks of addresses. `tests/cluster/connections.rs` tries the same with real connections.

use std::collections::BTreeMap;

use hexabase_core::ids::{OrganizationId, WorkspaceId};
use hexabase_core::projects::{PodSecurity, ProjectLabels};
use hexabase_core::quota::Amounts;
use hexabase_testkit::network::{Connection, End, IpBlocks, Labels, Network, Pod};

use super::*;
use crate::labels;

const WORKSPACES: [&str; 3] = ["ws-0123456789abcdefghj0", "ws-0123456789abcdefghj1", "ws-0123456789abcdefghj2"];
const BLOCKS: [IpBlocks; 2] = [IpBlocks::Everybody, IpBlocks::NoPods];

/// The pods in a workspace's namespace.
const KINDS: [&str; 7] = ["workload", "pretender", "isolated", "vault", "DNS", "control plane", "stray"];
/// Who reaches what. Whatever is not here is not wanted.
const WANTED: [(&str, &[&str]); 8] = [
    ("workload", &["own pod", "own service", "own DNS", "own API", "public"]),
    // Somebody's pod that calls itself what the host's and the platform's pods are called.
    ("pretender", &["own pod", "own service", "own DNS", "own API", "public"]),
    // Of a project that is isolated; the vault is in it as well.
    ("isolated", &["own isolated", "own DNS", "own API", "public"]),
    ("DNS", &["own pod", "own service", "own DNS", "own API", "public", "resolver"]),
    ("control plane", &["own pod", "own service", "own isolated", "own DNS", "host API", "host DNS", "issuer"]),
    // What somebody made in the namespace past vCluster.
    ("stray", &[]),
    // No policy of ours is about these; they reach nothing of a workspace.
    ("outsider", OUTSIDE),
    ("platform", &["own API", "other API"]),
];
/// What everybody reaches of whom no policy of ours speaks.
const OUTSIDE: &[&str] = &[
    "host API",
    "host DNS",
    "node",
    "kubelet",
    "metadata",
    "public",
    "resolver",
    "issuer",
    "pod outside",
    "node's cache of the host DNS",
];

fn pod(namespace: &str, pairs: &[(&str, &str)]) -> Pod {
    let labels = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Pod { namespace: namespace.to_owned(), labels, ports: Vec::new() }
}

fn project(name: &str, network: NetworkIsolation) -> DesiredProject {
    DesiredProject {
        id: "prj-0123456789abcdefghjk".parse().unwrap(),
        name: name.parse().unwrap(),
        present: true,
        limits: Amounts::of(|_| 1),
        labels: ProjectLabels::default(),
        pod_security: PodSecurity::Restricted,
        network,
        grants: Vec::new(),
        custom_roles: Vec::new(),
    }
}

/// The pods of one workspace.
struct Workspace {
    names: Names,
    number: usize,
    pods: BTreeMap<&'static str, Pod>,
}

impl Workspace {
    fn new(number: usize) -> Self {
        let id: WorkspaceId = WORKSPACES[number].parse().unwrap();
        let names = Names::of(&id);
        let made = |pairs: &[(&str, &str)]| pod(&names.namespace, pairs);
        let synced = (SYNCED_BY, names.name.as_str());
        let pods = BTreeMap::from([
            ("workload", made(&[synced, (SPACE, "shop"), ("app", "web")])),
            ("isolated", made(&[synced, (SPACE, "bank"), ("app", "web")])),
            ("vault", made(&[synced, (SPACE, "bank"), ("app", "vault")])),
            (
                "pretender",
                made(&[synced, (SPACE, "kube-system"), ("k8s-app", "kube-dns"), ("app", "vcluster"), ("release", "x")]),
            ),
            ("DNS", made(&[synced, (SPACE, "kube-system"), ("k8s-app", "vcluster-kube-dns")])),
            ("control plane", made(&[("app", "vcluster"), ("release", names.name.as_str())])),
            ("stray", made(&[("app", "web")])),
        ]);
        Self { names, number, pods }
    }

    fn policies(&self) -> Vec<Value> {
        let mut settings = HostSettings::new(None, "helm".into(), "chart".into());
        settings.platform = vec![Peer::Namespace("hexabase".to_owned())];
        self.policies_with(&settings, &format!("https://{}:8443/oidc", address("issuer", Family::V4)))
    }

    fn policies_with(&self, settings: &HostSettings, discovery_url: &str) -> Vec<Value> {
        let id: WorkspaceId = WORKSPACES[self.number].parse().unwrap();
        let organization: OrganizationId = "org-0123456789abcdefghjk".parse().unwrap();
        let authentication = Authentication {
            issuer_url: format!("https://hexabase.example/oidc/{id}"),
            discovery_url: Some(discovery_url.to_owned()),
            audience: id.to_string(),
            ca_pem: None,
        };
        let all = |name: &str| FAMILIES.map(|family| address(name, family));
        let places = Places {
            api: all("host API").map(|address| (address, 6443)).to_vec(),
            dns: all("host DNS").to_vec(),
            nodes: all("node").into_iter().chain(all("public node")).collect(),
            pods: ["10.244.0.0/16", "fd00:244::/32", "2a01:244::/32"].map(ToOwned::to_owned).to_vec(),
            metrics: Some(crate::golden::metrics()),
        };
        let own = labels::of_workspace(&id, Some(&organization));
        let projects = [project("shop", NetworkIsolation::Open), project("bank", NetworkIsolation::Isolated)];
        let built = build(settings, &authentication, &places, &self.names, &own, &projects);
        built.into_iter().map(|manifest| manifest.json).collect()
    }

    fn end(&self, kind: &str, family: Family) -> End<'_> {
        let place = self.pods.keys().position(|known| *known == kind).unwrap();
        End { address: pod_address(self.number, place, family), pod: self.pods.get(kind) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
    /// IPv6 on a host that has no private addresses, not even for its pods.
    Global,
}

const FAMILIES: [Family; 3] = [Family::V4, Family::V6, Family::Global];

fn pod_address(number: usize, place: usize, family: Family) -> IpAddr {
    let text = match family {
        Family::V4 => format!("10.244.{number}.{}", place + 1),
        Family::V6 => format!("fd00:244:{number}::{}", place + 1),
        Family::Global => format!("2a01:244:{number}::{}", place + 1),
    };
    text.parse().unwrap()
}

/// Where the rest stands.
fn address(name: &str, family: Family) -> IpAddr {
    let (v4, v6, global) = match name {
        "host API" => ("10.0.0.5", "fd00::5", "2a01::5"),
        "host DNS" => ("10.244.9.9", "fd00:244:9::9", "2a01:244:9::9"),
        "node" | "kubelet" => ("10.0.0.7", "fd00::7", "2a01::7"),
        "public node" => ("11.0.0.7", "2a00::7", "2a00::7"),
        "cache" => ("169.254.20.10", "fd00::a", "fd00::a"),
        "issuer" => ("10.0.0.8", "fd00::8", "2a01::8"),
        "resolver" => ("10.0.0.2", "fd00::2", "fd00::2"),
        "metadata" => ("169.254.169.254", "fd00:ec2::254", "fd00:ec2::254"),
        _ => ("9.9.9.9", "2620:fe::fe", "2620:fe::fe"),
    };
    let text = match family {
        Family::V4 => v4,
        Family::V6 => v6,
        Family::Global => global,
    };
    text.parse().unwrap()
}

/// The pods that belong to no workspace.
struct Others {
    outsider: Pod,
    platform: Pod,
    dns: Pod,
}

impl Others {
    fn new() -> Self {
        Self {
            outsider: pod("default", &[("app", "vcluster"), ("release", WORKSPACES[0]), (SYNCED_BY, WORKSPACES[0])]),
            platform: pod("hexabase", &[("app", "hexabase")]),
            dns: pod("kube-system", &[(DNS_LABEL, DNS_NAME)]),
        }
    }
}

/// Everything that `own` may try to reach: name, where, protocol and port.
fn destinations<'a>(
    own: &'a Workspace,
    other: &'a Workspace,
    others: &'a Others,
    family: Family,
) -> Vec<(&'static str, End<'a>, &'static str, u16)> {
    let at = |name: &str| End { address: address(name, family), pod: None };
    let mut all = Vec::new();
    for (title, workspace) in [("own", own), ("other", other)] {
        let of = |kind: &str| workspace.end(kind, family);
        let named = |own: &'static str, other: &'static str| if title == "own" { own } else { other };
        all.push((named("own pod", "other pod"), of("workload"), "TCP", 8080));
        // Behind the Service's address another pod answers.
        all.push((named("own service", "other service"), of("pretender"), "TCP", 8080));
        all.push((named("own isolated", "other isolated"), of("vault"), "TCP", 8080));
        all.push((named("own DNS", "other DNS"), of("DNS"), "UDP", 1053));
        all.push((named("own DNS", "other DNS"), of("DNS"), "TCP", 1053));
        all.push((named("own API", "other API"), of("control plane"), "TCP", 8443));
        all.push((named("own internals", "other internals"), of("control plane"), "TCP", 2379));
        all.push((named("own stray", "other stray"), of("stray"), "TCP", 8080));
    }
    all.extend([
        ("host API", at("host API"), "TCP", 6443),
        ("host DNS", End { pod: Some(&others.dns), ..at("host DNS") }, "UDP", 53),
        ("node", at("node"), "TCP", 22),
        ("node", at("public node"), "TCP", 22),
        ("kubelet", at("kubelet"), "TCP", 10250),
        ("kubelet", at("public node"), "TCP", 10250),
        ("metadata", at("metadata"), "TCP", 80),
        ("public", at("public"), "TCP", 443),
        ("resolver", at("resolver"), "UDP", 53),
        ("pod outside", End { address: pod_address(9, 0, family), pod: Some(&others.outsider) }, "TCP", 8080),
        ("pod outside", End { address: pod_address(9, 1, family), pod: Some(&others.platform) }, "TCP", 5432),
    ]);
    if family == Family::V4 {
        all.push(("node's cache of the host DNS", at("cache"), "UDP", 53));
    }
    // Nothing else of its machine, and the discovery document has one address only.
    if family == Family::V4 {
        all.push(("issuer", at("issuer"), "TCP", 8443));
    }
    all
}

fn network(policies: &[Value]) -> Network {
    let names = WORKSPACES.map(|id| format!("hxb-{id}"));
    let names = names.into_iter().chain(["default", "hexabase", "kube-system"].map(ToOwned::to_owned));
    let labels = |name: &String| Labels::from([("kubernetes.io/metadata.name".to_owned(), name.clone())]);
    Network::new(names.map(|name| (name.clone(), labels(&name))).collect(), policies).unwrap()
}

/// The pairs that are not as wanted, and how many there were.
fn wrong(network: &Network, workspaces: &[Workspace]) -> (Vec<String>, usize) {
    let others = Others::new();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (own, other) in workspaces.iter().flat_map(|own| workspaces.iter().map(move |other| (own, other))) {
        if own.number == other.number {
            continue;
        }
        for family in FAMILIES {
            let outside = |last: usize| pod_address(9, last, family);
            for (source, wanted) in WANTED {
                let from = match source {
                    "outsider" => End { address: outside(0), pod: Some(&others.outsider) },
                    "platform" => End { address: outside(1), pod: Some(&others.platform) },
                    kind => own.end(kind, family),
                };
                for (name, to, protocol, port) in destinations(own, other, &others, family) {
                    let itself = from.address == to.address;
                    for blocks in BLOCKS {
                        let connection = Connection { from, to, protocol, port };
                        count += 1;
                        let is_wanted = wanted.contains(&name) || (source == "platform" && OUTSIDE.contains(&name));
                        if !itself && network.allows(&connection, blocks) != is_wanted {
                            let (own, other) = (own.number, other.number);
                            wrong.push(format!(
                                "{source} of {own} to {name} beside {other}: {connection:?}, {blocks:?}"
                            ));
                        }
                    }
                }
            }
        }
    }
    (wrong, count)
}

#[test]
fn every_pair_is_connected_that_should_be_and_no_other() {
    let workspaces = [0, 1, 2].map(Workspace::new);
    let policies: Vec<Value> = workspaces.iter().flat_map(Workspace::policies).collect();
    let (wrong, count) = wrong(&network(&policies), &workspaces);
    println!("{count} pairs");
    assert!(count > 1_500, "{count}");
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn projects_that_are_isolated_reach_neither_each_other_nor_those_that_are_open() {
    let own = Workspace::new(0);
    let [shop, bank, mint] =
        [("shop", NetworkIsolation::Open), ("bank", NetworkIsolation::Isolated), ("mint", NetworkIsolation::Isolated)]
            .map(|(name, network)| project(name, network));
    let settings = HostSettings::new(None, "helm".into(), "chart".into());
    let trusted = &crate::golden::desired().authentication;
    let built = build(&settings, trusted, &Places::default(), &own.names, &Map::new(), &[shop, bank, mint]);
    let policies: Vec<Value> = built.into_iter().map(|manifest| manifest.json).collect();
    let network = network(&policies);
    // A namespace that is no project's is open.
    let pods = ["shop", "bank", "mint", "default"]
        .map(|space| pod(&own.names.namespace, &[(SYNCED_BY, own.names.name.as_str()), (SPACE, space)]));
    let at = |place: usize| End { address: pod_address(0, 20 + place, Family::V4), pod: Some(&pods[place]) };
    for (from, to) in (0..4).flat_map(|from| (0..4).map(move |to| (from, to))) {
        let connection = Connection { from: at(from), to: at(to), protocol: "TCP", port: 8080 };
        let wanted = from == to || (from != 1 && from != 2 && to != 1 && to != 2);
        for blocks in BLOCKS {
            assert_eq!(network.allows(&connection, blocks), wanted, "{from} to {to}, {blocks:?}");
        }
    }
}

#[test]
fn one_workspace_without_its_policies_opens_nothing_of_another() {
    let workspaces = [0, 1, 2].map(Workspace::new);
    let (open, closed) = (&workspaces[0], &workspaces[1]);
    // As if they came a moment after the pods, or went a moment before.
    let policies: Vec<Value> = workspaces[1..].iter().flat_map(Workspace::policies).collect();
    let network = network(&policies);
    let others = Others::new();
    for (from, to) in [(open, closed), (closed, open)] {
        for (family, kind) in FAMILIES.into_iter().flat_map(|family| KINDS.map(|kind| (family, kind))) {
            let of_the_other =
                destinations(to, from, &others, family).into_iter().filter(|(name, ..)| name.starts_with("own"));
            for (name, to, protocol, port) in of_the_other {
                let connection = Connection { from: from.end(kind, family), to, protocol, port };
                let reached = BLOCKS.map(|blocks| network.allows(&connection, blocks));
                assert_eq!(reached, [false, false], "{kind} to {name} of another: {connection:?}");
            }
        }
    }
}

#[test]
fn a_control_plane_reaches_the_issuer_wherever_that_is_and_nothing_beside_it() {
    let own = Workspace::new(0);
    let (platform, database) = (pod("hexabase", &[("app", "hexabase")]), pod("hexabase", &[("app", "postgresql")]));
    let mut settings = HostSettings::new(None, "helm".into(), "chart".into());
    settings.platform = vec![Peer::Namespace("hexabase".to_owned()), Peer::Cidr("10.7.0.0/16".to_owned())];
    settings.issuer_port = Some(8444);
    settings.closed_networks = vec!["9.9.8.0/24".to_owned()];
    let at = |address: &str| End { address: address.parse().unwrap(), pod: None };
    let destinations = [
        ("address", at("10.0.0.8"), 8443),
        ("beside the address", at("10.0.0.8"), 5432),
        ("pod", End { pod: Some(&platform), ..at("10.244.9.2") }, 8444),
        ("metrics of the pod", End { pod: Some(&platform), ..at("10.244.9.2") }, 9090),
        ("database", End { pod: Some(&database), ..at("10.244.9.3") }, 5432),
        ("network of callers", at("10.7.0.1"), 443),
        ("public", at("9.9.9.9"), 443),
        ("public, another port", at("9.9.9.9"), 25),
        ("closed", at("9.9.8.1"), 443),
    ];
    let shapes: [(&str, &[&str]); 3] = [
        ("https://10.0.0.8:8443/oidc", &["address"]),
        ("https://keys.hexabase.svc/oidc", &["pod"]),
        ("https://id.example.com/oidc", &["pod", "public"]),
    ];
    for (url, wanted) in shapes {
        let network = network(&own.policies_with(&settings, url));
        for (name, to, port) in destinations {
            let from = own.end("control plane", Family::V4);
            let connection = Connection { from, to, protocol: "TCP", port };
            for blocks in BLOCKS {
                assert_eq!(network.allows(&connection, blocks), wanted.contains(&name), "{url} to {name}, {blocks:?}");
            }
        }
    }
}

#[test]
fn a_control_plane_reaches_the_hosts_metrics_server_and_no_other_pod_of_a_workspace_does() {
    let own = Workspace::new(0);
    let [metrics, beside] = ["metrics-server", "coredns"].map(|app| pod("kube-system", &[("k8s-app", app)]));
    let network = network(&own.policies());
    let at = |address: &str| End { address: address.parse().unwrap(), pod: None };
    let destinations = [
        ("service", at("10.96.0.44"), 443),
        ("pod", End { pod: Some(&metrics), ..at("10.244.9.4") }, 10250),
        ("another port of the service", at("10.96.0.44"), 80),
        ("another port of the pod", End { pod: Some(&metrics), ..at("10.244.9.4") }, 4443),
        ("a pod beside it", End { pod: Some(&beside), ..at("10.244.9.5") }, 10250),
    ];
    for kind in KINDS {
        for (name, to, port) in destinations {
            let connection = Connection { from: own.end(kind, Family::V4), to, protocol: "TCP", port };
            let wanted = kind == "control plane" && ["service", "pod"].contains(&name);
            for blocks in BLOCKS {
                assert_eq!(network.allows(&connection, blocks), wanted, "{kind} to {name}, {blocks:?}");
            }
        }
    }
}

#[test]
fn without_any_policy_everything_would_be_reached() {
    let workspaces = [0, 1].map(Workspace::new);
    let (wrong, count) = wrong(&network(&[]), &workspaces);
    assert!(wrong.len() > count / 3, "{} of {count}", wrong.len());
}
