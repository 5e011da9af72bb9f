//! Sleep: nothing of the workspace runs, and everything of it stays.
//!
//! The control plane ends first. While it runs, a pod that ends here ends inside as well, and is made again. No pod is forced:
//! what is on a node that does not answer may still write to its volume.

use hexabase_core::time::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::apply::Cluster;
use crate::desired::Workloads;
use crate::error::ReconcileError;
use crate::host::removal::{STUCK_MILLIS, stop};
use crate::labels::{Names, SYNCED_BY};
use crate::manifest::Kind;
use crate::status::Progress;

/// When to look again, in milliseconds.
const SOON: u64 = 250;
/// Seconds that a pod gets to end, however many it asks for; nobody else bounds that.
const LONGEST_GRACE: i64 = 60;
/// Seconds that Kubernetes gives a pod that asks for none.
const USUAL_GRACE: i64 = 30;

/// Ends what runs; done once nothing does that is not to.
pub(crate) async fn progress(
    host: &Cluster,
    names: &Names,
    workloads: Workloads,
    now: Timestamp,
) -> Result<Progress, ReconcileError> {
    if let Some(workload) = stop(host, names).await? {
        return Ok(Progress::wait(100, format!("{workload}: is being stopped")));
    }
    let pods: Vec<Pod> = host.list_as(Kind::Pod, Some(&names.namespace), "").await?;
    let (of_tenant, own): (Vec<&Pod>, Vec<&Pod>) = pods.iter().partition(|pod| is_of_tenant(pod, names));
    end(host, names, &own).await?;
    // One whose node does not answer keeps none of the tenant's from its end.
    if let Some(pod) = own.iter().find(|pod| !is_lost(pod, now)) {
        return Ok(ending(pod));
    }
    let mut left = own;
    if workloads == Workloads::Stop {
        end(host, names, &of_tenant).await?;
        left.extend(of_tenant);
    }
    Ok(left.first().map_or(Progress::Done, |pod| ending(pod)))
}

async fn end(host: &Cluster, names: &Names, pods: &[&Pod]) -> Result<(), ReconcileError> {
    for pod in pods {
        if let Some(grace) = next_grace(pod) {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            host.delete(Kind::Pod, Some(&names.namespace), name, Some(grace)).await?;
        }
    }
    Ok(())
}

/// With how much grace a pod is to be deleted now, if at all: its own, within bounds.
fn next_grace(pod: &Pod) -> Option<u32> {
    let metadata = &pod.metadata;
    let grace = match &metadata.deletion_timestamp {
        None => pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(USUAL_GRACE),
        // Deleted by somebody else.
        Some(_) => metadata.deletion_grace_period_seconds.filter(|grace| *grace > LONGEST_GRACE)?,
    };
    u32::try_from(grace.clamp(0, LONGEST_GRACE)).ok()
}

/// Whether a pod should have ended long ago.
fn is_lost(pod: &Pod, now: Timestamp) -> bool {
    // The deletion timestamp is the moment when the pod's grace ends.
    pod.metadata.deletion_timestamp.as_ref().is_some_and(|ends| now.millis_since(ends.0.into()) > STUCK_MILLIS)
}

/// Whether vCluster has brought the pod here; all others are its own.
fn is_of_tenant(pod: &Pod, names: &Names) -> bool {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(SYNCED_BY)).is_some_and(|by| *by == names.name)
}

fn ending(pod: &Pod) -> Progress {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    Progress::wait(SOON, format!("pod {name}: Terminating"))
}

#[cfg(test)]
mod tests {
    use hexabase_testkit::kubernetes::FakeKubernetes;
    use serde_json::{Value, json};

    use super::*;
    use crate::connection::Host;
    use crate::settings::HostSettings;

    const ID: &str = "ws-0123456789abcdefghjk";

    struct Stage {
        server: FakeKubernetes,
        host: Cluster,
        names: Names,
    }

    impl Stage {
        /// A control plane that was told to stop, and a pod of the tenant's.
        async fn set() -> Self {
            let server = FakeKubernetes::start().await.unwrap();
            let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
            let host = Host::connect(settings).await.unwrap().cluster;
            let names = Names::of(&ID.parse().unwrap());
            let stage = Self { server, host, names };
            let set = json!({ "metadata": { "name": ID, "generation": 2 }, "spec": { "replicas": 0 },
                "status": { "observedGeneration": 2 } });
            stage.server.put(&format!("/apis/apps/v1/namespaces/{}/statefulsets/{ID}", stage.names.namespace), set);
            stage.put_pod(&format!("{ID}-0"), json!({ "app": "vcluster" }));
            stage.put_pod("web-x-shop", json!({ SYNCED_BY: ID }));
            stage
        }

        fn pod(&self, name: &str) -> String {
            format!("/api/v1/namespaces/{}/pods/{name}", self.names.namespace)
        }

        fn put_pod(&self, name: &str, labels: Value) {
            let finalizers = json!(["example.com/ends-slowly"]);
            let metadata = json!({ "name": name, "labels": labels, "finalizers": finalizers });
            self.server.put(&self.pod(name), json!({ "metadata": metadata, "spec": { "containers": [] } }));
        }

        async fn rest(&self, workloads: Workloads) -> String {
            self.rest_at(workloads, "2026-01-01T00:00:01Z").await
        }

        async fn rest_at(&self, workloads: Workloads, now: &str) -> String {
            let now = now.to_owned().try_into().unwrap();
            match progress(&self.host, &self.names, workloads, now).await.unwrap() {
                Progress::Wait { reason, .. } => reason,
                Progress::Done => "done".to_owned(),
            }
        }
    }

    #[tokio::test]
    async fn a_tenants_pods_end_after_its_control_plane() {
        let stage = Stage::set().await;
        let own = format!("{ID}-0");
        assert_eq!(stage.rest(Workloads::Stop).await, format!("pod {own}: Terminating"));
        let deleted = |pod: Value| pod["metadata"].get("deletionTimestamp").is_some();
        assert!(!deleted(stage.server.get(&stage.pod("web-x-shop")).unwrap()));
        stage.server.remove(&stage.pod(&own));
        assert_eq!(stage.rest(Workloads::Stop).await, "pod web-x-shop: Terminating");
        assert!(deleted(stage.server.get(&stage.pod("web-x-shop")).unwrap()));
        let writes = stage.server.writes();
        assert_eq!(stage.rest(Workloads::Stop).await, "pod web-x-shop: Terminating");
        assert_eq!(stage.server.writes(), writes, "it is asked for once");
        stage.server.remove(&stage.pod("web-x-shop"));
        assert_eq!(stage.rest(Workloads::Stop).await, "done");
    }

    #[tokio::test]
    async fn a_control_plane_is_told_to_stop_once_and_waited_for_until_kubernetes_has_heard() {
        let stage = Stage::set().await;
        let path = format!("/apis/apps/v1/namespaces/{}/statefulsets/{ID}", stage.names.namespace);
        let heard = |replicas: i64, observed: i64| {
            stage.server.put(
                &path,
                json!({ "metadata": { "name": ID, "generation": 2 }, "spec": { "replicas": replicas },
                    "status": { "observedGeneration": observed } }),
            );
        };
        let stopping = format!("StatefulSet {ID}: is being stopped");
        heard(1, 2);
        assert_eq!(stage.rest(Workloads::Stop).await, stopping);
        assert_eq!(stage.server.get(&path).unwrap()["spec"]["replicas"], 0);
        heard(0, 1);
        let writes = stage.server.writes();
        assert_eq!(stage.rest(Workloads::Stop).await, stopping);
        assert_eq!(stage.server.writes(), writes);
        heard(0, 2);
        assert_eq!(stage.rest(Workloads::Stop).await, format!("pod {ID}-0: Terminating"));
    }

    #[tokio::test]
    async fn a_tenants_pods_end_although_the_node_of_its_control_plane_does_not_answer() {
        let stage = Stage::set().await;
        let own = format!("pod {ID}-0: Terminating");
        for (now, ends) in
            [("2026-01-01T00:00:01Z", false), ("2026-01-01T00:00:29Z", false), ("2026-01-01T00:00:31Z", true)]
        {
            assert_eq!(stage.rest_at(Workloads::Stop, now).await, own);
            let pod = stage.server.get(&stage.pod("web-x-shop")).unwrap();
            assert_eq!(pod["metadata"].get("deletionTimestamp").is_some(), ends, "{now}");
        }
        stage.server.remove(&stage.pod("web-x-shop"));
        assert_eq!(stage.rest_at(Workloads::Stop, "2026-01-01T00:00:31Z").await, own, "it may run still");
    }

    #[test]
    fn a_pod_gets_the_time_that_it_asks_for_but_no_more_than_a_minute() {
        let grace = |metadata: Value, asked: Value| {
            let pod = json!({ "metadata": metadata,
                "spec": { "containers": [], "terminationGracePeriodSeconds": asked } });
            next_grace(&serde_json::from_value(pod).unwrap())
        };
        let year = 31_536_000;
        assert_eq!(
            [json!(5), json!(null), json!(year)].map(|asked| grace(json!({}), asked)),
            [Some(5), Some(30), Some(60)]
        );
        let deleted = |seconds: i64| {
            let metadata =
                json!({ "deletionTimestamp": "2027-01-01T00:00:00Z", "deletionGracePeriodSeconds": seconds });
            grace(metadata, json!(seconds))
        };
        assert_eq!([deleted(5), deleted(60), deleted(year)], [None, None, Some(60)]);
    }

    #[tokio::test]
    async fn a_tenants_pods_stay_where_they_are_to() {
        let stage = Stage::set().await;
        stage.server.remove(&stage.pod(&format!("{ID}-0")));
        let writes = stage.server.writes();
        assert_eq!(stage.rest(Workloads::Stay).await, "done");
        assert_eq!(stage.server.writes(), writes);
    }
}
