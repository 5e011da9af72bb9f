//! Where connections lead.

use std::net::IpAddr;

use hexabase_core::ids::WorkspaceId;
use hexabase_reconcile::TenantEndpoint;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::Client;
use kube::api::{Api, ListParams, PostParams};
use kube::config::Kubeconfig;
use serde_json::json;
use tokio::net::TcpListener;

use super::stand_ins::StandIns;
use crate::inside::tenant;
use crate::support::{eventually, kubeconfig, namespace, node_address, objects};

/// Where every pod that these tests make serves.
pub(super) const WEB: u16 = 8080;

/// Somewhere that answers, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: String,
    address: IpAddr,
    by: By,
}

/// How it is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
enum By {
    /// To connect to a port.
    Tcp(u16),
    /// To ask for a name that every tenant's DNS knows.
    Dns,
}

pub(super) fn place(name: &str, address: &str, port: u16) -> Place {
    Place { name: name.to_owned(), address: address.parse().unwrap(), by: By::Tcp(port) }
}

/// A DNS that is asked by UDP.
pub(super) fn dns(name: &str, address: &str) -> Place {
    Place { by: By::Dns, ..place(name, address, 53) }
}

impl Place {
    /// What busybox does to reach it, within five seconds.
    pub(super) fn attempt(&self) -> String {
        match self.by {
            By::Tcp(port) => format!("nc -w 5 {} {port} -e true", self.address),
            By::Dns => {
                format!("nslookup -type=a -timeout=5 -retry=3 kubernetes.default.svc.cluster.local {}", self.address)
            }
        }
    }
}

/// A tenant with a pod that serves, a Service before it, and a pod that calls.
#[derive(Debug, Clone)]
pub(super) struct Tenant {
    pub(super) namespace: String,
    /// The calling pod's name on the host.
    pub(super) caller: String,
    pod: String,
    service: String,
    dns: String,
    api: String,
}

impl Tenant {
    /// Makes the pods in the tenant, and waits for what vCluster brings.
    pub(super) async fn settle(client: &Client, id: &WorkspaceId, endpoint: &TenantEndpoint) -> Self {
        let inside = tenant(client, id, endpoint).await;
        let pod = two_pods(client, &inside, id, "shop").await;
        let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
            "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": WEB }] } });
        let services = objects(&inside, "v1", "Service", Some("shop"));
        services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await.unwrap();

        let namespace = namespace(id);
        Self {
            caller: on_the_host("caller", "shop", id),
            pod,
            service: address_of(&inside, "shop", "web").await,
            dns: address_of(&inside, "kube-system", "kube-dns").await,
            api: address_of(client, &namespace, id.as_str()).await,
            namespace,
        }
    }

    /// After a sleep that ended its pods: makes them again.
    pub(super) async fn settle_again(&mut self, client: &Client, id: &WorkspaceId, endpoint: &TenantEndpoint) {
        let inside = tenant(client, id, endpoint).await;
        self.pod = two_pods(client, &inside, id, "shop").await;
    }

    /// Where it is reached, as `own pod`, `own service` and so on.
    pub(super) fn places(&self, whose: &str) -> Vec<Place> {
        vec![
            place(&format!("{whose} pod"), &self.pod, WEB),
            place(&format!("{whose} service"), &self.service, 80),
            place(&format!("{whose} DNS"), &self.dns, 53),
            dns(&format!("{whose} DNS by UDP"), &self.dns),
            place(&format!("{whose} API"), &self.api, 443),
        ]
    }
}

/// The name on the host of a pod in a tenant's namespace.
pub(super) fn on_the_host(pod: &str, space: &str, id: &WorkspaceId) -> String {
    format!("{pod}-x-{space}-x-{id}")
}

/// Makes `web` and `caller` in a tenant's namespace; gives the address of `web`.
pub(super) async fn two_pods(client: &Client, inside: &Client, id: &WorkspaceId, space: &str) -> String {
    for name in ["web", "caller"] {
        running_pod(inside, space, name).await;
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace(id));
    pods.get(&on_the_host("web", space, id)).await.unwrap().status.unwrap().pod_ip.unwrap()
}

/// The address of a Service.
pub(super) async fn address_of(client: &Client, namespace: &str, service: &str) -> String {
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    eventually("the service has an address", || async {
        services.get(service).await.ok()?.spec?.cluster_ip.filter(|address| !address.is_empty())
    })
    .await
}

/// What belongs to no tenant: the host's API server, its node, the node's kubelet, and two stand-ins.
pub(super) async fn fixed(client: &Client, stand_ins: &StandIns) -> Vec<Place> {
    let config = Kubeconfig::read_from(kubeconfig()).unwrap();
    let server = config.clusters[0].cluster.as_ref().unwrap().server.clone().unwrap();
    let (address, port) = server.trim_start_matches("https://").rsplit_once(':').unwrap();
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await.unwrap();
    let endpoints = nodes.items[0].status.as_ref().unwrap().daemon_endpoints.as_ref().unwrap();
    let kubelet = endpoints.kubelet_endpoint.as_ref().unwrap().port;
    let node = node_address();
    vec![
        place("host API", address, port.trim_end_matches('/').parse().unwrap()),
        place("node", &node, listening(&node).await),
        place("kubelet", &node, u16::try_from(kubelet).unwrap()),
        place("metadata", stand_ins.metadata(), stand_ins.port()),
        place("public", stand_ins.public(), stand_ins.port()),
    ]
}

/// Somebody who accepts every connection at this address of the node, until the test ends; gives the port.
async fn listening(address: &str) -> u16 {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        // Whoever connects has seen what it wanted to see.
        while let Ok((connection, _)) = listener.accept().await {
            drop(connection);
        }
    });
    port
}

/// Everything of a namespace that listens at this moment, by Service and by pod, on the ports that anything there has.
pub(super) async fn everywhere(client: &Client, namespace: &str) -> Vec<Place> {
    let mut all = Vec::new();
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    for pod in pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
        let name = pod.metadata.name.unwrap_or_default();
        let Some(address) = pod.status.and_then(|status| status.pod_ip) else { continue };
        all.extend([WEB, 8443, 1053].map(|port| place(&format!("pod {name}:{port}"), &address, port)));
    }
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    for service in services.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
        let (name, spec) = (service.metadata.name.unwrap_or_default(), service.spec.unwrap_or_default());
        let Some(address) = spec.cluster_ip.filter(|address| address.parse::<IpAddr>().is_ok()) else { continue };
        for port in spec.ports.iter().flatten() {
            let (port, is_udp) = (u16::try_from(port.port).unwrap(), port.protocol.as_deref() == Some("UDP"));
            match is_udp {
                false => all.push(place(&format!("service {name}:{port}"), &address, port)),
                true if port == 53 => all.push(dns(&format!("service {name} by UDP"), &address)),
                true => {}
            }
        }
    }
    all
}

/// Makes a pod that serves on a port, and waits until it runs.
pub(super) async fn running_pod(client: &Client, namespace: &str, name: &str) {
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": name } },
        "spec": { "terminationGracePeriodSeconds": 1, "containers": [{
            "name": "main", "image": "docker.io/library/busybox:1.36", "imagePullPolicy": "IfNotPresent",
            "command": ["/bin/busybox", "httpd", "-f", "-p", WEB.to_string(), "-h", "/tmp"],
        }] } });
    let pods = objects(client, "v1", "Pod", Some(namespace));
    // The namespace's ServiceAccount is made a moment after the namespace.
    eventually("the pod is admitted", || async {
        pods.create(&PostParams::default(), &serde_json::from_value(pod.clone()).unwrap()).await.ok()
    })
    .await;
    eventually("the pod runs", || async {
        let found = pods.get(name).await.ok()?;
        (found.data["status"]["phase"] == "Running").then_some(())
    })
    .await;
}
