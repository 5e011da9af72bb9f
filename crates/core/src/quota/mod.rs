//! Amounts of what Kubernetes counts, and the ledger by which a plan is shared out among projects.

mod ledger;

use serde::{Deserialize, Serialize};

use crate::quantity::{Bytes, Cpu};
use crate::words;

pub use self::ledger::{GivenOn, Ledger, Refusal, Share, TooMuch};

words! {
    /// What plans and projects have an amount of.
    Resource, "resource" {
        /// CPU that pods may request and use.
        Cpu = "cpu",
        /// Memory that pods may request and use.
        Memory = "memory",
        /// Storage that volume claims may request.
        Storage = "storage",
        /// Pods.
        Pods = "pods",
        /// Services.
        Services = "services",
        /// Services that are reached from outside.
        LoadBalancers = "load_balancers",
        /// Claims of volumes.
        PersistentVolumeClaims = "persistent_volume_claims",
        /// Secrets, and as many ConfigMaps.
        Objects = "objects",
    }
}

impl Resource {
    /// A bare number of it, as Kubernetes writes it.
    pub fn write(self, number: u64) -> String {
        match self {
            Self::Cpu => Cpu::from_millis(number).to_string(),
            Self::Memory | Self::Storage => Bytes::new(number).to_string(),
            Self::Pods | Self::Services | Self::LoadBalancers | Self::PersistentVolumeClaims | Self::Objects => {
                number.to_string()
            }
        }
    }

    /// The same number without the odd bytes that nobody would write.
    fn round(self, number: u64) -> u64 {
        const MEBIBYTE: u64 = 1 << 20;
        match self {
            Self::Memory | Self::Storage if number >= MEBIBYTE => number - number % MEBIBYTE,
            _ => number,
        }
    }
}

/// How much of everything a workspace or a project may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amounts {
    /// CPU that its pods may request and use.
    pub cpu: Cpu,
    /// Memory that its pods may request and use.
    pub memory: Bytes,
    /// Storage that its volume claims may request.
    pub storage: Bytes,
    /// Pods.
    pub pods: u32,
    /// Services.
    pub services: u32,
    /// Services that are reached from outside.
    pub load_balancers: u32,
    /// Claims of volumes.
    pub persistent_volume_claims: u32,
    /// Secrets, and as many ConfigMaps.
    pub objects: u32,
}

impl Amounts {
    /// Nothing of anything.
    pub const NONE: Self = Self {
        cpu: Cpu::from_millis(0),
        memory: Bytes::new(0),
        storage: Bytes::new(0),
        pods: 0,
        services: 0,
        load_balancers: 0,
        persistent_volume_claims: 0,
        objects: 0,
    };

    /// One of them as a bare number: thousandths of a core, bytes, or pieces.
    pub fn get(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Cpu => self.cpu.as_millis(),
            Resource::Memory => self.memory.get(),
            Resource::Storage => self.storage.get(),
            Resource::Pods => self.pods.into(),
            Resource::Services => self.services.into(),
            Resource::LoadBalancers => self.load_balancers.into(),
            Resource::PersistentVolumeClaims => self.persistent_volume_claims.into(),
            Resource::Objects => self.objects.into(),
        }
    }

    /// The amounts of these bare numbers.
    pub fn of(number: impl Fn(Resource) -> u64) -> Self {
        let pieces = |resource| u32::try_from(number(resource)).unwrap_or(u32::MAX);
        Self {
            cpu: Cpu::from_millis(number(Resource::Cpu)),
            memory: Bytes::new(number(Resource::Memory)),
            storage: Bytes::new(number(Resource::Storage)),
            pods: pieces(Resource::Pods),
            services: pieces(Resource::Services),
            load_balancers: pieces(Resource::LoadBalancers),
            persistent_volume_claims: pieces(Resource::PersistentVolumeClaims),
            objects: pieces(Resource::Objects),
        }
    }

    /// Both together; what would be too large to be written is the largest that can be.
    pub fn plus(&self, other: &Self) -> Self {
        Self::of(|resource| self.get(resource).saturating_add(other.get(resource)))
    }

    /// What is left of these without those, which is nothing where those are more.
    pub fn less(&self, other: &Self) -> Self {
        Self::of(|resource| self.get(resource).saturating_sub(other.get(resource)))
    }

    /// Of everything the smaller amount.
    pub fn at_most(&self, other: &Self) -> Self {
        Self::of(|resource| self.get(resource).min(other.get(resource)))
    }

    /// One of `parts` equal parts, in round numbers; at least one piece of what there is any of.
    pub fn part(&self, parts: u32) -> Self {
        let parts = u64::from(parts.max(1));
        Self::of(|resource| {
            let whole = self.get(resource);
            resource.round((whole / parts).max(whole.min(1)))
        })
    }

    /// Half of them in round numbers, of an odd number of pieces the larger half.
    pub fn half(&self) -> Self {
        Self::of(|resource| resource.round(self.get(resource).div_ceil(2)))
    }

    /// The first resource of which there is more than in `other`.
    pub fn exceeds(&self, other: &Self) -> Option<Resource> {
        Resource::ALL.iter().copied().find(|resource| self.get(*resource) > other.get(*resource))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts() -> Amounts {
        Amounts {
            cpu: Cpu::from_millis(4000),
            memory: Bytes::from_gibibytes(8),
            storage: Bytes::from_gibibytes(50),
            pods: 50,
            services: 5,
            load_balancers: 0,
            persistent_volume_claims: 3,
            objects: 500,
        }
    }

    #[test]
    fn a_part_is_in_round_numbers_and_of_everything_that_there_is() {
        let part = amounts().part(10);
        assert_eq!((part.cpu.to_string(), part.memory.to_string()), ("400m".to_owned(), "819Mi".to_owned()));
        assert_eq!((part.pods, part.services, part.load_balancers, part.persistent_volume_claims), (5, 1, 0, 1));
        assert_eq!(amounts().part(0), amounts());
        assert_eq!((amounts().half().services, amounts().half().load_balancers), (3, 0));
        assert_eq!(Amounts::NONE.half(), Amounts::NONE);
    }

    #[test]
    fn no_sum_is_less_than_its_parts_and_no_rest_more_than_the_whole() {
        let most = Amounts::of(|_| u64::MAX);
        assert_eq!(most.plus(&amounts()), most);
        assert_eq!(amounts().less(&most), Amounts::NONE);
        assert_eq!(amounts().plus(&amounts()).less(&amounts()), amounts());
        assert_eq!(amounts().at_most(&most), amounts());
    }

    #[test]
    fn every_number_reads_back_and_is_written_as_kubernetes_does() {
        assert_eq!(Amounts::of(|resource| amounts().get(resource)), amounts());
        let written = Resource::ALL.iter().map(|resource| resource.write(amounts().get(*resource)));
        assert_eq!(written.collect::<Vec<_>>(), ["4", "8Gi", "50Gi", "50", "5", "0", "3", "500"]);
        let text = serde_json::to_string(&amounts()).unwrap();
        assert_eq!(serde_json::from_str::<Amounts>(&text).unwrap(), amounts());
        assert!(serde_json::from_str::<Amounts>(r#"{"cpu":"1"}"#).is_err(), "nothing is guessed");
    }

    #[test]
    fn the_first_that_is_too_much_is_named() {
        let more = Amounts { pods: 51, objects: 501, ..amounts() };
        assert_eq!(more.exceeds(&amounts()), Some(Resource::Pods));
        assert_eq!(amounts().exceeds(&more), None);
    }
}
