//! The live feed: what happens in the organisations and workspaces that a person can see.

use hexabase_backends::store::events::{self, Event};
use hexabase_backends::store::sessions;

use crate::context::{App, OpContext};
use crate::error::{Error, Result};

const BATCH: u64 = 100;

/// The place of the newest event.
pub async fn latest(app: &App) -> Result<i64> {
    Ok(events::last_seq(&app.store).await?)
}

/// Events after `sequence` that the caller may see at this moment, oldest first.
///
/// # Errors
/// [`Error::Unauthenticated`] once the caller's session is over.
pub async fn after(app: &App, ctx: &OpContext, sequence: i64) -> Result<Vec<Event>> {
    if let Some(session) = ctx.credential.session() {
        let live = sessions::find_live(&app.store, session, app.clock.now()).await?;
        live.ok_or_else(|| Error::Unauthenticated("this session has ended".to_owned()))?;
    }
    Ok(events::list_for_user(&app.store, &ctx.user, sequence, BATCH).await?)
}
