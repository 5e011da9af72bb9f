//! `hexabase keys`: the operator's hand on the signing keys, straight on the database. Running servers notice within seconds.

use anyhow::{Context as _, Result};
use clap::Subcommand;
use hexabase_app::clock::Clock;
use hexabase_app::keys::{InWorkspaces, KeyStatus, Keys, Revocation, RevocationRequest};
use hexabase_backends::store::Store;

use crate::break_glass::operator;
use crate::config::Config;
use crate::run;

/// What to do with the signing keys.
#[derive(Debug, Clone, Subcommand)]
pub enum KeysCommand {
    /// Show every key and its state, and which workspaces may still believe revoked ones.
    List,
    /// Make a successor for each key that signs. Nobody is refused: it signs once everybody has had time to fetch it.
    Rotate,
    /// Take stolen keys back at once. Tokens that they signed are refused here within seconds, and by each workspace's API
    /// server once it has fetched the public keys again, which `list` tells. May be repeated.
    Revoke {
        /// Ids of keys, as `list` shows them.
        #[arg(required = true, value_name = "KID")]
        kids: Vec<String>,
        /// Why; kept with the key.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// Carries it out on the database of a platform that has run before, and returns what to print.
///
/// # Errors
/// The database or the master key is not there or cannot be used, or the command does not apply.
pub async fn execute(config: &Config, command: KeysCommand) -> Result<String> {
    let sealer = run::existing_sealer(config)?;
    let store = run::open_existing(config).await?;
    let keys = Keys::open(&store, &sealer, config.oidc.rotation()).await.context(
        "the signing keys cannot be read; is the master key the right one, and the database's schema of this version?",
    )?;
    let said = act(&keys, &store, &Clock::System, command).await;
    store.close().await?;
    said
}

async fn act(keys: &Keys, store: &Store, clock: &Clock, command: KeysCommand) -> Result<String> {
    let said = match command {
        KeysCommand::List => String::new(),
        KeysCommand::Rotate => {
            keys.rotate(store, clock, &operator()?).await?;
            String::new()
        }
        KeysCommand::Revoke { kids, reason } => {
            let request = RevocationRequest { kids, reason, operator: operator()? };
            done(&keys.revoke(store, clock, &request).await?)
        }
    };
    let listed = table(&keys.list(store, clock.now()).await?);
    Ok(said + &listed + &under_way(keys.in_workspaces(store).await?))
}

fn done(revocation: &Revocation) -> String {
    let Revocation { revoked, revoked_before, successors, tenants_forget_by } = revocation;
    let line = |what: &str, kids: &[String]| match kids {
        [] => String::new(),
        kids => format!("{what} {}\n", kids.join(" ")),
    };
    let lines = line("revoked", revoked) + &line("revoked before:", revoked_before) + &line("signing now:", successors);
    format!(
        "{lines}every workspace's API server that can be reached forgets them by {tenants_forget_by}; `hexabase keys list` \
         tells which have not\n"
    )
}

fn table(keys: &[KeyStatus]) -> String {
    let mut text =
        format!("{:<45}{:<8}{:<11}{:<29}{:<29}{}\n", "KID", "ALG", "STATE", "SIGNS FROM", "SIGNS UNTIL", "GONE AT");
    for key in keys {
        let KeyStatus { kid, algorithm, state, sign_from, sign_until, publish_until, made_by, revoked } = key;
        let [until, gone] = [sign_until, publish_until].map(|at| at.map_or("-".to_owned(), |at| at.to_string()));
        text.push_str(&format!("{kid:<45}{algorithm:<8}{state:<11}{:<29}{until:<29}{gone}\n", sign_from.to_string()));
        if let Some(operator) = made_by {
            text.push_str(&format!("    made by {operator}\n"));
        }
        if let Some(revoked) = revoked {
            text.push_str(&format!("    revoked by {} at {}: {}\n", revoked.by, revoked.at, revoked.because));
        }
    }
    text
}

fn under_way(found: Option<InWorkspaces>) -> String {
    let Some(InWorkspaces { since, left, some }) = found else { return String::new() };
    let Some(left) = left else {
        return format!("no workspace's API server has been asked yet to forget what was revoked at {since}\n");
    };
    let mut text = format!("{left} workspaces' API servers may still believe what was revoked until {since}\n");
    for job in some {
        let why = job.error.as_deref().unwrap_or("it has not fetched the keys yet");
        text.push_str(&format!("    {}  {why}\n", job.subject));
    }
    text
}
