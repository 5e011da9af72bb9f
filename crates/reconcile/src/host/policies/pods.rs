//! What a pod of a workspace may be on the host.

use super::{Policy, Target, UPDATE, WRITE};

/// How the names of annotations begin that network plugins go by, and those that an operator keeps.
const PLUGINS: &str = "['cni.projectcalico.org/', 'k8s.ovn.org/', 'k8s.v1.cni.cncf.io/', \
    'networking.gke.io/default-interface', 'networking.gke.io/interfaces', 'ovn.kubernetes.io/', 'v1.multus-cni.io/'] + \
    namespaceObject.metadata.?annotations[?'hexabase.ai/kept-annotations'].orValue('').split(',')\
    .filter(part, part != '')";

/// Pods, also those that wait for a node, whose tolerations and selectors may still change.
pub(super) const PODS: Policy = Policy {
    name: "hexabase-workspace-pods",
    targets: &[
        Target { group: "", resource: "pods", operations: WRITE },
        Target { group: "", resource: "pods/ephemeralcontainers", operations: UPDATE },
        Target { group: "", resource: "pods/resize", operations: UPDATE },
    ],
    only: None,
    variables: &[
        ("isNew", "request.operation == 'CREATE'"),
        ("pool", "namespaceObject.metadata.?annotations[?'hexabase.ai/node-pool'].orValue('')"),
        ("poolLabel", "'hexabase.node-restriction.kubernetes.io/pool'"),
        ("runtimes", "namespaceObject.metadata.?annotations[?'hexabase.ai/runtime-classes'].orValue('').split(',')"),
        ("isSynced", "object.metadata.?labels[?'vcluster.loft.sh/managed-by'].hasValue()"),
        ("containers", "object.spec.containers + object.spec.?initContainers.orValue([])"),
        ("debuggers", "object.spec.?ephemeralContainers.orValue([])"),
        ("selector", "object.spec.?nodeSelector.orValue({})"),
        ("affinity", "object.spec.?affinity.?nodeAffinity.orValue({})"),
        (
            "terms",
            "variables.affinity.?requiredDuringSchedulingIgnoredDuringExecution.?nodeSelectorTerms.orValue([]) + \
             variables.affinity.?preferredDuringSchedulingIgnoredDuringExecution.orValue([]).map(wish, wish.preference)",
        ),
        (
            "nodeLabels",
            "['kubernetes.io/arch', 'kubernetes.io/os', 'topology.kubernetes.io/region', 'topology.kubernetes.io/zone']",
        ),
        ("counted", "['cpu', 'memory', 'ephemeral-storage']"),
        ("plugins", PLUGINS),
        // A pod from before a rule, or before the workspace got other nodes, can still be changed in other ways.
        (
            "isPlacedAsBefore",
            "!variables.isNew && \
             object.spec.?tolerations.orValue([]) == oldObject.spec.?tolerations.orValue([]) && \
             object.spec.?nodeSelector.orValue({}) == oldObject.spec.?nodeSelector.orValue({}) && \
             object.spec.?affinity.orValue({}) == oldObject.spec.?affinity.orValue({})",
        ),
    ],
    rules: &[
        (
            "!variables.isNew || object.spec.?nodeName.orValue('') == ''",
            "a pod must not choose its node by name: that would pass over the plan's nodes",
        ),
        (
            "variables.isPlacedAsBefore || object.spec.?tolerations.orValue([]).all(t, \
             t.?key.orValue('').startsWith('node.kubernetes.io/') || (variables.pool != '' && \
             t.?key.orValue('') == 'hexabase.ai/node-pool' && t.?value.orValue('') == variables.pool))",
            "a pod may tolerate only taints of the form node.kubernetes.io/… and that of the plan's nodes",
        ),
        (
            "variables.isPlacedAsBefore || variables.selector.all(key, key in variables.nodeLabels || \
             (variables.pool != '' && key == variables.poolLabel && variables.selector[key] == variables.pool))",
            "a pod may select nodes only by architecture, operating system, region, zone and the plan's nodes",
        ),
        // Fields are no labels: pods of a DaemonSet name their node so, and are kept away by taints all the same.
        (
            "variables.isPlacedAsBefore || variables.terms.all(t, t.?matchExpressions.orValue([]).all(e, \
             e.key in variables.nodeLabels || (variables.pool != '' && e.key == variables.poolLabel && \
             e.operator == 'In' && e.?values.orValue([]) == [variables.pool])))",
            "a pod may prefer nodes only by architecture, operating system, region, zone and the plan's nodes",
        ),
        // Who may not stand beside others keeps them from coming: one small pod, on a topology of all nodes, the whole host.
        (
            "variables.isPlacedAsBefore || [object.spec.?affinity.?podAffinity.orValue({}), \
             object.spec.?affinity.?podAntiAffinity.orValue({})].all(a, \
             (a.?requiredDuringSchedulingIgnoredDuringExecution.orValue([]) + \
             a.?preferredDuringSchedulingIgnoredDuringExecution.orValue([]).map(wish, wish.podAffinityTerm))\
             .all(t, !has(t.namespaceSelector) && t.?namespaces.orValue([]).size() == 0))",
            "a pod must not choose neighbours in other namespaces of the host",
        ),
        // Whoever has got into a control plane may leave vCluster's marker away. The control plane's own pod, which stays on shared
        // nodes, is made by a controller of the host's.
        (
            "!variables.isNew || variables.pool == '' || !(variables.isSynced || \
             request.userInfo.username.startsWith('system:serviceaccount:hxb-ws-')) || \
             object.spec.?nodeSelector[?variables.poolLabel].orValue('') == variables.pool",
            "a pod of this workspace has to select the plan's nodes",
        ),
        (
            "!variables.isNew || object.spec.?runtimeClassName.orValue('') == '' || \
             object.spec.runtimeClassName in variables.runtimes",
            "a pod must not have a runtime class that the host does not give to tenants",
        ),
        (
            "!variables.isNew || !object.spec.?priorityClassName.orValue('').startsWith('system-')",
            "a pod must not have a priority class of the system",
        ),
        (
            "!variables.isNew || !(object.spec.?hostNetwork.orValue(false) || object.spec.?hostPID.orValue(false) || \
             object.spec.?hostIPC.orValue(false))",
            "a pod must not share the network, the processes or the memory of its node",
        ),
        // The plan's quota counts these three, and nothing that it does not name: devices of a node, huge pages.
        (
            "!variables.isNew || ([object.spec] + variables.containers).all(c, \
             c.?resources.?requests.orValue({}).all(key, key in variables.counted) && \
             c.?resources.?limits.orValue({}).all(key, key in variables.counted))",
            "a pod may ask for no other resources than cpu, memory and ephemeral-storage",
        ),
        // Devices that are claimed, in Kubernetes' newer way.
        ("!variables.isNew || !has(object.spec.resourceClaims)", "a pod must not claim devices"),
        (
            "!variables.isNew || variables.containers.all(c, c.?ports.orValue([]).all(p, p.?hostPort.orValue(0) == 0))",
            "a pod must not take a port of its node",
        ),
        // Whatever else there is, now or later, is mounted by the node: NFS, iSCSI, disks of a cloud and drivers lead to the
        // volumes of others, and no network policy holds what a node does.
        (
            "!variables.isNew || object.spec.?volumes.orValue([]).all(v, has(v.configMap) || has(v.secret) || \
             has(v.downwardAPI) || has(v.projected) || has(v.emptyDir) || has(v.persistentVolumeClaim) || \
             has(v.ephemeral) || has(v.image))",
            "a pod may mount only claims, images, empty folders, ConfigMaps, Secrets and what is known of itself",
        ),
        (
            "(!variables.isNew || variables.containers.all(c, !c.?securityContext.?privileged.orValue(false))) && \
             variables.debuggers.all(c, !c.?securityContext.?privileged.orValue(false) || \
             oldObject.spec.?ephemeralContainers.orValue([]).exists(o, o.name == c.name))",
            "a pod must not have a privileged container",
        ),
        // Plugins themselves write such annotations later.
        (
            "object.metadata.?annotations.orValue({}).all(key, !variables.plugins.exists(part, key.startsWith(part)) || \
             (!variables.isNew && (!request.userInfo.username.startsWith('system:serviceaccount:hxb-ws-') || \
             oldObject.metadata.?annotations[?key].orValue('') == object.metadata.annotations[key])))",
            "a pod must not ask the host's network for anything by annotation",
        ),
        // Network policies tell the control plane by this label.
        (
            "!variables.isSynced || 'hxb-' + object.metadata.?labels[?'release'].orValue('') != request.namespace",
            "a pod must not pass for the control plane of its workspace",
        ),
        // The control plane's own: neither other images, further containers and more room, nor labels by which its StatefulSet and
        // network policies know it. What vCluster has brought keeps its marker.
        (
            "!request.userInfo.username.startsWith('system:serviceaccount:hxb-ws-') || variables.isNew || \
             (variables.isSynced && oldObject.metadata.?labels[?'vcluster.loft.sh/managed-by'].hasValue()) || \
             (object.spec == oldObject.spec && \
             object.metadata.?labels.orValue({}) == oldObject.metadata.?labels.orValue({}))",
            "a pod that vCluster did not bring must stay as it was made",
        ),
    ],
};

/// What is said of a pod that runs. vCluster's account may write it, and some network plugins tell by it whose traffic is whose.
/// With it Kubernetes takes labels and annotations as well.
pub(super) const STATUS: Policy = Policy {
    name: "hexabase-workspace-pod-status",
    targets: &[Target { group: "", resource: "pods/status", operations: UPDATE }],
    only: None,
    variables: &[
        ("before", "oldObject.?status.orValue({})"),
        ("after", "object.?status.orValue({})"),
        ("plugins", PLUGINS),
    ],
    rules: &[
        (
            "!request.userInfo.username.startsWith('system:serviceaccount:hxb-ws-') || \
             (variables.after.?podIP.orValue('') == variables.before.?podIP.orValue('') && \
             variables.after.?podIPs.orValue([]) == variables.before.?podIPs.orValue([]) && \
             variables.after.?hostIP.orValue('') == variables.before.?hostIP.orValue('') && \
             variables.after.?hostIPs.orValue([]) == variables.before.?hostIPs.orValue([]))",
            "the address of a pod is its node's to tell",
        ),
        (
            "!request.userInfo.username.startsWith('system:serviceaccount:hxb-ws-') || \
             object.metadata.?labels.orValue({}) == oldObject.metadata.?labels.orValue({})",
            "the labels of a pod are not changed with its status",
        ),
        (
            "!request.userInfo.username.startsWith('system:serviceaccount:hxb-ws-') || \
             object.metadata.?annotations.orValue({}).all(key, \
             !variables.plugins.exists(part, key.startsWith(part)) || \
             oldObject.metadata.?annotations[?key].orValue('') == object.metadata.annotations[key])",
            "a pod must not ask the host's network for anything by annotation",
        ),
    ],
};
