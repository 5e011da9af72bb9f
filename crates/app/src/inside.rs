//! What runs inside a workspace, as the person who asks sees it there: pods, their logs, Kubernetes' events, and usage.
//! Kubernetes decides what is told; nothing of it is stored.

use hexabase_backends::store::plans;
use hexabase_backends::store::workspaces::{self, WorkspaceScope};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::quota::Amounts;
use hexabase_reconcile::{LogQuestion, ReconcileError};

use crate::authz::{self, WorkspaceAction};
use crate::context::{App, OpContext};
use crate::error::{Error, Result};
use crate::{looks, tenant};

pub use hexabase_reconcile::{
    Listed, NamespaceUsage, SeenContainer, SeenEvent, SeenLine, SeenLog, SeenPod, Told, Usage,
};

/// Longest name of Kubernetes.
const MAX_NAME: usize = 253;
/// Longest continuation of a list that is passed on.
const MAX_CURSOR: usize = 4_096;

/// What is wanted of a log.
#[derive(Debug, Clone, Default)]
pub struct LogWanted {
    /// The container, where the pod has several.
    pub container: Option<String>,
    /// The run before this one.
    pub previous: bool,
    /// Lines from the end.
    pub tail_lines: u32,
    /// Only of so many seconds.
    pub since_seconds: Option<u32>,
}

/// Which events are wanted.
#[derive(Debug, Clone, Default)]
pub struct EventsWanted {
    /// Of one namespace; of all when absent.
    pub namespace: Option<String>,
    /// About objects of this kind.
    pub kind: Option<String>,
    /// About objects of this name.
    pub name: Option<String>,
}

/// What is used, and what the plan gives.
#[derive(Debug, Clone)]
pub struct WorkspaceUsage {
    /// What is used.
    pub usage: Usage,
    /// What the plan gives to the workspace as a whole.
    pub limits: Amounts,
}

/// The workspace, for somebody who may look into it and does not do so too often. A stranger learns nothing of how often
/// others do.
async fn look(app: &App, ctx: &OpContext, workspace: &WorkspaceId) -> Result<WorkspaceScope> {
    let scope = authz::workspace(&app.store, ctx, workspace, WorkspaceAction::View).await?;
    looks::count(workspace, &ctx.user, ctx.now)?;
    Ok(scope)
}

/// A page of the pods of one namespace, or of all; `cursor` is what the page before gave as `next`.
pub async fn pods(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    namespace: Option<&str>,
    limit: u32,
    cursor: Option<&str>,
) -> Result<Told<Listed<SeenPod>>> {
    let scope = look(app, ctx, workspace).await?;
    check_name("namespace", namespace)?;
    if cursor.is_some_and(|cursor| cursor.len() > MAX_CURSOR || !cursor.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(Error::invalid("cursor", "cursor is not one that this list gave out"));
    }
    let found = tenant::as_caller(app, &scope).await?.pods(namespace, limit, cursor).await;
    found.map_err(|error| refusal("pod", error))
}

/// The end of the log of a pod's container.
pub async fn log(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    (namespace, pod): (&str, &str),
    wanted: &LogWanted,
) -> Result<Told<SeenLog>> {
    let scope = look(app, ctx, workspace).await?;
    if !is_name(namespace) || !is_name(pod) {
        return Err(Error::NotFound("pod"));
    }
    check_name("container", wanted.container.as_deref())?;
    let LogWanted { container, previous, tail_lines, since_seconds } = wanted;
    let question = LogQuestion {
        container: container.as_deref(),
        previous: *previous,
        tail_lines: *tail_lines,
        since_seconds: *since_seconds,
    };
    let found = tenant::as_caller(app, &scope).await?.log(namespace, pod, &question).await;
    found.map_err(|error| refusal("pod", error))
}

/// What Kubernetes noticed lately, the newest first.
pub async fn events(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    wanted: &EventsWanted,
) -> Result<Told<Listed<SeenEvent>>> {
    let scope = look(app, ctx, workspace).await?;
    let EventsWanted { namespace, kind, name } = wanted;
    check_name("namespace", namespace.as_deref())?;
    check_word("kind", kind.as_deref())?;
    check_word("name", name.as_deref())?;
    let about = (kind.as_deref(), name.as_deref());
    let found = tenant::as_caller(app, &scope).await?.events(namespace.as_deref(), about).await;
    found.map_err(|error| refusal("event", error))
}

/// What is used in one namespace, or in all.
pub async fn usage(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    namespace: Option<&str>,
) -> Result<Told<WorkspaceUsage>> {
    let scope = look(app, ctx, workspace).await?;
    check_name("namespace", namespace)?;
    let row = workspaces::get(&app.store, &scope).await?.ok_or(Error::NotFound("workspace"))?;
    let plan = plans::get_version(&app.store, &row.plan_id, row.plan_version).await?;
    let plan = plan.ok_or_else(|| Error::internal("the plan's row is missing"))?;
    let found = tenant::as_caller(app, &scope).await?.usage(namespace).await;
    let Told { what: usage, turn } = found.map_err(|error| refusal("pod", error))?;
    Ok(Told { what: WorkspaceUsage { usage, limits: plan.limits.amounts }, turn })
}

/// What may become part of an address or a selector, and is a name in Kubernetes.
fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let ends = |text: &str| text.starts_with(['-', '.']) || text.ends_with(['-', '.']);
    !text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(inner) && !ends(text)
}

fn check_name(field: &'static str, name: Option<&str>) -> Result<()> {
    match name.is_none_or(is_name) {
        true => Ok(()),
        false => Err(Error::invalid(field, format!("this is no name of a {field} in Kubernetes"))),
    }
}

/// Names of objects that events are about may be wider, such as `system:node`.
fn check_word(field: &'static str, word: Option<&str>) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    match word.is_none_or(|word| !word.is_empty() && word.len() <= MAX_NAME && word.bytes().all(plain)) {
        true => Ok(()),
        false => Err(Error::invalid(field, format!("this is no {field} of an object in Kubernetes"))),
    }
}

/// What a refusal is to somebody who only looks.
fn refusal(what: &'static str, error: ReconcileError) -> Error {
    match error {
        ReconcileError::Refused { code: 404, .. } => Error::NotFound(what),
        ReconcileError::Refused { code: 410, .. } => {
            Error::invalid("cursor", "the list has gone on since this cursor was given; begin again without one")
        }
        ReconcileError::Refused { code: 429 | 502, message, .. } => Error::Unavailable(message),
        ReconcileError::Refused { code: 413, message, .. } => Error::conflict("too_much", message),
        ReconcileError::Refused { code: 400, message, .. } => Error::conflict("not_to_be_read", message),
        error => tenant::refusal(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_lead_elsewhere_is_no_name() {
        for good in ["web", "a", "1", "my-pod.7", "kube-root-ca.crt"] {
            assert!(is_name(good), "{good}");
        }
        let long = "a".repeat(MAX_NAME + 1);
        for bad in ["", "..", ".", "-a", "a-", "a.", "a/b", "a%2fb", "a?b", "a#b", "A", "a b", "\u{e9}", &long] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(check_word("name", Some("system:node")).is_ok() && check_word("kind", None).is_ok());
        assert!(check_word("name", Some("x,metadata.name=y")).is_err() && check_word("kind", Some("")).is_err());
    }

    #[test]
    fn a_refusal_says_what_its_reader_can_do() {
        let refused = |code: u16| ReconcileError::Refused {
            action: "read",
            object: "the log of pod x".to_owned(),
            code,
            message: "as Kubernetes says".to_owned(),
        };
        assert!(matches!(refusal("pod", refused(403)), Error::Forbidden(message) if message == "as Kubernetes says"));
        assert!(matches!(refusal("pod", refused(404)), Error::NotFound("pod")));
        assert!(matches!(refusal("pod", refused(410)), Error::Invalid { field: "cursor", .. }));
        for code in [429, 502] {
            let told = refusal("pod", refused(code));
            assert!(matches!(told, Error::Unavailable(message) if message == "as Kubernetes says"), "{code}");
        }
        for (code, word) in [(400, "not_to_be_read"), (413, "too_much")] {
            assert!(matches!(refusal("pod", refused(code)), Error::Conflict { code, .. } if code == word));
        }
    }
}
