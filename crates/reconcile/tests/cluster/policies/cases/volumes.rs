//! Which volumes a control plane may make.

use serde_json::json;

use super::{Case, Place, volume};

pub(super) fn all() -> Vec<Case> {
    let synced = || json!({ "vcluster.loft.sh/managed-by": "hxb-ws-x-x-ws-x" });
    let host_path = || json!({ "hostPath": { "path": "/" } });
    let on_a_node = || {
        json!({ "local": { "path": "/" }, "nodeAffinity": { "required": { "nodeSelectorTerms": [
            { "matchExpressions": [{ "key": "x", "operator": "Exists" }] }] } } })
    };
    let by_driver = || json!({ "csi": { "driver": "x.example", "volumeHandle": "x" } });
    vec![Case {
        says: "folder of a node",
        place: Place::Cluster,
        passes: vec![volume(synced(), by_driver())],
        fails: vec![volume(synced(), host_path()), volume(synced(), on_a_node())],
        skipped: Some(vec![volume(json!({}), host_path())]),
    }]
}
