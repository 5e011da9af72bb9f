//! `hexabase keys`: the operator's hand on the signing keys, straight on the database. Running servers notice within seconds.

use anyhow::{Result, ensure};
use clap::Subcommand;
use hexabase_app::clock::Clock;
use hexabase_app::keys::{KeyStatus, Keys};
use hexabase_backends::store::Store;

use crate::config::Config;
use crate::run;

/// What to do with the signing keys.
#[derive(Debug, Clone, Subcommand)]
pub enum KeysCommand {
    /// Show every key and its state.
    List,
    /// Make a successor for each key that signs. Nobody is refused: it signs once everybody has had time to fetch it.
    Rotate,
    /// Take stolen keys back at once. Tokens that they signed are refused here within seconds, and by the workspaces' API
    /// servers once the public keys they hold are too old.
    Revoke {
        /// Ids of keys, as `list` shows them.
        #[arg(required = true, value_name = "KID")]
        kids: Vec<String>,
    },
}

/// Carries it out and returns what to print.
///
/// # Errors
/// The database or the master key cannot be used, or the command does not apply.
pub async fn execute(config: &Config, command: KeysCommand) -> Result<String> {
    let clock = Clock::System;
    let store = run::migrate(config).await?;
    let keys = run::load_keys(config, &store, &run::sealer(config)?, &clock).await?;
    let said = act(&keys, &store, &clock, command).await;
    store.close().await?;
    said
}

async fn act(keys: &Keys, store: &Store, clock: &Clock, command: KeysCommand) -> Result<String> {
    let now = clock.now();
    match command {
        KeysCommand::List => Ok(table(&keys.list(store, now).await?)),
        KeysCommand::Rotate => Ok(table(&keys.rotate(store, now).await?)),
        KeysCommand::Revoke { kids } => {
            ensure!(!kids.is_empty(), "name at least one key");
            let done = keys.revoke(store, &kids, now).await?;
            Ok(format!(
                "revoked {}\nsigning from now on: {}\n{} workspaces are told at {}; until then their API servers may believe \
                 the revoked keys\n{}",
                kids.join(" "),
                done.successors.join(" "),
                done.workspaces,
                done.tenants_told_at,
                table(&keys.list(store, now).await?)
            ))
        }
    }
}

fn table(keys: &[KeyStatus]) -> String {
    let mut text =
        format!("{:<45}{:<8}{:<11}{:<29}{:<29}{}\n", "KID", "ALG", "STATE", "SIGNS FROM", "SIGNS UNTIL", "GONE AT");
    for key in keys {
        let KeyStatus { kid, algorithm, state, sign_from, sign_until, publish_until } = key;
        let [until, gone] = [sign_until, publish_until].map(|at| at.map_or("-".to_owned(), |at| at.to_string()));
        text.push_str(&format!("{kid:<45}{algorithm:<8}{state:<11}{:<29}{until:<29}{gone}\n", sign_from.to_string()));
    }
    text
}
