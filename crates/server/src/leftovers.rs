//! `hexabase leftovers`: what is left of workspaces that are gone, as database and worker know it. Changes nothing.

use anyhow::Result;
use hexabase_app::clock::Clock;
use hexabase_app::leftovers::{self, Report};
use hexabase_core::ids::WorkspaceId;

use crate::config::Config;
use crate::run;

/// Looks through the database of a platform that has run before; returns what to print.
///
/// # Errors
/// The database is not there or cannot be used.
pub async fn execute(config: &Config) -> Result<String> {
    let store = run::open_existing(config).await?;
    let report = leftovers::report(&store, &Clock::System).await;
    store.close().await?;
    Ok(table(&report?))
}

fn table(report: &Report) -> String {
    let mut text = format!("{:<26}{:<10}{:<26}{}\n", "WORKSPACE", "WHERE", "WHAT", "WHAT BECOMES OF IT");
    let mut line = |workspace: &WorkspaceId, place: &str, what: &str, fate: &str| {
        text.push_str(&format!("{:<26}{place:<10}{what:<26}{fate}\n", workspace.as_str()));
    };
    for (rows, fate) in [(&report.store, "is taken away"), (&report.unknown, "stays: no such workspace is known")] {
        for left in rows {
            line(&left.workspace, "database", &format!("{} of {}", left.rows, left.what), fate);
        }
    }
    let Some(host) = &report.host else {
        text.push_str("No worker has looked through the host yet.\n");
        return text;
    };
    for (workspaces, fate) in
        [(&host.removing, "is being removed"), (&host.unknown, "stays: it may be another installation's")]
    {
        for workspace in workspaces {
            line(workspace, "host", "objects", fate);
        }
    }
    text.push_str(&format!("The host was looked through at {}.\n", host.at));
    text
}

#[cfg(test)]
mod tests {
    use hexabase_app::leftovers::HostLook;
    use hexabase_backends::store::leftovers::Leftover;
    use hexabase_core::time::Timestamp;

    use super::*;

    #[test]
    fn what_is_left_is_told_with_where_it_is_and_what_becomes_of_it() {
        let id = |digit: char| -> WorkspaceId { format!("ws-0000000000000000000{digit}").parse().unwrap() };
        let row = |digit: char, rows: u64| Leftover { workspace: id(digit), what: "jobs".to_owned(), rows };
        let at = Timestamp::from_seconds(1_790_000_000);
        let host = HostLook { at, removing: vec![id('3')], unknown: vec![id('4')] };
        let text = table(&Report { store: vec![row('1', 7)], unknown: vec![row('2', 1)], host: Some(host) });
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().take(5).collect()).collect();
        assert_eq!(lines[1], ["ws-00000000000000000001", "database", "7", "of", "jobs"]);
        assert_eq!(lines[2], ["ws-00000000000000000002", "database", "1", "of", "jobs"]);
        assert_eq!(lines[3], ["ws-00000000000000000003", "host", "objects", "is", "being"]);
        assert_eq!(lines[4], ["ws-00000000000000000004", "host", "objects", "stays:", "it"]);
        assert!(text.ends_with("The host was looked through at 2026-09-21T14:13:20Z.\n"), "{text}");
        let none = table(&Report { store: Vec::new(), unknown: Vec::new(), host: None });
        assert!(none.ends_with("No worker has looked through the host yet.\n"), "{none}");
    }
}
