//! Whether the control plane's pod runs, and if not, what Kubernetes says about it; and that it is made anew where it has to be.

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::api::{Api, ListParams, Preconditions};
use serde_json::json;

use crate::apply::{Cluster, Dependents};
use crate::error::ReconcileError;
use crate::labels::{Names, OUTDATED};
use crate::manifest::{Kind, Manifest};
use crate::status::Progress;

/// The container that is vCluster itself.
pub(crate) const CONTAINER: &str = "syncer";
/// When to look again while all goes well, and when something has to change first; in milliseconds.
const SOON: u64 = 250;
const LATER: u64 = 3_000;
/// Most letters that are told of a mark on a pod, which anybody on the host may have written.
const MOST_LETTERS: usize = 200;
/// Warnings that explain why a pod is not made or its containers are not.
const TELLING: [&str; 5] =
    ["FailedCreate", "FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "ProvisioningFailed"];

/// The control plane's pod, its newest one.
pub(crate) async fn pod(host: &Cluster, names: &Names) -> Result<Option<Pod>, ReconcileError> {
    let selector = format!("app=vcluster,release={}", names.name);
    let pods: Vec<Pod> = host.list_as(Kind::Pod, Some(&names.namespace), &selector).await?;
    Ok(pods.into_iter().max_by_key(|pod| {
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (pod.metadata.deletion_timestamp.is_none(), created)
    }))
}

/// Notes on the control plane's pods that they are to be made anew, if they have mounted this Secret or ConfigMap: a node that has seen
/// one which nobody can change goes on giving out what was in it for as long as there is a pod that has it. To be called before that
/// one is made anew, so that it is not forgotten if nothing comes after it.
pub(crate) async fn outdate(host: &Cluster, mounted: &Manifest) -> Result<(), ReconcileError> {
    if !matches!(mounted.kind, Kind::Secret | Kind::ConfigMap) {
        return Ok(());
    }
    let namespace = mounted.namespace.as_deref();
    let pods: Vec<Pod> = host.list_as(Kind::Pod, namespace, "app=vcluster").await?;
    let mark = json!({ "metadata": { "annotations": { OUTDATED: mounted.title() } } });
    for pod in pods.iter().filter(|pod| has_mounted(pod, mounted)) {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        match host.merge(Kind::Pod, namespace, name, &mark).await {
            Err(error) if error.is(404) => {}
            noted => noted?,
        }
    }
    Ok(())
}

fn has_mounted(pod: &Pod, mounted: &Manifest) -> bool {
    let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.any(|volume| match mounted.kind {
        Kind::Secret => volume.secret.as_ref().is_some_and(|of| of.secret_name.as_ref() == Some(&mounted.name)),
        Kind::ConfigMap => volume.config_map.as_ref().is_some_and(|of| of.name == mounted.name),
        _ => false,
    })
}

/// What the pod had mounted before it was made anew, if it goes on with that.
fn outdated(pod: &Pod) -> Option<String> {
    let mark = pod.metadata.annotations.as_ref()?.get(OUTDATED)?;
    pod.metadata.deletion_timestamp.is_none().then(|| mark.chars().take(MOST_LETTERS).collect())
}

/// Ends the pod that was read; its StatefulSet makes another one.
async fn renew(host: &Cluster, names: &Names, pod: &Pod, mounted: &str) -> Result<Progress, ReconcileError> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let only = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
    match host.delete_this(Kind::Pod, Some(&names.namespace), name, only, Dependents::Go).await {
        // Another one has its name by now.
        Err(error) if error.is(409) => {}
        ended => {
            ended?;
        }
    }
    Ok(Progress::wait(SOON, format!("pod {name}: is made anew, since {mounted} was")))
}

/// Done once the control plane's container runs, with all that it has mounted as it is now.
pub(crate) async fn progress(host: &Cluster, names: &Names, pod: Option<&Pod>) -> Result<Progress, ReconcileError> {
    if let Some((pod, mounted)) = pod.and_then(|pod| Some((pod, outdated(pod)?))) {
        return renew(host, names, pod, &mounted).await;
    }
    let progress = judge(names, pod, None);
    if progress == Progress::Done {
        return Ok(progress);
    }
    let warning = warning(host, names).await?;
    Ok(judge(names, pod, warning.as_deref()))
}

/// The newest warning that explains a missing or unstarted pod of the control plane.
async fn warning(host: &Cluster, names: &Names) -> Result<Option<String>, ReconcileError> {
    let events: Api<Event> = Api::namespaced(host.client.clone(), &names.namespace);
    let parameters = ListParams::default().fields("type=Warning").limit(200);
    let events = events.list(&parameters).await;
    // Events only explain; without them the reason is merely shorter.
    let events = events.map(|list| list.items).unwrap_or_default();
    Ok(newest_warning(names, &events))
}

fn newest_warning(names: &Names, events: &[Event]) -> Option<String> {
    let concerns = |event: &&Event| {
        let about = event.involved_object.name.as_deref().unwrap_or_default();
        let ours =
            about == names.name || about == format!("{}-0", names.name) || about == format!("data-{}-0", names.name);
        ours && event.reason.as_deref().is_some_and(|reason| TELLING.contains(&reason))
    };
    let time = |event: &&Event| {
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        last.or_else(|| event.event_time.as_ref().map(|time| time.0))
            .or_else(|| event.metadata.creation_timestamp.as_ref().map(|time| time.0))
    };
    events.iter().filter(concerns).max_by_key(time).map(|event| event.message.clone().unwrap_or_default())
}

/// Done once the container runs; otherwise the reason, in Kubernetes' words.
fn judge(names: &Names, pod: Option<&Pod>, warning: Option<&str>) -> Progress {
    let with_warning = |text: String| match warning {
        Some(warning) => Progress::wait(LATER, format!("{text}: {warning}")),
        None => Progress::wait(SOON, text),
    };
    let Some(pod) = pod else {
        return with_warning(format!("StatefulSet {}: has no pod yet", names.name));
    };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some() {
        return Progress::wait(SOON, format!("pod {name}: Terminating"));
    }
    let Some(status) = &pod.status else { return with_warning(format!("pod {name}: Pending")) };
    for condition in status.conditions.iter().flatten() {
        if condition.type_ == "PodScheduled" && condition.status == "False" {
            let reason = condition.reason.as_deref().unwrap_or("Pending");
            let message = condition.message.as_deref().unwrap_or_default();
            return Progress::wait(1_000, format!("pod {name}: {reason}: {message}"));
        }
    }
    let init = status.init_container_statuses.iter().flatten();
    for container in init.chain(status.container_statuses.iter().flatten()) {
        if let Some(trouble) = trouble(container) {
            return Progress::wait(LATER, format!("pod {name}: {trouble}"));
        }
    }
    let mut containers = status.container_statuses.iter().flatten();
    let main = containers.find(|container| container.name == CONTAINER);
    match main.and_then(|container| container.state.as_ref()) {
        Some(state) if state.running.is_some() => Progress::Done,
        Some(state) => {
            let waiting = state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref());
            with_warning(format!("pod {name}: {}", waiting.unwrap_or("Pending")))
        }
        None => with_warning(format!("pod {name}: {}", status.phase.as_deref().unwrap_or("Pending"))),
    }
}

/// What keeps a container from running, unless it is only on its way.
fn trouble(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        if matches!(reason, "" | "ContainerCreating" | "PodInitializing") {
            return None;
        }
        let message = waiting.message.as_deref().unwrap_or_default();
        let exit = last.map(|last| format!(" (exit code {})", last.exit_code)).unwrap_or_default();
        return Some(format!("{reason} in {}: {message}{exit}", container.name));
    }
    let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    let reason = ended.reason.as_deref().unwrap_or("Error");
    let message = ended.message.as_deref().unwrap_or_default();
    Some(format!("{reason} in {} (exit code {}) {message}", container.name, ended.exit_code).trim_end().to_owned())
}

/// Whether all its containers say they are ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use hexabase_testkit::kubernetes::FakeKubernetes;
    use serde_json::Value;

    use super::*;
    use crate::connection::Host;
    use crate::settings::HostSettings;

    fn names() -> Names {
        Names::of(&"ws-0123456789abcdefghjk".parse().unwrap())
    }

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": "ws-0" }, "status": status })).unwrap()
    }

    fn reason(status: Value, warning: Option<&str>) -> String {
        match judge(&names(), Some(&pod(status)), warning) {
            Progress::Wait { reason, .. } => reason,
            Progress::Done => "done".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_control_plane_that_goes_on_with_what_was_made_anew_is_ended_and_no_other() {
        let server = FakeKubernetes::start().await.unwrap();
        let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
        let (host, names) = (Host::connect(settings).await.unwrap().cluster, names());
        let path = format!("/api/v1/namespaces/{}/pods/ws-0", names.namespace);
        let put = |annotations: Value| {
            let metadata = json!({ "name": "ws-0", "annotations": annotations });
            server.put(&path, json!({ "metadata": metadata, "spec": { "containers": [] } }));
        };
        put(json!({ OUTDATED: "Secret x" }));
        let read: Option<Pod> = host.get_as(Kind::Pod, Some(&names.namespace), "ws-0").await.unwrap();
        let wait = Progress::wait(SOON, "pod ws-0: is made anew, since Secret x was");
        assert_eq!(progress(&host, &names, read.as_ref()).await.unwrap(), wait);
        assert_eq!(server.get(&path), None);
        put(json!({}));
        assert_eq!(progress(&host, &names, read.as_ref()).await.unwrap(), wait);
        assert!(server.get(&path).is_some(), "another one has its name");
    }

    #[test]
    fn of_a_mark_on_a_pod_no_more_than_two_hundred_letters_are_told() {
        let marked = |mark: &str| {
            let metadata = json!({ "name": "ws-0", "annotations": { OUTDATED: mark } });
            outdated(&serde_json::from_value(json!({ "metadata": metadata })).unwrap())
        };
        assert_eq!(marked("Secret x").as_deref(), Some("Secret x"));
        assert_eq!(marked(&"é".repeat(100_000)), Some("é".repeat(200)));
    }

    #[test]
    fn a_running_control_plane_is_done() {
        let status = json!({ "containerStatuses": [{ "name": "syncer", "state": { "running": {} },
            "ready": false, "restartCount": 0, "image": "", "imageID": "" }] });
        assert_eq!(reason(status, Some("old news")), "done");
    }

    #[test]
    fn a_missing_image_is_named_with_kubernetes_own_reason() {
        let status = json!({ "initContainerStatuses": [{ "name": "kubernetes", "ready": false, "restartCount": 0,
            "image": "", "imageID": "",
            "state": { "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling image \"x\"" } } }] });
        assert_eq!(reason(status, None), "pod ws-0: ImagePullBackOff in kubernetes: Back-off pulling image \"x\"");
    }

    #[test]
    fn an_unschedulable_pod_says_what_the_scheduler_says() {
        let status = json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient memory." }] });
        assert_eq!(reason(status, None), "pod ws-0: Unschedulable: 0/1 nodes are available: 1 Insufficient memory.");
    }

    #[test]
    fn a_pod_whose_volume_cannot_be_mounted_shows_the_warning() {
        let status = json!({ "containerStatuses": [{ "name": "syncer", "ready": false, "restartCount": 0, "image": "",
            "imageID": "", "state": { "waiting": { "reason": "ContainerCreating" } } }] });
        let warning = "secret \"hexabase-authn\" not found";
        assert_eq!(reason(status, Some(warning)), "pod ws-0: ContainerCreating: secret \"hexabase-authn\" not found");
    }

    #[test]
    fn a_quota_that_forbids_the_pod_is_shown() {
        let event = |name: &str, reason: &str, second: u32, message: &str| -> Event {
            serde_json::from_value(json!({ "metadata": {}, "involvedObject": { "name": name }, "reason": reason,
                "lastTimestamp": format!("2026-01-01T00:00:{second:02}Z"), "message": message }))
            .unwrap()
        };
        let own = names().name;
        let events = [
            event(&own, "FailedCreate", 1, "older"),
            event(&own, "FailedCreate", 2, "exceeded quota: hexabase"),
            event(&own, "Unhealthy", 3, "probe failed"),
            event("web-x-a", "FailedMount", 4, "a tenant's pod"),
        ];
        let warning = newest_warning(&names(), &events);
        let Progress::Wait { reason, .. } = judge(&names(), None, warning.as_deref()) else { panic!() };
        assert!(reason.ends_with("has no pod yet: exceeded quota: hexabase"), "{reason}");
    }
}
