//! Plans: what can be chosen.

use hexabase_backends::store::workspaces::{self, WorkspaceScope};
use hexabase_backends::store::{Tx, plans};
use hexabase_core::plans::Plan;

use crate::context::App;
use crate::error::{Error, Result};

/// The plans that new workspaces can choose, in order of display.
pub async fn list(app: &App) -> Result<Vec<Plan>> {
    Ok(plans::list_active(&app.store).await?)
}

/// The plan of a workspace that is not leaving, with the workspace locked: what is counted against the plan stays so until
/// `tx` ends.
pub(crate) async fn plan_of(tx: &Tx, scope: &WorkspaceScope) -> Result<Plan> {
    let row = workspaces::lock(tx, scope).await?.ok_or(Error::NotFound("workspace"))?;
    if row.desired == workspaces::Desired::Absent {
        return Err(Error::conflict("workspace_deleted", "the workspace is being deleted"));
    }
    plans::get(tx, &row.plan_id).await?.ok_or_else(|| Error::internal("the plan's row is missing"))
}
