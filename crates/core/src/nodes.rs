//! Nodes of the host that are kept for one workspace.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::words;

/// Most nodes that a plan may give to a workspace: all of them are looked at in one run of its job.
pub const MOST_NODES: u32 = 100;

words! {
    /// On which nodes of the host the pods of a workspace run.
    NodeClass, "class of nodes" {
        /// On those that workspaces share.
        Shared = "shared",
        /// On its own.
        Dedicated = "dedicated",
    }
}

words! {
    /// Where a node stands that is kept for workspaces. One that was given back is forgotten until it is offered anew.
    NodeState, "state of a node" {
        /// Nobody's: kept empty until a workspace gets it.
        Free = "free",
        /// A workspace has it, and it cannot be used yet.
        Claimed = "claimed",
        /// Pods of its workspace run there, and nobody else's.
        Ready = "ready",
        /// To be given back, once no pod of its workspace is left there.
        Draining = "draining",
    }
}

/// A text that cannot be the name of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no name of a node")]
pub struct InvalidNodeName(String);

/// The name of a node of the host: an RFC 1123 subdomain (Kubernetes "Object Names and IDs").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

impl NodeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = InvalidNodeName;

    fn from_str(text: &str) -> Result<Self, InvalidNodeName> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
        };
        match text.len() <= 253 && text.split('.').all(is_label) {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidNodeName(text.to_owned())),
        }
    }
}

crate::text::via_text!(NodeName: InvalidNodeName);

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_as_kubernetes_lets_it() {
        for good in ["devhost", "node-1.zone-a.example", "10.0.0.7", "kwok-node-0"] {
            assert_eq!(good.parse::<NodeName>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "a..b", "-a", "a-", "A", "a/b", "a b", "a\n", &"a".repeat(254)] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad:?}");
        }
    }
}
