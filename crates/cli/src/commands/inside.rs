//! `hxb pod`, and what `hxb workspace` tells of the inside: Kubernetes' events and what is used.

use hexabase_api::inside::{KubernetesEvents, Pod, PodLog, PodLogLine, UsedAmounts, WorkspaceUsage};

use crate::args;
use crate::client::Api;
use crate::clock;
use crate::context::Context;
use crate::error::Result;
use crate::output::{age, printable, say, table};
use crate::resolve;

pub(crate) async fn run(context: &Context, command: args::Pod) -> Result<()> {
    let api = context.api()?;
    match command {
        args::Pod::List { place, namespace } => {
            let workspace = resolve::workspace_to_look_into(&api, &place.workspace).await?;
            let path = ["workspaces", workspace.as_str(), "pods"];
            let found = api.list_inside::<Pod>(&path, &within(namespace.as_deref())).await?;
            context.format.show(&found.raw, || {
                let now = clock::now();
                let none = format!("There are no pods{}.", place_of(namespace.as_deref()));
                let rows = found.value.into_iter().map(|pod| {
                    let ready = format!("{}/{}", pod.ready, pod.containers.len());
                    let made = pod.created_at.map(|made| age(made, now)).unwrap_or_default();
                    [pod.namespace, pod.name, ready, pod.status, pod.restarts.to_string(), made]
                });
                table(["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE"], &none, rows)
            })
        }
        args::Pod::Log { pod, place, namespace, container, previous, tail, since, timestamps } => {
            let workspace = resolve::workspace_to_look_into(&api, &place.workspace).await?;
            let (tail, since) = (tail.to_string(), since.map(|since| since.as_secs().max(1).to_string()));
            let mut query = vec![("tail_lines", tail.as_str())];
            query.extend(container.as_deref().map(|container| ("container", container)));
            query.extend(since.as_deref().map(|since| ("since_seconds", since)));
            query.extend(previous.then_some(("previous", "true")));
            let path = ["workspaces", workspace.as_str(), "pods", &namespace, &pod, "log"];
            let found = api.get_with::<PodLog>(&path, &query).await?;
            if found.value.cut {
                say("The log was cut off after 1 MiB; ask for fewer lines.");
            }
            if found.value.lines.is_empty() {
                say(match since {
                    Some(_) => "Nothing was written to the log in that time.",
                    None => "The log is empty, as is that of a pod that has not begun.",
                });
            }
            context.format.show(&found.raw, || {
                let line = |line: &PodLogLine| match line.at.filter(|_| timestamps) {
                    Some(at) => format!("{at} {}", readable(&line.text)),
                    None => readable(&line.text),
                };
                found.value.lines.iter().map(line).collect::<Vec<_>>().join("\n")
            })
        }
    }
}

/// What Kubernetes noticed in a workspace.
pub(super) async fn events(context: &Context, api: &Api, workspace: &str, namespace: Option<&str>) -> Result<()> {
    let workspace = resolve::workspace_to_look_into(api, workspace).await?;
    let path = ["workspaces", workspace.as_str(), "kubernetes-events"];
    let found = api.get_with::<KubernetesEvents>(&path, &within(namespace)).await?;
    if found.value.more {
        say("These are not all; name a namespace.");
    }
    context.format.show(&found.raw, || {
        let now = clock::now();
        let none = format!("Kubernetes noticed nothing{} lately.", place_of(namespace));
        let rows = found.value.items.into_iter().map(|event| {
            let last = event.last_at.map(|last| age(last, now)).unwrap_or_default();
            let object = format!("{}/{}", event.kind, event.name);
            let warning = if event.warning { "warning" } else { "" };
            let message = if event.count > 1 { format!("{} (x{})", event.message, event.count) } else { event.message };
            [last, event.namespace, warning.to_owned(), event.reason, object, message]
        });
        table(["LAST", "NAMESPACE", "TYPE", "REASON", "OBJECT", "MESSAGE"], &none, rows)
    })
}

/// What is used in a workspace.
pub(super) async fn usage(context: &Context, api: &Api, workspace: &str, namespace: Option<&str>) -> Result<()> {
    let workspace = resolve::workspace_to_look_into(api, workspace).await?;
    let path = ["workspaces", workspace.as_str(), "usage"];
    let found = api.get_with::<WorkspaceUsage>(&path, &within(namespace)).await?;
    let WorkspaceUsage { total, limits, namespaces, measured, claims_unread, cut } = found.value;
    if let Some(why) = &claims_unread {
        say(&format!("Storage is not counted: {why}"));
    }
    if cut {
        say("There is more than was counted; name a namespace.");
    }
    say("Of CPU and memory: what pods request / what they may use at most. The plan bounds both.");
    if !measured {
        say("Nothing in the workspace measures what pods use, or it does not answer.");
    }
    if let (Some(_), []) = (namespace, namespaces.as_slice()) {
        say(&format!("There is nothing{}.", place_of(namespace)));
    }
    context.format.show(&found.raw, || {
        let mut rows: Vec<[String; 5]> = namespaces.into_iter().map(|one| row(one.namespace, one.used)).collect();
        rows.push(row("(together)".to_owned(), total));
        let limits = [limits.pods.to_string(), limits.cpu, limits.memory, limits.storage];
        let [pods, cpu, memory, storage] = limits;
        rows.push(["(the plan)".to_owned(), pods, cpu, memory, storage]);
        table(["NAMESPACE", "PODS", "CPU", "MEMORY", "STORAGE"], "", rows)
    })
}

fn row(namespace: String, used: UsedAmounts) -> [String; 5] {
    let all = |requested: String, limited: String, used: Option<String>| match used {
        Some(used) => format!("{requested}/{limited} ({used} used)"),
        None => format!("{requested}/{limited}"),
    };
    let cpu = all(used.cpu_requested, used.cpu_limited, used.cpu_used);
    let memory = all(used.memory_requested, used.memory_limited, used.memory_used);
    [namespace, used.pods.to_string(), cpu, memory, used.storage_requested]
}

/// Where it was looked, as a part of a sentence: a name that was mistyped is seen by that.
fn place_of(namespace: Option<&str>) -> String {
    namespace.map(|namespace| format!(" in the namespace {namespace}")).unwrap_or_default()
}

fn within(namespace: Option<&str>) -> Vec<(&'static str, &str)> {
    namespace.map(|namespace| ("namespace", namespace)).into_iter().collect()
}

/// A line of a program that may have written anything, for a terminal.
fn readable(text: &str) -> String {
    printable(&text.replace('\t', "    "))
}
