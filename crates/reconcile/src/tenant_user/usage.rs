//! What is used inside, by namespace: what pods and claims ask for, and what is measured where something measures it.

use std::collections::BTreeMap;
use std::time::Duration;

use hexabase_core::quantity::{Bytes, Cpu};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Resource as _;
use serde::Deserialize;

use super::TenantUser;
use super::quantities::{Asked, AskingPod, MOST_CONTAINERS};
use super::reading::{First, Metadata, Told};
use super::users::AskingClaim;
use crate::error::ReconcileError;

/// How long is waited for what measures: nothing does in most workspaces.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is used.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// Each namespace in which something is.
    pub namespaces: BTreeMap<String, NamespaceUsage>,
    /// Whether something measures what pods really use.
    pub measured: bool,
    /// Why volume claims were not counted: what Kubernetes said to whoever asked.
    pub claims_unread: Option<String>,
    /// Whether there is more than was counted.
    pub cut: bool,
}

/// What is used in a namespace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NamespaceUsage {
    /// Pods that are not over.
    pub pods: u32,
    /// CPU that they request.
    pub cpu_requested: Cpu,
    /// CPU that they may use at most; of containers without a limit nothing.
    pub cpu_limited: Cpu,
    /// Memory that they request.
    pub memory_requested: Bytes,
    /// Memory that they may use at most; of containers without a limit nothing.
    pub memory_limited: Bytes,
    /// Storage that volume claims request.
    pub storage_requested: Bytes,
    /// CPU that they use, where that is measured.
    pub cpu_used: Cpu,
    /// Memory that they use, where that is measured.
    pub memory_used: Bytes,
}

impl Default for NamespaceUsage {
    fn default() -> Self {
        let (cpu, bytes) = (Cpu::from_millis(0), Bytes::new(0));
        Self {
            pods: 0,
            cpu_requested: cpu,
            cpu_limited: cpu,
            memory_requested: bytes,
            memory_limited: bytes,
            storage_requested: bytes,
            cpu_used: cpu,
            memory_used: bytes,
        }
    }
}

impl NamespaceUsage {
    /// This and the other together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let cpu = |one: Cpu, other: Cpu| Cpu::from_millis(one.as_millis().saturating_add(other.as_millis()));
        let bytes = |one: Bytes, other: Bytes| Bytes::new(one.get().saturating_add(other.get()));
        Self {
            pods: self.pods.saturating_add(other.pods),
            cpu_requested: cpu(self.cpu_requested, other.cpu_requested),
            cpu_limited: cpu(self.cpu_limited, other.cpu_limited),
            memory_requested: bytes(self.memory_requested, other.memory_requested),
            memory_limited: bytes(self.memory_limited, other.memory_limited),
            storage_requested: bytes(self.storage_requested, other.storage_requested),
            cpu_used: cpu(self.cpu_used, other.cpu_used),
            memory_used: bytes(self.memory_used, other.memory_used),
        }
    }
}

/// What the metrics API tells of a pod.
#[derive(Deserialize)]
struct PodMetrics {
    #[serde(default)]
    metadata: Metadata,
    containers: Option<First<ContainerMetrics, MOST_CONTAINERS>>,
}

#[derive(Deserialize)]
struct ContainerMetrics {
    #[serde(default)]
    usage: Asked,
}

type Sums = BTreeMap<String, NamespaceUsage>;

fn add(sums: &mut Sums, namespace: Option<String>, usage: NamespaceUsage) {
    let entry = sums.entry(namespace.unwrap_or_default()).or_default();
    *entry = entry.and(usage);
}

impl TenantUser {
    /// What is used in one namespace or in all, as far as the person may list it. What is read is added up page by page.
    ///
    /// # Errors
    /// [`ReconcileError::Refused`] with 403 when the person may not list pods there, with 429 when too many ask at once.
    pub async fn usage(&self, namespace: Option<&str>) -> Result<Told<Usage>, ReconcileError> {
        let turn = self.turn().await?;
        let metrics = match namespace {
            Some(namespace) => format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods"),
            None => "/apis/metrics.k8s.io/v1beta1/pods".to_owned(),
        };
        let (pods, claims) = (Pod::url_path(&(), namespace), PersistentVolumeClaim::url_path(&(), namespace));
        let (mut namespaces, mut claimed, mut used) = (Sums::new(), Sums::new(), Sums::new());
        let mut containers_cut = false;
        let measuring = self.each("metrics of pods", &metrics, |pod: PodMetrics| {
            let usage = used_by(&pod);
            add(&mut used, pod.metadata.namespace, usage);
        });
        let (pods, claims, measured) = futures::future::join3(
            self.each("pods", &pods, |pod: AskingPod| {
                let usage = requested_by(&pod);
                containers_cut |= usage.pods > 0 && pod.spec.is_cut();
                add(&mut namespaces, pod.metadata.namespace, usage);
            }),
            self.each("volume claims", &claims, |claim: AskingClaim| {
                let storage_requested = bytes(claim.spec.resources.requests.storage());
                let usage = NamespaceUsage { storage_requested, ..NamespaceUsage::default() };
                add(&mut claimed, claim.metadata.namespace, usage);
            }),
            tokio::time::timeout(PATIENCE, measuring),
        )
        .await;
        let mut cut = pods? || containers_cut;
        let claims_unread = match claims {
            Ok(more) => {
                cut |= more;
                None
            }
            Err(ReconcileError::Refused { code: 403, message, .. }) => {
                claimed.clear();
                Some(message)
            }
            Err(error) => return Err(error),
        };
        // Nothing measures in most workspaces, and what does may be away.
        let measured = matches!(measured, Ok(Ok(_)));
        if !measured {
            used.clear();
        }
        for (namespace, usage) in claimed {
            add(&mut namespaces, Some(namespace), usage);
        }
        for (namespace, usage) in used {
            // What measures may be anybody's; it tells of pods, and makes up no namespaces.
            if let Some(entry) = namespaces.get_mut(&namespace) {
                *entry = entry.and(usage);
            }
        }
        Ok(Told { what: Usage { namespaces, measured, claims_unread, cut }, turn })
    }
}

fn requested_by(pod: &AskingPod) -> NamespaceUsage {
    if pod.is_over() {
        return NamespaceUsage::default();
    }
    NamespaceUsage {
        pods: 1,
        cpu_requested: cpu(pod.spec.counts(|resources| resources.requests.cpu())),
        cpu_limited: cpu(pod.spec.counts(|resources| resources.limits.cpu())),
        memory_requested: bytes(pod.spec.counts(|resources| resources.requests.memory())),
        memory_limited: bytes(pod.spec.counts(|resources| resources.limits.memory())),
        ..NamespaceUsage::default()
    }
}

fn used_by(pod: &PodMetrics) -> NamespaceUsage {
    let sum =
        |of: fn(&Asked) -> f64| First::of(&pod.containers).iter().map(|container| of(&container.usage)).sum::<f64>();
    NamespaceUsage { cpu_used: cpu(sum(Asked::cpu)), memory_used: bytes(sum(Asked::memory)), ..Default::default() }
}

fn cpu(cores: f64) -> Cpu {
    // Above what a number of this kind can be, it is the greatest.
    Cpu::from_millis((cores * 1_000.0).round() as u64)
}

fn bytes(bytes: f64) -> Bytes {
    Bytes::new(bytes.round() as u64)
}

#[cfg(test)]
mod tests {
    use hexabase_testkit::kubernetes::FakeKubernetes;
    use hexabase_testkit::tenant::FakeTenant;
    use serde_json::{Value, json};

    use super::super::quantities::PodSpec;
    use super::*;
    use crate::connection::Host;
    use crate::settings::HostSettings;

    fn pod(namespace: &str, phase: &str, containers: Value, before: Value) -> Value {
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "x", "namespace": namespace },
            "spec": { "containers": containers, "initContainers": before }, "status": { "phase": phase } })
    }

    fn wants(cpu: &str, memory: &str) -> Value {
        let resources =
            json!({ "requests": { "cpu": cpu, "memory": memory }, "limits": { "cpu": "4", "memory": "2Gi" } });
        json!({ "name": "c", "resources": resources })
    }

    async fn tenant(server: &FakeKubernetes, turns: &str) -> TenantUser {
        let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
        let cluster = Host::connect(settings).await.unwrap().cluster;
        TenantUser { cluster, turns: super::super::reading::turns(turns) }
    }

    #[test]
    fn what_stays_beside_counts_while_the_next_one_starts() {
        let container = |cpu: &str, policy: Option<&str>| {
            let resources = json!({ "requests": { "cpu": cpu } });
            json!({ "restartPolicy": policy, "resources": resources })
        };
        let cores = |before: Value| {
            let spec = json!({ "containers": [container("1", None)], "initContainers": before });
            let spec: PodSpec = serde_json::from_value(spec).unwrap();
            spec.counts(|resources| resources.requests.cpu())
        };
        assert_eq!(cores(json!([container("500m", Some("Always"))])), 1.5);
        assert_eq!(cores(json!([container("2", Some("Always")), container("4", None)])), 6.0);
        assert_eq!(cores(json!([container("4", None), container("2", Some("Always"))])), 4.0);
        assert_eq!(cores(json!(null)), 1.0);
    }

    #[tokio::test]
    async fn whoever_gets_no_turn_is_told_so() {
        let server = FakeKubernetes::start().await.unwrap();
        let tenant = tenant(&server, "crowded").await;
        let waiting = tenant.turns.available_permits() as u32;
        let turns = tenant.turns.acquire_many(waiting).await.unwrap();
        assert!(tenant.usage(None).await.is_err_and(|error| error.is(429)));
        drop(turns);
        assert!(tenant.usage(None).await.is_ok());
    }

    #[tokio::test]
    async fn what_measures_makes_up_no_namespaces_and_no_long_names() {
        let server = FakeTenant::start().await.unwrap();
        let tenant = TenantUser::connect(&server.address(), &server.ca_pem, "token").await.unwrap();
        let list = |items: Value| json!({ "metadata": {}, "items": items });
        server.answer("GET", "/api/v1/pods", 200, list(json!([pod("web", "Running", json!([]), json!([]))])));
        let measured = |namespace: &str| json!({ "metadata": { "namespace": namespace }, "containers": [{ "usage": { "cpu": "1" } }] });
        let metrics = "/apis/metrics.k8s.io/v1beta1/pods";
        server.answer("GET", metrics, 200, list(json!([measured("web"), measured("made-up")])));
        let usage = tenant.usage(None).await.unwrap().what;
        let names: Vec<&str> = usage.namespaces.keys().map(String::as_str).collect();
        assert_eq!((names, usage.measured), (vec!["web"], true));
        server.answer("GET", metrics, 200, list(json!([measured(&"x".repeat(254))])));
        assert!(!tenant.usage(None).await.unwrap().what.measured);
    }

    #[tokio::test]
    async fn a_pod_with_very_many_containers_counts_with_the_first_of_them() {
        let server = FakeKubernetes::start().await.unwrap();
        let tenant = tenant(&server, "many").await;
        let containers = vec![wants("10m", "1Mi"); MOST_CONTAINERS + 1];
        server.put("/api/v1/namespaces/web/pods/a", pod("web", "Pending", json!(containers), json!([])));
        let usage = tenant.usage(None).await.unwrap().what;
        let asked = Cpu::from_millis(10 * MOST_CONTAINERS as u64);
        assert_eq!((usage.namespaces["web"].cpu_requested, usage.cut), (asked, true));
        let project = tenant.project_usage(&"web".parse().unwrap()).await.unwrap();
        assert_eq!(project.users.pods.len(), 1);
    }

    #[tokio::test]
    async fn a_turn_lasts_until_what_was_seen_is_told() {
        let server = FakeKubernetes::start().await.unwrap();
        let tenant = tenant(&server, "slow").await;
        let all = tenant.turns.available_permits();
        let told = tenant.usage(None).await.unwrap();
        assert_eq!(tenant.turns.available_permits(), all - 1);
        drop(told);
        assert_eq!(tenant.turns.available_permits(), all);
    }

    #[tokio::test]
    async fn what_pods_and_claims_ask_for_is_counted_by_namespace() {
        let server = FakeKubernetes::start().await.unwrap();
        let tenant = tenant(&server, "usage").await;
        let two = json!([wants("250m", "64Mi"), wants("0.25", "64Mi")]);
        server.put("/api/v1/namespaces/web/pods/a", pod("web", "Running", two, json!([wants("2", "1Mi")])));
        server.put("/api/v1/namespaces/web/pods/b", pod("web", "Pending", json!([wants("1", "1Gi")]), json!([])));
        server.put("/api/v1/namespaces/web/pods/c", pod("web", "Succeeded", json!([wants("9", "9Gi")]), json!([])));
        server.put("/api/v1/namespaces/shop/pods/a", pod("shop", "Running", json!([{ "name": "c" }]), json!([])));
        let claim = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": { "name": "data", "namespace": "shop" },
            "spec": { "resources": { "requests": { "storage": "5Gi" } } } });
        server.put("/api/v1/namespaces/shop/persistentvolumeclaims/data", claim);
        let usage = tenant.usage(None).await.unwrap().what;
        let web = NamespaceUsage {
            pods: 2,
            cpu_requested: Cpu::from_millis(3_000),
            cpu_limited: Cpu::from_millis(12_000),
            memory_requested: Bytes::from_mebibytes(128 + 1_024),
            memory_limited: Bytes::from_gibibytes(6),
            ..NamespaceUsage::default()
        };
        let shop = NamespaceUsage { pods: 1, storage_requested: Bytes::from_gibibytes(5), ..NamespaceUsage::default() };
        let expected = BTreeMap::from([("shop".to_owned(), shop), ("web".to_owned(), web)]);
        assert_eq!((&usage.namespaces, usage.claims_unread.as_deref(), usage.cut), (&expected, None, false));
        let together = usage.namespaces.values().copied().fold(NamespaceUsage::default(), NamespaceUsage::and);
        assert_eq!((together.pods, together.cpu_requested), (3, Cpu::from_millis(3_000)));
        assert_eq!(tenant.usage(Some("shop")).await.unwrap().what.namespaces.len(), 1);
    }
}
