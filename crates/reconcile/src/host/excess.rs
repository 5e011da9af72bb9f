//! What is too much for a smaller plan, in the tenant's terms. Whose it is stands nowhere: the sentence is for all who see the
//! workspace, its organisation's admins among them, who may not look inside.

use std::collections::BTreeMap;

use hexabase_core::quota::{Amounts, Resource};

use crate::host::limits::{PORTS_OF_A_LOAD_BALANCER, SCRATCH};

/// What is used too much of, as the host's quota calls it, and by how much more than the plan gives, in thousandths.
pub(crate) type Over = (String, u128);

/// One sentence about all of it. The control plane's share is on neither side.
pub(crate) fn told(smaller: &Amounts, over: &[Over]) -> String {
    // What is requested and what is allowed are one amount of the plan: the more of them counts.
    let mut terms: BTreeMap<&str, (Term, u128)> = BTreeMap::new();
    for (name, over) in over {
        if let Some(term) = term(name, smaller) {
            terms.entry(term.what).and_modify(|(_, most)| *most = (*most).max(*over)).or_insert((term, *over));
        }
    }
    let each = terms.into_values().map(|(Term { what, resource, most }, over)| {
        let over = if resource == Resource::Cpu { over } else { over.div_ceil(1_000) };
        let used = most.saturating_add(u64::try_from(over).unwrap_or(u64::MAX));
        format!("{} of {what}, of which {} is used", resource.write(most), resource.write(used))
    });
    let each: Vec<String> = each.collect();
    format!("the plan would allow less than is used in the workspace: {}", each.join("; "))
}

/// A line of the host's quota as the plan has it.
struct Term {
    what: &'static str,
    resource: Resource,
    most: u64,
}

fn term(name: &str, smaller: &Amounts) -> Option<Term> {
    let plain = |resource: Resource| Term { what: resource.as_str(), resource, most: smaller.get(resource) };
    Some(match name {
        "requests.cpu" | "limits.cpu" => plain(Resource::Cpu),
        "requests.memory" | "limits.memory" => plain(Resource::Memory),
        "requests.storage" => plain(Resource::Storage),
        "pods" => plain(Resource::Pods),
        "services" => plain(Resource::Services),
        "services.loadbalancers" => plain(Resource::LoadBalancers),
        "persistentvolumeclaims" => plain(Resource::PersistentVolumeClaims),
        "secrets" | "configmaps" => plain(Resource::Objects),
        "services.nodeports" => {
            let most = u64::from(smaller.load_balancers.saturating_mul(PORTS_OF_A_LOAD_BALANCER));
            Term { what: "node ports of services", resource: Resource::Services, most }
        }
        "limits.ephemeral-storage" => Term {
            what: "the disks of nodes (limits.ephemeral-storage)",
            resource: Resource::Storage,
            most: SCRATCH.get().saturating_mul(smaller.pods.into()),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use hexabase_core::quantity::{Bytes, Cpu};

    use super::*;

    #[test]
    fn all_that_is_too_much_is_told_in_amounts_of_the_plan() {
        let smaller =
            Amounts { cpu: Cpu::from_millis(1_000), storage: Bytes::from_gibibytes(1), pods: 1, ..Amounts::NONE };
        let over = |name: &str, over: u128| (name.to_owned(), over);
        let gibibyte: u128 = 1 << 30;
        let over = [
            over("limits.cpu", 1_500),
            over("pods", 1_000),
            over("requests.cpu", 10),
            over("requests.storage", 2 * gibibyte * 1_000),
            over("services.nodeports", 1_000),
        ];
        assert_eq!(
            told(&smaller, &over),
            "the plan would allow less than is used in the workspace: 1 of cpu, of which 2500m is used; \
             0 of node ports of services, of which 1 is used; 1 of pods, of which 2 is used; \
             1Gi of storage, of which 3Gi is used"
        );
    }
}
