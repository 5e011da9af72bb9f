//! The verbs of projects.

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::number::{bytes, cpu, whole};
use super::workspaces::In;

/// A share of the plan.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct Quota {
    /// CPU, such as 2 or 500m.
    #[arg(long, value_parser = cpu, allow_hyphen_values = true)]
    pub(crate) cpu: Option<String>,
    /// Memory, such as 4Gi.
    #[arg(long, value_parser = bytes, allow_hyphen_values = true)]
    pub(crate) memory: Option<String>,
    /// Storage of volume claims, such as 20Gi.
    #[arg(long, value_parser = bytes, allow_hyphen_values = true)]
    pub(crate) storage: Option<String>,
    /// Pods.
    #[arg(long, value_parser = whole, allow_negative_numbers = true)]
    pub(crate) pods: Option<u32>,
    /// Services.
    #[arg(long, value_parser = whole, allow_negative_numbers = true)]
    pub(crate) services: Option<u32>,
    /// Services that are reached from outside.
    #[arg(long, value_parser = whole, allow_negative_numbers = true)]
    pub(crate) load_balancers: Option<u32>,
    /// Claims of volumes.
    #[arg(long, value_parser = whole, allow_negative_numbers = true)]
    pub(crate) volume_claims: Option<u32>,
    /// Secrets, and as many ConfigMaps.
    #[arg(long, value_parser = whole, allow_negative_numbers = true)]
    pub(crate) objects: Option<u32>,
}

/// Which pods are let into a project (Pod Security Standards).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Only pods that give up what they do not need.
    Restricted,
    /// Ordinary pods.
    Baseline,
}

/// Whom the pods of a project can talk to in its workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Network {
    /// Each other, the workspace's DNS and API server, and the public internet.
    Isolated,
    /// The pods of all projects that are open, too.
    Open,
}

fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    pair.ok_or_else(|| "write a label as KEY=VALUE".to_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum Project {
    /// Make a project.
    Create {
        /// Lower-case letters, digits and hyphens; also the namespace's name.
        name: String,
        #[command(flatten)]
        place: In,
        #[command(flatten)]
        quota: Quota,
        /// The project to stand below (name or id): the roles given there hold in this one too, and its share is one of that
        /// one's.
        #[arg(long, value_name = "PROJECT")]
        below: Option<String>,
        /// A label of its namespace; may be repeated.
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
        /// Which pods are let in [default: restricted].
        #[arg(long, value_enum)]
        pod_security: Option<Level>,
        /// Whom its pods can talk to in the workspace [default: isolated].
        #[arg(long, value_enum)]
        network: Option<Network>,
    },
    /// Give one another share, place, labels, Pod Security level or network.
    Update {
        /// Name or id.
        project: String,
        #[command(flatten)]
        place: In,
        #[command(flatten)]
        quota: Quota,
        /// The project to stand below (name or id).
        #[arg(long, value_name = "PROJECT", conflicts_with = "top")]
        below: Option<String>,
        /// Stand at the top.
        #[arg(long)]
        top: bool,
        /// A label to set; may be repeated.
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
        /// A label to take away; may be repeated.
        #[arg(long = "no-label", value_name = "KEY")]
        no_labels: Vec<String>,
        /// Which pods are let in; those that run stay.
        #[arg(long, value_enum)]
        pod_security: Option<Level>,
        /// Whom its pods can talk to in the workspace, those that run too.
        #[arg(long, value_enum)]
        network: Option<Network>,
    },
    /// List projects.
    List {
        #[command(flatten)]
        place: In,
    },
    /// Show one.
    Get {
        /// Name or id.
        project: String,
        #[command(flatten)]
        place: In,
    },
    /// Delete one, with its namespace and everything in it.
    Delete {
        /// Name or id.
        project: String,
        #[command(flatten)]
        place: In,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}
