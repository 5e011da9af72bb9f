//! The live feed: what happens in the organisations and workspaces that a person can see.

use hexabase_backends::store::events::{self, Event};

use crate::context::{App, OpContext};
use crate::error::Result;
use crate::sessions;

const BATCH: u64 = 100;

/// The place of the newest event.
pub async fn latest(app: &App) -> Result<i64> {
    Ok(events::last_seq(&app.store).await?)
}

/// Events after `sequence` that the caller may see at this moment, oldest first.
///
/// # Errors
/// [`Error::Unauthenticated`](crate::Error::Unauthenticated) once the caller's session or token is over.
pub async fn after(app: &App, ctx: &OpContext, sequence: i64) -> Result<Vec<Event>> {
    sessions::still_good(app, ctx).await?;
    let only = ctx.credential.scope().and_then(|scope| scope.workspace.as_ref());
    Ok(events::list_for_user(&app.store, &ctx.user, only, sequence, BATCH).await?)
}
