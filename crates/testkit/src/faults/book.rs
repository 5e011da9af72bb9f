//! What a proxy is to do, and what has passed it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::aim::{Aim, Fault};
use super::calls::{Boundary, Side};

/// Changes the body of a call, given its method and path.
pub type Bend = fn(&str, &str, &mut Value);

/// Longer than a worker waits for any answer: fifteen seconds for one of the host's.
const LATE: Duration = Duration::from_secs(30);

/// The notes of a proxy.
pub(super) struct Book {
    pub(super) operation: String,
    /// Whether strikes are to be made.
    pub(super) strikes: bool,
    pub(super) aim: Aim,
    pub(super) storm: Option<Fault>,
    /// For how long a late answer is held back.
    pub(super) late: Duration,
    pub(super) bend: Option<Bend>,
    pub(super) met: BTreeMap<Boundary, bool>,
    pub(super) struck: Vec<(Boundary, Fault)>,
    pub(super) calls: Vec<Instant>,
}

/// A call that comes by.
pub(super) struct Passing<'a> {
    pub(super) name: &'a str,
    pub(super) changes: bool,
    pub(super) side: Side,
    /// Of the answer, afterwards.
    pub(super) status: Option<u16>,
}

impl Book {
    pub(super) fn new() -> Self {
        Self {
            operation: String::new(),
            strikes: false,
            aim: Aim::Nothing,
            storm: None,
            late: LATE,
            bend: None,
            met: BTreeMap::new(),
            struck: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// Notes a call; says what is to happen to it, and at which moment that is.
    pub(super) fn meet(&mut self, passing: &Passing<'_>) -> Option<(Boundary, Fault)> {
        let Passing { name, changes, side, status } = *passing;
        // Whoever learns that something is gone goes on differently from there.
        let is_absent = status == Some(404) && !changes;
        let call = if is_absent { format!("{name} (absent)") } else { name.to_owned() };
        let boundary = Boundary { operation: self.operation.clone(), side, call };
        if side == Side::Before {
            self.calls.push(Instant::now());
        }
        if let Some(fault) = self.storm {
            // What is answered late is carried out first.
            let struck = if fault == Fault::Late { Side::After } else { Side::Before };
            if side != struck {
                return None;
            }
            self.struck.push((boundary.clone(), fault));
            return Some((boundary, fault));
        }
        if !self.strikes || self.met.contains_key(&boundary) {
            return None;
        }
        let is_step = changes || is_absent;
        self.met.insert(boundary.clone(), is_step);
        let fault = self.aim.fault(&boundary, is_step)?;
        self.struck.push((boundary.clone(), fault));
        Some((boundary, fault))
    }
}
