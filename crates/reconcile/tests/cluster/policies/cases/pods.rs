//! What else pods may ask of a node and of the host.

use serde_json::{Value, json};

use super::{Case, Place, annotated, case, container, labelled_pod, merged, pod};

pub(super) fn all(given: &str, kept: &str, own: &str) -> Vec<Case> {
    let privileged = |is: bool| json!({ "securityContext": { "privileged": is } });
    let first = merged(json!({ "name": "first", "image": "busybox" }), privileged(true));
    let port = |port: Value| container(json!({ "ports": [port] }));
    let named = |release: &str| json!({ "vcluster.loft.sh/managed-by": "x", "app": "vcluster", "release": release });
    vec![
        case(
            "runtime class that the host does not give",
            Place::Shared,
            vec![pod(json!({})), pod(json!({ "runtimeClassName": given }))],
            vec![pod(json!({ "runtimeClassName": kept }))],
        ),
        case(
            "priority class of the system",
            Place::Shared,
            vec![pod(json!({}))],
            vec![
                pod(json!({ "priorityClassName": "system-node-critical" })),
                pod(json!({ "priorityClassName": "system-cluster-critical" })),
            ],
        ),
        case(
            "share the network, the processes or the memory",
            Place::Shared,
            vec![pod(json!({ "hostNetwork": false, "shareProcessNamespace": true }))],
            ["hostNetwork", "hostPID", "hostIPC"].map(|field| pod(json!({ field: true }))).to_vec(),
        ),
        case(
            "take a port of its node",
            Place::Shared,
            vec![port(json!({ "containerPort": 80 }))],
            vec![
                port(json!({ "containerPort": 80, "hostPort": 8080 })),
                pod(json!({ "initContainers": [{ "name": "first", "image": "busybox",
                    "ports": [{ "containerPort": 80, "hostPort": 8080 }] }] })),
            ],
        ),
        mounts(),
        counted(),
        case(
            "claim devices",
            Place::Shared,
            vec![pod(json!({}))],
            vec![
                pod(json!({ "resourceClaims": [{ "name": "gpu", "resourceClaimName": "somebodys" }] })),
                pod(json!({ "resourceClaims": [{ "name": "gpu", "resourceClaimTemplateName": "gpus" }] })),
            ],
        ),
        case(
            "privileged container",
            Place::Shared,
            vec![container(privileged(false))],
            vec![container(privileged(true)), pod(json!({ "initContainers": [first] }))],
        ),
        case(
            "ask the host's network for anything",
            Place::Shared,
            vec![annotated(pod(json!({})), "example.com/note", "x")],
            [
                "k8s.v1.cni.cncf.io/networks",
                "cni.projectcalico.org/ipAddrs",
                "ovn.kubernetes.io/ip_address",
                "networking.gke.io/interfaces",
                // As the operator says.
                "net.example/pool",
            ]
            .map(|name| annotated(pod(json!({})), name, "x"))
            .to_vec(),
        ),
        case(
            "pass for the control plane",
            Place::Shared,
            vec![labelled_pod(named("another"), json!({}))],
            vec![labelled_pod(named(own), json!({}))],
        ),
    ]
}

/// What a plan's quota counts.
fn counted() -> Case {
    let asks = |resources: Value| container(json!({ "resources": resources }));
    let device = json!({ "limits": { "example.com/gpu": "1" } });
    let first = json!({ "name": "first", "image": "busybox", "resources": device });
    case(
        "ask for no other resources",
        Place::Shared,
        vec![
            asks(json!({ "limits": { "cpu": "100m", "memory": "64Mi", "ephemeral-storage": "1Gi" } })),
            asks(json!({ "requests": { "cpu": "10m", "memory": "32Mi" } })),
        ],
        vec![
            asks(device),
            pod(json!({ "initContainers": [first] })),
            asks(json!({ "limits": { "cpu": "100m", "memory": "64Mi", "hugepages-2Mi": "2Mi" } })),
        ],
    )
}

/// What nodes mount for a pod.
fn mounts() -> Case {
    let mounts = |source: Value| pod(json!({ "volumes": [merged(json!({ "name": "v" }), source)] }));
    let claim = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } } });
    let own = json!({ "items": [{ "path": "name", "fieldRef": { "fieldPath": "metadata.name" } }] });
    let token = json!({ "serviceAccountToken": { "path": "token" } });
    case(
        "mount only claims",
        Place::Shared,
        vec![
            mounts(json!({})),
            mounts(json!({ "emptyDir": {} })),
            mounts(json!({ "configMap": { "name": "x" } })),
            mounts(json!({ "secret": { "secretName": "x" } })),
            mounts(json!({ "downwardAPI": own })),
            mounts(json!({ "projected": { "sources": [token] } })),
            mounts(json!({ "persistentVolumeClaim": { "claimName": "x" } })),
            mounts(json!({ "ephemeral": { "volumeClaimTemplate": { "spec": claim } } })),
        ],
        vec![
            mounts(json!({ "hostPath": { "path": "/" } })),
            mounts(json!({ "nfs": { "server": "192.0.2.1", "path": "/export" } })),
            mounts(json!({ "iscsi": { "targetPortal": "192.0.2.1:3260", "iqn": "iqn.2001-04.example:x", "lun": 0 } })),
            mounts(json!({ "fc": { "targetWWNs": ["50060e801049cfd1"], "lun": 0 } })),
            mounts(json!({ "flexVolume": { "driver": "example/x" } })),
            mounts(json!({ "gcePersistentDisk": { "pdName": "x" } })),
            mounts(json!({ "csi": { "driver": "x.example" } })),
        ],
    )
}
