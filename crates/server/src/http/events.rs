//! `/events`: the live feed (server-sent events).

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use futures::Stream;
use hexabase_api::events::Event;
use hexabase_app::{App, OpContext, events};

use super::caller::Caller;
use super::error::ApiResult;

/// How long the feed waits for the bell before it looks by itself, and before it checks again who is listening.
const POLL: Duration = Duration::from_secs(5);

/// What happens in the caller's organisations and workspaces, as it happens. Resumes after `Last-Event-ID`; without it,
/// begins now.
#[utoipa::path(get, path = "/events", tag = "events",
    params(("Last-Event-ID" = Option<i64>, Header)), responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(super) async fn stream(
    State(app): State<App>,
    Caller(ctx): Caller,
    headers: HeaderMap,
) -> ApiResult<Sse<impl Stream<Item = Result<SseEvent, Infallible>>>> {
    let given = headers.get("last-event-id").and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let after = match given {
        Some(sequence) => sequence,
        None => events::latest(&app).await?,
    };
    Ok(Sse::new(feed(app, ctx, after)).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

fn feed(app: App, ctx: OpContext, after: i64) -> impl Stream<Item = Result<SseEvent, Infallible>> {
    let bell = app.bell.subscribe();
    let start = (app, ctx, after, bell, std::collections::VecDeque::<Event>::new());
    futures::stream::unfold(start, |(app, ctx, mut after, mut bell, mut waiting)| async move {
        loop {
            if let Some(event) = waiting.pop_front() {
                after = event.sequence;
                let sse = SseEvent::default().id(event.sequence.to_string()).event(event.kind.clone());
                let sse = sse.json_data(&event).unwrap_or_else(|_| SseEvent::default().comment("unreadable"));
                return Some((Ok(sse), (app, ctx, after, bell, waiting)));
            }
            // Read first, then wait: what happened before this subscription is found by reading. The read also ends the
            // feed of somebody whose session is over.
            match events::after(&app, &ctx, after).await {
                Err(_) => return None,
                Ok(rows) if rows.is_empty() => {
                    let _ = tokio::time::timeout(POLL, bell.next()).await;
                }
                Ok(rows) => waiting.extend(rows.into_iter().map(view)),
            }
        }
    })
}

fn view(row: hexabase_backends::store::events::Event) -> Event {
    Event {
        sequence: row.seq,
        kind: row.event.kind,
        organization: row.event.organization_id,
        workspace: row.event.workspace_id,
        subject: row.event.subject,
        data: row.event.data,
        at: row.event.created_at,
    }
}
