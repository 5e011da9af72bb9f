//! Numbers and amounts as options. The standard library's own words for what is wrong with one are a programmer's.

use hexabase_core::quantity::{Bytes, Cpu, InvalidQuantity};

pub(super) fn whole(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "give a whole number from 0 on, such as 2".to_owned())
}

/// An amount of CPU; it goes to the server as it was typed.
pub(super) fn cpu(text: &str) -> Result<String, InvalidQuantity> {
    text.parse::<Cpu>().map(|_| text.to_owned())
}

/// An amount of memory or storage, likewise.
pub(super) fn bytes(text: &str) -> Result<String, InvalidQuantity> {
    text.parse::<Bytes>().map(|_| text.to_owned())
}
