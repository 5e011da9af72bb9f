//! What a plan decides once and for all for a workspace, and the way to another one that gives less.

use serde::{Deserialize, Serialize};

use super::{KubernetesVersion, Limits, Plan, PlanId, PlanVersion, StoreKind};
use crate::ids::UserId;
use crate::time::Timestamp;

/// A plan that somebody has asked for, and under which the workspace comes once the host lets in no more than it allows and no
/// more is used. Until then the workspace has what both plans give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanWish {
    /// The plan.
    pub plan: PlanId,
    /// Its version.
    pub version: PlanVersion,
    /// Who asked for it.
    pub by: UserId,
    /// When.
    pub at: Timestamp,
    /// Why nothing came of it, as a sentence; open when absent.
    pub refused: Option<String>,
}

/// Why a workspace cannot come under another plan, however little it uses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Immutable {
    /// The store cannot be exchanged.
    #[error("the store of a workspace is made with it and stays: it has {has}, and the other plan gives {wants}")]
    Store {
        /// What it has.
        has: StoreKind,
        /// What it would have.
        wants: StoreKind,
    },
    /// Kubernetes cannot be exchanged.
    #[error(
        "the Kubernetes of a workspace goes forward only, by one minor release at most: it has {}, and the other plan \
         gives {}",
        release(.has),
        release(.wants)
    )]
    Kubernetes {
        /// What it has.
        has: Option<KubernetesVersion>,
        /// What it would have.
        wants: Option<KubernetesVersion>,
    },
}

fn release(version: &Option<KubernetesVersion>) -> String {
    version.map_or_else(|| "the installation's own release".to_owned(), |version| version.to_string())
}

impl Limits {
    /// Whether of something that Kubernetes counts on the host less is given than `before`: what is used of it is known only once
    /// nobody is let use more.
    pub fn takes_from(&self, before: &Self) -> bool {
        before.amounts.exceeds(&self.amounts).is_some() || self.projects < before.projects
    }

    /// Of everything that Kubernetes counts the smaller amount.
    #[must_use]
    pub fn both(&self, other: &Self) -> Self {
        let (amounts, projects) = (self.amounts.at_most(&other.amounts), self.projects.min(other.projects));
        Self { amounts, projects, ..self.clone() }
    }
}

/// Whether a workspace under `from` can come under `to`, as far as that is not a matter of how much it uses.
///
/// # Errors
/// With what stays as it is.
pub fn check_change(from: &Plan, to: &Plan) -> Result<(), Immutable> {
    if from.store != to.store {
        return Err(Immutable::Store { has: from.store, wants: to.store });
    }
    let goes = match (from.kubernetes, to.kubernetes) {
        (Some(has), Some(wants)) => wants.follows(has),
        // Which of the two is the newer one is known where workspaces are made, not here.
        (has, wants) => has == wants,
    };
    match goes {
        true => Ok(()),
        false => Err(Immutable::Kubernetes { has: from.kubernetes, wants: to.kubernetes }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::seed;
    use super::*;

    fn with(kubernetes: Option<&str>) -> Plan {
        Plan { kubernetes: kubernetes.map(|version| version.parse().unwrap()), ..seed().remove(1) }
    }

    #[test]
    fn on_the_way_to_a_plan_that_gives_less_of_something_a_workspace_has_what_both_give() {
        let (small, mut other) = (seed().remove(0).limits, seed().remove(1).limits);
        assert!(small.takes_from(&other) && !other.takes_from(&small) && !small.takes_from(&small));
        other.amounts.cpu = crate::quantity::Cpu::from_millis(1);
        assert!(other.takes_from(&small), "more of everything else");
        let both = small.both(&other);
        assert_eq!((both.amounts.cpu, both.amounts.memory), (other.amounts.cpu, small.amounts.memory));
        assert!(!small.takes_from(&both) && !other.takes_from(&both));
    }

    #[test]
    fn kubernetes_goes_forward_and_an_unknown_release_nowhere() {
        let plans = seed();
        assert_eq!(check_change(&plans[0], &plans[2]), Ok(()));
        assert_eq!(check_change(&with(Some("v1.35.4")), &with(Some("v1.36.0"))), Ok(()));
        for (has, wants) in
            [(Some("v1.36.0"), Some("v1.35.4")), (Some("v1.34.0"), Some("v1.36.0")), (None, Some("v1.36.0"))]
        {
            let refused = check_change(&with(has), &with(wants)).unwrap_err().to_string();
            assert!(refused.contains(has.unwrap_or("the installation's own")), "{refused}");
        }
    }
}
