//! How long the groups of 10,000 people take to resolve in a workspace of 1,000 groups; printed as JSON for
//! `cargo xtask bench`.

use std::time::Instant;

use hexabase_core::groups::{Forest, GroupNode, MAX_DEPTH, MAX_GROUPS};
use hexabase_core::ids::{GroupId, Id as _, UserId};
use hexabase_core::time::Timestamp;

const PEOPLE: usize = 10_000;
/// Groups that each of them was put into.
const EACH: usize = 3;
const ROUNDS: usize = 101;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let moment = Timestamp::from_seconds(1_800_000_000);
    let ids: Vec<GroupId> = (0..MAX_GROUPS).map(|number| GroupId::from_parts(moment, number as u64)).collect();
    // Chains as deep as they may be.
    let parent = |number: usize| (!number.is_multiple_of(MAX_DEPTH)).then(|| ids[number - 1].clone());
    let group = |number: usize| {
        Ok(GroupNode { id: ids[number].clone(), name: format!("group-{number}").parse()?, parent: parent(number) })
    };
    let groups: Vec<GroupNode> = (0..MAX_GROUPS).map(group).collect::<Result<_, Box<dyn std::error::Error>>>()?;
    let member = |number: usize| {
        let user = UserId::from_parts(moment, number as u64);
        let ids = &ids;
        // Numbers without a common divisor, so that everybody is somewhere else.
        (0..EACH).map(move |place| (ids[(number * 7 + place * 331) % MAX_GROUPS].clone(), user.clone()))
    };
    let memberships: Vec<(GroupId, UserId)> = (0..PEOPLE).flat_map(member).collect();

    let mut times: Vec<f64> = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let forest = Forest::new(&groups);
        let resolved = std::hint::black_box(forest.everybody(&memberships));
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
        assert_eq!(resolved.len(), PEOPLE);
    }
    times.sort_by(f64::total_cmp);
    println!("{{\"resolve_ms\": {:.2}, \"groups\": {MAX_GROUPS}, \"people\": {PEOPLE}}}", times[ROUNDS / 2]);
    Ok(())
}
