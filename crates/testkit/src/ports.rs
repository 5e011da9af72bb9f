//! Ports for servers that others have to be told about before they start.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::bail;

/// Below the ports that Linux gives out by itself: nobody is given one of these for a connection, also not between a kill
/// and a start.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Has no factor in common with the number of ports, so that it leads to each of them once.
const STRIDE: u32 = 977;

/// A port that is free now at this address of the machine. Every call begins to look elsewhere, so that a port of a server
/// that was killed and is to start again is not given to another; whoever starts a server has to try another port all
/// the same when it turns out to be taken.
pub(crate) fn free_port(address: &str) -> anyhow::Result<u16> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let width = u32::from(PORTS.end - PORTS.start);
    let begin = std::process::id().wrapping_mul(131).wrapping_add(call.wrapping_mul(STRIDE));
    for step in 0..width {
        let port = PORTS.start + u16::try_from(begin.wrapping_add(step) % width)?;
        if TcpListener::bind((address, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port from {} to {} is free at {address}", PORTS.start, PORTS.end)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_calls_are_given_the_same_port_although_it_is_still_free() {
        let given: BTreeSet<u16> = (0..200).map(|_| free_port("127.0.0.1").unwrap()).collect();
        assert_eq!(given.len(), 200);
        assert!(given.iter().all(|port| PORTS.contains(port)));
    }
}
