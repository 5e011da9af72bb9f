//! Nodes that are offered to workspaces for the time of a test, and given back as they were.

use hexabase_reconcile::{Holder, Host};
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::{POOL, TAINT};
use crate::support::{client, eventually};

pub(super) const OFFER: &str = "hexabase.node-restriction.kubernetes.io/offered-to";

/// The nodes, and their taints from before.
pub(super) struct Lent {
    client: Client,
    nodes: Vec<(String, Value)>,
}

impl Lent {
    /// Offers them; they take tenants' pods from then on, as soon as they are somebody's.
    pub(super) async fn offer(host: &Host, names: Vec<String>) -> Self {
        let mut lent = Self { client: client().await, nodes: Vec::new() };
        for name in names {
            let node = lent.api().get(&name).await.unwrap();
            let taints = json!(node.spec.unwrap().taints.unwrap_or_default());
            lent.nodes.push((name.clone(), taints));
            lent.change(&name, json!({ "metadata": { "labels": { OFFER: "workspaces" } } })).await;
        }
        // Closed to everybody first, then rid of the taints by which other tests are kept away.
        eventually("the offered nodes are kept empty", || async {
            let seen = host.nodes().await.ok()?;
            let ours = seen.iter().filter(|node| lent.nodes.iter().any(|(name, _)| node.name.as_str() == name));
            let mut kept = 0;
            for node in ours {
                if node.holder == Holder::Nobody {
                    host.keep_free(node, true).await.ok()?;
                } else {
                    assert_eq!(node.holder, Holder::Free, "{node:?}");
                    kept += 1;
                }
            }
            (kept == lent.nodes.len()).then_some(())
        })
        .await;
        let closed = json!([{ "key": TAINT, "value": "free", "effect": "NoSchedule" }]);
        for (name, _) in &lent.nodes {
            lent.change(name, json!({ "spec": { "taints": closed } })).await;
        }
        lent
    }

    /// Makes them what they were before.
    pub(super) async fn withdraw(self) {
        for (name, taints) in &self.nodes {
            let labels = json!({ OFFER: null, POOL: null });
            self.change(name, json!({ "metadata": { "labels": labels }, "spec": { "taints": taints } })).await;
        }
    }

    fn api(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    async fn change(&self, name: &str, patch: Value) {
        self.api().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }
}
