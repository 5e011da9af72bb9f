//! Releases of Kubernetes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is no release of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no release of Kubernetes, such as v1.35.4")]
pub struct InvalidKubernetesVersion(String);

/// A release of Kubernetes, such as `v1.35.4`; also the tag of its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KubernetesVersion {
    minor: u32,
    patch: u32,
}

impl KubernetesVersion {
    /// Whether a control plane of this release can take over the store of one of `old`: Kubernetes goes forward only, and over
    /// no minor release.
    pub fn follows(self, old: Self) -> bool {
        self >= old && self.minor - old.minor <= 1
    }
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1.{}.{}", self.minor, self.patch)
    }
}

impl FromStr for KubernetesVersion {
    type Err = InvalidKubernetesVersion;

    fn from_str(text: &str) -> Result<Self, InvalidKubernetesVersion> {
        let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => digits.parse::<u32>().ok(),
            false => None,
        };
        let parts = text.strip_prefix("v1.").and_then(|rest| rest.split_once('.'));
        let version = parts.and_then(|(minor, patch)| Some(Self { minor: number(minor)?, patch: number(patch)? }));
        // A tag is a name: `v1.035.4` would be another image.
        let version = version.filter(|version| version.to_string() == text);
        version.ok_or_else(|| InvalidKubernetesVersion(text.to_owned()))
    }
}

crate::text::via_text!(KubernetesVersion: InvalidKubernetesVersion);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_written_as_the_tag_of_its_image() {
        let version: KubernetesVersion = "v1.35.4".parse().unwrap();
        assert_eq!(version.to_string(), "v1.35.4");
        for bad in ["", "1.35.4", "v1.35", "v2.1.0", "v1.35.4+k3s1", "v1.+35.4", "v1.35.04", "v1..4", "v1.35.4 "] {
            assert!(bad.parse::<KubernetesVersion>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_upgrade_goes_forward_by_one_minor_release_at_most() {
        let follows = |new: &str, old: &str| {
            new.parse::<KubernetesVersion>().unwrap().follows(old.parse::<KubernetesVersion>().unwrap())
        };
        assert!(follows("v1.35.4", "v1.35.4") && follows("v1.35.10", "v1.35.9") && follows("v1.36.0", "v1.35.9"));
        assert!(!follows("v1.35.3", "v1.35.4") && !follows("v1.34.9", "v1.35.0") && !follows("v1.37.0", "v1.35.9"));
    }
}
