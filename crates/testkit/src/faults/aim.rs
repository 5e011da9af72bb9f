//! Where a proxy strikes, and with what.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use anyhow::Context as _;

use super::calls::{Boundary, Side};

/// What is done to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is held, and its caller is to be killed or stopped there.
    Halt,
    /// It is answered with 503.
    Unavailable,
    /// It is answered with 429 and `Retry-After`.
    TooMany,
    /// It is answered with 410, as if what is asked for were too old.
    Gone,
    /// The connection ends without an answer.
    Reset,
    /// The connection ends in the middle of the answer.
    Cut,
    /// There is no answer, and the connection stays open.
    Silence,
    /// It is carried out, and its answer comes so late that a worker has given it up by then.
    Late,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Halt => "killed",
            Self::Unavailable => "503",
            Self::TooMany => "429",
            Self::Gone => "410",
            Self::Reset => "reset",
            Self::Cut => "cut short",
            Self::Silence => "silence",
            Self::Late => "late",
        })
    }
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut known = [Self::Halt, Self::Cut, Self::Late].into_iter().chain(BEFORE);
        known.find(|fault| fault.to_string() == text).with_context(|| format!("there is no fault {text}"))
    }
}

/// Faults before a call, and after it.
const BEFORE: [Fault; 5] = [Fault::Unavailable, Fault::TooMany, Fault::Gone, Fault::Reset, Fault::Silence];
const AFTER: [Fault; 4] = [Fault::Unavailable, Fault::Reset, Fault::Cut, Fault::Late];

/// Where to strike.
#[derive(Debug, Clone)]
pub enum Aim {
    /// Nowhere.
    Nothing,
    /// At these moments.
    These(BTreeMap<Boundary, Fault>),
    /// At a part of all moments.
    Share(Share),
}

/// One of several parts that together hold every moment exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Decides what belongs to which part, and which fault a call has.
    pub seed: u64,
    /// Into how many parts all is divided; at least one.
    pub of: u64,
    /// Which of them this is, counted from zero.
    pub number: u64,
    /// With what it strikes.
    pub means: Means,
}

/// Two ways to strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// The caller is killed, before and after every call that changes something, and when it is about to learn that something is
    /// not there.
    Kills,
    /// Every call has one fault, on one side of it.
    Wire,
}

impl Aim {
    /// What is to happen there, if anything; `is_step` says whether something is changed there, or learnt to be gone.
    pub(super) fn fault(&self, boundary: &Boundary, is_step: bool) -> Option<Fault> {
        match self {
            Self::Nothing => None,
            Self::These(these) => these.get(boundary).copied(),
            Self::Share(share) => share.fault(boundary, is_step),
        }
    }
}

impl Share {
    fn fault(&self, boundary: &Boundary, is_step: bool) -> Option<Fault> {
        let Self { seed, of, number, means } = *self;
        match means {
            Means::Kills => (is_step && mix(seed, &boundary.to_string()) % of.max(1) == number).then_some(Fault::Halt),
            Means::Wire => {
                let drawn = mix(seed, &format!("{} {}", boundary.operation, boundary.call));
                let (part, rest) = (drawn % of.max(1), drawn / of.max(1));
                let (side, faults) = match rest % 2 {
                    0 => (Side::Before, &BEFORE[..]),
                    _ => (Side::After, &AFTER[..]),
                };
                let which = usize::try_from(rest / 2 % faults.len() as u64).unwrap_or(0);
                (part == number && side == boundary.side).then(|| faults[which])
            }
        }
    }
}

/// A number that follows from both and from nothing else: FNV-1a, then the last steps of SplitMix64.
pub(super) fn mix(seed: u64, text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boundaries() -> Vec<Boundary> {
        let both = |number: usize| {
            [Side::Before, Side::After].map(|side| Boundary {
                operation: "create".to_owned(),
                side,
                call: format!("APPLY /api/v1/namespaces/{number}"),
            })
        };
        (0..200).flat_map(both).collect()
    }

    #[test]
    fn every_moment_belongs_to_exactly_one_part_and_always_to_the_same() {
        for seed in [0, 1, u64::MAX] {
            let parts = (0..7).map(|number| Share { seed, of: 7, number, means: Means::Kills });
            let parts: Vec<Share> = parts.collect();
            for boundary in boundaries() {
                let struck: Vec<Fault> = parts.iter().filter_map(|part| part.fault(&boundary, true)).collect();
                assert_eq!(struck, [Fault::Halt], "{boundary}");
                assert!(parts.iter().all(|part| part.fault(&boundary, false).is_none()));
            }
        }
    }

    #[test]
    fn a_fault_is_read_as_it_is_written() {
        for fault in [Fault::Halt].into_iter().chain(BEFORE).chain(AFTER) {
            assert_eq!(fault.to_string().parse::<Fault>().unwrap(), fault);
        }
        assert!("".parse::<Fault>().is_err());
    }

    #[test]
    fn every_call_has_one_fault_on_one_side_and_every_fault_comes_up() {
        let mut seen = Vec::new();
        for pair in boundaries().chunks(2) {
            let parts = (0..5).map(|number| Share { seed: 3, of: 5, number, means: Means::Wire });
            let faults: Vec<Fault> =
                parts.flat_map(|part| pair.iter().filter_map(move |boundary| part.fault(boundary, false))).collect();
            assert_eq!(faults.len(), 1, "{pair:?}");
            seen.extend(faults);
        }
        assert!(BEFORE.iter().chain(&AFTER).all(|fault| seen.contains(fault)), "{seen:?}");
    }
}
