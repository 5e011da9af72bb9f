//! What services may ask of the host.

use serde_json::json;

use super::{Case, Place, annotated, case, service};

pub(super) fn all() -> Vec<Case> {
    vec![
        case(
            "externalIPs",
            Place::Shared,
            vec![service(json!({})), service(json!({ "externalIPs": [] }))],
            vec![service(json!({ "externalIPs": ["192.0.2.1"] }))],
        ),
        case(
            "loadBalancerIP",
            Place::Shared,
            vec![service(json!({ "clusterIP": "None" }))],
            vec![service(json!({ "type": "LoadBalancer", "loadBalancerIP": "192.0.2.1" }))],
        ),
        announced(),
    ]
}

/// What services ask of what makes load balancers and names.
fn announced() -> Case {
    let synced = |name: &str, value: &str| {
        let mut service = annotated(service(json!({})), name, value);
        service["metadata"]["labels"] = json!({ "vcluster.loft.sh/managed-by": "x" });
        service
    };
    let [group, metallb] = ["cloud.google.com/neg", "metallb.io/loadBalancerIPs"];
    case(
        "load balancers and DNS for anything by annotation",
        Place::Shared,
        vec![
            synced("prometheus.io/scrape", "true"),
            synced("service.kubernetes.io/topology-mode", "Auto"),
            // As GKE puts it on each.
            synced(group, "{\"ingress\":true}"),
            // The control plane's own.
            annotated(service(json!({})), metallb, "x"),
        ],
        vec![
            synced(metallb, "x"),
            synced("lbipam.cilium.io/ips", "x"),
            synced("external-dns.alpha.kubernetes.io/hostname", "x"),
            synced("service.beta.kubernetes.io/aws-load-balancer-type", "x"),
            synced("tailscale.com/expose", "true"),
            // As the operator says.
            synced("lb.example/pool", "x"),
            synced(group, "{\"exposed_ports\":{\"80\":{}}}"),
        ],
    )
}
