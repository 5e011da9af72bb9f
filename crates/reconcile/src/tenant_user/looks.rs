//! What somebody sees of what runs inside: pods, their logs, and Kubernetes' events.

use std::collections::HashMap;

use hexabase_core::time::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSeries, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::Resource as _;
use kube::api::{ListParams, LogParams};
use kube::core::Request;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::TenantUser;
use super::quantities::MOST_CONTAINERS;
use super::reading::{First, Listed, Metadata, Told, name, shortened};
use crate::error::ReconcileError;

/// Most bytes of a log that are asked for.
pub const MOST_LOG_BYTES: usize = 1 << 20;
/// Most events that are told, which is as many as a page has; and pages among which the newest are looked for.
const MOST_EVENTS: u32 = 500;
const EVENT_PAGES: usize = 10;
/// Most bytes of an event's sentence, and of each word that is told.
const MOST_MESSAGE: usize = 4_096;
const MOST_WORD: usize = 253;

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How it stands, in the word that kubectl uses: `Running`, `CrashLoopBackOff`, `Terminating`.
    pub status: String,
    /// Its containers.
    pub containers: Vec<SeenContainer>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenContainer {
    /// Its name.
    pub name: String,
    /// Whether it is ready.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: u32,
    /// What it waits for or how it ended, in Kubernetes' word; `Running` while it runs.
    pub state: String,
}

/// What is wanted of a log.
#[derive(Debug, Clone, Default)]
pub struct LogQuestion<'a> {
    /// The container, where the pod has several.
    pub container: Option<&'a str>,
    /// The run before this one.
    pub previous: bool,
    /// Lines from the end.
    pub tail_lines: u32,
    /// Only of so many seconds.
    pub since_seconds: Option<u32>,
}

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenLog {
    /// Its lines.
    pub lines: Vec<SeenLine>,
    /// Whether it was cut off after [`MOST_LOG_BYTES`].
    pub cut: bool,
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenLine {
    /// When it was written.
    pub at: Option<Timestamp>,
    /// The line.
    pub text: String,
}

/// Something that Kubernetes noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenEvent {
    /// Its namespace.
    pub namespace: String,
    /// Kind of the object that it is about.
    pub kind: String,
    /// Name of that object.
    pub name: String,
    /// Whether it is a warning.
    pub warning: bool,
    /// Why, in one word.
    pub reason: String,
    /// What, as a sentence.
    pub message: String,
    /// How often.
    pub count: u32,
    /// The first time.
    pub first_at: Option<Timestamp>,
    /// The last time.
    pub last_at: Option<Timestamp>,
}

/// Of a pod what is told of it.
#[derive(Deserialize)]
struct ToldPod {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: ToldSpec,
    status: Option<ToldStatus>,
}

#[derive(Default, Deserialize)]
struct ToldSpec {
    containers: Option<First<ToldContainer, MOST_CONTAINERS>>,
}

#[derive(Deserialize)]
struct ToldContainer {
    #[serde(default, deserialize_with = "name")]
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToldStatus {
    phase: Option<String>,
    reason: Option<String>,
    init_container_statuses: Option<First<ContainerStatus, MOST_CONTAINERS>>,
    container_statuses: Option<First<ContainerStatus, MOST_CONTAINERS>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    #[serde(default, deserialize_with = "name")]
    name: Option<String>,
    #[serde(default)]
    ready: bool,
    #[serde(default)]
    restart_count: i32,
    state: Option<ContainerState>,
}

#[derive(Deserialize)]
struct ContainerState {
    running: Option<IgnoredAny>,
    waiting: Option<Waiting>,
    terminated: Option<Terminated>,
}

#[derive(Deserialize)]
struct Waiting {
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terminated {
    reason: Option<String>,
    #[serde(default)]
    exit_code: i32,
}

/// Of an event what is told of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToldEvent {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    involved_object: InvolvedObject,
    #[serde(rename = "type")]
    type_: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    count: Option<i32>,
    event_time: Option<MicroTime>,
    first_timestamp: Option<Time>,
    last_timestamp: Option<Time>,
    series: Option<EventSeries>,
}

#[derive(Default, Deserialize)]
struct InvolvedObject {
    kind: Option<String>,
    name: Option<String>,
}

impl TenantUser {
    /// Pods of one namespace or of all, a page at a time; `next` is what the page before told.
    pub async fn pods(
        &self,
        namespace: Option<&str>,
        limit: u32,
        next: Option<&str>,
    ) -> Result<Told<Listed<SeenPod>>, ReconcileError> {
        let path = Pod::url_path(&(), namespace);
        let turn = self.turn().await?;
        let mut found = self.page("pods", &path, ListParams::default(), (limit, next), seen_pod).await?;
        // Kubernetes gives no more than it is asked for.
        found.items.truncate(limit as usize);
        Ok(Told { what: found, turn })
    }

    /// The end of a container's log. Both names have to be names of Kubernetes: they become part of an address.
    pub async fn log(
        &self,
        namespace: &str,
        pod: &str,
        question: &LogQuestion<'_>,
    ) -> Result<Told<SeenLog>, ReconcileError> {
        let parameters = LogParams {
            container: question.container.map(str::to_owned),
            previous: question.previous,
            tail_lines: Some(question.tail_lines.into()),
            since_seconds: question.since_seconds.map(i64::from),
            limit_bytes: i64::try_from(MOST_LOG_BYTES).ok(),
            timestamps: true,
            ..LogParams::default()
        };
        let request = Request::new(Pod::url_path(&(), Some(namespace))).logs(pod, &parameters);
        let turn = self.turn().await?;
        let mut bytes = self.read("the log of pod", pod, request.map_err(kube::Error::BuildRequest)).await?;
        let cut = bytes.len() >= MOST_LOG_BYTES;
        bytes.truncate(MOST_LOG_BYTES);
        let text = String::from_utf8_lossy(&bytes);
        // Kubernetes gives no more than it is asked for.
        let lines = text.lines().take(question.tail_lines as usize).map(seen_line).collect();
        Ok(Told { what: SeenLog { lines, cut }, turn })
    }

    /// What Kubernetes noticed lately, the newest first; of one object if `about` names its kind and name. When there is
    /// more than is told, `next` says so, and is good for nothing else.
    pub async fn events(
        &self,
        namespace: Option<&str>,
        about: (Option<&str>, Option<&str>),
    ) -> Result<Told<Listed<SeenEvent>>, ReconcileError> {
        let path = Event::url_path(&(), namespace);
        let fields: Vec<String> = [("involvedObject.kind", about.0), ("involvedObject.name", about.1)]
            .into_iter()
            .filter_map(|(field, value)| Some(format!("{field}={}", value?)))
            .collect();
        let parameters = match fields.is_empty() {
            true => ListParams::default(),
            false => ListParams::default().fields(&fields.join(",")),
        };
        let turn = self.turn().await?;
        let (mut items, mut next, mut more) = (Vec::<SeenEvent>::new(), None::<String>, false);
        let mut limit = MOST_EVENTS;
        // Kubernetes tells them by name; the newest may be in any page.
        for _ in 0..EVENT_PAGES {
            let parameters = parameters.clone();
            let found = match self.page("events", &path, parameters, (limit, next.as_deref()), seen_event).await {
                // Fewer may be short enough.
                Err(error) if error.is(413) && limit > 1 => {
                    limit /= 2;
                    continue;
                }
                found => found?,
            };
            items.extend(found.items);
            items.sort_by_key(|item| std::cmp::Reverse(item.last_at));
            more |= items.len() > MOST_EVENTS as usize;
            items.truncate(MOST_EVENTS as usize);
            next = found.next;
            if next.is_none() {
                break;
            }
        }
        Ok(Told { what: Listed { items, next: next.or_else(|| more.then(String::new)) }, turn })
    }
}

fn seen_pod(pod: ToldPod) -> SeenPod {
    let status = word(&pod);
    let created_at = pod.metadata.creation_timestamp.map(|created| created.0.into());
    let known = pod.status.and_then(|status| status.container_statuses);
    let known = known.map(|first| first.items).unwrap_or_default();
    let mut known: HashMap<_, _> = known.into_iter().map(|status| (status.name.clone(), status)).collect();
    let containers = pod.spec.containers.map(|first| first.items).unwrap_or_default();
    let containers = containers.into_iter().map(|container| {
        let status = known.remove(&container.name);
        let name = container.name.unwrap_or_default();
        match status {
            Some(status) => SeenContainer {
                name,
                ready: status.ready,
                restarts: u32::try_from(status.restart_count).unwrap_or(0),
                state: shortened(status.state.as_ref().and_then(state).unwrap_or("Waiting").to_owned(), MOST_WORD),
            },
            None => SeenContainer { name, ready: false, restarts: 0, state: "Waiting".to_owned() },
        }
    });
    SeenPod {
        namespace: pod.metadata.namespace.unwrap_or_default(),
        name: pod.metadata.name.unwrap_or_default(),
        status: shortened(status, MOST_WORD),
        containers: containers.collect(),
        created_at,
    }
}

/// The word for a container's state.
fn state(state: &ContainerState) -> Option<&str> {
    if state.running.is_some() {
        return Some("Running");
    }
    if let Some(waiting) = &state.waiting {
        return Some(waiting.reason.as_deref().unwrap_or("Waiting"));
    }
    let ended = state.terminated.as_ref()?;
    Some(ended.reason.as_deref().unwrap_or(if ended.exit_code == 0 { "Completed" } else { "Error" }))
}

/// The word for a pod: of the first container that keeps it from running, or its own.
fn word(pod: &ToldPod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let Some(status) = &pod.status else { return "Unknown".to_owned() };
    let own = status.reason.as_deref().or(status.phase.as_deref()).unwrap_or("Unknown");
    let hindered = |statuses: &Option<First<ContainerStatus, MOST_CONTAINERS>>, over: bool| {
        let states = First::of(statuses).iter().filter_map(|status| status.state.as_ref());
        let held = |held: &&ContainerState| {
            held.waiting.is_some() || (over && held.terminated.as_ref().is_some_and(|ended| ended.exit_code != 0))
        };
        let words = states.filter(held).filter_map(state);
        words.filter(|word| *word != "PodInitializing").map(str::to_owned).next()
    };
    match hindered(&status.init_container_statuses, true) {
        Some(word) => format!("Init:{word}"),
        None => hindered(&status.container_statuses, status.phase.as_deref() != Some("Succeeded"))
            .unwrap_or_else(|| own.to_owned()),
    }
}

fn seen_line(line: &str) -> SeenLine {
    let readable = |text: &str| text.replace('\0', "\u{fffd}");
    let timed = line.split_once(' ').and_then(|(at, text)| Some((Timestamp::try_from(at.to_owned()).ok()?, text)));
    match timed {
        Some((at, text)) => SeenLine { at: Some(at), text: readable(text) },
        None => SeenLine { at: None, text: readable(line) },
    }
}

fn seen_event(event: ToldEvent) -> SeenEvent {
    let made = event.metadata.creation_timestamp.as_ref().map(|made| made.0.into());
    let once = event.event_time.map(|once| once.0.into()).or(made);
    let (repeated, again) = event.series.map_or((None, None), |series| (series.count, series.last_observed_time));
    let count = repeated.or(event.count).and_then(|count| u32::try_from(count).ok());
    let word = |text: Option<String>| shortened(text.unwrap_or_default(), MOST_WORD);
    SeenEvent {
        namespace: event.metadata.namespace.unwrap_or_default(),
        kind: word(event.involved_object.kind),
        name: word(event.involved_object.name),
        warning: event.type_.as_deref() == Some("Warning"),
        reason: word(event.reason),
        message: shortened(event.message.unwrap_or_default(), MOST_MESSAGE),
        count: count.unwrap_or(1),
        first_at: event.first_timestamp.map(|first| first.0.into()).or(once),
        last_at: again.map(|again| again.0.into()).or(event.last_timestamp.map(|last| last.0.into())).or(once),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: Value) -> ToldPod {
        let metadata = json!({ "name": "worker", "namespace": "web", "creationTimestamp": "2026-01-01T00:00:00Z" });
        let spec = json!({ "containers": [{ "name": "main" }, { "name": "helper" }] });
        serde_json::from_value(json!({ "metadata": metadata, "spec": spec, "status": status })).unwrap()
    }

    fn container(name: &str, state: Value) -> Value {
        json!({ "name": name, "ready": state.get("running").is_some(), "restartCount": 3, "image": "", "imageID": "",
            "state": state })
    }

    #[test]
    fn a_pod_stands_as_kubectl_says() {
        let (running, crashing) = (json!({ "running": {} }), json!({ "waiting": { "reason": "CrashLoopBackOff" } }));
        let (done, failed) = (json!({ "terminated": { "exitCode": 0 } }), json!({ "terminated": { "exitCode": 1 } }));
        for (phase, init, main, word) in [
            ("Pending", None, None, "Pending"),
            ("Pending", Some(&crashing), None, "Init:CrashLoopBackOff"),
            ("Pending", Some(&failed), None, "Init:Error"),
            ("Running", Some(&done), Some(&running), "Running"),
            ("Running", None, Some(&crashing), "CrashLoopBackOff"),
            ("Succeeded", None, Some(&done), "Succeeded"),
            ("Failed", None, Some(&failed), "Error"),
        ] {
            let of = |name: &str, state: Option<&Value>| state.map(|state| vec![container(name, state.clone())]);
            let (init, main) = (of("init", init), of("main", main));
            let seen =
                seen_pod(pod(json!({ "phase": phase, "initContainerStatuses": init, "containerStatuses": main })));
            assert_eq!(seen.status, word, "{phase}");
            assert_eq!(seen.containers.len(), 2);
        }
        let seen = seen_pod(pod(json!({ "phase": "Running", "containerStatuses": [container("main", running)] })));
        let main = SeenContainer { name: "main".to_owned(), ready: true, restarts: 3, state: "Running".to_owned() };
        assert_eq!(seen.containers[0], main);
        assert_eq!(seen.containers[1].state, "Waiting", "nothing is known of it yet");
    }

    #[test]
    fn a_pod_with_more_containers_than_are_told_is_told_with_the_first_of_them() {
        let (containers, states): (Vec<Value>, Vec<Value>) = (0..2 * MOST_CONTAINERS)
            .map(|number| {
                (json!({ "name": format!("c{number}") }), container(&format!("c{number}"), json!({ "running": {} })))
            })
            .unzip();
        let pod = json!({ "spec": { "containers": containers }, "status": { "containerStatuses": states } });
        let seen = seen_pod(serde_json::from_value(pod).unwrap());
        assert_eq!(seen.containers.len(), MOST_CONTAINERS);
        assert!(seen.containers.iter().all(|container| container.state == "Running"));
    }

    #[test]
    fn a_line_of_a_log_has_its_time_where_kubernetes_tells_it() {
        let seen = seen_line("2026-01-01T00:00:00.5Z hello  world");
        assert_eq!(seen.at, Some(Timestamp::from_micros(1_767_225_600_500_000)));
        assert_eq!(seen.text, "hello  world");
        for odd in ["no time", "", "2026-01-01T00:00:00Z"] {
            assert_eq!(seen_line(odd), SeenLine { at: None, text: odd.to_owned() });
        }
    }

    #[test]
    fn an_event_is_of_the_last_time_that_it_was_noticed() {
        let event = |more: Value| {
            let mut event = json!({ "metadata": { "namespace": "web", "creationTimestamp": "2026-01-01T00:00:00Z" },
                "involvedObject": { "kind": "Pod", "name": "worker" }, "type": "Warning", "reason": "BackOff" });
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            seen_event(serde_json::from_value(event).unwrap())
        };
        let second = |seconds: i64| Some(Timestamp::from_seconds(1_767_225_600 + seconds));
        let plain = event(json!({}));
        assert_eq!((plain.count, plain.first_at, plain.last_at, plain.warning), (1, second(0), second(0), true));
        let times = ["2026-01-01T00:00:01Z", "2026-01-01T00:00:09Z"];
        let older = event(json!({ "count": 7, "firstTimestamp": times[0], "lastTimestamp": times[1] }));
        assert_eq!((older.count, older.first_at, older.last_at), (7, second(1), second(9)));
        let series = json!({ "count": 4, "lastObservedTime": "2026-01-01T00:00:08.000000Z" });
        let newer = event(json!({ "eventTime": "2026-01-01T00:00:02.000000Z", "series": series }));
        assert_eq!((newer.count, newer.first_at, newer.last_at), (4, second(2), second(8)));
    }
}
