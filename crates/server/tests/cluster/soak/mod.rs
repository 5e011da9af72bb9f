//! Everything of `cargo xtask soak`; `cargo xtask check` leaves these tests out. Each ends with a line of the form
//! `soak: 22 cases, 0 lost, 0 orphaned, 0 doubled`.

mod rounds;
mod storms;
mod stuck;
mod workers;

use crate::lane::Toll;

/// Prints what came of so many cases.
fn report(cases: usize, tolls: &[Toll]) {
    let sum = |count: fn(&Toll) -> usize| tolls.iter().map(count).sum::<usize>();
    println!(
        "soak: {cases} cases, {} lost, {} orphaned, {} doubled",
        sum(|toll| toll.lost.len()),
        sum(|toll| toll.orphaned.len()),
        sum(|toll| toll.doubled.len())
    );
}
