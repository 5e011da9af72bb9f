//! What a kubelet can say of its own node, and so whoever is root there.

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use super::lent::OFFER;
use super::{POOL, TAINT};
use crate::support::{client, kubeconfig};

/// A client as the kubelet of this node.
async fn kubelet_of(node: &str) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig()).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.auth_info.impersonate = Some(format!("system:node:{node}"));
    config.auth_info.impersonate_groups = Some(vec!["system:nodes".to_owned(), "system:authenticated".to_owned()]);
    Client::try_from(config).unwrap()
}

/// Tries a change of its own node; says why not.
async fn tried(kubelet: &Client, node: &str, patch: Value) -> Result<(), String> {
    let nodes: Api<Node> = Api::all(kubelet.clone());
    match nodes.patch(node, &PatchParams::default().dry_run(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(error) => panic!("{patch}: {error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubelet_says_of_its_own_node_neither_whose_it_is_nor_that_it_is_offered() {
    let nodes: Api<Node> = Api::all(client().await);
    let found = nodes.list(&ListParams::default()).await.unwrap().items;
    let node = found.into_iter().find_map(|node| node.metadata.name).unwrap();
    let kubelet = kubelet_of(&node).await;
    for key in [POOL, OFFER] {
        let message = tried(&kubelet, &node, json!({ "metadata": { "labels": { key: "mine" } } })).await.unwrap_err();
        assert!(message.contains("not allowed to modify labels"), "{key}: {message}");
    }
    let taints = json!([{ "key": TAINT, "value": "mine", "effect": "NoSchedule" }]);
    let message = tried(&kubelet, &node, json!({ "spec": { "taints": taints } })).await.unwrap_err();
    assert!(message.contains("not allowed to modify taints"), "{message}");
    // It is the keys that are refused.
    let other = json!({ "metadata": { "labels": { "hexabase.ai/note": "mine" } } });
    assert_eq!(tried(&kubelet, &node, other).await, Ok(()));
}
