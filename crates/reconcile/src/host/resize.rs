//! What the control plane's pod may use of its node's processors once it is up. It starts with more, because somebody waits for it.
//!
//! The host's quota counts the same before and after: of a pod Kubernetes counts at least what the containers may use with which it
//! begins, and that is as much as the control plane starts with (`values.rs`). Nobody gets the room of its next start meanwhile.

use std::collections::HashMap;
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use hexabase_core::quantity::Cpu;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::apply::Cluster;
use crate::host::{values, workload};
use crate::labels::Names;
use crate::status::Unbound;
use crate::tenant_user::thousandths;

/// For so long a pod is left alone that its host does not bind.
const REST: Duration = Duration::from_secs(600);
/// Whether it was told in this process that a node puts off what it is asked for.
static TOLD: Once = Once::new();

/// Pods that their host does not bind, by their uids, and since when that is known.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<HashMap<String, Instant>>);

impl Refusals {
    fn has(&self, uid: &str) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(uid).is_some_and(|moment| moment.elapsed() < REST)
    }

    /// Notes one; says whether it is the first for a while.
    fn note(&self, uid: &str) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, moment| moment.elapsed() < REST);
        let is_first = all.is_empty();
        all.insert(uid.to_owned(), Instant::now());
        is_first
    }
}

/// The pod that was read, if it may use more than `most` and the workspace `is_open` to its people or Kubernetes says that the pod is
/// ready: of the two, people inside can keep the first from being so. Its node is not waited for.
pub(crate) fn unbound(names: &Names, pod: &Pod, is_open: bool, most: Cpu) -> Option<Unbound> {
    let is_up = pod.metadata.deletion_timestamp.is_none() && (is_open || workload::is_ready(pod));
    if !is_up || most >= values::CPU {
        return None;
    }
    if let Some(reason) = pending(pod) {
        TOLD.call_once(|| tell(names, reason));
        return None;
    }
    limit(pod).filter(|limit| *limit != u128::from(most.as_millis()))?;
    let (pod, uid) = (pod.metadata.name.clone(), pod.metadata.uid.clone());
    Some(Unbound { pod: pod.unwrap_or_default(), uid: uid.unwrap_or_default() })
}

/// Bounds it. Whatever comes of that, the workspace is no less ready for it: what passes is tried again at the next look, and a host that
/// does not do it is left alone for a while.
pub(crate) async fn bind(host: &Cluster, refusals: &Refusals, names: &Names, unbound: &Unbound, most: Cpu) {
    if refusals.has(&unbound.uid) {
        return;
    }
    let container = json!({ "name": workload::CONTAINER, "resources": { "limits": { "cpu": most.to_string() } } });
    // Another pod of that name is starting, and keeps what it starts with.
    let patch = json!({ "metadata": { "uid": unbound.uid }, "spec": { "containers": [container] } });
    let Err(error) = host.resize(&names.namespace, &unbound.pod, &patch).await else { return };
    // 409 and 410 are said of what was asked for at the wrong moment, and pass.
    let is_refusal = error.concerns_one_object() && !error.is(409) && !error.is(410);
    if is_refusal && is_there(host, names, unbound).await && refusals.note(&unbound.uid) {
        tell(names, &error.to_string());
    } else {
        tracing::debug!(workspace.id = names.name, ?error, "a control plane is not bound yet");
    }
}

/// Whether the pod is still there. Where it is not, Kubernetes says 404 or 422, and so does a host without the subresource, or a node
/// that cannot.
async fn is_there(host: &Cluster, names: &Names, unbound: &Unbound) -> bool {
    let pod = workload::pod(host, names).await.ok().flatten();
    pod.is_some_and(|pod| pod.metadata.uid.as_ref() == Some(&unbound.uid))
}

/// Why its node does not do yet, or cannot do, what it was asked for.
fn pending(pod: &Pod) -> Option<&str> {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let pending = conditions.find(|condition| condition.type_ == "PodResizePending" && condition.status == "True")?;
    Some(pending.message.as_deref().unwrap_or_default())
}

/// What it may use by its spec, in thousandths of a core.
fn limit(pod: &Pod) -> Option<u128> {
    let container = pod.spec.as_ref()?.containers.iter().find(|container| container.name == workload::CONTAINER)?;
    container.resources.as_ref()?.limits.as_ref()?.get("cpu").map(thousandths)
}

fn tell(names: &Names, reason: &str) {
    tracing::info!(workspace.id = names.name, reason, "a control plane keeps the CPU with which it started");
}

#[cfg(test)]
mod tests {
    use hexabase_testkit::kubernetes::FakeKubernetes;
    use serde_json::{Map, Value};

    use super::*;
    use crate::connection::Host;
    use crate::settings::HostSettings;

    const ID: &str = "ws-0123456789abcdefghjk";
    const ONE: Cpu = Cpu::from_millis(1_000);

    struct Stage {
        server: FakeKubernetes,
        host: Cluster,
        refusals: Refusals,
        names: Names,
    }

    impl Stage {
        async fn set() -> Self {
            let server = FakeKubernetes::start().await.unwrap();
            let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
            let host = Host::connect(settings).await.unwrap().cluster;
            Self { server, host, refusals: Refusals::default(), names: Names::of(&ID.parse().unwrap()) }
        }

        fn path(&self) -> String {
            format!("/api/v1/namespaces/{}/pods/{ID}-0", self.names.namespace)
        }

        /// As the StatefulSet makes it, with another container beside it.
        fn make_pod(&self, conditions: Value) {
            let container = |name: &str| {
                let resources = json!({ "limits": { "cpu": "2", "memory": "2Gi" }, "requests": { "cpu": "200m" } });
                json!({ "name": name, "resources": resources })
            };
            let metadata = json!({ "name": format!("{ID}-0"), "labels": { "app": "vcluster", "release": ID } });
            let spec = json!({ "containers": [container("beside"), container(workload::CONTAINER)] });
            let pod = json!({ "metadata": metadata, "spec": spec, "status": { "conditions": conditions } });
            self.server.put(&self.path(), pod);
        }

        /// A look at it, and what follows.
        async fn look(&self, is_open: bool, most: Cpu) {
            let pod = workload::pod(&self.host, &self.names).await.unwrap().unwrap();
            if let Some(found) = unbound(&self.names, &pod, is_open, most) {
                self.bind(&found, most).await;
            }
        }

        async fn bind(&self, found: &Unbound, most: Cpu) {
            bind(&self.host, &self.refusals, &self.names, found, most).await;
        }

        /// What the other container and the control plane may use.
        fn limits(&self) -> [Value; 2] {
            let pod = self.server.get(&self.path()).unwrap();
            [0_usize, 1].map(|place| pod["spec"]["containers"][place]["resources"]["limits"]["cpu"].clone())
        }
    }

    fn ready(status: &str) -> Value {
        json!([{ "type": "Ready", "status": status }])
    }

    #[tokio::test]
    async fn a_control_plane_that_is_up_is_bound_once_and_nothing_else_of_it_changes() {
        let stage = Stage::set().await;
        stage.make_pod(ready("True"));
        stage.look(false, ONE).await;
        assert_eq!(stage.limits(), ["2", "1"]);
        let pod = stage.server.get(&stage.path()).unwrap();
        let resources = json!({ "limits": { "cpu": "1", "memory": "2Gi" }, "requests": { "cpu": "200m" } });
        assert_eq!(pod["spec"]["containers"][1]["resources"], resources);
        stage.look(true, ONE).await;
        assert_eq!(stage.server.writes(), 1);
        stage.look(true, Cpu::from_millis(1_500)).await;
        assert_eq!(stage.limits(), ["2", "1500m"], "another amount was set since");
    }

    #[tokio::test]
    async fn one_that_is_just_starting_keeps_what_it_starts_with_until_people_can_work_in_it() {
        let stage = Stage::set().await;
        stage.make_pod(ready("False"));
        stage.look(false, ONE).await;
        assert_eq!((stage.limits(), stage.server.writes()), (["2", "2"].map(Value::from), 0));
        stage.look(true, ONE).await;
        assert_eq!(stage.limits(), ["2", "1"]);
    }

    #[tokio::test]
    async fn one_that_is_made_anew_starts_with_all_and_is_bound_again() {
        let stage = Stage::set().await;
        for _ in 0..2 {
            stage.make_pod(ready("False"));
            stage.look(false, ONE).await;
            assert_eq!(stage.limits(), ["2", "2"]);
            stage.make_pod(ready("True"));
            stage.look(true, ONE).await;
            assert_eq!(stage.limits(), ["2", "1"]);
        }
    }

    #[tokio::test]
    async fn a_host_that_resizes_no_pods_is_left_alone_and_keeps_nobody_out() {
        for code in [403, 404, 405, 422, 500] {
            let stage = Stage::set().await;
            stage.make_pod(ready("True"));
            stage.server.refuse("PATCH", &format!("{}/resize", stage.path()), code);
            for _ in 0..2 {
                stage.look(true, ONE).await;
                assert_eq!((stage.limits(), stage.server.writes()), (["2", "2"].map(Value::from), 1), "{code}");
            }
            stage.make_pod(ready("True"));
            stage.look(true, ONE).await;
            assert_eq!(stage.server.writes(), 2, "another pod may be on another node");
        }
    }

    #[test]
    fn a_host_that_resizes_no_pods_is_told_of_once_and_not_for_each() {
        let refusals = Refusals::default();
        assert_eq!(["a", "b", "a"].map(|uid| refusals.note(uid)), [true, false, false]);
        assert_eq!(["a", "b", "c"].map(|uid| refusals.has(uid)), [true, true, false]);
    }

    #[tokio::test]
    async fn what_passes_is_tried_again_at_the_next_look() {
        for code in [409, 410, 429, 503] {
            let stage = Stage::set().await;
            stage.make_pod(ready("True"));
            stage.server.refuse("PATCH", &format!("{}/resize", stage.path()), code);
            for looks in [1, 2] {
                stage.look(true, ONE).await;
                assert_eq!(stage.server.writes(), looks, "{code}");
            }
        }
        let stage = Stage::set().await;
        stage.make_pod(ready("True"));
        stage.server.lose_the_answer("PATCH", &format!("{}/resize", stage.path()));
        for _ in 0..2 {
            stage.look(true, ONE).await;
        }
        assert_eq!((stage.limits(), stage.server.writes()), (["2", "1"].map(Value::from), 1), "it was done");
    }

    #[tokio::test]
    async fn another_pod_of_the_same_name_keeps_what_it_starts_with() {
        let stage = Stage::set().await;
        stage.make_pod(ready("True"));
        let pod = workload::pod(&stage.host, &stage.names).await.unwrap().unwrap();
        let read = unbound(&stage.names, &pod, true, ONE).unwrap();
        assert!(is_there(&stage.host, &stage.names, &read).await);
        stage.make_pod(ready("False"));
        stage.bind(&read, ONE).await;
        assert_eq!(stage.limits(), ["2", "2"]);
        assert!(!is_there(&stage.host, &stage.names, &read).await, "that is no refusal of the host's");
        stage.look(true, ONE).await;
        assert_eq!(stage.limits(), ["2", "1"]);
    }

    #[tokio::test]
    async fn what_a_node_puts_off_is_not_asked_for_again() {
        let stage = Stage::set().await;
        let pending = json!({ "type": "PodResizePending", "status": "True", "reason": "Deferred" });
        stage.make_pod(json!([{ "type": "Ready", "status": "True" }, pending]));
        stage.look(true, ONE).await;
        assert_eq!(stage.server.writes(), 0);
    }

    #[tokio::test]
    async fn nothing_is_taken_from_one_that_may_use_what_it_starts_with() {
        let stage = Stage::set().await;
        stage.make_pod(ready("True"));
        for cores in [2_000, 4_000] {
            stage.look(true, Cpu::from_millis(cores)).await;
        }
        assert_eq!(stage.server.writes(), 0);
    }

    #[test]
    fn the_hosts_quota_counts_the_next_start_of_one_that_is_bound() {
        let settings = HostSettings::new(None, "helm".into(), "chart".into());
        let names = Names::of(&ID.parse().unwrap());
        let values = values::build(&settings, &settings.kubernetes_tag, &names, &Map::new(), None, None);
        let first = values.pointer("/controlPlane/distro/k8s/resources/limits/cpu");
        assert_eq!(first, Some(&json!(values::CPU.to_string())));
        assert_eq!(first, values.pointer("/controlPlane/statefulSet/resources/limits/cpu"));
    }
}
