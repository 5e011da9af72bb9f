//! What is used inside, by namespace: what pods and claims ask for, and what is measured where something measures it.

use std::collections::BTreeMap;

use hexabase_core::quantity::{Bytes, Cpu};
use k8s_openapi::api::core::v1::{Container, PersistentVolumeClaim, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use kube::api::ListParams;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::TenantUser;
use crate::error::ReconcileError;

/// Objects of one page, and pages that are read at most.
const PAGE: u32 = 500;
const MOST_PAGES: usize = 20;

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
    /// Memory that they request.
    pub memory_requested: Bytes,
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
            memory_requested: bytes,
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
            memory_requested: bytes(self.memory_requested, other.memory_requested),
            storage_requested: bytes(self.storage_requested, other.storage_requested),
            cpu_used: cpu(self.cpu_used, other.cpu_used),
            memory_used: bytes(self.memory_used, other.memory_used),
        }
    }
}

/// What the metrics API tells of a pod.
#[derive(Deserialize)]
struct PodMetrics {
    metadata: ObjectMeta,
    #[serde(default)]
    containers: Vec<ContainerMetrics>,
}

#[derive(Deserialize)]
struct ContainerMetrics {
    #[serde(default)]
    usage: BTreeMap<String, Quantity>,
}

impl TenantUser {
    /// What is used in one namespace or in all, as far as the person may list it.
    ///
    /// # Errors
    /// [`ReconcileError::Refused`] with 403 when the person may not list pods there.
    pub async fn usage(&self, namespace: Option<&str>) -> Result<Usage, ReconcileError> {
        let metrics = match namespace {
            Some(namespace) => format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods"),
            None => "/apis/metrics.k8s.io/v1beta1/pods".to_owned(),
        };
        let (pods, claims, measured) = futures::future::join3(
            self.all::<Pod>("pods", Pod::url_path(&(), namespace)),
            self.all::<PersistentVolumeClaim>("volume claims", PersistentVolumeClaim::url_path(&(), namespace)),
            self.all::<PodMetrics>("metrics of pods", metrics),
        )
        .await;
        let (pods, mut cut) = pods?;
        let (claims, claims_unread) = match claims {
            Ok((claims, more)) => {
                cut |= more;
                (claims, None)
            }
            Err(ReconcileError::Refused { code: 403, message, .. }) => (Vec::new(), Some(message)),
            Err(error) => return Err(error),
        };
        // Nothing measures in most workspaces, and what does may be away.
        let (metrics, measured) = measured.map_or((Vec::new(), false), |(metrics, _)| (metrics, true));
        let mut namespaces: BTreeMap<String, NamespaceUsage> = BTreeMap::new();
        let mut add = |metadata: ObjectMeta, usage: NamespaceUsage| {
            let entry = namespaces.entry(metadata.namespace.unwrap_or_default()).or_default();
            *entry = entry.and(usage);
        };
        for pod in pods {
            let usage = requested_by(&pod);
            add(pod.metadata, usage);
        }
        for claim in claims {
            let wanted = claim.spec.and_then(|spec| spec.resources).and_then(|resources| resources.requests);
            let storage_requested = bytes(amount(wanted.as_ref(), "storage"));
            add(claim.metadata, NamespaceUsage { storage_requested, ..NamespaceUsage::default() });
        }
        for pod in metrics {
            let used = |name: &str| -> f64 {
                pod.containers.iter().map(|container| amount(Some(&container.usage), name)).sum()
            };
            let (cpu_used, memory_used) = (cpu(used("cpu")), bytes(used("memory")));
            add(pod.metadata, NamespaceUsage { cpu_used, memory_used, ..NamespaceUsage::default() });
        }
        Ok(Usage { namespaces, measured, claims_unread, cut })
    }

    /// Every object of a list; whether there are more than are read.
    async fn all<T: DeserializeOwned>(
        &self,
        what: &'static str,
        path: String,
    ) -> Result<(Vec<T>, bool), ReconcileError> {
        let (mut items, mut next) = (Vec::new(), None::<String>);
        for _ in 0..MOST_PAGES {
            let page = self.page(what, &path, ListParams::default(), PAGE, next.as_deref()).await?;
            items.extend(page.items);
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        Ok((items, next.is_some()))
    }
}

fn requested_by(pod: &Pod) -> NamespaceUsage {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return NamespaceUsage::default();
    }
    let sum = |name: &str| pod.spec.as_ref().map_or(0.0, |spec| requested(spec, name));
    let (cpu_requested, memory_requested) = (cpu(sum("cpu")), bytes(sum("memory")));
    NamespaceUsage { pods: 1, cpu_requested, memory_requested, ..NamespaceUsage::default() }
}

/// What the scheduler keeps for a pod: its containers together, or the one that runs before them and wants more.
fn requested(spec: &PodSpec, name: &str) -> f64 {
    let of = |resources: &Option<ResourceRequirements>| {
        amount(resources.as_ref().and_then(|resources| resources.requests.as_ref()), name)
    };
    let before: Vec<&Container> = spec.init_containers.iter().flatten().collect();
    let stays = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let beside = before.iter().filter(|container| stays(container)).map(|container| of(&container.resources));
    let together = beside.sum::<f64>() + spec.containers.iter().map(|container| of(&container.resources)).sum::<f64>();
    let first = before.iter().filter(|container| !stays(container)).map(|container| of(&container.resources));
    first.fold(together, f64::max)
}

fn cpu(cores: f64) -> Cpu {
    // Above what a number of this kind can be, it is the greatest.
    Cpu::from_millis((cores * 1_000.0).round() as u64)
}

fn bytes(bytes: f64) -> Bytes {
    Bytes::new(bytes.round() as u64)
}

fn amount(amounts: Option<&BTreeMap<String, Quantity>>, name: &str) -> f64 {
    amounts.and_then(|amounts| amounts.get(name)).and_then(|quantity| number(&quantity.0)).unwrap_or(0.0)
}

/// A quantity in whichever way Kubernetes writes it; people and programs use them all.
fn number(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 15] = [
        ("Ki", 1_024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let (digits, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits, *factor)))
        .unwrap_or((text, 1.0));
    let plain = |letter: char| letter.is_ascii_digit() || ".+-eE".contains(letter);
    if !digits.chars().all(plain) {
        return None;
    }
    digits.parse::<f64>().ok().map(|number| number * factor).filter(|number| number.is_finite() && *number >= 0.0)
}

#[cfg(test)]
mod tests {
    use hexabase_testkit::kubernetes::FakeKubernetes;
    use serde_json::{Value, json};

    use super::*;
    use crate::connection::Host;
    use crate::settings::HostSettings;

    #[test]
    fn every_way_of_writing_an_amount_is_read() {
        let in_billionths = |number: f64| (number * 1e9).round();
        for (text, expected) in [
            ("2", 2.0),
            ("1.5", 1.5),
            ("250m", 0.25),
            ("123456789n", 0.123_456_789),
            ("7u", 0.000_007),
            ("1e3", 1_000.0),
            ("2E3", 2_000.0),
            ("1k", 1_000.0),
            ("64Ki", 65_536.0),
            ("1.5Gi", 1_610_612_736.0),
            ("129M", 129_000_000.0),
            ("1E", 1e18),
        ] {
            assert_eq!(number(text).map(in_billionths), Some(in_billionths(expected)), "{text}");
        }
        for bad in ["", "Gi", "x", "-1", "1 Gi", "inf", "nan", "1e999"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }

    fn pod(namespace: &str, phase: &str, containers: Value, before: Value) -> Value {
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "x", "namespace": namespace },
            "spec": { "containers": containers, "initContainers": before }, "status": { "phase": phase } })
    }

    fn wants(cpu: &str, memory: &str) -> Value {
        json!({ "name": "c", "resources": { "requests": { "cpu": cpu, "memory": memory } } })
    }

    #[tokio::test]
    async fn what_pods_and_claims_ask_for_is_counted_by_namespace() {
        let server = FakeKubernetes::start().await.unwrap();
        let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
        let cluster = Host::connect(settings).await.unwrap().cluster;
        let tenant = TenantUser { cluster, turns: super::super::looks::turns("usage") };
        let two = json!([wants("250m", "64Mi"), wants("0.25", "64Mi")]);
        server.put("/api/v1/namespaces/web/pods/a", pod("web", "Running", two, json!([wants("2", "1Mi")])));
        server.put("/api/v1/namespaces/web/pods/b", pod("web", "Pending", json!([wants("1", "1Gi")]), json!([])));
        server.put("/api/v1/namespaces/web/pods/c", pod("web", "Succeeded", json!([wants("9", "9Gi")]), json!([])));
        server.put("/api/v1/namespaces/shop/pods/a", pod("shop", "Running", json!([{ "name": "c" }]), json!([])));
        let claim = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": { "name": "data", "namespace": "shop" },
            "spec": { "resources": { "requests": { "storage": "5Gi" } } } });
        server.put("/api/v1/namespaces/shop/persistentvolumeclaims/data", claim);
        let usage = tenant.usage(None).await.unwrap();
        let web = NamespaceUsage {
            pods: 2,
            cpu_requested: Cpu::from_millis(3_000),
            memory_requested: Bytes::from_mebibytes(128 + 1_024),
            ..NamespaceUsage::default()
        };
        let shop = NamespaceUsage { pods: 1, storage_requested: Bytes::from_gibibytes(5), ..NamespaceUsage::default() };
        let expected = BTreeMap::from([("shop".to_owned(), shop), ("web".to_owned(), web)]);
        assert_eq!((&usage.namespaces, usage.claims_unread.as_deref(), usage.cut), (&expected, None, false));
        let together = usage.namespaces.values().copied().fold(NamespaceUsage::default(), NamespaceUsage::and);
        assert_eq!((together.pods, together.cpu_requested), (3, Cpu::from_millis(3_000)));
        assert_eq!(tenant.usage(Some("shop")).await.unwrap().namespaces.len(), 1);
    }
}
