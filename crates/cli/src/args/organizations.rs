//! The verbs of organisations and of their people.

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum Org {
    /// List the organizations you are in.
    List,
    /// Show one.
    Get {
        /// Name or id; the only one or your own when absent.
        org: Option<String>,
    },
    /// Make a new one.
    Create {
        /// Name for people.
        name: String,
    },
    /// Show what all of its workspaces may use together, and how much of it is left.
    Quota {
        /// Name or id; the only one or your own when absent.
        org: Option<String>,
    },
    /// List its people.
    Members {
        /// Name or id; the only one or your own when absent.
        org: Option<String>,
    },
    /// Give one another name.
    Rename {
        /// Name or id.
        org: String,
        /// The new name.
        name: String,
    },
    /// Delete one that has no workspaces.
    Delete {
        /// Name or id.
        org: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Hand one over: the other becomes an admin, you become a member.
    Transfer {
        /// Name or id.
        org: String,
        /// E-mail address or user id of a member.
        #[arg(value_name = "EMAIL|USER")]
        person: String,
    },
    /// Leave one, and every workspace of it.
    Leave {
        /// Name or id.
        org: String,
    },
    /// Its people: list them, give them roles, take them out.
    #[command(subcommand)]
    Member(OrgMember),
}

#[derive(Debug, Subcommand)]
pub(crate) enum OrgMember {
    /// List people.
    List {
        #[command(flatten)]
        of: Of,
        /// Only those in whose name or address this text is.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
    },
    /// Give a person another role.
    Role {
        /// E-mail address or user id.
        #[arg(value_name = "EMAIL|USER")]
        person: String,
        /// What the person may do.
        #[arg(value_enum)]
        role: Role,
        #[command(flatten)]
        of: Of,
    },
    /// Take a person out of the organization and all of its workspaces.
    Remove {
        /// E-mail address or user id.
        #[arg(value_name = "EMAIL|USER")]
        person: String,
        #[command(flatten)]
        of: Of,
    },
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Of {
    /// Name or id of the organization; the only one or your own when absent.
    #[arg(long, value_name = "ORG")]
    pub(crate) org: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Settings, people, billing, and every workspace.
    Admin,
    /// May be put into workspaces.
    #[default]
    Member,
}
