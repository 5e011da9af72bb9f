//! Workspaces beside each other, and what their people can do in them.

use hexabase_reconcile::Progress;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;

use crate::support::{cleaned, client, desired, host, project, ready, remove, running_pod, tenant};

#[tokio::test(flavor = "multi_thread")]
async fn two_workspaces_live_and_die_apart() {
    let host = host().await;
    let (mut one, mut two) = (desired(), desired());
    one.projects = vec![project("shop")];
    two.projects = vec![project("shop")];
    let runner = host.clone();
    cleaned(&host, vec![one.id.clone(), two.id.clone()], async move {
        let client = client().await;
        let (first, second) = tokio::join!(ready(&runner, &one), ready(&runner, &two));
        let (first, second) = (first.tenant.unwrap(), second.tenant.unwrap());
        assert_ne!(first.host, second.host);
        assert_ne!(first.ca_pem, second.ca_pem);
        let first = tenant(&client, &one.id, &first).await;
        let second = tenant(&client, &two.id, &second).await;

        // The same names in both, without requests or limits of their own.
        tokio::join!(running_pod(&first, "shop", "web", None), running_pod(&second, "shop", "web", None));
        let pod = Api::<Pod>::namespaced(first, "shop").get("web").await.unwrap();
        let resources = pod.spec.unwrap().containers.remove(0).resources.unwrap();
        assert_eq!(resources.limits.unwrap()["cpu"].0, "200m");

        let both = runner.workspaces().await.unwrap();
        assert!(both.contains(&one.id) && both.contains(&two.id));
        remove(&runner, &one.id, 2).await;
        let observed = runner.reconcile(&two).await.unwrap();
        assert!(observed.steps.iter().all(|status| status.progress == Progress::Done), "{observed:#?}");
        let pod = Api::<Pod>::namespaced(second, "shop").get("web").await.unwrap();
        assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Running"));
        let left = runner.workspaces().await.unwrap();
        assert!(!left.contains(&one.id) && left.contains(&two.id));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_passes_its_checks() {
    let findings = host().await.preflight().await;
    assert_eq!(findings.len(), 4);
    for finding in findings {
        println!("{}: {:?}", finding.check, finding.result);
        assert!(finding.result.is_ok(), "{finding:?}");
    }
}
