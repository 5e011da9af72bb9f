//! The verbs of the nodes that one workspace has for itself.

use clap::Subcommand;

use super::number::whole;
use super::time::Timeout;

#[derive(Debug, Subcommand)]
pub(crate) enum Nodes {
    /// List them, and what keeps the workspace from being on them.
    List {
        /// NAME, ORG/NAME or id.
        workspace: String,
    },
    /// Say how many it is to have; 0 gives all of them back. Its pods are moved, its control plane stays on shared nodes.
    Set {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// As many as its plan gives at most.
        #[arg(value_parser = whole, allow_negative_numbers = true)]
        count: u32,
        /// Wait until they are there and all pods are where they are to be.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        timeout: Timeout,
    },
}
