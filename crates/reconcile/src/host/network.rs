//! Step 2, second part: who may talk to whom. Nothing, but what is listed here; in place before the first pod starts.
//!
//! Pods are told apart by labels that vCluster does not take from tenants: `release` on the control plane,
//! `vcluster.loft.sh/managed-by` and `vcluster.loft.sh/namespace` on what it brings to the host. Policies that tenants make
//! themselves stay inside, where nothing enforces them: which of a workspace's projects talk to each other is decided here as
//! well.

use std::net::IpAddr;

use hexabase_core::projects::NetworkIsolation;
use serde_json::{Map, Value, json};

use crate::apply::Cluster;
use crate::desired::{Authentication, DesiredProject};
use crate::error::ReconcileError;
use crate::host::places::{DNS_LABEL, DNS_NAME, MetricsServer, Places, is_in};
use crate::labels::{Names, PROJECT, SYNCED_BY};
use crate::manifest::{Kind, Manifest};
use crate::settings::{EndpointMode, HostSettings, Peer};

/// vCluster's label for the namespace inside.
const SPACE: &str = "vcluster.loft.sh/namespace";
/// Port of the tenant API server in its pod.
const TENANT_API: u16 = 8443;
/// What is not the internet: this machine, private and shared ranges, link-local with the clouds' metadata services,
/// documentation, benchmarks, multicast, reserved.
const NOT_PUBLIC_V4: [&str; 15] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
];
/// The public part of IPv6, and what of it carries IPv4 addresses inside or is for documentation.
const PUBLIC_V6: &str = "2000::/3";
const NOT_PUBLIC_V6: [&str; 3] = ["2001::/32", "2001:db8::/32", "2002::/16"];
/// Where nodes have a cache of the host's DNS by the custom of Kubernetes' NodeLocal DNSCache: it answers with the host's names.
const NODE_LOCAL_DNS: &str = "169.254.20.10/32";

/// All policies of a workspace.
pub(crate) fn build(
    settings: &HostSettings,
    authentication: &Authentication,
    places: &Places,
    names: &Names,
    labels: &Map<String, Value>,
    projects: &[DesiredProject],
) -> Vec<Manifest> {
    // Until its namespace is gone, one that leaves stays as it was.
    let isolated: Vec<&DesiredProject> =
        projects.iter().filter(|project| project.network == NetworkIsolation::Isolated).collect();
    let control_plane = json!({ "matchLabels": { "app": "vcluster", "release": names.name } });
    let workloads = json!({ "matchLabels": { SYNCED_BY: names.name } });
    let dns = json!({ "matchLabels": {
        SYNCED_BY: names.name, SPACE: "kube-system", "k8s-app": "vcluster-kube-dns",
    } });
    let api = json!([{ "protocol": "TCP", "port": TENANT_API }]);
    let own = json!([{ "podSelector": workloads }]);
    // Policies only add to each other: whoever is to have less is not among these.
    let mut open = workloads.clone();
    if !isolated.is_empty() {
        let spaces: Vec<&str> = isolated.iter().map(|project| project.name.as_str()).collect();
        open["matchExpressions"] = json!([{ "key": SPACE, "operator": "NotIn", "values": spaces }]);
    }

    let mut into_control_plane = vec![json!({ "from": own, "ports": api })];
    if let Some(from) = callers(settings) {
        into_control_plane.push(json!({ "from": from, "ports": api }));
    }
    let mut out_of_control_plane = vec![json!({ "to": own }), host_dns()];
    out_of_control_plane.extend(places.api.iter().map(|(address, port)| to_address(*address, *port)));
    out_of_control_plane.extend(places.metrics.iter().flat_map(to_metrics));
    out_of_control_plane.extend(to_issuer(settings, authentication));

    let policy = |name: &str, selector: &Value, ingress: Vec<Value>, egress: Vec<Value>| {
        let mut spec = json!({ "podSelector": selector, "policyTypes": ["Ingress", "Egress"] });
        // An absent list means the same as an empty one, but only that is stored as it is applied.
        for (direction, rules) in [("ingress", ingress), ("egress", egress)] {
            if !rules.is_empty() {
                spec[direction] = json!(rules);
            }
        }
        Manifest::new(Kind::NetworkPolicy, Some(&names.namespace), name, labels, json!({ "spec": spec }))
    };
    let to_control_plane = json!({ "to": [{ "podSelector": control_plane }], "ports": api });
    let internet = json!({ "to": internet(&closed(settings, places)) });
    let of_project = |project: &&DesiredProject| {
        let itself = json!({ "matchLabels": { SYNCED_BY: names.name, SPACE: project.name.as_str() } });
        let mut policy = policy(
            &format!("hexabase-project-{}", project.id),
            &itself,
            // The control plane calls webhooks, wherever they run.
            vec![json!({ "from": [{ "podSelector": itself }, { "podSelector": control_plane }] })],
            vec![
                json!({ "to": [{ "podSelector": itself }, { "podSelector": dns }] }),
                to_control_plane.clone(),
                internet.clone(),
            ],
        );
        policy.label(&Map::from_iter([(PROJECT.to_owned(), json!(project.id.as_str()))]));
        policy
    };
    let mut all: Vec<Manifest> = isolated.iter().map(of_project).collect();
    all.extend([
        policy("hexabase-default-deny", &json!({}), vec![], vec![]),
        policy(
            "hexabase-workloads",
            &open,
            vec![json!({ "from": [{ "podSelector": workloads }, { "podSelector": control_plane }] })],
            vec![json!({ "to": own }), to_control_plane.clone(), internet.clone()],
        ),
        policy("hexabase-control-plane", &control_plane, into_control_plane, out_of_control_plane),
        // The tenants' DNS asks the node's resolver, wherever that is, but not the host's DNS, which knows of everybody.
        policy("hexabase-dns", &dns, vec![], vec![json!({ "to": resolvers(places), "ports": dns_ports() })]),
    ]);
    all
}

/// Takes away the policies of projects that are isolated no more, or gone. After the others were applied: what these let in is
/// then let in already.
pub(crate) async fn prune(host: &Cluster, names: &Names, wanted: &[Manifest]) -> Result<(), ReconcileError> {
    let namespace = Some(names.namespace.as_str());
    for name in host.list_names(Kind::NetworkPolicy, namespace, PROJECT).await? {
        if wanted.iter().all(|policy| policy.name != name) {
            host.delete(Kind::NetworkPolicy, namespace, &name, None).await?;
        }
    }
    Ok(())
}

/// Who may call tenant API servers from outside the workspace. A port of the node is open to everybody unless the
/// settings say more: the API server asks every caller for a token.
fn callers(settings: &HostSettings) -> Option<Value> {
    if !settings.platform.is_empty() {
        return Some(settings.platform.iter().map(peer).collect());
    }
    matches!(settings.endpoint, EndpointMode::NodePort { .. }).then(|| blocks(&[], &[]))
}

fn peer(peer: &Peer) -> Value {
    match peer {
        Peer::Namespace(name) => {
            json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } } })
        }
        Peer::Cidr(cidr) => json!({ "ipBlock": { "cidr": cidr } }),
    }
}

/// What the settings close, and the host's own machines, its DNS and all its pods where they have public addresses.
fn closed(settings: &HostSettings, places: &Places) -> Vec<String> {
    let machines = places.nodes.iter().chain(places.api.iter().map(|(address, _)| address)).chain(&places.dns);
    let public = machines.filter(|address| is_public(**address)).map(|address| network_of(*address));
    let pods = places.pods.iter().filter(|network| base(network).is_some_and(is_public)).cloned();
    let mut closed: Vec<String> = settings.closed_networks.iter().cloned().chain(public).chain(pods).collect();
    closed.sort_unstable();
    closed.dedup();
    closed
}

fn is_public(address: IpAddr) -> bool {
    let in_any = |networks: &[&str]| networks.iter().any(|network| is_in(address, network));
    if address.is_ipv4() { !in_any(&NOT_PUBLIC_V4) } else { is_in(address, PUBLIC_V6) && !in_any(&NOT_PUBLIC_V6) }
}

/// All public addresses but those in `closed`.
fn internet(closed: &[String]) -> Value {
    let (v4, v6): (Vec<&str>, Vec<&str>) = closed.iter().map(String::as_str).partition(|network| is_v4(network));
    // Kubernetes takes as an exception only what lies in the block.
    let v6 = v6.into_iter().filter(|network| base(network).is_some_and(|base| is_in(base, PUBLIC_V6)));
    json!([
        { "ipBlock": { "cidr": "0.0.0.0/0", "except": NOT_PUBLIC_V4.into_iter().chain(v4).collect::<Vec<_>>() } },
        { "ipBlock": { "cidr": PUBLIC_V6, "except": NOT_PUBLIC_V6.into_iter().chain(v6).collect::<Vec<_>>() } },
    ])
}

fn resolvers(places: &Places) -> Value {
    let (v4, v6): (Vec<&IpAddr>, Vec<&IpAddr>) = places.dns.iter().partition(|address| address.is_ipv4());
    let networks = |addresses: Vec<&IpAddr>| -> Vec<String> {
        addresses.into_iter().map(|address| network_of(*address)).collect()
    };
    let mut v4 = networks(v4);
    v4.push(NODE_LOCAL_DNS.to_owned());
    blocks(&v4, &networks(v6))
}

/// All addresses but these.
fn blocks(but_v4: &[String], but_v6: &[String]) -> Value {
    let block = |cidr: &str, but: &[String]| {
        let mut block = json!({ "cidr": cidr });
        // Kubernetes does not store an empty list.
        if !but.is_empty() {
            block["except"] = json!(but);
        }
        json!({ "ipBlock": block })
    };
    json!([block("0.0.0.0/0", but_v4), block("::/0", but_v6)])
}

fn is_v4(network: &str) -> bool {
    base(network).is_some_and(|base| base.is_ipv4())
}

/// The address before the slash.
fn base(network: &str) -> Option<IpAddr> {
    network.split_once('/')?.0.parse().ok()
}

/// The network of one address alone.
fn network_of(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

fn dns_ports() -> Value {
    json!([{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }])
}

fn host_dns() -> Value {
    json!({ "ports": dns_ports(), "to": [{
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "kube-system" } },
        "podSelector": { "matchLabels": { DNS_LABEL: DNS_NAME } },
    }] })
}

fn to_address(address: IpAddr, port: u16) -> Value {
    json!({ "to": [{ "ipBlock": { "cidr": network_of(address) } }], "ports": [{ "protocol": "TCP", "port": port }] })
}

/// By its Service and by its pods: which of the two is looked at, before or after it was translated, is up to who enforces the policies.
fn to_metrics(metrics: &MetricsServer) -> Vec<Value> {
    let mut rules: Vec<Value> = metrics.addresses.iter().map(|(address, port)| to_address(*address, *port)).collect();
    // No port would be every port, and no label everybody.
    if !metrics.ports.is_empty() && !metrics.selector.is_empty() {
        let ports: Vec<Value> = metrics.ports.iter().map(|port| json!({ "protocol": "TCP", "port": port })).collect();
        let mut pods = peer(&Peer::Namespace(metrics.namespace.clone()));
        pods["podSelector"] = json!({ "matchLabels": metrics.selector });
        rules.push(json!({ "to": [pods], "ports": ports }));
    }
    rules
}

/// The tenant API server fetches the issuer's discovery document and keys. Whatever is open to it is open to the workspace's
/// admins as well, who choose where it calls: no more than the issuer, on one port, and nothing that the settings close.
fn to_issuer(settings: &HostSettings, authentication: &Authentication) -> Vec<Value> {
    let url = authentication.discovery_url.as_ref().unwrap_or(&authentication.issuer_url);
    let uri = url.parse::<http::Uri>().ok();
    let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.as_ref().and_then(http::Uri::port_u16).unwrap_or(443);
    if let Ok(address) = host.parse::<IpAddr>() {
        return vec![to_address(address, port)];
    }
    let on = |port: u16| json!([{ "protocol": "TCP", "port": port }]);
    // The port of a Service says nothing about the port of its pods.
    let of_pods = on(settings.issuer_port.unwrap_or(port));
    if let Some(namespace) = service_namespace(host) {
        return vec![json!({ "to": [peer(&Peer::Namespace(namespace.to_owned()))], "ports": of_pods })];
    }
    let namespaces: Vec<Value> =
        settings.platform.iter().filter(|peer| matches!(peer, Peer::Namespace(_))).map(peer).collect();
    // A public name may lead to this very host, at the address of a node.
    let mut rules = vec![json!({ "to": internet(&settings.closed_networks), "ports": on(port) })];
    // Or to the platform's own pods. Not to the networks that it calls from: others stand there, too.
    if !namespaces.is_empty() {
        rules.push(json!({ "to": namespaces, "ports": of_pods }));
    }
    rules
}

/// The namespace in `service.namespace.svc` and `service.namespace.svc.cluster.local`.
fn service_namespace(host: &str) -> Option<&str> {
    let mut parts = host.trim_end_matches('.').split('.');
    let (_service, namespace, marker) = (parts.next()?, parts.next()?, parts.next()?);
    (marker == "svc").then_some(namespace)
}

#[cfg(test)]
mod reach;
#[cfg(test)]
mod tests;
