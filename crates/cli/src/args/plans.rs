//! The verbs of plans.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Plan {
    /// List the plans.
    List,
    /// Show what a plan allows.
    Get {
        /// Id of the plan.
        plan: String,
    },
    /// Say what one more workspace under a plan would cost, or one that is there under another plan.
    Estimate {
        /// Id of the plan.
        plan: String,
        /// Name or id of the organization; the only one or your own when absent.
        #[arg(long)]
        org: Option<String>,
        /// The workspace that is to come under the plan: NAME, ORG/NAME or id.
        #[arg(long, short, value_name = "WORKSPACE")]
        workspace: Option<String>,
    },
}
