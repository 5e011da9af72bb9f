//! What else a workspace may bring to the host.

use super::{Policy, Target, WRITE};

/// What has been there since before a rule, or before its workspace was given less, can still be labelled and let go of.
const AS_BEFORE: (&str, &str) = (
    "isAsBefore",
    "request.operation == 'UPDATE' && object.spec == oldObject.spec && \
     object.metadata.?annotations.orValue({}) == oldObject.metadata.?annotations.orValue({})",
);

/// Services. CVE-2020-8554: whoever chooses addresses takes other people's traffic, also by annotations of what makes load
/// balancers and names on the host.
pub(super) const SERVICES: Policy = Policy {
    name: "hexabase-workspace-services",
    targets: &[Target { group: "", resource: "services", operations: WRITE }],
    only: None,
    variables: &[
        AS_BEFORE,
        ("byAccount", "request.userInfo.username.startsWith('system:serviceaccount:hxb-ws-')"),
        ("isTheirs", "variables.byAccount || object.metadata.?labels[?'vcluster.loft.sh/managed-by'].hasValue()"),
        (
            "kept",
            "['cloud.google.com/', 'external-dns.alpha.kubernetes.io/', 'external-dns.kubernetes.io/', \
             'getambassador.io/', 'io.cilium/', 'kube-router.io/', 'kube-vip.io/', 'kubernetes.digitalocean.com/', \
             'lbipam.cilium.io/', 'load-balancer.hetzner.cloud/', 'loadbalancer.openstack.org/', 'loxilb.io/', \
             'metallb.io/', 'metallb.universe.tf/', 'networking.gke.io/', 'oci.oraclecloud.com/', 'purelb.io/', \
             'service.beta.kubernetes.io/', 'service.cilium.io/', 'service.kubernetes.io/ibm-load-balancer', \
             'service.kubernetes.io/loadbalance', 'service.kubernetes.io/qcloud', 'service.kubernetes.io/tke', \
             'tailscale.com/'] + \
             namespaceObject.metadata.?annotations[?'hexabase.ai/kept-annotations'].orValue('').split(',')\
             .filter(part, part != '')",
        ),
    ],
    rules: &[
        (
            "variables.isAsBefore || object.spec.?externalIPs.orValue([]).size() == 0",
            "a service must not have externalIPs",
        ),
        (
            "variables.isAsBefore || object.spec.?loadBalancerIP.orValue('') == ''",
            "a service must not have a loadBalancerIP",
        ),
        // Those who answer to them write some themselves, later. What a host puts on Services as they are made cannot be told
        // from what its maker asked for: of GKE it is this one, good for Ingresses only. The control plane's own is the
        // platform's.
        (
            "!variables.isTheirs || object.metadata.?annotations.orValue({}).all(key, \
             !variables.kept.exists(part, key.startsWith(part)) || \
             (key == 'cloud.google.com/neg' && object.metadata.annotations[key] == '{\"ingress\":true}') || \
             (request.operation == 'UPDATE' && (!variables.byAccount || \
             oldObject.metadata.?annotations[?key].orValue('') == object.metadata.annotations[key])))",
            "a service must not ask the host's load balancers and DNS for anything by annotation",
        ),
    ],
};

/// Claims of volumes. A claim without a class has the host's default one by the time that it is looked at.
pub(super) const VOLUME_CLAIMS: Policy = Policy {
    name: "hexabase-workspace-volume-claims",
    targets: &[Target { group: "", resource: "persistentvolumeclaims", operations: WRITE }],
    only: None,
    variables: &[
        ("isNew", "request.operation == 'CREATE'"),
        ("classes", "namespaceObject.metadata.?annotations[?'hexabase.ai/storage-classes'].orValue('').split(',')"),
        ("class", "object.spec.?storageClassName.orValue('')"),
    ],
    rules: &[
        // Kubernetes itself writes down later which volume a claim got.
        (
            "variables.isNew ? object.spec.?volumeName.orValue('') == '' : \
             (object.spec.?volumeName.orValue('') == oldObject.spec.?volumeName.orValue('') || \
             !request.userInfo.username.startsWith('system:serviceaccount:hxb-ws-'))",
            "a claim must not choose its volume by name",
        ),
        ("!variables.isNew || !has(object.spec.selector)", "a claim must not choose its volume by label"),
        // The control plane's own volume, with all keys of the workspace, is a claim of the same namespace.
        (
            "!variables.isNew || (!has(object.spec.dataSource) && !has(object.spec.dataSourceRef))",
            "a claim must not begin as a copy of another volume",
        ),
        (
            "!variables.isNew || (variables.class != '' && variables.class in variables.classes)",
            "a claim must have a storage class that the host gives to tenants",
        ),
        // It is somebody's, and says how much a volume may do; unlike the rest it may change later.
        (
            "object.spec.?volumeAttributesClassName.orValue('') == '' || (!variables.isNew && \
             object.spec.volumeAttributesClassName == oldObject.spec.?volumeAttributesClassName.orValue(''))",
            "a claim must not name a class of volume attributes",
        ),
        // It would count before the field.
        (
            "!variables.isNew || \
             !object.metadata.?annotations[?'volume.beta.kubernetes.io/storage-class'].hasValue()",
            "a claim must not name its storage class by annotation",
        ),
    ],
};

/// Volumes themselves, which no workspace has a right to make: neither vCluster's nor what any account of a workspace asks
/// for may be a part of a node.
pub(super) const VOLUMES: Policy = Policy {
    name: "hexabase-workspace-volumes",
    targets: &[Target { group: "", resource: "persistentvolumes", operations: WRITE }],
    only: Some(
        "object.metadata.?labels[?'vcluster.loft.sh/managed-by'].hasValue() || \
         request.userInfo.username.startsWith('system:serviceaccount:hxb-ws-')",
    ),
    variables: &[],
    rules: &[("!has(object.spec.hostPath) && !has(object.spec.local)", "a volume must not be a folder of a node")],
};

/// Ingresses. No workspace brings any to the host as long as it has no domains.
pub(super) const INGRESSES: Policy = Policy {
    name: "hexabase-workspace-ingresses",
    targets: &[Target { group: "networking.k8s.io", resource: "ingresses", operations: WRITE }],
    only: None,
    variables: &[
        AS_BEFORE,
        ("domains", "namespaceObject.metadata.?annotations[?'hexabase.ai/ingress-domains'].orValue('').split(',')"),
        ("classes", "namespaceObject.metadata.?annotations[?'hexabase.ai/ingress-classes'].orValue('').split(',')"),
        ("class", "object.spec.?ingressClassName.orValue('')"),
        (
            "annotations",
            "namespaceObject.metadata.?annotations[?'hexabase.ai/ingress-annotations'].orValue('').split(',')",
        ),
    ],
    rules: &[
        (
            "variables.isAsBefore || object.spec.?rules.orValue([]).all(r, variables.domains.exists(d, d != '' && \
             (r.?host.orValue('') == d || r.?host.orValue('').endsWith('.' + d))))",
            "every rule of an ingress must name a host in a domain of the workspace",
        ),
        (
            "variables.isAsBefore || object.spec.?tls.orValue([]).all(t, t.?hosts.orValue([]).all(h, \
             variables.domains.exists(d, d != '' && (h == d || h.endsWith('.' + d)))))",
            "an ingress must not have a certificate for a host outside of the workspace's domains",
        ),
        (
            "variables.isAsBefore || !has(object.spec.defaultBackend)",
            "an ingress must not take the requests for all hosts",
        ),
        (
            "variables.isAsBefore || !object.metadata.?annotations[?'kubernetes.io/ingress.class'].hasValue()",
            "an ingress must not name its class by annotation",
        ),
        (
            "variables.isAsBefore || (variables.class != '' && variables.class in variables.classes)",
            "an ingress must have an ingress class that the host gives to tenants",
        ),
        (
            "variables.isAsBefore || object.metadata.?annotations.orValue({}).all(key, \
             key.startsWith('vcluster.loft.sh/') || key in variables.annotations)",
            "an ingress must not carry configuration for the host's ingress controller",
        ),
    ],
};
