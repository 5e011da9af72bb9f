//! Addresses of the host that network policies open or close: its API server, its DNS, its nodes, its metrics server.

use std::collections::BTreeMap;
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
/// What the host says of its resource metrics, if it has any.
const METRICS: &str = "v1beta1.metrics.k8s.io";

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
    /// What tells what pods use, if anything does.
    pub(crate) metrics: Option<MetricsServer>,
}

/// The Service behind the host's `metrics.k8s.io`. Control planes ask it themselves what it can do; what pods use they ask of the host's
/// API server. Without an answer no namespace of theirs can be deleted: Kubernetes first wants to know all that may be in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MetricsServer {
    pub(crate) namespace: String,
    pub(crate) service: String,
    pub(crate) port: u16,
    /// The Service's own, and of its endpoints those that are no pods to network policies.
    pub(crate) addresses: Vec<(IpAddr, u16)>,
    /// By which labels the Service knows its pods.
    pub(crate) selector: BTreeMap<String, String>,
    /// On which ports its pods answer.
    pub(crate) ports: Vec<u16>,
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
    let metrics = metrics(host, &nodes).await?;
    Ok(Places { api: sorted(api), dns: sorted(dns), nodes: sorted(nodes), pods: sorted(pods), metrics })
}

async fn metrics(host: &Cluster, nodes: &[IpAddr]) -> Result<Option<MetricsServer>, ReconcileError> {
    let Some(found) = host.get(Kind::ApiService, None, METRICS).await? else { return Ok(None) };
    let of_service = |field: &str| found.data["spec"]["service"][field].as_str();
    let (Some(namespace), Some(name)) = (of_service("namespace"), of_service("name")) else { return Ok(None) };
    // The default of Kubernetes' API.
    let port = found.data["spec"]["service"]["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(443);

    let service: Option<Service> = host.get_as(Kind::Service, Some(namespace), name).await?;
    let slices = format!("kubernetes.io/service-name={name}");
    let slices: Vec<EndpointSlice> = host.list_as(Kind::EndpointSlice, Some(namespace), &slices).await?;
    let spec = service.as_ref().and_then(|service| service.spec.as_ref());
    let selector = spec.and_then(|spec| spec.selector.clone()).unwrap_or_default();
    let named =
        spec.into_iter().flat_map(|spec| spec.ports.iter().flatten()).find(|known| known.port == i32::from(port));
    let named = named.and_then(|known| known.name.as_deref()).unwrap_or_default();

    let mut addresses: Vec<(IpAddr, u16)> = service.iter().flat_map(addresses).map(|address| (address, port)).collect();
    let mut ports = Vec::new();
    for slice in &slices {
        let all = slice.ports.iter().flatten().filter(|known| known.name.as_deref().unwrap_or_default() == named);
        let own: Vec<u16> = all.filter_map(|known| u16::try_from(known.port?).ok()).collect();
        let bare = endpoints(slice).filter(|address| selector.is_empty() || nodes.contains(address));
        addresses.extend(bare.flat_map(|address| own.iter().map(move |port| (address, *port))));
        ports.extend(own);
    }
    let (namespace, service) = (namespace.to_owned(), name.to_owned());
    let (addresses, ports) = (sorted(addresses), sorted(ports));
    Ok(Some(MetricsServer { namespace, service, port, addresses, selector, ports }))
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
        assert_eq!(found.metrics, None);

        server.refuse("GET", "/api/v1/nodes", 403);
        let refused = find(&host).await.unwrap_err().to_string();
        assert!(refused.starts_with("list nodes: "), "{refused}");
    }

    #[tokio::test]
    async fn what_answers_for_the_hosts_metrics_is_found_by_what_the_host_says_of_it() {
        let server = FakeKubernetes::start().await.unwrap();
        let node = json!({ "metadata": { "name": "one" }, "status": { "addresses": [{ "address": "10.0.0.7" }] } });
        server.put("/api/v1/nodes/one", node);
        let service = json!({ "namespace": "monitoring", "name": "adapter", "port": 8443 });
        let registered = json!({ "metadata": {}, "spec": { "service": service } });
        server.put("/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io", registered);
        let ports = json!([{ "name": "http", "port": 80 }, { "name": "https", "port": 8443 }]);
        let spec = json!({ "clusterIPs": ["10.96.0.44"], "selector": { "app": "adapter" }, "ports": ports });
        server.put("/api/v1/namespaces/monitoring/services/adapter", json!({ "metadata": {}, "spec": spec }));
        let labels = json!({ "kubernetes.io/service-name": "adapter" });
        let ports = json!([{ "name": "http", "port": 8080 }, { "name": "https", "port": 6443 }]);
        // One of its pods has the network of its node.
        let endpoints = json!([{ "addresses": ["10.244.0.9"] }, { "addresses": ["10.0.0.7"] }]);
        let slice =
            json!({ "metadata": { "labels": labels }, "addressType": "IPv4", "ports": ports, "endpoints": endpoints });
        server.put("/apis/discovery.k8s.io/v1/namespaces/monitoring/endpointslices/x", slice);

        let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
        let host = Host::connect(settings).await.unwrap().cluster;
        let found = find(&host).await.unwrap().metrics.unwrap();
        assert_eq!((found.namespace.as_str(), found.service.as_str(), found.port), ("monitoring", "adapter", 8443));
        assert_eq!(found.addresses, [(ip("10.0.0.7"), 6443), (ip("10.96.0.44"), 8443)]);
        assert_eq!((found.selector["app"].as_str(), found.ports), ("adapter", vec![6443]));
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
