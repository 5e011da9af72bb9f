//! Every rule of the host's admission policies against the real API server: objects that pass, objects that fail, and the
//! same ones where they are none of a workspace's and nobody minds. Nearly all are dry runs, which leave nothing behind.

mod cases;
mod changes;
mod security;

use std::path::PathBuf;

use hexabase_core::phases::WorkspaceStep;
use hexabase_reconcile::{DesiredWorkspace, Host};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::support::{cleaned, client, desired, eventually, host_with, kubeconfig, namespace, objects, until};
use cases::{Case, Place};

/// Makes the two workspaces' namespaces with all that belongs to them but a virtual cluster, and one that is nobody's;
/// gives their names.
async fn stage(client: &Client, host: &Host, wanted: &[DesiredWorkspace; 2]) -> [String; 3] {
    for workspace in wanted {
        until(host, workspace, "limited", |observed| observed.is_done(WorkspaceStep::Limits)).await;
    }
    let [shared, dedicated] = [namespace(&wanted[0].id), namespace(&wanted[1].id)];
    let foreign = format!("not-{shared}");
    let namespaces = objects(client, "v1", "Namespace", None);
    let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": foreign } });
    namespaces.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    // What an operator writes by hand, and the platform for a workspace with nodes of its own. Dry runs of pods need the ServiceAccount that Kubernetes makes.
    let annotations = [
        (
            &shared,
            json!({ "hexabase.ai/ingress-domains": "shop.example,blog.example", "hexabase.ai/ingress-classes": "web",
                "hexabase.ai/ingress-annotations": "nginx.ingress.kubernetes.io/rewrite-target",
                "hexabase.ai/kept-annotations": "lb.example/,net.example/pool" }),
        ),
        (&dedicated, json!({ "hexabase.ai/node-pool": "pool-a" })),
        (&foreign, json!({})),
    ];
    for (name, annotations) in annotations {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
        namespaces.patch(name, &PatchParams::default(), &patch).await.unwrap();
        let accounts = objects(client, "v1", "ServiceAccount", Some(name));
        eventually("the ServiceAccount is there", || async { accounts.get_opt("default").await.unwrap() }).await;
    }
    [shared, dedicated, foreign]
}

/// Runtime classes exist, or Kubernetes itself refuses pods that name them: one is given to tenants, one is not.
async fn runtime_classes(client: &Client, names: [&str; 2]) {
    let classes = objects(client, "node.k8s.io/v1", "RuntimeClass", None);
    for name in names {
        let class = json!({ "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": name },
            "handler": "runc" });
        classes.create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
    }
}

/// Tries to create; says why not.
async fn tried(client: &Client, namespace: Option<&str>, object: &Value) -> Result<(), String> {
    let text = |field: &str| object[field].as_str().unwrap().to_owned();
    let mut object = object.clone();
    object["metadata"]["name"] = json!("case");
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let api = objects(client, &text("apiVersion"), &text("kind"), namespace);
    match api.create(&dry, &serde_json::from_value(object.clone()).unwrap()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(error) => panic!("{object}: {error:?}"),
    }
}

/// A client as an account of this workspace, if it had every right that there is.
async fn account_of(namespace: &str) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig()).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.auth_info.impersonate = Some(format!("system:serviceaccount:{namespace}:vc-x"));
    config.auth_info.impersonate_groups = Some(vec!["system:masters".to_owned(), "system:authenticated".to_owned()]);
    Client::try_from(config).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_lets_pass_what_it_should_refuses_the_rest_and_minds_only_workspaces() {
    let wanted = [desired(), desired()];
    let [first, second] = [wanted[0].id.clone(), wanted[1].id.clone()];
    let classes = [format!("given-{first}"), format!("kept-{first}")];
    let (names, given, foreign) = (classes.clone(), classes[0].clone(), format!("not-{}", namespace(&first)));
    let host = host_with(|settings| {
        settings.tenant_runtime_classes = vec![given];
        // No virtual cluster is wanted here.
        settings.chart = PathBuf::from("no-chart");
    })
    .await;
    let outcome = tokio::spawn(async move {
        let runner = host.clone();
        cleaned(&host, vec![first, second], async move {
            let client = client().await;
            runtime_classes(&client, [&names[0], &names[1]]).await;
            let [shared, dedicated, foreign] = stage(&client, &runner, &wanted).await;

            // As it is made, Pod Security refuses all that its level refuses.
            security::holds(&client, &shared, &foreign).await;

            // Our own rules hold without it.
            let open = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "privileged" } } });
            for name in [&shared, &dedicated] {
                let namespaces = objects(&client, "v1", "Namespace", None);
                namespaces.patch(name, &PatchParams::default(), &Patch::Merge(&open)).await.unwrap();
            }
            let all = cases::all(&names[0], &names[1], wanted[0].id.as_str());
            for case in &all {
                judge(&client, case, [&shared, &dedicated], &foreign).await;
            }
            let untried = untried(&client, &all).await;
            assert!(untried.is_empty(), "{untried:?}");
            changes::are_judged(&client, &shared, &foreign).await;
            changes::are_put_on_the_plans_nodes(&dedicated, &foreign).await;
            changes::are_not_made_by_others(&client, &dedicated, &foreign).await;
            hold_without_labels(&client, &shared).await;
        })
        .await;
    })
    .await;
    let client = client().await;
    let there = DeleteParams::default();
    // Some may not have been made.
    let _ = objects(&client, "v1", "Namespace", None).delete(&foreign, &there).await;
    for name in &classes {
        let _ = objects(&client, "node.k8s.io/v1", "RuntimeClass", None).delete(name, &there).await;
    }
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// The rules on the host that no case is about.
async fn untried(client: &Client, all: &[Case]) -> Vec<String> {
    let policies = objects(client, "admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", None);
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=hexabase");
    let found = policies.list(&ours).await.unwrap().items;
    assert_eq!(found.len(), 7, "of a policy that is not there no rule would be missed");
    let rules = found.iter().flat_map(|policy| policy.data["spec"]["validations"].as_array().unwrap());
    let messages = rules.map(|rule| rule["message"].as_str().unwrap().to_owned());
    let of_changes = || changes::OF_A_STATUS.into_iter().chain([changes::OF_A_POD, changes::OF_A_WORKLOAD]);
    let is_tried =
        |message: &str| all.iter().map(|case| case.says).chain(of_changes()).any(|says| message.contains(says));
    messages.filter(|message| !is_tried(message)).collect()
}

/// Whoever takes the platform's labels off the namespace opens nothing; nor does it keep the workspace from being removed.
async fn hold_without_labels(client: &Client, namespace: &str) {
    let labels = json!({ "hexabase.ai/workspace": null, "app.kubernetes.io/managed-by": null });
    // With other domains than before: that shows when the API server's policies have seen the namespace as it is now.
    let ingress = cases::ingress(json!({}), json!({}));
    let message = tried(client, Some(namespace), &ingress).await.unwrap_err();
    assert!(message.contains("a host in a domain of the workspace"), "{message}");
    let annotations = json!({ "hexabase.ai/ingress-domains": "shop.example,blog.example" });
    let patch = Patch::Merge(json!({ "metadata": { "labels": labels, "annotations": annotations } }));
    objects(client, "v1", "Namespace", None).patch(namespace, &PatchParams::default(), &patch).await.unwrap();
    eventually("the namespace is judged without its labels", || async {
        tried(client, Some(namespace), &ingress).await.ok()
    })
    .await;
    let message = tried(client, Some(namespace), &cases::pod(json!({ "nodeName": "another" }))).await.unwrap_err();
    assert!(message.contains("choose its node by name"), "{message}");
}

async fn judge(client: &Client, case: &Case, [shared, dedicated]: [&str; 2], foreign: &str) {
    let (place, elsewhere) = match case.place {
        Place::Shared => (Some(shared), Some(foreign)),
        Place::Dedicated => (Some(dedicated), Some(foreign)),
        Place::Cluster => (None, None),
    };
    for object in &case.fails {
        // A policy comes into force a moment after it is there.
        eventually(case.says, || async {
            match tried(client, place, object).await {
                Ok(()) => None,
                Err(message) => {
                    assert!(message.contains(case.says), "{object}: {message}");
                    Some(())
                }
            }
        })
        .await;
    }
    for object in &case.passes {
        let outcome = tried(client, place, object).await;
        assert_eq!(outcome, Ok(()), "{}: {object}", case.says);
    }
    let skipped = case.skipped.as_ref().unwrap_or(&case.fails);
    for object in skipped {
        let outcome = tried(client, elsewhere, object).await;
        assert_eq!(outcome, Ok(()), "{} does not concern {object}", case.says);
    }
    assert!(!case.passes.is_empty() && !case.fails.is_empty() && !skipped.is_empty(), "{}", case.says);
}
