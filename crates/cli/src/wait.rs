//! Waiting for a workspace: woken by the live feed, by a timer where that fails; what counts is always the state itself.

use std::time::Duration;

use hexabase_api::events::Event;
use hexabase_api::workspaces::Workspace;
use hexabase_core::ids::WorkspaceId;
use hexabase_core::phases::WorkspacePhase;
use reqwest::Response;

use crate::args::Goal;
use crate::client::{Api, Fetched};
use crate::error::{Error, Kind, Result};
use crate::output::say;
use crate::progress::Progress;

/// How often to look without a feed.
const POLL: Duration = Duration::from_secs(1);
/// How often to look in spite of one.
const LOOK_ANYWAY: Duration = Duration::from_secs(10);
/// How long the feed may take to begin.
const FEED_TIMEOUT: Duration = Duration::from_secs(5);
/// One look in so many tries to begin the feed again.
const RETRY_FEED: u32 = 5;

/// Waits until the workspace is as wanted. `None` when it was waited for to go and is gone without a record.
pub(crate) async fn wait(
    api: &Api,
    id: &WorkspaceId,
    goal: Goal,
    timeout: Duration,
) -> Result<Option<Fetched<Workspace>>> {
    let mut last = None;
    match tokio::time::timeout(timeout, watch(api, id, goal, &mut last)).await {
        Ok(result) => result,
        Err(_) => {
            let (name, state) = match &last {
                Some(workspace) => (workspace.name.clone(), state_of(workspace)),
                None => (id.to_string(), "not known".to_owned()),
            };
            let wanted = phase_of(goal);
            let message = format!("workspace {name} is not {wanted} after {} s; it is {state}", timeout.as_secs());
            Err(Error::new(Kind::TimedOut, message)
                .hint(format!("go on waiting with: hxb workspace wait {name} --for {wanted}")))
        }
    }
}

/// The phase that is waited for.
fn phase_of(goal: Goal) -> WorkspacePhase {
    match goal {
        Goal::Ready => WorkspacePhase::Ready,
        Goal::Asleep => WorkspacePhase::Asleep,
        Goal::Deleted => WorkspacePhase::Deleted,
    }
}

fn is_going(phase: WorkspacePhase) -> bool {
    matches!(phase, WorkspacePhase::ToBeDeleted | WorkspacePhase::Deleting | WorkspacePhase::Deleted)
}

fn state_of(workspace: &Workspace) -> String {
    let step = workspace.steps.iter().rev().find(|step| step.state != "done");
    let step = step.filter(|_| matches!(workspace.phase, WorkspacePhase::Creating | WorkspacePhase::Waking));
    match (&workspace.message, step) {
        (_, Some(step)) => {
            let message = step.message.as_ref().map(|message| format!(" ({message})")).unwrap_or_default();
            format!("{}, at the step {}{message}", workspace.phase, step.name)
        }
        (Some(message), None) => format!("{}: {message}", workspace.phase),
        (None, None) => workspace.phase.to_string(),
    }
}

async fn watch(
    api: &Api,
    id: &WorkspaceId,
    goal: Goal,
    last: &mut Option<Workspace>,
) -> Result<Option<Fetched<Workspace>>> {
    let mut progress = Progress::on_stderr();
    let mut feed = Feed { api, id, response: None, parser: Parser::default(), last_id: None, looks: 0 };
    feed.connect().await;
    let mut troubled = false;
    loop {
        match api.get::<Workspace>(&["workspaces", id.as_str()]).await {
            Ok(workspace) => {
                troubled = false;
                progress.observe(&workspace.value);
                let phase = workspace.value.phase;
                if phase == phase_of(goal) {
                    return Ok(Some(workspace));
                }
                if goal != Goal::Deleted && is_going(phase) {
                    let (name, wanted) = (&workspace.value.name, phase_of(goal));
                    let sentence = format!("workspace {name} is {phase} and will not be {wanted}");
                    return Err(Error::new(Kind::Failure, sentence));
                }
                *last = Some(workspace.value);
            }
            Err(error) if error.kind() == Kind::NotFound && goal == Goal::Deleted => return Ok(None),
            // A server that restarts meanwhile is no reason to give up; one that never answered is.
            Err(error) if error.kind() == Kind::Failure && last.is_some() => {
                if !troubled {
                    say(&format!("{error}; still trying"));
                }
                troubled = true;
            }
            Err(error) => return Err(error),
        }
        feed.changed().await;
    }
}

struct Feed<'a> {
    api: &'a Api,
    id: &'a WorkspaceId,
    response: Option<Response>,
    parser: Parser,
    last_id: Option<String>,
    looks: u32,
}

impl Feed<'_> {
    async fn connect(&mut self) {
        let answer = tokio::time::timeout(FEED_TIMEOUT, self.api.events(self.last_id.as_deref())).await;
        self.response = answer.ok().and_then(Result::ok);
        self.parser = Parser::default();
    }

    /// Returns when the workspace may have changed.
    async fn changed(&mut self) {
        if self.response.is_none() {
            tokio::time::sleep(POLL).await;
            self.looks += 1;
            if self.looks.is_multiple_of(RETRY_FEED) {
                self.connect().await;
            }
            return;
        }
        if let Ok(false) = tokio::time::timeout(LOOK_ANYWAY, self.next()).await {
            self.response = None;
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether the feed goes on: `true` after news of the workspace.
    async fn next(&mut self) -> bool {
        let Some(response) = &mut self.response else { return false };
        while let Ok(Some(bytes)) = response.chunk().await {
            let mut news = false;
            for message in self.parser.push(&bytes) {
                self.last_id = message.id.or(self.last_id.take());
                let event = serde_json::from_str::<Event>(&message.data).ok();
                news |= event.is_some_and(|event| {
                    event.workspace.as_ref() == Some(self.id) || event.subject == self.id.as_str()
                });
            }
            if news {
                return true;
            }
        }
        false
    }
}

/// Reads server-sent events (WHATWG HTML, section 9.2.6), as far as this feed uses them.
#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    message: Message,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    id: Option<String>,
    data: String,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) -> Vec<Message> {
        let mut done = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches('\r');
            if line.is_empty() {
                let message = std::mem::take(&mut self.message);
                done.extend((!message.data.is_empty()).then_some(message));
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "id" => self.message.id = Some(value.to_owned()),
                "data" => {
                    let separator = if self.message.data.is_empty() { "" } else { "\n" };
                    self.message.data.extend([separator, value]);
                }
                _ => {}
            }
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_the_network_cuts_them() {
        let text = ": hello\n\nid: 7\r\nevent: workspace.progress\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\ndata: second\n\ndata: cut";
        let expected = [
            Message { id: Some("7".to_owned()), data: "{\"a\":\n1}".to_owned() },
            Message { id: None, data: "second".to_owned() },
        ];
        for size in [1, 3, 1_000] {
            let mut parser = Parser::default();
            let read: Vec<_> = text.as_bytes().chunks(size).flat_map(|bytes| parser.push(bytes)).collect();
            assert_eq!(read, expected);
        }
    }
}
