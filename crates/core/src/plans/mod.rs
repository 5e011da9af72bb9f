//! Plans: what a workspace may use and what it costs.
//!
//! A plan has versions. A new workspace gets the newest one and keeps it; what a version says never changes.

mod change;
mod kubernetes;
mod seed;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::nodes::NodeClass;
use crate::quantity::{Bytes, Cpu};
use crate::quota::Amounts;
use crate::words;

pub use self::change::{Immutable, PlanWish, check_change};
pub use self::kubernetes::{InvalidKubernetesVersion, KubernetesVersion};
pub use self::seed::seed;

/// A plan's readable, stable name, such as `standard`.
pub type PlanId = String;

/// Which of a plan's versions, from 1 on.
pub type PlanVersion = u32;

words! {
    /// What a workspace's control plane keeps its objects in. It is made with the workspace and never exchanged.
    StoreKind, "kind of store" {
        /// A SQLite file on the control plane's own volume.
        Sqlite = "sqlite",
    }
}

/// What a workspace under a plan may use, over all its projects together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// What Kubernetes counts.
    pub amounts: Amounts,
    /// Projects.
    pub projects: u32,
    /// People with access; service accounts do not count.
    pub members: u32,
    /// Living workspaces of one organisation under this plan, whatever version of it.
    pub workspaces: u32,
}

impl Limits {
    /// What a project at the top gets that asks for nothing: as many like it have room as the plan allows projects.
    pub fn default_project(&self) -> Amounts {
        self.amounts.part(self.projects)
    }
}

/// An amount of money per month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Integer minor units: cents, or yen.
    pub amount_minor: i64,
    /// ISO 4217, three upper-case letters.
    pub currency: String,
}

impl Price {
    /// The sum of so many times each price: one amount per currency, by its code.
    pub fn total<'a>(prices: impl IntoIterator<Item = (&'a Self, u64)>) -> Vec<Self> {
        let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
        for (price, times) in prices {
            let amount = price.amount_minor.saturating_mul(i64::try_from(times).unwrap_or(i64::MAX));
            let sum = sums.entry(&price.currency).or_default();
            *sum = sum.saturating_add(amount);
        }
        let one = |(currency, amount_minor): (&str, i64)| Self { amount_minor, currency: currency.to_owned() };
        sums.into_iter().map(one).collect()
    }
}

/// As people write it: `49.00 USD`, `5000 JPY`.
impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { amount_minor: minor, currency } = self;
        // ISO 4217: these have no minor unit.
        match ["JPY", "KRW", "VND", "CLP", "ISK"].contains(&currency.as_str()) {
            true => write!(f, "{minor} {currency}"),
            false => write!(f, "{}.{:02} {currency}", minor / 100, (minor % 100).abs()),
        }
    }
}

/// What an organisation chooses when it creates a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Readable, stable name.
    pub id: PlanId,
    /// Which version of it.
    pub version: PlanVersion,
    /// Name for people.
    pub display_name: String,
    /// What a workspace may use.
    pub limits: Limits,
    /// What a workspace costs per month.
    pub price: Price,
    /// How many nodes of its own a workspace can have; where none, it runs on shared ones.
    pub max_nodes: u32,
    /// The release of Kubernetes in its workspaces; the installation's own when absent.
    pub kubernetes: Option<KubernetesVersion>,
    /// After how many minutes without use a new workspace falls asleep, until it is given another rule; never when absent.
    pub sleep_after_minutes: Option<u32>,
    /// What its workspaces keep their objects in.
    pub store: StoreKind,
    /// Whether new workspaces may choose it.
    pub active: bool,
    /// Place in lists, lowest first.
    pub display_order: i32,
}

impl Plan {
    /// The best nodes that a workspace can have.
    pub fn node_class(&self) -> NodeClass {
        if self.max_nodes > 0 { NodeClass::Dedicated } else { NodeClass::Shared }
    }
}

/// What the tenant's own control plane needs on the host, on top of the plan: measured at about 0.5 GiB idle.
pub const CONTROL_PLANE_MEMORY: Bytes = Bytes::from_mebibytes(2048 + 512);
/// CPU of the tenant's own control plane and its DNS, on top of the plan.
pub const CONTROL_PLANE_CPU: Cpu = Cpu::from_millis(2500);
/// CPU that the tenant's own control plane asks its node for. Less than that cannot be all that it may use.
pub const CONTROL_PLANE_CPU_REQUEST: Cpu = Cpu::from_millis(200);
/// Storage of the tenant's own control plane, on top of the plan.
pub const CONTROL_PLANE_STORAGE: Bytes = Bytes::from_gibibytes(5);
/// Pods of the tenant's own control plane, on top of the plan.
pub const CONTROL_PLANE_PODS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_written_as_its_currency_is() {
        let price = |amount_minor, currency: &str| Price { amount_minor, currency: currency.to_owned() }.to_string();
        assert_eq!(
            [price(49_900, "USD"), price(4_900, "USD"), price(0, "EUR"), price(5_000, "JPY")],
            ["499.00 USD", "49.00 USD", "0.00 EUR", "5000 JPY"]
        );
    }

    #[test]
    fn costs_are_added_up_by_currency() {
        let price = |amount_minor, currency: &str| Price { amount_minor, currency: currency.to_owned() };
        let (yen, dollars) = (price(5_000, "JPY"), price(4_900, "USD"));
        let total = Price::total([(&dollars, 2), (&yen, 1), (&dollars, 1), (&yen, 0)]);
        assert_eq!(total, [price(5_000, "JPY"), price(14_700, "USD")]);
        assert_eq!(Price::total([(&dollars, u64::MAX)]), [price(i64::MAX, "USD")]);
    }

    #[test]
    fn as_many_projects_have_room_as_a_plan_allows() {
        for plan in seed() {
            let one = plan.limits.default_project();
            let all = (0..plan.limits.projects).fold(Amounts::NONE, |sum, _| sum.plus(&one));
            assert_eq!(all.exceeds(&plan.limits.amounts), None, "{}", plan.id);
        }
    }
}
