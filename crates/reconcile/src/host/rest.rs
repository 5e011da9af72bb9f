//! Sleep: nothing of the workspace runs, and everything of it stays.
//!
//! The control plane ends first. While it runs, a pod that ends here ends inside as well, and is made again.

use k8s_openapi::api::core::v1::Pod;

use crate::apply::Cluster;
use crate::desired::Workloads;
use crate::error::ReconcileError;
use crate::host::removal::stop;
use crate::labels::{Names, SYNCED_BY};
use crate::manifest::Kind;
use crate::status::Progress;

/// When to look again, in milliseconds.
const SOON: u64 = 250;

/// Ends what runs; done once nothing does that is not to.
pub(crate) async fn progress(host: &Cluster, names: &Names, workloads: Workloads) -> Result<Progress, ReconcileError> {
    if let Some(workload) = stop(host, names).await? {
        return Ok(Progress::wait(100, format!("{workload}: is being stopped")));
    }
    let pods: Vec<Pod> = host.list_as(Kind::Pod, Some(&names.namespace), "").await?;
    if let Some(own) = pods.iter().find(|pod| !is_of_tenant(pod, names)) {
        return Ok(ending(own));
    }
    if workloads == Workloads::Stay {
        return Ok(Progress::Done);
    }
    for pod in &pods {
        if pod.metadata.deletion_timestamp.is_none() {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            host.delete(Kind::Pod, Some(&names.namespace), name, None).await?;
        }
    }
    Ok(pods.first().map_or(Progress::Done, ending))
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
            match progress(&self.host, &self.names, workloads).await.unwrap() {
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
    async fn a_tenants_pods_stay_where_they_are_to() {
        let stage = Stage::set().await;
        stage.server.remove(&stage.pod(&format!("{ID}-0")));
        let writes = stage.server.writes();
        assert_eq!(stage.rest(Workloads::Stay).await, "done");
        assert_eq!(stage.server.writes(), writes);
    }
}
