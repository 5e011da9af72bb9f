//! Step 2, second part: who may talk to whom. Nothing, but what is listed here; in place before the first pod starts.
//!
//! Pods are told apart by labels that vCluster does not take from tenants: `release` on the control plane,
//! `vcluster.loft.sh/managed-by` and `vcluster.loft.sh/namespace` on what it brings to the host.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Map, Value, json};

use crate::apply::Cluster;
use crate::desired::Authentication;
use crate::error::ReconcileError;
use crate::labels::{Names, SYNCED_BY};
use crate::manifest::{Kind, Manifest};
use crate::settings::{EndpointMode, HostSettings, Peer};

/// Where the host's own API server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostApi {
    /// Its endpoints and its Service.
    pub(crate) addresses: Vec<(IpAddr, u16)>,
}

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

/// All policies of a workspace.
pub(crate) fn build(
    settings: &HostSettings,
    authentication: &Authentication,
    host_api: &HostApi,
    names: &Names,
    labels: &Map<String, Value>,
) -> Vec<Manifest> {
    let control_plane = json!({ "matchLabels": { "app": "vcluster", "release": names.name } });
    let workloads = json!({ "matchLabels": { SYNCED_BY: names.name } });
    let dns = json!({ "matchLabels": {
        SYNCED_BY: names.name, "vcluster.loft.sh/namespace": "kube-system", "k8s-app": "vcluster-kube-dns",
    } });
    let api = json!([{ "protocol": "TCP", "port": TENANT_API }]);
    let own = json!([{ "podSelector": workloads }]);

    let mut into_control_plane = vec![json!({ "from": own, "ports": api })];
    if let Some(from) = callers(settings) {
        into_control_plane.push(json!({ "from": from, "ports": api }));
    }
    let mut out_of_control_plane = vec![json!({ "to": own }), host_dns()];
    out_of_control_plane.extend(host_api.addresses.iter().map(|(address, port)| to_address(*address, *port)));
    out_of_control_plane.push(to_issuer(authentication, &settings.platform));

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
    vec![
        policy("hexabase-default-deny", &json!({}), vec![], vec![]),
        policy(
            "hexabase-workloads",
            &workloads,
            vec![json!({ "from": [{ "podSelector": workloads }, { "podSelector": control_plane }] })],
            vec![json!({ "to": own }), to_control_plane, json!({ "to": internet() })],
        ),
        policy("hexabase-control-plane", &control_plane, into_control_plane, out_of_control_plane),
        // The tenants' DNS asks the node's resolver, wherever that is.
        policy("hexabase-dns", &dns, vec![], vec![json!({ "to": anywhere(), "ports": dns_ports() })]),
    ]
}

/// Reads where the host's API server is.
pub(crate) async fn host_api(host: &Cluster) -> Result<HostApi, ReconcileError> {
    let namespace = Some("default");
    let service: Option<Service> = host.get_as(Kind::Service, namespace, "kubernetes").await?;
    let slices: Vec<EndpointSlice> =
        host.list_as(Kind::EndpointSlice, namespace, "kubernetes.io/service-name=kubernetes").await?;
    let mut addresses = Vec::new();
    let spec = service.and_then(|service| service.spec).unwrap_or_default();
    for address in spec.cluster_ips.iter().flatten() {
        addresses.extend(address.parse().ok().map(|address| (address, 443)));
    }
    for slice in slices {
        let ports: Vec<u16> = slice.ports.iter().flatten().filter_map(|port| u16::try_from(port.port?).ok()).collect();
        for address in slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses) {
            let Ok(address) = address.parse::<IpAddr>() else { continue };
            addresses.extend(ports.iter().map(|port| (address, *port)));
        }
    }
    // The same policies for the same host, in whatever order it lists itself.
    addresses.sort_unstable();
    addresses.dedup();
    Ok(HostApi { addresses })
}

/// Who may call tenant API servers from outside the workspace. A port of the node is open to everybody unless the
/// settings say more: the API server asks every caller for a token.
fn callers(settings: &HostSettings) -> Option<Value> {
    if !settings.platform.is_empty() {
        return Some(settings.platform.iter().map(peer).collect());
    }
    matches!(settings.endpoint, EndpointMode::NodePort { .. }).then(anywhere)
}

fn peer(peer: &Peer) -> Value {
    match peer {
        Peer::Namespace(name) => {
            json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } } })
        }
        Peer::Cidr(cidr) => json!({ "ipBlock": { "cidr": cidr } }),
    }
}

fn anywhere() -> Value {
    json!([{ "ipBlock": { "cidr": "0.0.0.0/0" } }, { "ipBlock": { "cidr": "::/0" } }])
}

fn internet() -> Value {
    json!([
        { "ipBlock": { "cidr": "0.0.0.0/0", "except": NOT_PUBLIC_V4 } },
        { "ipBlock": { "cidr": PUBLIC_V6, "except": NOT_PUBLIC_V6 } },
    ])
}

fn dns_ports() -> Value {
    json!([{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }])
}

fn host_dns() -> Value {
    json!({ "ports": dns_ports(), "to": [{
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "kube-system" } },
        "podSelector": { "matchLabels": { "k8s-app": "kube-dns" } },
    }] })
}

fn to_address(address: IpAddr, port: u16) -> Value {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    json!({ "to": [{ "ipBlock": { "cidr": format!("{address}/{bits}") } }],
        "ports": [{ "protocol": "TCP", "port": port }] })
}

/// The tenant API server fetches the issuer's discovery document and keys.
fn to_issuer(authentication: &Authentication, platform: &[Peer]) -> Value {
    let url = authentication.discovery_url.as_ref().unwrap_or(&authentication.issuer_url);
    let uri = url.parse::<http::Uri>().ok();
    let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.as_ref().and_then(http::Uri::port_u16).unwrap_or(443);
    if let Ok(address) = host.parse::<IpAddr>() {
        return to_address(address, port);
    }
    // The port of a Service says nothing about the port of its pods.
    if let Some(namespace) = service_namespace(host) {
        return json!({ "to": [peer(&Peer::Namespace(namespace.to_owned()))] });
    }
    let mut to: Vec<Value> = platform.iter().map(peer).collect();
    if let Value::Array(public) = internet() {
        to.extend(public);
    }
    let ports = if platform.iter().any(|peer| matches!(peer, Peer::Namespace(_))) {
        // A public name may lead to a pod of the platform behind an ingress, on whatever port that listens.
        json!([{ "protocol": "TCP" }])
    } else {
        json!([{ "protocol": "TCP", "port": port }])
    };
    json!({ "to": to, "ports": ports })
}

/// The namespace in `service.namespace.svc` and `service.namespace.svc.cluster.local`.
fn service_namespace(host: &str) -> Option<&str> {
    let mut parts = host.trim_end_matches('.').split('.');
    let (_service, namespace, marker) = (parts.next()?, parts.next()?, parts.next()?);
    (marker == "svc").then_some(namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(url: &str, platform: &[Peer]) -> Value {
        let authentication = Authentication {
            issuer_url: "https://elsewhere.example".to_owned(),
            discovery_url: Some(url.to_owned()),
            audience: "ws".to_owned(),
            ca_pem: None,
        };
        to_issuer(&authentication, platform)
    }

    #[test]
    fn an_issuer_at_an_address_is_reached_at_that_address_and_port_only() {
        let rule = issuer("https://10.1.2.3:9443/oidc/ws/.well-known/openid-configuration", &[]);
        assert_eq!(rule["to"], json!([{ "ipBlock": { "cidr": "10.1.2.3/32" } }]));
        assert_eq!(rule["ports"][0]["port"], 9443);
        let rule = issuer("https://[fd00::1]/x", &[]);
        assert_eq!(rule["to"], json!([{ "ipBlock": { "cidr": "fd00::1/128" } }]));
        assert_eq!(rule["ports"][0]["port"], 443);
    }

    #[test]
    fn an_issuer_behind_a_service_is_reached_in_its_namespace() {
        for host in ["hexabase.platform.svc", "hexabase.platform.svc.cluster.local."] {
            let rule = issuer(&format!("https://{host}:8443/x"), &[]);
            assert_eq!(rule["to"], json!([peer(&Peer::Namespace("platform".to_owned()))]));
        }
    }

    #[test]
    fn a_public_issuer_does_not_open_private_ranges() {
        let rule = issuer("https://id.example.com/x", &[Peer::Cidr("192.0.2.0/24".to_owned())]);
        assert_eq!(rule["to"][0]["ipBlock"]["cidr"], "192.0.2.0/24");
        assert!(rule["to"][1]["ipBlock"]["except"].as_array().unwrap().contains(&json!("169.254.0.0/16")));
        assert_eq!(rule["ports"][0]["port"], 443);
    }
}
