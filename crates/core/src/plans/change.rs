//! What a plan decides once and for all for a workspace.

use super::{KubernetesVersion, Plan, StoreKind};

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
