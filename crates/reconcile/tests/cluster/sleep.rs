//! To sleep, and awake again.

use std::time::Instant;

use hexabase_core::phases::ProjectPhase;
use hexabase_reconcile::{DesiredWorkspace, Host, Progress, ReconcileError, Workloads};
use kube::Client;
use kube::api::{DeleteParams, ListParams};

use crate::inside::{running_pod, tenant};
use crate::support::{
    DEADLINE, cleaned, client, desired, eventually, host, namespace, now, objects, project, ready, remove,
};

/// Calls until nothing runs that is not to run.
pub(crate) async fn asleep(host: &Host, desired: &DesiredWorkspace, workloads: Workloads) {
    let start = Instant::now();
    loop {
        let pause = match host.rest(desired, workloads, now()).await {
            Ok(rest) => match (rest.stopped, rest.kept) {
                (Progress::Done, Progress::Done) => break,
                (Progress::Wait { after, .. }, _) | (_, Progress::Wait { after, .. }) => after,
            },
            Err(ReconcileError::Unreachable { .. }) => std::time::Duration::from_millis(500),
            Err(error) => panic!("not asleep: {error:?}"),
        };
        assert!(start.elapsed() < DEADLINE, "it does not fall asleep");
        tokio::time::sleep(pause).await;
    }
    println!("{} asleep after {:.1?}", desired.id, start.elapsed());
}

async fn pods(client: &Client, place: &str) -> Vec<String> {
    let pods = objects(client, "v1", "Pod", Some(place)).list_metadata(&ListParams::default()).await.unwrap();
    pods.items.into_iter().filter_map(|pod| pod.metadata.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_sleeps_without_a_pod_keeps_all_it_has_and_wakes() {
    let host = host().await;
    let mut wanted = desired();
    wanted.projects = vec![project("shop")];
    let id = wanted.id.clone();
    let runner = host.clone();
    cleaned(&host, vec![id.clone()], async move {
        let client = client().await;
        let place = namespace(&id);
        let observed = ready(&runner, &wanted).await;
        let inside = tenant(&client, &id, &observed.tenant.unwrap()).await;
        running_pod(&inside, "shop", "web", Some("data")).await;

        // By choice its pods go on.
        asleep(&runner, &wanted, Workloads::Stay).await;
        let left = pods(&client, &place).await;
        assert!(left.iter().any(|pod| pod.starts_with("web-x-shop-")), "{left:?}");
        assert!(!left.contains(&format!("{id}-0")), "{left:?}");

        asleep(&runner, &wanted, Workloads::Stop).await;
        assert_eq!(pods(&client, &place).await, [""; 0]);

        // What it keeps is mended in its sleep, which that does not end.
        let policies = objects(&client, "networking.k8s.io/v1", "NetworkPolicy", Some(&place));
        policies.delete("hexabase-default-deny", &DeleteParams::default()).await.unwrap();
        asleep(&runner, &wanted, Workloads::Stop).await;
        policies.get("hexabase-default-deny").await.unwrap();
        let sets = objects(&client, "apps/v1", "StatefulSet", Some(&place));
        assert_eq!(sets.get(id.as_str()).await.unwrap().data["spec"]["replicas"], 0);

        let begun = Instant::now();
        let observed = ready(&runner, &wanted).await;
        println!("awake after {:.1?}", begun.elapsed());
        assert_eq!(observed.projects.iter().map(|(_, phase)| *phase).collect::<Vec<_>>(), [ProjectPhase::Ready]);
        let inside = tenant(&client, &id, &observed.tenant.unwrap()).await;
        let claim = objects(&inside, "v1", "PersistentVolumeClaim", Some("shop")).get("data").await.unwrap();
        assert_eq!(claim.data["status"]["phase"], "Bound");
        let dns = objects(&inside, "v1", "Pod", Some("kube-system"));
        eventually("its DNS runs again", || async {
            let found = dns.list(&ListParams::default().labels("k8s-app=vcluster-kube-dns")).await.ok()?;
            found.items.iter().any(|pod| pod.data["status"]["phase"] == "Running").then_some(())
        })
        .await;

        // A sleeping workspace goes like any other.
        asleep(&runner, &wanted, Workloads::Stop).await;
        let receipt = remove(&runner, &id, 2).await;
        assert_eq!(receipt.remaining, []);
        assert!(receipt.removed.iter().any(|object| object.kind == "PersistentVolume"), "{receipt:#?}");
    })
    .await;
}
