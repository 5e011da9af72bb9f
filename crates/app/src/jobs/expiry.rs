//! The end of roles that were given for a time.

use std::time::Duration;

use hexabase_backends::store::jobs::{self, Claim};
use hexabase_backends::store::workspaces::Workspace;
use hexabase_core::time::Timestamp;

use crate::context::App;
use crate::error::Result;
use crate::members;
use crate::role_assignments::forget_expired;

/// From `now` until the next role ends; for ever when none does.
pub(super) fn until(next: Option<Timestamp>, now: Timestamp) -> Duration {
    // A millisecond more, so that it is over when the job looks.
    let millis = |end: Timestamp| Duration::from_millis(end.millis_since(now).max(0).unsigned_abs() + 1);
    next.map_or(Duration::MAX, millis)
}

/// Forgets roles that were over at `at`, the moment for which the bindings were made true.
pub(super) async fn forget(app: &App, claim: &Claim, row: &Workspace, at: Timestamp) -> Result<()> {
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    forget_expired(app, &tx, &row.organization_id, &row.id, at).await?;
    tx.commit().await?;
    app.bell.ring(members::topic(&row.id));
    Ok(())
}
