//! Values of the vCluster chart, made of typed data only. A key that is not here has the chart's default.

use hexabase_core::plans::{CONTROL_PLANE_CPU_REQUEST, CONTROL_PLANE_STORAGE};
use hexabase_core::quantity::{Bytes, Cpu};
use serde_json::{Map, Value, json};

use crate::host::places::MetricsServer;
use crate::host::{admission, authentication, limits};
use crate::labels::{NODE_POOL, Names, POOL_LABEL};
use crate::settings::{EndpointMode, HostSettings};
use crate::tenant::makers;

/// What the control plane may use, the CPU while it starts (`resize.rs`), and its DNS, which has a pod of its own.
pub(crate) const CPU: Cpu = Cpu::from_millis(2_000);
pub(crate) const MEMORY: Bytes = Bytes::from_gibibytes(2);
pub(crate) const DNS_CPU: Cpu = Cpu::from_millis(500);
pub(crate) const DNS_MEMORY: Bytes = Bytes::from_mebibytes(170);
/// From where on Go collects harder in each process of the control plane, instead of letting it grow. Of the pod's bound Go knows
/// nothing: while somebody writes large objects, the API server, by far the largest, would grow up to it, and for half a minute before
/// the pod is killed its file pages would be thrown away and read again from a disk that is everybody's. What is left is for these
/// pages and the smaller processes.
const GO_MEMORY: &str = "1280MiB";
/// Where the authentication configuration is mounted. A folder, so that changes arrive.
const FOLDER: &str = "/etc/hexabase/authn";

/// The values of one workspace, with the Kubernetes of this tag, whose pods run on the nodes of this pool, or on shared ones, and are
/// measured by this server of the host's.
///
/// Every change restarts the control plane (vCluster puts a hash of the values on its pod), and the backing store must
/// never change: it would start empty.
pub(crate) fn build(
    settings: &HostSettings,
    kubernetes_tag: &str,
    names: &Names,
    labels: &Map<String, Value>,
    pool: Option<&str>,
    metrics: Option<&MetricsServer>,
) -> Value {
    let mut values = json!({
        "controlPlane": {
            "advanced": { "defaultImageRegistry": settings.image_registry.as_deref().unwrap_or_default() },
            "backingStore": { "database": { "embedded": { "enabled": true } } },
            "coredns": { "deployment": coredns(settings) },
            "distro": { "k8s": {
                "image": { "tag": kubernetes_tag },
                "imagePullPolicy": "IfNotPresent",
                "apiServer": { "extraArgs": api_server_args(kubernetes_tag) },
                // At its first start it makes an account for each of its controllers, three calls each. With its own bound of
                // twenty a second that takes four seconds, for which everything else waits.
                "controllerManager": { "extraArgs": ["--kube-api-qps=100", "--kube-api-burst=200"] },
                // Copies binaries when the pod starts: with the chart's tenth of a core that takes seconds. As long as the pod is
                // there Kubernetes counts no less for it than this, so that there is room for a new one after it was resized.
                "resources": { "limits": { "cpu": CPU.to_string(), "memory": "256Mi" } },
            } },
            "ingress": { "host": "" },
            "proxy": { "extraSANs": [
                format!("{}.{}.svc", names.name, names.namespace),
                format!("{}.{}.svc.cluster.local", names.name, names.namespace),
            ] },
            // It answers up to two seconds before its probes have said so, and whoever woke it waits for nothing else.
            "service": { "spec": { "type": service_type(&settings.endpoint), "publishNotReadyAddresses": true } },
            "statefulSet": stateful_set(settings, labels),
        },
        // What it brings to the host would end with its Service: tenants' volumes, where somebody deletes that alone.
        "experimental": { "syncSettings": { "setOwner": false } },
        "integrations": { "metricsServer": metrics_server(metrics) },
        "logging": { "encoding": "json" },
        // The kubelets' own API stays out of reach.
        "networking": { "advanced": { "proxyKubelets": { "byHostname": false, "byIP": false } } },
        // The platform applies its own, before the chart.
        "policies": {
            "limitRange": { "enabled": false },
            "networkPolicy": { "enabled": false },
            "resourceQuota": { "enabled": false },
        },
        "rbac": {
            "clusterRole": { "enabled": false },
            // vCluster reads them and does not start without; the chart gives the right only together with that to write.
            "role": { "extraRules": [{
                "apiGroups": ["discovery.k8s.io"],
                "resources": ["endpointslices"],
                "verbs": ["get", "list", "watch"],
            }] },
        },
        "sync": {
            "fromHost": { "nodes": { "enabled": false } },
            "toHost": {
                // The host makes those of Services with selectors itself. Without one a tenant would say where traffic from
                // outside goes: to the platform's pods, or another workspace's (CVE-2021-25740).
                "endpointSlices": { "enabled": false },
                "endpoints": { "enabled": false },
                "ingresses": { "enabled": false },
                "networkPolicies": { "enabled": false },
                "persistentVolumes": { "enabled": false },
                "pods": {
                    // Needs an image of its own in every pod of a StatefulSet.
                    "rewriteHosts": { "enabled": false },
                    // Otherwise tokens that live for ten years stand in annotations.
                    "useSecretsForSATokens": true,
                },
                "serviceAccounts": { "enabled": false },
            },
        },
        "telemetry": { "enabled": false },
    });
    // Pods are placed by vCluster, over whatever they wish; the host's admission policies see to it that they are. On shared
    // nodes nothing is said, so that no control plane restarts for it.
    if let Some(pool) = pool {
        values["sync"]["fromHost"]["nodes"]["selector"] = json!({ "labels": { POOL_LABEL: pool } });
        values["sync"]["toHost"]["pods"]["enforceTolerations"] = json!([format!("{NODE_POOL}={pool}:NoSchedule")]);
    }
    values
}

/// An argument that vCluster gives as well has our value.
fn api_server_args(kubernetes_tag: &str) -> Vec<String> {
    let mut args = vec![
        format!("--authentication-config={FOLDER}/{}", authentication::KEY),
        format!("--admission-control-config-file={FOLDER}/{}", admission::KEY),
        // No node joins by one, and they outlive whoever made them.
        "--enable-bootstrap-token-auth=false".to_owned(),
    ];
    args.extend(makers::api_server_args(kubernetes_tag).iter().map(|arg| (*arg).to_owned()));
    args
}

fn coredns(settings: &HostSettings) -> Value {
    json!({
        "image": settings.coredns_image.as_deref().unwrap_or_default(),
        "resources": {
            "limits": { "cpu": DNS_CPU.to_string(), "memory": DNS_MEMORY.to_string() },
            "requests": { "cpu": "20m", "memory": "64Mi" },
        },
    })
}

fn stateful_set(settings: &HostSettings, labels: &Map<String, Value>) -> Value {
    json!({
        "enableServiceLinks": false,
        "env": [{ "name": "GOMEMLIMIT", "value": GO_MEMORY }],
        "highAvailability": { "replicas": 1 },
        "image": { "repository": "loft-sh/vcluster-oss", "tag": settings.vcluster_tag },
        "imagePullPolicy": "IfNotPresent",
        "persistence": {
            "addVolumeMounts": [{ "name": "authn", "mountPath": FOLDER, "readOnly": true }],
            "addVolumes": [{ "name": "authn", "secret": { "secretName": authentication::SECRET } }],
            "volumeClaim": {
                "enabled": true,
                // Goes with the namespace. "Delete" would add an owner to the claim at the very moment when the
                // scheduler binds it; the loser of that race waits for seconds.
                "retentionPolicy": "Retain",
                "size": CONTROL_PLANE_STORAGE.to_string(),
                "storageClass": settings.storage_class.as_deref().unwrap_or_default(),
            },
        },
        "pods": { "labels": labels },
        // Ready is noticed within a second, and still only after five minutes is a start given up.
        "probes": { "startupProbe": { "periodSeconds": 1, "failureThreshold": 300 } },
        "resources": {
            "limits": {
                "cpu": CPU.to_string(),
                "memory": MEMORY.to_string(),
                "ephemeral-storage": limits::CONTROL_PLANE_SCRATCH.to_string(),
            },
            "requests": {
                "cpu": CONTROL_PLANE_CPU_REQUEST.to_string(),
                "memory": "512Mi",
                "ephemeral-storage": "512Mi",
            },
        },
    })
}

/// `kubectl top pods`, by the host's metrics; nodes are not the tenant's to see. Where the host has none, the API for them would only
/// never answer.
fn metrics_server(metrics: Option<&MetricsServer>) -> Value {
    let Some(metrics) = metrics else { return json!({ "enabled": false }) };
    let service = json!({ "namespace": metrics.namespace, "name": metrics.service, "port": metrics.port });
    json!({ "enabled": true, "nodes": false, "pods": true, "apiService": { "service": service } })
}

fn service_type(endpoint: &EndpointMode) -> &'static str {
    match endpoint {
        EndpointMode::ClusterIp | EndpointMode::ServiceDns => "ClusterIP",
        EndpointMode::NodePort { .. } => "NodePort",
    }
}
