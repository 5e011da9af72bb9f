//! The verbs of invitations.

use clap::{Subcommand, ValueEnum};

use super::organizations::{Of, Role};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum MailLanguage {
    /// English.
    #[default]
    En,
    /// Japanese.
    Ja,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Invitation {
    /// Invite a person by address, whether or not they have ever signed in.
    Create {
        /// E-mail address.
        email: String,
        #[command(flatten)]
        of: Of,
        /// What the person will be able to do in the organization.
        #[arg(long, value_enum, default_value_t)]
        role: Role,
        /// A workspace that the person will have access to, and the groups of it; may be repeated [default group: WSUsers].
        #[arg(long = "workspace", short, value_name = "WORKSPACE[:GROUP,…]")]
        workspaces: Vec<String>,
        /// Language of the mail.
        #[arg(long, value_enum, default_value_t)]
        language: MailLanguage,
    },
    /// List invitations.
    List {
        #[command(flatten)]
        of: Of,
    },
    /// Send one again, with a new link.
    Resend {
        /// E-mail address or id of the invitation.
        #[arg(value_name = "EMAIL|ID")]
        invitation: String,
        #[command(flatten)]
        of: Of,
    },
    /// Take one back.
    Revoke {
        /// E-mail address or id of the invitation.
        #[arg(value_name = "EMAIL|ID")]
        invitation: String,
        #[command(flatten)]
        of: Of,
    },
    /// Accept one; its code is asked for, or read from standard input.
    Accept,
}
