//! Makes a workspace's API server forget keys that were revoked, and has it show that it did.
//!
//! It keeps a key set until a token names a key that is not in it, and then fetches again only if the set is nearly as old
//! as its max-age (docs/adr/0015-revoking-a-signing-key.md). So it is shown a token of the revocation's witness, a key that
//! is in no set from before: when it believes that one, it has fetched a set from after, without the revoked keys. A refusal
//! says nothing: the set may not be old enough, or what was fetched may have come from a process that knew no better.

use std::time::Duration;

use hexabase_backends::store::jobs::Claim;
use hexabase_backends::store::workspaces::{self, Workspace};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::phases::WorkspacePhase;
use hexabase_core::time::Timestamp;
use hexabase_oidc::claims::WorkspaceClaims;
use hexabase_oidc::jwt::{self, Typ};
use hexabase_reconcile::believes_token;

use super::worker::Outcome;
use crate::context::App;
use crate::error::{Error, Result};
use crate::issuer::{NOBODY, grant_for_nobody, issuer_of};
use crate::keys::Witness;

/// The job's kind; its subject is the workspace's id.
pub const KIND: &str = "refresh-tenant-keys";
/// Least and most milliseconds between two attempts.
const LEAST_PAUSE: i64 = 5_000;
const MOST_PAUSE: i64 = 60_000;

pub(super) async fn run(app: &App, claim: &Claim) -> Result<Outcome> {
    let id: WorkspaceId = claim.subject.parse().map_err(Error::internal)?;
    let Some(witness) = app.keys.witness(&app.store, app.clock.now()).await? else { return Ok(Outcome::Done) };
    let row = workspaces::load_for_job(&app.store, &id).await?;
    // While it is being deleted, its API server may still answer.
    let Some(row) = row.filter(|row| row.phase != WorkspacePhase::Deleted) else { return Ok(Outcome::Done) };
    if does_not_run(&row) {
        // When it starts again it fetches the keys of that moment.
        return Ok(Outcome::Done);
    }
    if let (Some(endpoint), Some(ca_pem)) = (row.endpoint, row.ca_pem) {
        let token = token_of(app, &witness, &id)?;
        if believes_token(&endpoint, &ca_pem, &token, NOBODY).await.map_err(Error::internal)? {
            tracing::info!(workspace.id = %id, "its API server has forgotten what was revoked");
            return Ok(Outcome::Done);
        }
        if witness.due < app.clock.now() {
            tracing::warn!(workspace.id = %id, "its API server has not fetched the public keys since a revocation");
        }
    }
    Ok(Outcome::Again(pause(&witness, app.clock.now())))
}

/// Whether nothing is left running of its API server, as its own job has seen.
fn does_not_run(row: &Workspace) -> bool {
    row.phase == WorkspacePhase::Asleep || (row.phase == WorkspacePhase::ToBeDeleted && row.endpoint.is_none())
}

/// Often at first, since most sets are old enough at once; then less and less often, but once when the last one must be.
fn pause(witness: &Witness, now: Timestamp) -> Duration {
    let pause = (now.millis_since(witness.since) / 4).clamp(LEAST_PAUSE, MOST_PAUSE);
    let until_due = witness.due.millis_since(now);
    let pause = if until_due > 0 { pause.min(until_due) } else { pause };
    Duration::from_millis(pause.unsigned_abs())
}

/// A token of the workspace's issuer that speaks for nobody, signed by the witness.
fn token_of(app: &App, witness: &Witness, workspace: &WorkspaceId) -> Result<String> {
    let issuer = issuer_of(app, workspace)?;
    let claims = WorkspaceClaims::new(grant_for_nobody(app, &issuer, workspace)?).map_err(Error::internal)?;
    jwt::sign(&witness.key, &claims, Typ::Jwt).map_err(Error::internal)
}

#[cfg(test)]
mod tests;
