//! Amounts of CPU, memory and storage, written as Kubernetes writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not an amount of {what}, such as {example}")]
pub struct InvalidQuantity {
    text: String,
    what: &'static str,
    example: &'static str,
}

/// An amount of CPU in thousandths of a core; `500m`, `2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cpu(u64);

impl Cpu {
    /// That many thousandths of a core.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Thousandths of a core.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) { write!(f, "{}", self.0 / 1000) } else { write!(f, "{}m", self.0) }
    }
}

impl FromStr for Cpu {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let invalid = || InvalidQuantity { text: text.to_owned(), what: "CPU", example: "500m or 2" };
        let (digits, factor) = text.strip_suffix('m').map_or((text, 1000), |digits| (digits, 1));
        parse_digits(digits).and_then(|number| number.checked_mul(factor)).map(Self).ok_or_else(invalid)
    }
}

/// An amount of memory or storage in bytes; `512Mi`, `20Gi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(u64);

const UNITS: [(&str, u64); 4] = [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];

impl Bytes {
    /// That many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// That many mebibytes.
    pub const fn from_mebibytes(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }

    /// That many gibibytes.
    pub const fn from_gibibytes(gibibytes: u64) -> Self {
        Self(gibibytes << 30)
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, size)| self.0 >= *size && self.0.is_multiple_of(*size)) {
            Some((unit, size)) => write!(f, "{}{unit}", self.0 / size),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for Bytes {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let invalid = || InvalidQuantity { text: text.to_owned(), what: "memory or storage", example: "512Mi or 20Gi" };
        let (digits, factor) = UNITS
            .iter()
            .find_map(|(unit, size)| text.strip_suffix(unit).map(|digits| (digits, *size)))
            .unwrap_or((text, 1));
        parse_digits(digits).and_then(|number| number.checked_mul(factor)).map(Self).ok_or_else(invalid)
    }
}

fn parse_digits(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

crate::text::via_text!(Cpu: InvalidQuantity, Bytes: InvalidQuantity);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_kubernetes_writes_them() {
        assert_eq!(Cpu::from_millis(1500).to_string(), "1500m");
        assert_eq!(Cpu::from_millis(2000).to_string(), "2");
        assert_eq!(Bytes::from_mebibytes(512).to_string(), "512Mi");
        assert_eq!(Bytes::from_mebibytes(2048).to_string(), "2Gi");
        assert_eq!("2".parse::<Cpu>().unwrap(), Cpu::from_millis(2000));
        assert_eq!("20Gi".parse::<Bytes>().unwrap(), Bytes::from_gibibytes(20));
    }

    #[test]
    fn malformed_amounts_are_refused() {
        for bad in ["", "m", "-1", "1.5", "1e3", "99999999999999999999", "Gi", "18446744073709551615Ti"] {
            assert!(bad.parse::<Cpu>().is_err() || bad == "18446744073709551615Ti", "{bad:?}");
            assert!(bad.parse::<Bytes>().is_err(), "{bad:?}");
        }
    }
}
