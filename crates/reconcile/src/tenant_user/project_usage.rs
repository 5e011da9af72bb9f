//! What is used in a project's namespace, and by what.

use std::collections::BTreeMap;

use hexabase_core::names::ProjectName;
use hexabase_core::quota::{Amounts, Resource};
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::TenantUser;
use super::quantities::number;
use super::users::Users;
use crate::error::ReconcileError;
use crate::manifest::Kind;
use crate::tenant::projects::QUOTA;

/// What a namespace uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectUsage {
    /// As Kubernetes counts it.
    pub used: Amounts,
    /// Its pods, claims and Services, by name.
    pub users: Users,
}

impl TenantUser {
    /// What the namespace of a project uses, as far as the person may see it.
    pub async fn project_usage(&self, project: &ProjectName) -> Result<ProjectUsage, ReconcileError> {
        let namespace = Some(project.as_str());
        let quota: Option<ResourceQuota> = self.cluster.get_as(Kind::ResourceQuota, namespace, QUOTA).await?;
        let used = quota.and_then(|quota| quota.status).and_then(|status| status.used).unwrap_or_default();
        Ok(ProjectUsage { used: amounts(&used), users: self.users(namespace).await })
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

/// The number that a quantity stands for, in thousandths; of fractions as fine as none is counted, nothing.
pub(crate) fn thousandths(quantity: &Quantity) -> u128 {
    number(&quantity.0).map(|number| (number * 1_000.0).round() as u128).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use hexabase_core::quantity::{Bytes, Cpu};

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
}
