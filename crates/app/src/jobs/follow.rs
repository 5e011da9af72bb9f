//! How a use case has a worker make a workspace what its rows say from now on.

use hexabase_backends::bell::Topic;
use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_backends::store::{Tx, jobs};
use serde_json::Value;

use super::RECONCILE_WORKSPACE;
use crate::context::{App, OpContext};
use crate::error::Result;

/// Writes the job and the audit entry beside the change, as [`App::change_in`] does, commits, and rings.
pub(crate) async fn commit(
    app: &App,
    ctx: &OpContext,
    tx: Tx,
    scope: &WorkspaceScope,
    action: &str,
    subject: &str,
    said: (Option<Value>, Option<Value>),
) -> Result<()> {
    let workspace = scope.workspace();
    jobs::enqueue(&tx, RECONCILE_WORKSPACE, workspace.as_str(), ctx.now, ctx.now).await?;
    app.change_in(&tx, ctx, scope, action, subject, said)?;
    tx.commit().await?;
    app.bell.ring(Topic { kind: RECONCILE_WORKSPACE.to_owned(), subject: workspace.to_string() });
    Ok(())
}
