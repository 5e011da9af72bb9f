//! The verbs of people with access to a workspace.

use clap::Subcommand;

use super::workspaces::In;

#[derive(Debug, Subcommand)]
pub(crate) enum Member {
    /// Give a person access.
    Add {
        /// E-mail address or user id of a person who has signed in before.
        #[arg(value_name = "EMAIL|USER")]
        person: String,
        #[command(flatten)]
        place: In,
        /// Name of a group to put the person in; may be repeated [default: WSUsers].
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
    },
    /// List people with access.
    List {
        #[command(flatten)]
        place: In,
    },
    /// Take a person's access away; says which tokens inside the workspace that leaves.
    Remove {
        /// E-mail address or user id.
        #[arg(value_name = "EMAIL|USER")]
        person: String,
        #[command(flatten)]
        place: In,
    },
    /// List the tokens of Kubernetes' service accounts that a person came by inside the workspace.
    Tokens {
        /// E-mail address, or the user id of somebody who is no member any more.
        #[arg(value_name = "EMAIL|USER")]
        person: String,
        #[command(flatten)]
        place: In,
    },
    /// End those tokens: delete Secrets, make service accounts anew.
    RevokeTokens {
        /// E-mail address, or the user id of somebody who is no member any more.
        #[arg(value_name = "EMAIL|USER")]
        person: String,
        #[command(flatten)]
        place: In,
        /// Only in this namespace.
        #[arg(short, long)]
        namespace: Option<String>,
        /// Only of this service account there.
        #[arg(long, value_name = "NAME", requires = "namespace")]
        service_account: Option<String>,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}
