//! The verbs of workspaces, and the option by which all else says in which one it is.

use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::nodes::Nodes;
use super::time::{Timeout, duration};

#[derive(Debug, Subcommand)]
pub(crate) enum Workspace {
    /// Make a workspace.
    Create {
        /// Lower-case letters, digits and hyphens.
        name: String,
        /// Id of a plan: see `hxb plan list`.
        #[arg(long)]
        plan: String,
        /// Name or id of the organization; the only one or your own when absent.
        #[arg(long)]
        org: Option<String>,
        /// Wait until it can be used (the default).
        #[arg(long, overrides_with = "no_wait")]
        wait: bool,
        /// Return at once.
        #[arg(long, overrides_with = "wait")]
        no_wait: bool,
        #[command(flatten)]
        timeout: Timeout,
    },
    /// List workspaces.
    List {
        /// Only those of this organization (name or id).
        #[arg(long)]
        org: Option<String>,
    },
    /// Show one.
    Get {
        /// NAME, ORG/NAME or id.
        workspace: String,
    },
    /// Delete one, and everything in it.
    Delete {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
        /// For how long it can be restored, such as 2h, in whole minutes [default: 1h, but 0s with --yes or --wait].
        #[arg(long, value_name = "TIME", value_parser = duration, allow_hyphen_values = true)]
        grace: Option<Duration>,
        /// Wait until nothing of it is left; with a grace only until it is closed.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        timeout: Timeout,
    },
    /// Put one under another plan, or the newest version of its own; it goes on running.
    SetPlan {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// Id of a plan: see `hxb plan list`.
        plan: String,
    },
    /// Show what its plan allows, and how much of it is left.
    Quota {
        /// NAME, ORG/NAME or id.
        workspace: String,
    },
    /// Nodes that are kept for one workspace alone.
    #[command(subcommand)]
    Nodes(Nodes),
    /// Take the deletion of one back, while it can still be undone.
    Restore {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// Wait until it can be used.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        timeout: Timeout,
    },
    /// Put one to sleep: nothing of it runs until somebody uses it.
    Sleep {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// Wait until it is asleep.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        timeout: Timeout,
    },
    /// Wake one ahead of its use; kubectl wakes it as well.
    Wake {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// Wait until it can be used.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        timeout: Timeout,
    },
    /// Say when one sleeps by itself, in the place of what was said before; never, without options.
    SleepRule {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// After so much time without use, such as 30m.
        #[arg(long, value_name = "TIME", value_parser = duration, allow_hyphen_values = true)]
        after: Option<Duration>,
        /// At this time of every day, in UTC.
        #[arg(long, value_name = "HH:MM")]
        at: Option<String>,
        /// Wake it at this time of every day, in UTC.
        #[arg(long, value_name = "HH:MM")]
        wake_at: Option<String>,
        /// Let its pods go on while its control plane sleeps.
        #[arg(long)]
        keep_workloads: bool,
    },
    /// Wait for one, showing each step.
    Wait {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// What to wait for.
        #[arg(long = "for", value_enum, default_value_t)]
        goal: Goal,
        #[command(flatten)]
        timeout: Timeout,
    },
    /// Show what Kubernetes noticed in one lately.
    Events {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// The namespace; all of them when absent.
        #[arg(short, long)]
        namespace: Option<String>,
    },
    /// Show what is used in one, beside what its plan gives.
    Usage {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// The namespace; all of them when absent.
        #[arg(short, long)]
        namespace: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Goal {
    /// It can be used.
    #[default]
    Ready,
    /// Nothing of it runs.
    Asleep,
    /// Nothing of it is left.
    Deleted,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct In {
    /// The workspace: NAME, ORG/NAME or id.
    #[arg(short, long, value_name = "WORKSPACE")]
    pub(crate) workspace: String,
}
