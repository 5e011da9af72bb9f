//! The verbs of sessions, tokens, service accounts and the audit log.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};
use hexabase_core::roles::OrganizationRole;
use hexabase_core::time::Timestamp;
use hexabase_core::tokens::TokenAccess;

use super::time::lifetime;
use crate::audit::Head;
use crate::clock;

#[derive(Debug, Subcommand)]
pub(crate) enum Session {
    /// List the browsers and devices on which you are signed in.
    List,
    /// Sign one out.
    End {
        /// Id: see `hxb session list`.
        session: String,
    },
    /// Sign all out but this one.
    EndOthers,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token; its secret goes to standard output, this once.
    Create {
        /// What you will recognise it by.
        name: String,
        #[command(flatten)]
        wanted: NewToken,
    },
    /// List your tokens, and when each was last used.
    List,
    /// Revoke a token.
    Revoke {
        /// Name or id.
        token: String,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct NewToken {
    /// Whether it may only look: read or write.
    #[arg(long, value_name = "ACCESS")]
    pub(crate) access: TokenAccess,
    /// How long it is good, such as 12h or 90d; a year at most.
    #[arg(long, value_name = "TIME", value_parser = lifetime, allow_hyphen_values = true)]
    pub(crate) expires_in: Duration,
    /// Make it good for one workspace only: NAME, ORG/NAME or id.
    #[arg(short, long, value_name = "WORKSPACE")]
    pub(crate) workspace: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Of {
    /// Name or id of the organization; the only one or your own when absent.
    #[arg(long)]
    pub(crate) org: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceAccount {
    /// Make a service account.
    Create {
        /// Name for people.
        name: String,
        /// What it may do in the organization: member or admin [default: member].
        #[arg(long, value_name = "ROLE")]
        role: Option<OrganizationRole>,
        #[command(flatten)]
        of: Of,
    },
    /// List the service accounts of an organization.
    List {
        #[command(flatten)]
        of: Of,
    },
    /// Delete one, with its tokens and its access.
    Delete {
        /// Name or id.
        account: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        of: Of,
    },
    /// Tokens of a service account.
    #[command(subcommand)]
    Token(AccountToken),
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountToken {
    /// Make a token; its secret goes to standard output, this once.
    Create {
        /// Name or id of the service account.
        account: String,
        /// What the token will be recognised by.
        name: String,
        #[command(flatten)]
        wanted: NewToken,
        #[command(flatten)]
        of: Of,
    },
    /// List its tokens, and when each was last used.
    List {
        /// Name or id of the service account.
        account: String,
        #[command(flatten)]
        of: Of,
    },
    /// Revoke a token.
    Revoke {
        /// Name or id of the service account.
        account: String,
        /// Name or id of the token.
        token: String,
        #[command(flatten)]
        of: Of,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List what was changed in an organization, oldest first.
    List {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        filters: AuditFilters,
    },
    /// Write the whole log of an organization as JSON lines, to be kept elsewhere.
    Export {
        /// Name or id of the organization; the only one or your own when absent.
        #[arg(long)]
        org: Option<String>,
        /// The file to write, with its head beside it in PATH.head [default: standard output].
        #[arg(long, value_name = "PATH")]
        file: Option<PathBuf>,
    },
    /// Check that nothing in a log was changed, removed or moved.
    Verify {
        #[command(flatten)]
        whose: Whose,
        /// An exported log to check without any server, against the head in PATH.head where that is; "-" is standard input.
        #[arg(long, value_name = "PATH", conflicts_with_all = ["org", "me"])]
        file: Option<PathBuf>,
        /// An end of the log that was written down before, as SEQ:HASH; may be repeated.
        #[arg(long = "head", value_name = "SEQ:HASH")]
        heads: Vec<Head>,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Whose {
    /// Name or id of the organization; the only one or your own when absent.
    #[arg(long)]
    pub(crate) org: Option<String>,
    /// Your own account's log: sessions and tokens.
    #[arg(long, conflicts_with = "org")]
    pub(crate) me: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AuditFilters {
    /// Only what this person or service account did (id).
    #[arg(long, value_name = "ID", conflicts_with = "me")]
    pub(crate) actor: Option<String>,
    /// Only this action, such as member.added, or all of a kind, such as member.
    #[arg(long, value_name = "ACTION", conflicts_with = "me")]
    pub(crate) action: Option<String>,
    /// Only what was done to this (id).
    #[arg(long, value_name = "ID", conflicts_with = "me")]
    pub(crate) subject: Option<String>,
    /// Only what concerns this workspace: NAME, ORG/NAME or id.
    #[arg(short, long, value_name = "WORKSPACE", conflicts_with = "me")]
    pub(crate) workspace: Option<String>,
    /// Only since then: a moment (RFC 3339), or how long ago, such as 24h or 7d.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true, conflicts_with = "me")]
    pub(crate) since: Option<Timestamp>,
    /// Only before then.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true, conflicts_with = "me")]
    pub(crate) until: Option<Timestamp>,
}

/// A moment, or how long ago it was.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = Timestamp::try_from(text.to_owned()) {
        return Ok(moment);
    }
    let ago = lifetime(text).map_err(|_| "write a moment such as 2026-09-21T14:00:00Z, or a time such as 24h or 7d")?;
    Ok(clock::now().plus_seconds(-i64::try_from(ago.as_secs()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_one_or_as_how_long_ago_it_was() {
        assert_eq!(moment("2026-09-21T14:13:20Z"), Ok(Timestamp::from_seconds(1_790_000_000)));
        assert!(moment("7d").is_ok_and(|then| then < clock::now()) && moment("soon").is_err());
    }
}
