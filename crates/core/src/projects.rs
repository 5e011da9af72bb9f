//! What people decide about a project beside its name and its quota.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::words;

words! {
    /// Which pods Kubernetes lets into a project's namespace (Pod Security Standards). There is no third level: what neither
    /// allows, the host refuses to every workspace.
    PodSecurity, "Pod Security level" {
        /// Only pods that give up what they do not need; images that run as root are refused.
        Restricted = "restricted",
        /// Ordinary pods.
        Baseline = "baseline",
    }
}

words! {
    /// Whom a project's pods can talk to in its own workspace. Other workspaces and the host are out of reach either way.
    NetworkIsolation, "network of a project" {
        /// Each other, the workspace's DNS and API server, and the public internet: no other project's pods, in neither
        /// direction.
        Isolated = "isolated",
        /// All of the workspace's pods that are not isolated, too.
        Open = "open",
    }
}

/// Most labels of one project.
pub const MAX_LABELS: usize = 32;

/// What belongs to Kubernetes, to vCluster and to the platform; a label of theirs decides something.
const RESERVED: [&str; 4] = ["kubernetes.io", "k8s.io", "loft.sh", "hexabase.ai"];

/// Why labels were refused; the sentence is meant for the person who wrote them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabels {
    /// There are too many.
    #[error("a project has at most {} labels", MAX_LABELS)]
    TooMany,
    /// A key that Kubernetes would not take.
    #[error(
        "\"{0}\" is no key of a label: it has up to 63 letters, digits, '-', '_' and '.', begins and ends with a letter or \
         digit, and may have the name of a domain and '/' before that"
    )]
    Key(String),
    /// A value that Kubernetes would not take.
    #[error(
        "\"{value}\" is no value of the label {key}: it has up to 63 letters, digits, '-', '_' and '.', and begins and ends \
         with a letter or digit"
    )]
    Value {
        /// Of which label.
        key: String,
        /// The value.
        value: String,
    },
    /// A key of somebody else's.
    #[error("labels of {domain} are not for projects to set, and {key} is one")]
    Reserved {
        /// The key.
        key: String,
        /// Whose it is.
        domain: &'static str,
    },
}

/// Labels of a project, which its namespace carries: whatever Kubernetes takes, but for those by which something is decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct ProjectLabels(BTreeMap<String, String>);

impl ProjectLabels {
    /// Key and value of each, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl TryFrom<BTreeMap<String, String>> for ProjectLabels {
    type Error = InvalidLabels;

    fn try_from(labels: BTreeMap<String, String>) -> Result<Self, InvalidLabels> {
        if labels.len() > MAX_LABELS {
            return Err(InvalidLabels::TooMany);
        }
        for (key, value) in &labels {
            check_key(key)?;
            if !value.is_empty() && !is_name(value) {
                return Err(InvalidLabels::Value { key: key.clone(), value: value.clone() });
            }
        }
        Ok(Self(labels))
    }
}

impl From<ProjectLabels> for BTreeMap<String, String> {
    fn from(labels: ProjectLabels) -> Self {
        labels.0
    }
}

fn check_key(key: &str) -> Result<(), InvalidLabels> {
    let Some((domain, name)) = key.split_once('/') else {
        return if is_name(key) { Ok(()) } else { Err(InvalidLabels::Key(key.to_owned())) };
    };
    if !is_domain(domain) || !is_name(name) {
        return Err(InvalidLabels::Key(key.to_owned()));
    }
    let is_of = |owner: &&str| domain.strip_suffix(*owner).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    match RESERVED.iter().copied().find(|owner| is_of(owner)) {
        Some(domain) => Err(InvalidLabels::Reserved { key: key.to_owned(), domain }),
        None => Ok(()),
    }
}

/// A label's value, or its key without a domain (Kubernetes "Labels and Selectors").
fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63 && bytes.iter().all(|byte| inner(*byte)) && outer(bytes.first()) && outer(bytes.last())
}

/// An RFC 1123 subdomain.
fn is_domain(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-');
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(all: &[(&str, &str)]) -> Result<ProjectLabels, InvalidLabels> {
        let pairs = all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        pairs.collect::<BTreeMap<_, _>>().try_into()
    }

    #[test]
    fn what_kubernetes_takes_is_taken() {
        let taken = labels(&[("team", "shop"), ("example.com/cost-centre", "4711"), ("a.b_c", ""), ("Tier", "A.1")]);
        let taken = taken.unwrap();
        assert_eq!(
            taken.iter().map(|(key, _)| key).collect::<Vec<_>>(),
            ["Tier", "a.b_c", "example.com/cost-centre", "team"]
        );
        let text = serde_json::to_string(&taken).unwrap();
        assert_eq!(serde_json::from_str::<ProjectLabels>(&text).unwrap(), taken);
    }

    #[test]
    fn what_kubernetes_would_refuse_is_refused() {
        let long = "a".repeat(64);
        for key in ["", "/", "a/", "/a", "a/b/c", "-a", "a-", "a b", "ä", "Example.com/a", "a..b/c", "-a.b/c", &long] {
            assert!(matches!(labels(&[(key, "x")]), Err(InvalidLabels::Key(_))), "{key:?}");
        }
        for value in ["-a", "a.", "a b", "a/b", "ä", "a\u{0}", &long] {
            assert!(matches!(labels(&[("team", value)]), Err(InvalidLabels::Value { .. })), "{value:?}");
        }
        let many: BTreeMap<String, String> = (0..33).map(|number| (format!("l{number}"), String::new())).collect();
        assert_eq!(ProjectLabels::try_from(many), Err(InvalidLabels::TooMany));
    }

    #[test]
    fn no_label_decides_what_is_not_the_projects_to_decide() {
        for key in [
            "pod-security.kubernetes.io/enforce",
            "kubernetes.io/metadata.name",
            "app.kubernetes.io/managed-by",
            "node-restriction.k8s.io/a",
            "vcluster.loft.sh/managed-by",
            "hexabase.ai/project",
        ] {
            assert!(matches!(labels(&[(key, "x")]), Err(InvalidLabels::Reserved { .. })), "{key}");
        }
        labels(&[("mykubernetes.io/a", "x"), ("hexabase", "x")]).unwrap();
    }
}
