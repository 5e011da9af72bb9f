//! The plans of a new installation.

use super::{Limits, Plan, Price, StoreKind};
use crate::quantity::{Bytes, Cpu};
use crate::quota::Amounts;

/// After how many minutes without use a workspace that costs nothing falls asleep, at the latest.
const FREE_SLEEPS_AFTER_MINUTES: u32 = 60;

/// What the plans of a new installation allow; operators make others.
pub fn seed() -> Vec<Plan> {
    // Whoever pays for a workspace says themselves when it sleeps.
    let sleeps = |price: i64| (price == 0).then_some(FREE_SLEEPS_AFTER_MINUTES);
    let plan = |id: &str, name: &str, order, limits, amount_minor| Plan {
        id: id.to_owned(),
        version: 1,
        display_name: name.to_owned(),
        limits,
        price: Price { amount_minor, currency: "USD".to_owned() },
        max_nodes: 0,
        kubernetes: None,
        sleep_after_minutes: sleeps(amount_minor),
        store: StoreKind::Sqlite,
        active: true,
        display_order: order,
    };
    vec![
        plan("free", "Free", 1, Limits { amounts: amounts(1000, 2, 5, 10), projects: 2, members: 3, workspaces: 1 }, 0),
        plan(
            "standard",
            "Standard",
            2,
            Limits { amounts: amounts(4000, 8, 50, 50), projects: 10, members: 50, workspaces: 10 },
            4900,
        ),
        Plan {
            max_nodes: 3,
            ..plan(
                "premium",
                "Premium",
                3,
                Limits { amounts: amounts(16_000, 64, 500, 250), projects: 50, members: 1_000, workspaces: 50 },
                49_900,
            )
        },
    ]
}

/// With a service and a claim for each pod, ten Secrets and ten ConfigMaps, and nothing that is reached from outside.
fn amounts(cpu_millis: u64, memory_gibibytes: u64, storage_gibibytes: u64, pods: u32) -> Amounts {
    Amounts {
        cpu: Cpu::from_millis(cpu_millis),
        memory: Bytes::from_gibibytes(memory_gibibytes),
        storage: Bytes::from_gibibytes(storage_gibibytes),
        pods,
        services: pods,
        load_balancers: 0,
        persistent_volume_claims: pods,
        objects: pods * 10,
    }
}
