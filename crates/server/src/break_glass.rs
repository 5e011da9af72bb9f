//! `hexabase break-glass`: an operator lets one of the platform's staff into an organisation for a short time.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result};
use clap::Args;
use hexabase_app::break_glass::{self, BreakGlassRequest, MOST_MINUTES};
use hexabase_app::clock::Clock;
use hexabase_app::members::Invitee;
use hexabase_core::ids::OrganizationId;

use crate::config::Config;
use crate::run;

/// What the operator says.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Id of the organization.
    #[arg(long, value_name = "ID")]
    organization: OrganizationId,
    /// Verified address or id of the person who is to have access; they have signed in once before.
    #[arg(long, value_name = "ADDRESS|ID")]
    user: String,
    /// For how long, in minutes.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=MOST_MINUTES), required_unless_present = "end")]
    minutes: Option<i64>,
    /// Why; the organization reads it in its audit log.
    #[arg(long, value_name = "TEXT", required_unless_present = "end")]
    reason: Option<String>,
    /// End the access that the person has, before its time.
    #[arg(long, conflicts_with_all = ["minutes", "reason"])]
    end: bool,
}

/// Gives or ends access in the database of `config`; says what was done.
///
/// # Errors
/// A sentence for the operator.
pub async fn execute(config: &Config, arguments: Arguments) -> Result<String> {
    let store = run::open(config).await?;
    let Arguments { organization, user, minutes, reason, end } = arguments;
    let who = if user.contains('@') {
        Invitee::Email(user.clone())
    } else {
        Invitee::User(user.parse().context("--user takes an address, or an id that starts with usr-")?)
    };
    let operator = operator()?;
    if end {
        break_glass::end(&store, &Clock::System, &organization, &who, &operator).await?;
        return Ok(format!("{user} has no access by break-glass to {organization} any more"));
    }
    let (minutes, reason) = (minutes.unwrap_or_default(), reason.unwrap_or_default());
    let request = BreakGlassRequest { organization, who, minutes, reason, operator };
    let given = break_glass::start(&store, &Clock::System, &request).await?;
    let (organization, until) = (&request.organization, given.expires_at);
    Ok(format!(
        "{user} is let into {organization} until {until}; its audit log says so, with the reason ({})",
        given.id
    ))
}

/// The account that runs this: the one that signed in to the machine, where the kernel knows it, since with `sudo` everybody is
/// root.
pub(crate) fn operator() -> Result<String> {
    const NOBODY: u32 = u32::MAX;
    let signed_in = fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse().ok());
    let uid: u32 = match signed_in.filter(|uid| *uid != NOBODY) {
        Some(uid) => uid,
        None => fs::metadata("/proc/self").context("cannot find out which account runs this")?.uid(),
    };
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    Ok(name_of(uid, &accounts).unwrap_or_else(|| uid.to_string()))
}

/// The name of the account `uid` in the text of `/etc/passwd`.
fn name_of(uid: u32, accounts: &str) -> Option<String> {
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    };
    accounts.lines().find_map(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_is_called_as_the_machine_calls_them() {
        let accounts = "root:x:0:0:root:/root:/bin/bash\n# a comment\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(name_of(1000, accounts).as_deref(), Some("ada"));
        assert_eq!(name_of(0, accounts).as_deref(), Some("root"));
        assert_eq!(name_of(7, accounts), None);
        assert!(!operator().unwrap().is_empty());
    }
}
