//! What is used in a project's namespace, and by which pods.

use std::collections::BTreeMap;

use hexabase_core::names::ProjectName;
use hexabase_core::quantity::{Bytes, Cpu};
use hexabase_core::quota::{Amounts, Resource};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Resource as _;

use super::TenantUser;
use super::quantities::{Asked, AskingPod, number};
use crate::error::ReconcileError;
use crate::manifest::Kind;
use crate::tenant::projects::QUOTA;

/// What a namespace uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectUsage {
    /// As Kubernetes counts it.
    pub used: Amounts,
    /// Its pods that count, by name.
    pub pods: Vec<PodUsage>,
}

/// What a pod may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodUsage {
    /// Its name.
    pub name: String,
    /// CPU.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Bytes,
}

impl ProjectUsage {
    /// The names of the pods that use most of it, with how much; none, where it is not pods that use it.
    pub fn by(&self, resource: Resource, most: usize) -> Vec<String> {
        let of = |pod: &PodUsage| match resource {
            Resource::Cpu => Some(pod.cpu.as_millis()),
            Resource::Memory => Some(pod.memory.get()),
            Resource::Pods => Some(1),
            _ => None,
        };
        let mut users: Vec<(u64, &str)> =
            self.pods.iter().filter_map(|pod| Some((of(pod)?, pod.name.as_str()))).collect();
        users.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        users.into_iter().take(most).map(|(number, name)| format!("{name} ({})", resource.write(number))).collect()
    }
}

impl TenantUser {
    /// What the namespace of a project uses, as far as the person may see it. Of very many pods some are left out, and all where
    /// they cannot be read.
    pub async fn project_usage(&self, project: &ProjectName) -> Result<ProjectUsage, ReconcileError> {
        let namespace = Some(project.as_str());
        let quota: Option<ResourceQuota> = self.cluster.get_as(Kind::ResourceQuota, namespace, QUOTA).await?;
        let used = quota.and_then(|quota| quota.status).and_then(|status| status.used).unwrap_or_default();
        let mut pods = Vec::new();
        // What is used is known without, and what comes of that is not to depend on what people put into their pods.
        if let Err(error) = self.look_at_pods(namespace, &mut pods).await {
            tracing::debug!(error = %error, "the pods that use a quota cannot be told");
            pods.clear();
        }
        Ok(ProjectUsage { used: amounts(&used), pods })
    }

    async fn look_at_pods(&self, namespace: Option<&str>, pods: &mut Vec<PodUsage>) -> Result<bool, ReconcileError> {
        let _turn = self.turn().await?;
        self.each("pods", &Pod::url_path(&(), namespace), |asking: AskingPod| pods.extend(pod(asking))).await
    }
}

/// What a quota says of each thing that it counts.
pub(crate) type Quantities = BTreeMap<String, Quantity>;

/// Of names that stand for the same thing the larger number.
pub(crate) fn amounts(used: &Quantities) -> Amounts {
    let more_of = |names: &[&str]| {
        let found = names.iter().filter_map(|name| used.get(*name));
        found.map(thousandths).max().unwrap_or_default()
    };
    let number = |resource| match resource {
        Resource::Cpu => more_of(&["requests.cpu", "limits.cpu"]),
        Resource::Memory => more_of(&["requests.memory", "limits.memory"]).div_ceil(1000),
        Resource::Storage => more_of(&["requests.storage"]).div_ceil(1000),
        Resource::Pods => more_of(&["pods"]).div_ceil(1000),
        Resource::Services => more_of(&["services"]).div_ceil(1000),
        Resource::LoadBalancers => more_of(&["services.loadbalancers"]).div_ceil(1000),
        Resource::PersistentVolumeClaims => more_of(&["persistentvolumeclaims"]).div_ceil(1000),
        // One ConfigMap is Kubernetes' own.
        Resource::Objects => more_of(&["secrets"]).max(more_of(&["configmaps"]).saturating_sub(1000)).div_ceil(1000),
    };
    Amounts::of(|resource| u64::try_from(number(resource)).unwrap_or(u64::MAX))
}

/// A pod that is not over: what is over counts for nothing.
fn pod(pod: AskingPod) -> Option<PodUsage> {
    if pod.is_over() {
        return None;
    }
    // Above what a number of this kind can be, it is the greatest.
    let (cpu, memory) =
        ((pod.spec.bound(Asked::cpu) * 1_000.0).round() as u64, pod.spec.bound(Asked::memory).ceil() as u64);
    Some(PodUsage { name: pod.metadata.name?, cpu: Cpu::from_millis(cpu), memory: Bytes::new(memory) })
}

/// The number that a quantity stands for, in thousandths; of fractions as fine as none is counted, nothing.
pub(crate) fn thousandths(quantity: &Quantity) -> u128 {
    number(&quantity.0).map(|number| (number * 1_000.0).round() as u128).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        let read = |text: &str| thousandths(&Quantity(text.to_owned()));
        assert_eq!([read("2"), read("150m"), read("0.5"), read("1.25"), read("0")], [2_000, 150, 500, 1_250, 0]);
        assert_eq!([read("1Ki"), read("64Mi"), read("1M")], [1_024_000, 67_108_864_000, 1_000_000_000]);
        assert_eq!([read("10n"), read("nonsense"), read("")], [0, 0, 0]);
    }

    #[test]
    fn the_larger_of_what_is_requested_and_allowed_counts() {
        let used = [("requests.cpu", "250m"), ("limits.cpu", "1500m"), ("limits.memory", "1Gi"), ("configmaps", "3")];
        let used = used.into_iter().map(|(name, text)| (name.to_owned(), Quantity(text.to_owned()))).collect();
        let found = amounts(&used);
        assert_eq!((found.cpu, found.memory), (Cpu::from_millis(1_500), Bytes::from_gibibytes(1)));
        assert_eq!((found.objects, found.pods), (2, 0));
    }

    #[test]
    fn pods_are_told_by_how_much_they_use_and_not_when_they_are_over() {
        let one = |name: &str, phase: &str, cpu: [&str; 2]| {
            let container = |limit: &str| json!({ "name": "c", "resources": { "limits": { "cpu": limit } } });
            let pod = json!({ "metadata": { "name": name }, "status": { "phase": phase },
                "spec": { "containers": cpu.map(container) } });
            pod_of(pod)
        };
        let pods = [
            one("small", "Running", ["100m", "50m"]),
            one("large", "Pending", ["1", "500m"]),
            one("over", "Succeeded", ["4", "4"]),
        ];
        let usage = ProjectUsage { used: Amounts::NONE, pods: pods.into_iter().flatten().collect() };
        assert_eq!(usage.by(Resource::Cpu, 5), ["large (1500m)", "small (150m)"]);
        assert_eq!(usage.by(Resource::Pods, 1), ["small (1)"]);
        assert!(usage.by(Resource::Storage, 5).is_empty());
    }

    fn pod_of(json: serde_json::Value) -> Option<PodUsage> {
        pod(serde_json::from_value(json).unwrap())
    }
}
