//! Which nodes pods may be on, and beside whom.

use serde_json::{Value, json};

use super::{Case, Place, case, labelled_pod, merged, pod};

/// The label of nodes that are a workspace's own.
const POOL: &str = "hexabase.node-restriction.kubernetes.io/pool";

pub(super) fn all() -> Vec<Case> {
    let tolerates = |toleration: Value| pod(json!({ "tolerations": [toleration] }));
    let selects = |key: &str, value: &str| pod(json!({ "nodeSelector": { key: value } }));
    let synced = json!({ "vcluster.loft.sh/managed-by": "ws-x" });
    let not_ready = json!({ "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute" });
    let pool = |value: &str| json!({ "key": "hexabase.ai/node-pool", "value": value, "effect": "NoSchedule" });
    let any_pool = json!({ "key": "hexabase.ai/node-pool", "operator": "Exists" });
    let of_a_daemon = json!({ "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
        { "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["devhost"] }] }] } });
    vec![
        case(
            "choose its node by name",
            Place::Shared,
            vec![pod(json!({})), pod(json!({ "affinity": { "nodeAffinity": of_a_daemon } }))],
            vec![pod(json!({ "nodeName": "devhost" })), pod(json!({ "nodeName": "another" }))],
        ),
        case(
            "tolerate only taints",
            Place::Shared,
            vec![tolerates(not_ready.clone())],
            vec![
                tolerates(json!({ "operator": "Exists" })),
                tolerates(json!({ "key": "node-role.kubernetes.io/control-plane", "operator": "Exists" })),
                tolerates(pool("pool-a")),
                tolerates(pool("")),
                tolerates(any_pool.clone()),
            ],
        ),
        case(
            "tolerate only taints",
            Place::Dedicated,
            vec![tolerates(not_ready), tolerates(pool("pool-a"))],
            vec![tolerates(pool("pool-b")), tolerates(pool("")), tolerates(any_pool)],
        ),
        case(
            "select nodes only by",
            Place::Shared,
            vec![selects("kubernetes.io/os", "linux"), selects("topology.kubernetes.io/zone", "a")],
            vec![
                selects("kubernetes.io/hostname", "devhost"),
                selects("node-role.kubernetes.io/control-plane", ""),
                selects(POOL, "pool-a"),
                selects(POOL, ""),
            ],
        ),
        case(
            "select nodes only by",
            Place::Dedicated,
            vec![selects(POOL, "pool-a"), selects("kubernetes.io/arch", "amd64")],
            vec![selects(POOL, "pool-b"), selects("kubernetes.io/hostname", "devhost")],
        ),
        case(
            "prefer nodes only by",
            Place::Shared,
            vec![
                affinity(true, "kubernetes.io/arch", &["amd64"]),
                affinity(false, "topology.kubernetes.io/region", &["x"]),
            ],
            vec![
                affinity(true, "kubernetes.io/hostname", &["devhost"]),
                affinity(false, "kubernetes.io/hostname", &["devhost"]),
                affinity(true, POOL, &["pool-a"]),
            ],
        ),
        case(
            "prefer nodes only by",
            Place::Dedicated,
            vec![affinity(true, POOL, &["pool-a"])],
            vec![
                affinity(true, POOL, &["pool-b"]),
                affinity(true, POOL, &["pool-a", "pool-b"]),
                affinity(false, POOL, &["pool-b"]),
            ],
        ),
        neighbours(),
        case(
            "has to select the plan's nodes",
            Place::Dedicated,
            vec![
                labelled_pod(synced.clone(), json!({ "nodeSelector": { POOL: "pool-a" } })),
                // The control plane itself.
                pod(json!({})),
            ],
            vec![labelled_pod(synced.clone(), json!({})), labelled_pod(synced, json!({ "nodeSelector": {} }))],
        ),
    ]
}

/// A pod that wishes for nodes, strictly or not.
fn affinity(strictly: bool, key: &str, values: &[&str]) -> Value {
    let term = json!({ "matchExpressions": [{ "key": key, "operator": "In", "values": values }] });
    let affinity = match strictly {
        true => json!({ "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [term] } }),
        false => {
            json!({ "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 1, "preference": term }] })
        }
    };
    pod(json!({ "affinity": { "nodeAffinity": affinity } }))
}

/// Beside whom a pod wishes to be, or not to be.
fn neighbours() -> Case {
    let term = |more: Value| {
        merged(
            json!({ "topologyKey": "kubernetes.io/os", "labelSelector": { "matchLabels": { "app": "vcluster" } } }),
            more,
        )
    };
    let strictly = |kind: &str, term: Value| {
        pod(json!({ "affinity": { kind: { "requiredDuringSchedulingIgnoredDuringExecution": [term] } } }))
    };
    let rather = |kind: &str, term: Value| {
        let wish = json!({ "weight": 1, "podAffinityTerm": term });
        pod(json!({ "affinity": { kind: { "preferredDuringSchedulingIgnoredDuringExecution": [wish] } } }))
    };
    case(
        "choose neighbours in other namespaces",
        Place::Shared,
        vec![
            strictly("podAntiAffinity", term(json!({}))),
            strictly("podAffinity", term(json!({}))),
            rather("podAntiAffinity", term(json!({}))),
        ],
        vec![
            strictly("podAntiAffinity", term(json!({ "namespaceSelector": {} }))),
            strictly("podAffinity", term(json!({ "namespaces": ["kube-system"] }))),
            rather("podAntiAffinity", term(json!({ "namespaces": ["kube-system"] }))),
        ],
    )
}
