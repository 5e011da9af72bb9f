//! The rules, each with objects that pass and objects that fail.

use serde_json::{Value, json};

/// Where the objects are tried.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// In a workspace on shared nodes.
    Shared,
    /// In one with nodes of its own, `pool-a`.
    Dedicated,
    /// They have no namespace.
    Cluster,
}

pub(super) struct Case {
    /// What a refusal says.
    pub(super) says: &'static str,
    pub(super) place: Place,
    pub(super) passes: Vec<Value>,
    pub(super) fails: Vec<Value>,
    /// What is none of its business; without it, all that fails, in a namespace that is no workspace's.
    pub(super) skipped: Option<Vec<Value>>,
}

fn case(says: &'static str, place: Place, passes: Vec<Value>, fails: Vec<Value>) -> Case {
    Case { says, place, passes, fails, skipped: None }
}

fn merged(mut base: Value, more: Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more);
    }
    base
}

pub(super) fn pod(more: Value) -> Value {
    labelled_pod(json!({}), more)
}

fn labelled_pod(labels: Value, more: Value) -> Value {
    let spec = json!({ "containers": [{ "name": "main", "image": "docker.io/library/busybox:1.36" }] });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "labels": labels }, "spec": merged(spec, more) })
}

fn container(more: Value) -> Value {
    pod(json!({ "containers": [merged(json!({ "name": "main", "image": "busybox" }), more)] }))
}

pub(super) fn service(more: Value) -> Value {
    let spec = merged(json!({ "ports": [{ "port": 80 }] }), more);
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": {}, "spec": spec })
}

pub(super) fn claim(more: Value) -> Value {
    let spec = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } } });
    json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {}, "spec": merged(spec, more) })
}

pub(super) fn volume(labels: Value, source: Value) -> Value {
    let spec = json!({ "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "1Mi" } });
    json!({ "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "labels": labels },
        "spec": merged(spec, source) })
}

pub(super) fn ingress(annotations: Value, more: Value) -> Value {
    let rule = |host: &str| json!({ "host": host, "http": { "paths": [path()] } });
    let spec = json!({ "ingressClassName": "web", "rules": [rule("www.shop.example"), rule("blog.example")] });
    json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "annotations": annotations },
        "spec": merged(spec, more) })
}

const LEGACY_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

fn annotated(mut object: Value, name: &str, value: &str) -> Value {
    object["metadata"]["annotations"] = json!({ name: value });
    object
}

fn path() -> Value {
    json!({ "path": "/", "pathType": "Prefix", "backend": backend() })
}

fn backend() -> Value {
    json!({ "service": { "name": "web", "port": { "number": 80 } } })
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

/// Every rule; `given` is a runtime class that tenants may name, `kept` one that they may not, `own` the id of the workspace
/// on shared nodes.
pub(super) fn all(given: &str, kept: &str, own: &str) -> Vec<Case> {
    [placement(), pods(given, kept, own), others(), ingresses()].into_iter().flatten().collect()
}

fn placement() -> Vec<Case> {
    const POOL: &str = "hexabase.node-restriction.kubernetes.io/pool";
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

fn pods(given: &str, kept: &str, own: &str) -> Vec<Case> {
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

fn others() -> Vec<Case> {
    let synced = || json!({ "vcluster.loft.sh/managed-by": "hxb-ws-x-x-ws-x" });
    let host_path = || json!({ "hostPath": { "path": "/" } });
    let on_a_node = || {
        json!({ "local": { "path": "/" }, "nodeAffinity": { "required": { "nodeSelectorTerms": [
            { "matchExpressions": [{ "key": "x", "operator": "Exists" }] }] } } })
    };
    let by_driver = || json!({ "csi": { "driver": "x.example", "volumeHandle": "x" } });
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
        case("volume by name", Place::Shared, vec![claim(json!({}))], vec![claim(json!({ "volumeName": "x" }))]),
        case(
            "volume by label",
            Place::Shared,
            vec![claim(json!({}))],
            vec![claim(json!({ "selector": { "matchLabels": { "a": "b" } } }))],
        ),
        case(
            "begin as a copy of another volume",
            Place::Shared,
            vec![claim(json!({}))],
            vec![
                claim(json!({ "dataSource": { "kind": "PersistentVolumeClaim", "name": "data-ws-x-0" } })),
                annotated(
                    claim(json!({ "dataSourceRef": { "kind": "PersistentVolumeClaim", "name": "data-ws-x-0" } })),
                    "vcluster.loft.sh/skip-translate",
                    "true",
                ),
                claim(json!({ "dataSource": { "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot",
                    "name": "x" } })),
            ],
        ),
        case(
            "storage class that the host gives",
            Place::Shared,
            vec![claim(json!({}))],
            vec![claim(json!({ "storageClassName": "foreign" })), claim(json!({ "storageClassName": "" }))],
        ),
        case(
            "name a class of volume attributes",
            Place::Shared,
            vec![claim(json!({}))],
            vec![claim(json!({ "volumeAttributesClassName": "gold" }))],
        ),
        case(
            "name its storage class by annotation",
            Place::Shared,
            vec![claim(json!({}))],
            vec![annotated(claim(json!({ "storageClassName": "local-path" })), LEGACY_CLASS, "foreign")],
        ),
        Case {
            says: "folder of a node",
            place: Place::Cluster,
            passes: vec![volume(synced(), by_driver())],
            fails: vec![volume(synced(), host_path()), volume(synced(), on_a_node())],
            skipped: Some(vec![volume(json!({}), host_path())]),
        },
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

fn ingresses() -> Vec<Case> {
    let ours = || ingress(json!({}), json!({}));
    let named = |host: &str| ingress(json!({}), json!({ "rules": [{ "host": host, "http": { "paths": [path()] } }] }));
    let with_class = |class: Value| ingress(json!({}), json!({ "ingressClassName": class }));
    let certified = |host: &str| ingress(json!({}), json!({ "tls": [{ "hosts": [host], "secretName": "x" }] }));
    vec![
        case(
            "a host in a domain of the workspace",
            Place::Shared,
            vec![ours(), named("shop.example"), named("*.shop.example"), named("a.b.blog.example")],
            vec![
                named("bank.example"),
                named("myshop.example"),
                named("shop.example.evil.example"),
                named("*.example"),
                ingress(json!({}), json!({ "rules": [{ "http": { "paths": [path()] } }] })),
            ],
        ),
        case(
            "a certificate for a host outside",
            Place::Shared,
            vec![certified("shop.example")],
            vec![certified("bank.example")],
        ),
        case(
            "the requests for all hosts",
            Place::Shared,
            vec![ours()],
            vec![ingress(json!({}), json!({ "defaultBackend": backend() }))],
        ),
        case(
            "an ingress class that the host gives",
            Place::Shared,
            vec![ours()],
            vec![with_class(json!("internal")), with_class(Value::Null)],
        ),
        case(
            "name its class by annotation",
            Place::Shared,
            vec![ingress(json!({ "vcluster.loft.sh/object-name": "x" }), json!({}))],
            vec![ingress(json!({ "kubernetes.io/ingress.class": "web" }), json!({ "ingressClassName": null }))],
        ),
        case(
            "configuration for the host's ingress controller",
            Place::Shared,
            vec![ingress(json!({ "nginx.ingress.kubernetes.io/rewrite-target": "/" }), json!({}))],
            vec![
                ingress(json!({ "nginx.ingress.kubernetes.io/server-snippet": "location / {}" }), json!({})),
                ingress(json!({ "nginx.ingress.kubernetes.io/server-alias": "bank.example" }), json!({})),
                ingress(json!({ "traefik.ingress.kubernetes.io/router.middlewares": "x" }), json!({})),
            ],
        ),
        // A workspace without domains brings none at all, but everything else.
        case("a host in a domain of the workspace", Place::Dedicated, vec![service(json!({}))], vec![ours()]),
    ]
}
