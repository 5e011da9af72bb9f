//! Which pods, volume claims and Services use most of something.

use std::cmp::Reverse;

use hexabase_core::quantity::{Bytes, Cpu};
use hexabase_core::quota::Resource;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use kube::Resource as _;
use serde::Deserialize;

use super::TenantUser;
use super::quantities::{Asked, AskingPod, Resources};
use super::reading::Metadata;

/// How the pods of the workspace's own DNS are called: the control plane's share is for them.
const DNS: &str = "kube-system/coredns-";
/// Services that vCluster makes in every workspace: these are the control plane's share as well, or count for nothing.
const OWN_SERVICES: [&str; 3] = ["default/kubernetes", "kube-system/kube-dns", "kube-system/metrics-server"];
/// How many of them are named.
const MOST_NAMED: usize = 5;

/// Those of a namespace, or of several, as the tenant knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    /// Pods that count: those that are not over.
    pub pods: Vec<PodUsage>,
    /// Volume claims.
    pub claims: Vec<ClaimUsage>,
    /// Services.
    pub services: Vec<ServiceUsage>,
}

/// What a pod may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodUsage {
    /// Its name, with that of its namespace where there are several.
    pub name: String,
    /// CPU.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Bytes,
}

/// What a volume claim asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimUsage {
    /// Its name, with that of its namespace where there are several.
    pub name: String,
    /// Storage.
    pub storage: Bytes,
}

/// A Service that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUsage {
    /// Its name, with that of its namespace where there are several.
    pub name: String,
    /// Whether it is reached from outside, through a load balancer.
    pub balanced: bool,
}

impl PodUsage {
    /// What counts of a pod; of one that is over, or of the workspace's own DNS, nothing.
    fn of(name: String, pod: &AskingPod) -> Option<Self> {
        // Above what a number of this kind can be, it is the greatest.
        let bytes = |amount: fn(&Asked) -> f64| Bytes::new(pod.spec.bound(amount).ceil() as u64);
        let cpu = Cpu::from_millis((pod.spec.bound(Asked::cpu) * 1_000.0).round() as u64);
        let usage = Self { name, cpu, memory: bytes(Asked::memory) };
        (!pod.is_over() && !usage.name.starts_with(DNS)).then_some(usage)
    }
}

impl ClaimUsage {
    fn of(name: String, claim: &AskingClaim) -> Self {
        Self { name, storage: Bytes::new(claim.spec.resources.requests.storage().ceil() as u64) }
    }
}

impl ServiceUsage {
    /// What counts of a Service; of one that every workspace has, nothing.
    fn of(name: String, service: &AskingService) -> Option<Self> {
        let balanced = service.spec.kind.as_deref() == Some("LoadBalancer");
        (!OWN_SERVICES.contains(&name.as_str())).then_some(Self { name, balanced })
    }
}

impl Users {
    /// Those that use most of it, as the end of a sentence; nothing where it is others that use it, or they are not known.
    pub fn most_of(&self, resource: Resource) -> String {
        match resource {
            Resource::Cpu => self.pods_by(|pod| resource.write(pod.cpu.as_millis()), |pod| pod.cpu.as_millis()),
            Resource::Memory => self.pods_by(|pod| pod.memory.to_string(), |pod| pod.memory.get()),
            Resource::Pods => told("pods", self.pods.iter().map(|pod| pod.name.clone())),
            Resource::Storage => self.claims_by_storage(),
            Resource::PersistentVolumeClaims => told("claims", self.claims.iter().map(|claim| claim.name.clone())),
            Resource::Services => self.services_that(|_| true),
            Resource::LoadBalancers => self.services_that(|service| service.balanced),
            // Of Secrets and ConfigMaps there are many, and none is larger than another.
            Resource::Objects => String::new(),
        }
    }

    fn pods_by(&self, written: impl Fn(&PodUsage) -> String, number: impl Fn(&PodUsage) -> u64) -> String {
        let mut pods: Vec<&PodUsage> = self.pods.iter().filter(|pod| number(pod) > 0).collect();
        pods.sort_by_key(|pod| Reverse(number(pod)));
        told("pods", pods.into_iter().map(|pod| format!("{} ({})", pod.name, written(pod))))
    }

    fn claims_by_storage(&self) -> String {
        let mut claims: Vec<&ClaimUsage> = self.claims.iter().collect();
        claims.sort_by_key(|claim| Reverse(claim.storage));
        told("claims", claims.into_iter().map(|claim| format!("{} ({})", claim.name, claim.storage)))
    }

    fn services_that(&self, counts: impl Fn(&ServiceUsage) -> bool) -> String {
        told("services", self.services.iter().filter(|service| counts(service)).map(|service| service.name.clone()))
    }
}

fn told(what: &str, named: impl Iterator<Item = String>) -> String {
    let named: Vec<String> = named.take(MOST_NAMED).collect();
    if named.is_empty() { String::new() } else { format!(", most of it by the {what} {}", named.join(", ")) }
}

/// A volume claim.
#[derive(Debug, Deserialize)]
pub(super) struct AskingClaim {
    #[serde(default)]
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) spec: ClaimSpec,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ClaimSpec {
    #[serde(default)]
    pub(super) resources: Resources,
}

/// A Service.
#[derive(Debug, Deserialize)]
struct AskingService {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: ServiceSpec,
}

#[derive(Debug, Default, Deserialize)]
struct ServiceSpec {
    #[serde(rename = "type", default, deserialize_with = "super::reading::name")]
    kind: Option<String>,
}

impl TenantUser {
    /// The users in one namespace or in all, as far as the person may see them. Of very many some are left out, and all that cannot
    /// be read: what is used is known without, and what comes of that is not to depend on what people put into their objects.
    pub async fn users(&self, namespace: Option<&str>) -> Users {
        let mut users = Users::default();
        let Ok(_turn) = self.turn().await else { return users };
        let path = Pod::url_path(&(), namespace);
        let pods = self.each("pods", &path, |pod: AskingPod| {
            users.pods.extend(title(namespace, &pod.metadata).and_then(|title| PodUsage::of(title, &pod)));
        });
        if let Err(error) = pods.await {
            tracing::debug!(error = %error, "the pods that use a quota cannot be told");
            users.pods.clear();
        }
        let path = PersistentVolumeClaim::url_path(&(), namespace);
        let claims = self.each("volume claims", &path, |claim: AskingClaim| {
            users.claims.extend(title(namespace, &claim.metadata).map(|title| ClaimUsage::of(title, &claim)));
        });
        if let Err(error) = claims.await {
            tracing::debug!(error = %error, "the claims that use a quota cannot be told");
            users.claims.clear();
        }
        let path = Service::url_path(&(), namespace);
        let services = self.each("services", &path, |service: AskingService| {
            let named = title(namespace, &service.metadata);
            users.services.extend(named.and_then(|title| ServiceUsage::of(title, &service)));
        });
        if let Err(error) = services.await {
            tracing::debug!(error = %error, "the services that use a quota cannot be told");
            users.services.clear();
        }
        users
    }
}

/// Its name; with that of its namespace, unless one namespace alone is looked at.
fn title(within: Option<&str>, metadata: &Metadata) -> Option<String> {
    let name = metadata.name.as_deref()?;
    Some(match (within, metadata.namespace.as_deref()) {
        (None, Some(namespace)) => format!("{namespace}/{name}"),
        _ => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, phase: &str, cpu: [&str; 2]) -> Option<PodUsage> {
        let container = |limit: &str| json!({ "name": "c", "resources": { "limits": { "cpu": limit } } });
        let pod: Value = json!({ "status": { "phase": phase }, "spec": { "containers": cpu.map(container) } });
        PodUsage::of(name.to_owned(), &serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn pods_are_told_by_how_much_they_use_but_not_those_that_are_over_and_not_the_dns() {
        let pods = [
            pod("small", "Running", ["100m", "50m"]),
            pod("large", "Pending", ["1", "500m"]),
            pod("over", "Succeeded", ["4", "4"]),
            pod("kube-system/coredns-x", "Running", ["4", "4"]),
        ];
        let users = Users { pods: pods.into_iter().flatten().collect(), ..Users::default() };
        assert_eq!(users.most_of(Resource::Cpu), ", most of it by the pods large (1500m), small (150m)");
        assert_eq!(users.most_of(Resource::Pods), ", most of it by the pods small, large");
        for nobody in [users.most_of(Resource::Memory), users.most_of(Resource::Storage)] {
            assert_eq!(nobody, "");
        }
    }

    #[test]
    fn five_are_named_and_claims_with_their_storage() {
        let claim = |number: u64| {
            let spec = json!({ "resources": { "requests": { "storage": format!("{number}Gi") } } });
            ClaimUsage::of(format!("shop/{number}"), &serde_json::from_value(json!({ "spec": spec })).unwrap())
        };
        let users = Users { claims: (1..8).map(claim).collect(), ..Users::default() };
        let most = ", most of it by the claims shop/7 (7Gi), shop/6 (6Gi), shop/5 (5Gi), shop/4 (4Gi), shop/3 (3Gi)";
        assert_eq!(users.most_of(Resource::Storage), most);
    }

    #[test]
    fn services_are_told_but_not_those_of_every_workspace_and_of_load_balancers_only_those_that_are_one() {
        let service = |name: &str, kind: Value| {
            let service: AskingService = serde_json::from_value(json!({ "spec": { "type": kind } })).unwrap();
            ServiceUsage::of(name.to_owned(), &service)
        };
        let services = [
            service("default/kubernetes", json!("ClusterIP")),
            service("kube-system/kube-dns", json!("ClusterIP")),
            service("shop/front", json!("LoadBalancer")),
            service("shop/back", Value::Null),
        ];
        let users = Users { services: services.into_iter().flatten().collect(), ..Users::default() };
        assert_eq!(users.most_of(Resource::Services), ", most of it by the services shop/front, shop/back");
        assert_eq!(users.most_of(Resource::LoadBalancers), ", most of it by the services shop/front");
        assert_eq!(users.most_of(Resource::Objects), "");
    }
}
