//! The live feed: what happens in the organisations and workspaces that a person can see.

use hexabase_backends::store::events::{self, Event};
use hexabase_backends::store::sessions;

use crate::context::{App, Credential, OpContext};
use crate::error::{Error, Result};
use crate::tokens;

const BATCH: u64 = 100;

/// The place of the newest event.
pub async fn latest(app: &App) -> Result<i64> {
    Ok(events::last_seq(&app.store).await?)
}

/// Events after `sequence` that the caller may see at this moment, oldest first.
///
/// # Errors
/// [`Error::Unauthenticated`] once the caller's session or token is over.
pub async fn after(app: &App, ctx: &OpContext, sequence: i64) -> Result<Vec<Event>> {
    match &ctx.credential {
        Credential::SignIn => {}
        Credential::Session(session) => {
            let live = sessions::find_live(&app.store, session, app.clock.now()).await?;
            live.ok_or_else(|| Error::Unauthenticated("this session has ended".to_owned()))?;
        }
        Credential::Token { id, .. } => {
            tokens::still_good(app, id, &ctx.user).await?;
        }
    }
    let only = ctx.credential.scope().and_then(|scope| scope.workspace.as_ref());
    Ok(events::list_for_user(&app.store, &ctx.user, only, sequence, BATCH).await?)
}
