//! Makes a workspace's API server forget keys that were revoked.
//!
//! It keeps a key set until a token names a key that is not in it, and then asks again only if the set is older than its
//! max-age (docs/adr/0015-revoking-a-signing-key.md). So once it must be, it is shown such a token.

use std::time::Duration;

use hexabase_backends::store::jobs::Claim;
use hexabase_backends::store::workspaces::{self, Desired};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::phases::WorkspacePhase;
use hexabase_oidc::claims::WorkspaceClaims;
use hexabase_oidc::jwt::{self, Typ};
use hexabase_oidc::keys::{Algorithm, SigningKey};
use hexabase_reconcile::present_token;

use super::worker::Outcome;
use crate::context::App;
use crate::error::{Error, Result};
use crate::issuer::{grant_for_nobody, issuer_of};

/// The job's kind; its subject is the workspace's id.
pub const KIND: &str = "refresh-tenant-keys";
/// When to look again at a workspace whose API server is not there yet.
const SOON: Duration = Duration::from_secs(5);

pub(super) async fn run(app: &App, claim: &Claim) -> Result<Outcome> {
    let id: WorkspaceId = claim.subject.parse().map_err(Error::internal)?;
    let Some(due) = app.keys.tenants_due(&app.store).await? else { return Ok(Outcome::Done) };
    let early = due.millis_since(app.clock.now());
    if early > 0 {
        // A second revocation came after this was first asked for.
        return Ok(Outcome::Again(Duration::from_millis(early.unsigned_abs())));
    }
    let Some(row) = workspaces::load_for_job(&app.store, &id).await? else { return Ok(Outcome::Done) };
    if row.desired == Desired::Absent || row.phase == WorkspacePhase::Deleted {
        return Ok(Outcome::Done);
    }
    let (Some(endpoint), Some(ca_pem)) = (row.endpoint, row.ca_pem) else { return Ok(Outcome::Again(SOON)) };
    let status = present_token(&endpoint, &ca_pem, &unknown(app, &id)?).await.map_err(Error::internal)?;
    match status {
        // vCluster lets whoever is refused through as nobody, who may do nothing.
        401 | 403 => {
            tracing::info!(workspace.id = %id, "its API server has asked for the public keys again");
            Ok(Outcome::Done)
        }
        other => Err(Error::internal(format!("a token with an unknown key was answered with {other}"))),
    }
}

/// A token of the workspace's issuer in every respect but its key, which nobody holds.
fn unknown(app: &App, workspace: &WorkspaceId) -> Result<String> {
    let issuer = issuer_of(app, workspace)?;
    let claims = WorkspaceClaims::new(grant_for_nobody(app, &issuer, workspace)?).map_err(Error::internal)?;
    let key = SigningKey::generate(Algorithm::Es256).map_err(Error::internal)?;
    jwt::sign(&key, &claims, Typ::Jwt).map_err(Error::internal)
}
