//! `/workspaces/{workspace}/pods`, `…/kubernetes-events` and `…/usage`: what runs inside, as the caller may see it there.

use axum::extract::{Path, State};
use hexabase_api::inside::{
    KubernetesEvent, KubernetesEventQuery, KubernetesEvents, NamespaceUsage, Pod, PodContainer, PodLog, PodLogLine,
    PodLogQuery, PodQuery, UsageLimits, UsedAmounts, WorkspaceUsage, WorkspaceUsageQuery,
};
use hexabase_api::page::{Page, PageQuery};
use hexabase_app::inside::{self, EventsWanted, LogWanted, SeenContainer, SeenEvent, SeenLine, SeenPod, Told};
use hexabase_app::{App, Error};

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{Query, id};
use super::held::Held;
use super::paging;

/// Lines of a log when nobody says how many, and at most.
const LINES: u32 = 200;
const MOST_LINES: u32 = 5_000;

fn pod(SeenPod { namespace, name, status, containers, created_at }: SeenPod) -> Pod {
    Pod {
        ready: containers.iter().map(|container| u32::from(container.ready)).sum(),
        restarts: containers.iter().fold(0, |sum: u32, container| sum.saturating_add(container.restarts)),
        containers: containers.into_iter().map(container).collect(),
        namespace,
        name,
        status,
        created_at,
    }
}

fn container(SeenContainer { name, ready, restarts, state }: SeenContainer) -> PodContainer {
    PodContainer { name, ready, restarts, state }
}

fn line(SeenLine { at, text }: SeenLine) -> PodLogLine {
    PodLogLine { at, text }
}

fn event(event: SeenEvent) -> KubernetesEvent {
    let SeenEvent { namespace, kind, name, warning, reason, message, count, first_at, last_at } = event;
    KubernetesEvent { namespace, kind, name, warning, reason, message, count, first_at, last_at }
}

fn amounts(used: &inside::NamespaceUsage, measured: bool) -> UsedAmounts {
    UsedAmounts {
        pods: used.pods,
        cpu_requested: used.cpu_requested.to_string(),
        cpu_limited: used.cpu_limited.to_string(),
        memory_requested: used.memory_requested.to_string(),
        memory_limited: used.memory_limited.to_string(),
        storage_requested: used.storage_requested.to_string(),
        cpu_used: measured.then(|| used.cpu_used.to_string()),
        memory_used: measured.then(|| used.memory_used.to_string()),
    }
}

/// The workspace's pods, read with your own rights inside it.
#[utoipa::path(get, path = "/workspaces/{workspace}/pods", tag = "inside",
    params(("workspace" = String, Path), PodQuery), responses((status = 200, body = Page<Pod>)))]
pub(super) async fn list_pods(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    Query(PodQuery { namespace, cursor, limit }): Query<PodQuery>,
) -> ApiResult<Held<Page<Pod>>> {
    let workspace = id("workspace", &workspace)?;
    // Its cursor is Kubernetes' own, which nobody here reads.
    let limit = paging::window::<String>(&PageQuery { cursor: None, limit })?.limit;
    let Told { what: found, turn } =
        inside::pods(&app, &ctx, &workspace, namespace.as_deref(), limit, cursor.as_deref()).await?;
    Ok(Held::new(Page { items: found.items.into_iter().map(pod).collect(), next_cursor: found.next }, turn))
}

/// The end of the log of one of a pod's containers, read with your own rights inside the workspace. To follow one, use
/// `kubectl logs -f`.
#[utoipa::path(get, path = "/workspaces/{workspace}/pods/{namespace}/{pod}/log", tag = "inside",
    params(("workspace" = String, Path), ("namespace" = String, Path), ("pod" = String, Path), PodLogQuery),
    responses((status = 200, body = PodLog)))]
pub(super) async fn get_log(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, namespace, pod)): Path<(String, String, String)>,
    Query(PodLogQuery { container, previous, tail_lines, since_seconds }): Query<PodLogQuery>,
) -> ApiResult<Held<PodLog>> {
    let workspace = id("workspace", &workspace)?;
    let tail_lines = tail_lines.unwrap_or(LINES);
    if !(1..=MOST_LINES).contains(&tail_lines) {
        return Err(Error::invalid("tail_lines", format!("tail_lines must be from 1 to {MOST_LINES}")).into());
    }
    if since_seconds == Some(0) {
        return Err(Error::invalid("since_seconds", "since_seconds must be at least 1").into());
    }
    let wanted = LogWanted { container, previous: previous.unwrap_or(false), tail_lines, since_seconds };
    let Told { what: found, turn } = inside::log(&app, &ctx, &workspace, (&namespace, &pod), &wanted).await?;
    Ok(Held::new(PodLog { lines: found.lines.into_iter().map(line).collect(), cut: found.cut }, turn))
}

/// What Kubernetes noticed in the workspace lately, read with your own rights inside it. Not the platform's own events, which
/// are at `/events`.
#[utoipa::path(get, path = "/workspaces/{workspace}/kubernetes-events", tag = "inside",
    params(("workspace" = String, Path), KubernetesEventQuery), responses((status = 200, body = KubernetesEvents)))]
pub(super) async fn list_events(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    Query(KubernetesEventQuery { namespace, kind, name }): Query<KubernetesEventQuery>,
) -> ApiResult<Held<KubernetesEvents>> {
    let workspace = id("workspace", &workspace)?;
    let Told { what: found, turn } =
        inside::events(&app, &ctx, &workspace, &EventsWanted { namespace, kind, name }).await?;
    let events = KubernetesEvents { items: found.items.into_iter().map(event).collect(), more: found.next.is_some() };
    Ok(Held::new(events, turn))
}

/// What pods and volume claims request, and what pods use where that is measured, by namespace; read with your own rights
/// inside the workspace.
#[utoipa::path(get, path = "/workspaces/{workspace}/usage", tag = "inside",
    params(("workspace" = String, Path), WorkspaceUsageQuery), responses((status = 200, body = WorkspaceUsage)))]
pub(super) async fn get_usage(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    Query(WorkspaceUsageQuery { namespace }): Query<WorkspaceUsageQuery>,
) -> ApiResult<Held<WorkspaceUsage>> {
    let workspace = id("workspace", &workspace)?;
    let Told { what: found, turn } = inside::usage(&app, &ctx, &workspace, namespace.as_deref()).await?;
    let inside::WorkspaceUsage { usage, limits } = found;
    let inside::Usage { namespaces, measured, claims_unread, cut } = usage;
    let total = namespaces.values().copied().fold(inside::NamespaceUsage::default(), inside::NamespaceUsage::and);
    let by_namespace = namespaces.into_iter().map(|(namespace, used)| {
        let used = amounts(&used, measured);
        NamespaceUsage { namespace, used }
    });
    let usage = WorkspaceUsage {
        total: amounts(&total, measured),
        limits: UsageLimits {
            pods: limits.pods,
            cpu: limits.cpu.to_string(),
            memory: limits.memory.to_string(),
            storage: limits.storage.to_string(),
        },
        namespaces: by_namespace.collect(),
        measured,
        claims_unread,
        cut,
    };
    Ok(Held::new(usage, turn))
}
