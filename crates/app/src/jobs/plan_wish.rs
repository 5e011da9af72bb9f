//! A plan that was asked for and gives less: what the host found decides whether the workspace comes under it.

use hexabase_backends::store::jobs::{self, Claim};
use hexabase_backends::store::workspaces::Workspace;
use hexabase_reconcile::Fit;

use crate::context::App;
use crate::error::Result;
use crate::plan_change;

/// Ends the wish of `row`, if it has one and it is known what becomes of it; says whether it did. `fit` is of a look at the host
/// by that row.
pub(super) async fn settle(app: &App, claim: &Claim, row: &Workspace, fit: Option<&Fit>) -> Result<bool> {
    let (Some(wish), Some(fit)) = (row.wanted_plan(), fit) else { return Ok(false) };
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    if !plan_change::carry_out(app, &tx, &row.id, wish, fit).await? {
        tx.rollback().await?;
        return Ok(false);
    }
    tx.commit().await?;
    Ok(true)
}

#[cfg(test)]
mod tests;
