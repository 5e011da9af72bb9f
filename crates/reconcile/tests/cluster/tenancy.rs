//! Workspaces beside each other, and what their people can do in them.

mod refused;

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, AttachParams, DeleteParams, DynamicObject, LogParams, PostParams};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::inside::{running_pod, tenant};
use crate::support::{cleaned, client, desired, eventually, host, namespace, objects, project, ready, remove};
use refused::Sides;

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
        let pod = Api::<Pod>::namespaced(first.clone(), "shop").get("web").await.unwrap();
        let resources = pod.spec.unwrap().containers.remove(0).resources.unwrap();
        assert_eq!(resources.limits.unwrap()["cpu"].0, "200m");

        let place = namespace(&one.id);
        refused_by_the_host(&client, &place).await;
        let sides = Sides { host: &client, tenant: &first, place: &place };
        sides.by_rules().await;
        sides.by_the_plan().await;
        sides.by_the_level_of_the_host().await;
        sends_traffic_nowhere(&client, one.id.as_str(), &place).await;
        demands_of_pods(&first).await;
        usable(&first).await;

        let both = runner.workspaces().await.unwrap();
        assert!(both.contains(&one.id) && both.contains(&two.id));
        remove(&runner, &one.id, 2).await;
        ready(&runner, &two).await;
        let pod = Api::<Pod>::namespaced(second, "shop").get("web").await.unwrap();
        assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Running"));
        let left = runner.workspaces().await.unwrap();
        assert!(!left.contains(&one.id) && left.contains(&two.id));
    })
    .await;
}

/// Exec, logs and names work through the tenant's API server, with the kubelets out of reach.
async fn usable(tenant: &Client) {
    let pods: Api<Pod> = Api::namespaced(tenant.clone(), "shop");
    let answer = eventually("names are resolved in a pod", || async {
        let command = ["/bin/busybox", "nslookup", "kubernetes.default.svc.cluster.local"];
        let mut process = pods.exec("web", command, &AttachParams::default().stderr(false)).await.ok()?;
        let mut text = String::new();
        process.stdout()?.read_to_string(&mut text).await.ok()?;
        text.contains("Name:").then_some(text)
    })
    .await;
    assert!(answer.contains("kubernetes.default.svc.cluster.local"), "{answer}");
    let logs = pods.logs("web", &LogParams::default()).await.unwrap();
    assert_eq!(logs, "");
}

/// What no control plane can bring to the host, even as the host's administrator.
async fn refused_by_the_host(client: &Client, place: &str) {
    let pod = |spec: Value| {
        let mut pod = json!({ "containers": [{ "name": "main", "image": "busybox" }] });
        pod.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        pod
    };
    let service = |field: &str, value: Value| json!({ "ports": [{ "port": 80 }], field: value });
    let claim = |field: &str, value: Value| json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } }, field: value });
    let cases = [
        ("Pod", pod(json!({ "nodeName": "devhost" })), "node by name"),
        ("Pod", pod(json!({ "tolerations": [{ "operator": "Exists" }] })), "tolerate only"),
        ("Pod", pod(json!({ "priorityClassName": "system-node-critical" })), "priority class"),
        ("Pod", pod(json!({ "hostNetwork": true })), "PodSecurity"),
        ("Service", service("externalIPs", json!(["192.0.2.1"])), "externalIPs"),
        ("Service", service("type", json!("NodePort")), "exceeded quota"),
        ("Service", service("type", json!("LoadBalancer")), "exceeded quota"),
        ("PersistentVolumeClaim", claim("volumeName", json!("x")), "volume by name"),
        ("PersistentVolumeClaim", claim("selector", json!({ "matchLabels": { "a": "b" } })), "volume by label"),
    ];
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    for (kind, spec, expected) in cases {
        let object = json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": "x" }, "spec": spec });
        let created = objects(client, "v1", kind, Some(place))
            .create(&dry, &serde_json::from_value(object.clone()).unwrap())
            .await;
        let Err(kube::Error::Api(status)) = created else { panic!("admitted: {object}") };
        assert!(status.message.contains(expected), "{}", status.message);
    }
    let plain = json!({ "metadata": { "name": "x" }, "spec": pod(json!({})) });
    let pods: Api<Pod> = Api::namespaced(client.clone(), place);
    pods.create(&dry, &serde_json::from_value(plain).unwrap()).await.unwrap();
}

/// The tenant's own API server goes by the level of a namespace, and by `baseline` where that says nothing.
async fn demands_of_pods(tenant: &Client) {
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let namespaces = objects(tenant, "v1", "Namespace", None);
    let container = json!({ "name": "main", "image": "docker.io/library/busybox:1.36" });
    let pod = |on_the_host: bool| {
        let spec = json!({ "hostNetwork": on_the_host, "containers": [container] });
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "x" }, "spec": spec });
        serde_json::from_value::<DynamicObject>(pod).unwrap()
    };
    // What is refused of a pod that says nothing, and of one that wants its node's network.
    for (level, plain, on_the_host) in [
        (None, None, Some("violates PodSecurity \"baseline")),
        (Some("privileged"), None, None),
        (Some("restricted"), Some("violates PodSecurity \"restricted"), Some("violates PodSecurity \"restricted")),
    ] {
        let name = format!("level-{}", level.unwrap_or("none"));
        let labels = level.map(|level| json!({ "pod-security.kubernetes.io/enforce": level }));
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
        namespaces.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
        let accounts = objects(tenant, "v1", "ServiceAccount", Some(&name));
        eventually("the ServiceAccount is there", || async { accounts.get_opt("default").await.unwrap() }).await;
        let pods = objects(tenant, "v1", "Pod", Some(&name));
        for (wanted, expected) in [(pod(false), plain), (pod(true), on_the_host)] {
            let message = pods.create(&dry, &wanted).await.err().map(|error| error.to_string());
            let as_expected = match (&message, expected) {
                (Some(message), Some(expected)) => message.contains(expected),
                (message, expected) => message.is_none() && expected.is_none(),
            };
            assert!(as_expected, "{name}: {message:?}");
        }
        namespaces.delete(&name, &DeleteParams::default()).await.unwrap();
    }
}

/// Where a Service leads is the host's to say, by its selector.
async fn sends_traffic_nowhere(host: &Client, workspace: &str, place: &str) {
    let reviews: Api<SubjectAccessReview> = Api::all(host.clone());
    for (group, resource, expected) in
        [("", "services", true), ("", "endpoints", false), ("discovery.k8s.io", "endpointslices", false)]
    {
        let review = json!({ "metadata": {}, "spec": {
            "user": format!("system:serviceaccount:{place}:vc-{workspace}"),
            "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{place}"), "system:authenticated"],
            "resourceAttributes": { "namespace": place, "verb": "create", "group": group, "resource": resource },
        } });
        let made = reviews.create(&PostParams::default(), &serde_json::from_value(review).unwrap()).await.unwrap();
        assert_eq!(made.status.unwrap().allowed, expected, "{resource}");
    }
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
