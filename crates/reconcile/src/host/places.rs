//! Addresses of the host that network policies open or close: its API server, its DNS, its nodes.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Error;
use kube::api::{Api, ListParams};

use crate::apply::Cluster;
use crate::error::ReconcileError;
use crate::manifest::Kind;

/// The label of the host's DNS, on its Service, its endpoints and its pods.
pub(crate) const DNS_LABEL: &str = "k8s-app";
pub(crate) const DNS_NAME: &str = "kube-dns";

/// Where the host's own parts are. Sorted, so that the same host gives the same policies in whatever order it lists itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// Endpoints of the API server, and its Service.
    pub(crate) api: Vec<(IpAddr, u16)>,
    /// Pods of the DNS, and its Service.
    pub(crate) dns: Vec<IpAddr>,
    /// The nodes, by all addresses that they have.
    pub(crate) nodes: Vec<IpAddr>,
    /// The networks from which the nodes' pods have their addresses, where Kubernetes gives them out.
    pub(crate) pods: Vec<String>,
}

/// Reads them from the host.
pub(crate) async fn find(host: &Cluster) -> Result<Places, ReconcileError> {
    let service: Option<Service> = host.get_as(Kind::Service, Some("default"), "kubernetes").await?;
    let selector = "kubernetes.io/service-name=kubernetes";
    let slices: Vec<EndpointSlice> = host.list_as(Kind::EndpointSlice, Some("default"), selector).await?;
    let mut api: Vec<(IpAddr, u16)> = service.iter().flat_map(addresses).map(|address| (address, 443)).collect();
    for slice in &slices {
        let ports: Vec<u16> = slice.ports.iter().flatten().filter_map(|port| u16::try_from(port.port?).ok()).collect();
        api.extend(endpoints(slice).flat_map(|address| ports.iter().map(move |port| (address, *port))));
    }

    let selector = format!("{DNS_LABEL}={DNS_NAME}");
    let services: Vec<Service> = host.list_as(Kind::Service, Some("kube-system"), &selector).await?;
    // Kubernetes gives the slices the labels of their Service.
    let slices: Vec<EndpointSlice> = host.list_as(Kind::EndpointSlice, Some("kube-system"), &selector).await?;
    let dns = services.iter().flat_map(addresses).chain(slices.iter().flat_map(endpoints)).collect();

    let (nodes, pods) = nodes(host).await?;
    Ok(Places { api: sorted(api), dns: sorted(dns), nodes: sorted(nodes), pods: sorted(pods) })
}

/// Addresses of the nodes, and networks of their pods.
async fn nodes(host: &Cluster) -> Result<(Vec<IpAddr>, Vec<String>), ReconcileError> {
    let nodes = Api::<Node>::all(host.client.clone()).list(&ListParams::default()).await;
    let nodes = nodes.map_err(|error| match error {
        // Without the right nothing is to be opened by mistake: the workspace waits, and says why.
        Error::Api(status) if status.code == 403 => ReconcileError::Refused {
            action: "list",
            object: "nodes".to_owned(),
            code: status.code,
            message: status.message,
        },
        error => ReconcileError::Unreachable { api: host.title, source: Box::new(error) },
    })?;
    let networks = nodes.items.iter().filter_map(|node| node.spec.as_ref()?.pod_cidrs.as_ref()).flatten();
    let networks = networks.cloned().collect();
    let addresses = nodes.items.into_iter().filter_map(|node| node.status?.addresses).flatten();
    Ok((addresses.filter_map(|address| address.address.parse().ok()).collect(), networks))
}

fn addresses(service: &Service) -> impl Iterator<Item = IpAddr> {
    let addresses = service.spec.iter().flat_map(|spec| spec.cluster_ips.iter().flatten());
    addresses.filter_map(|address| address.parse().ok())
}

fn endpoints(slice: &EndpointSlice) -> impl Iterator<Item = IpAddr> {
    slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses).filter_map(|address| address.parse().ok())
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list.dedup();
    list
}

/// Whether the address lies in the network, such as `10.0.0.0/8`. No address lies in what is no network.
pub(crate) fn is_in(address: IpAddr, network: &str) -> bool {
    let Some((base, bits)) = network.split_once('/') else { return false };
    let (Ok(base), Ok(bits)) = (base.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    match (address, base) {
        (IpAddr::V4(address), IpAddr::V4(base)) if bits <= 32 => {
            (address.to_bits() ^ base.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(base)) if bits <= 128 => {
            (address.to_bits() ^ base.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use hexabase_testkit::kubernetes::FakeKubernetes;
    use serde_json::{Value, json};

    use super::*;
    use crate::connection::Host;
    use crate::settings::HostSettings;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn api_server_dns_and_nodes_are_found_by_all_their_addresses() {
        let server = FakeKubernetes::start().await.unwrap();
        let service = |addresses: &[&str]| json!({ "clusterIPs": addresses });
        let slice = |service: &str, address: &str, port: u16| {
            json!({ "metadata": { "labels": { "kubernetes.io/service-name": service, "k8s-app": service } },
                "addressType": "IPv4", "ports": [{ "port": port }], "endpoints": [{ "addresses": [address] }] })
        };
        let put = |path: &str, object: Value| server.put(path, object);
        let slices = |namespace: &str| format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/x");
        put(
            "/api/v1/namespaces/default/services/kubernetes",
            json!({ "metadata": {}, "spec": service(&["10.96.0.1", "fd00:96::1"]) }),
        );
        put(&slices("default"), slice("kubernetes", "10.0.0.5", 6443));
        put(
            "/api/v1/namespaces/kube-system/services/coredns",
            json!({ "metadata": { "labels": { "k8s-app": "kube-dns" } }, "spec": service(&["10.96.0.10"]) }),
        );
        put(&slices("kube-system"), slice("kube-dns", "10.244.0.9", 53));
        let addresses = json!([{ "type": "Hostname", "address": "one" }, { "type": "ExternalIP", "address": "11.0.0.7" },
            { "type": "InternalIP", "address": "10.0.0.7" }]);
        put(
            "/api/v1/nodes/one",
            json!({ "metadata": { "name": "one" }, "spec": { "podCIDRs": ["10.244.0.0/24", "2a01:244::/64"] },
                "status": { "addresses": addresses } }),
        );

        let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
        let host = Host::connect(settings).await.unwrap().cluster;
        let found = find(&host).await.unwrap();
        assert_eq!(found.api, [(ip("10.0.0.5"), 6443), (ip("10.96.0.1"), 443), (ip("fd00:96::1"), 443)]);
        assert_eq!(found.dns, [ip("10.96.0.10"), ip("10.244.0.9")]);
        assert_eq!(found.nodes, [ip("10.0.0.7"), ip("11.0.0.7")]);
        assert_eq!(found.pods, ["10.244.0.0/24", "2a01:244::/64"]);

        server.refuse("GET", "/api/v1/nodes", 403);
        let refused = find(&host).await.unwrap_err().to_string();
        assert!(refused.starts_with("list nodes: "), "{refused}");
    }

    #[test]
    fn an_address_is_in_a_network_of_its_own_family_only() {
        for (address, network, is) in [
            ("10.1.2.3", "10.0.0.0/8", true),
            ("11.0.0.0", "10.0.0.0/8", false),
            ("11.0.0.0", "0.0.0.0/0", true),
            ("10.1.2.3", "10.1.2.3/32", true),
            ("2001:db8::1", "2001:db8::/32", true),
            ("fd00::1", "2000::/3", false),
            ("fd00::1", "::/0", true),
            ("10.1.2.3", "::/0", false),
            ("10.1.2.3", "10.0.0.0/33", false),
            ("10.1.2.3", "10.1.2.3", false),
        ] {
            assert_eq!(is_in(ip(address), network), is, "{address} in {network}");
        }
    }
}
