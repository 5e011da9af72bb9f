//! `hxb session`.

use hexabase_api::sessions::{Session, SessionsEnded};
use hexabase_core::time::Timestamp;
use serde_json::json;

use crate::args;
use crate::clock;
use crate::context::Context;
use crate::error::Result;
use crate::output::{age, say, table};

pub(crate) async fn run(context: &Context, command: args::Session) -> Result<()> {
    let api = context.api()?;
    match command {
        args::Session::List => {
            let all = api.list::<Session>(&["me", "sessions"], &[]).await?;
            context.format.show(&all.raw, || {
                let now = clock::now();
                let rows = all.value.into_iter().map(|session| row(session, now));
                table(["DEVICE", "SIGNED IN", "FROM", "LAST USED", "FROM", "ID"], "You are signed in nowhere.", rows)
            })
        }
        args::Session::End { session } => {
            api.delete(&["me", "sessions", &session]).await?;
            say(&format!("Session {session} has ended."));
            Ok(())
        }
        args::Session::EndOthers => {
            let ended = api.post::<SessionsEnded>(&["me", "sessions", "end-others"], &json!({})).await?;
            context.format.show(&ended.raw, || format!("Other sessions that have ended: {}", ended.value.ended))
        }
    }
}

fn row(session: Session, now: Timestamp) -> [String; 6] {
    let device = if session.current { format!("{} (this one)", session.label) } else { session.label };
    let ago = |then| format!("{} ago", age(then, now));
    [
        device,
        ago(session.created_at),
        session.created_from.unwrap_or_default(),
        ago(session.last_seen_at),
        session.last_seen_from.unwrap_or_default(),
        session.id.to_string(),
    ]
}
