//! What a workspace's control plane is made from, on the host.

use super::{Policy, Target, WRITE};

/// Workloads of the host. vCluster's account may change them, and has its own pod made anew so when certificates have changed, by an
/// annotation of the template. Pods that are made from them are a controller's of the host, and not judged as that account's.
pub(super) const WORKLOADS: Policy = Policy {
    name: "hexabase-workspace-workloads",
    targets: &[
        Target { group: "apps", resource: "statefulsets", operations: WRITE },
        Target { group: "apps", resource: "deployments", operations: WRITE },
        Target { group: "apps", resource: "replicasets", operations: WRITE },
    ],
    only: None,
    variables: &[],
    // What makes further pods beside the one that there is, keeps the platform's next change from coming into force, or takes the
    // volume away. Where a kind has no such field, it has none before and after.
    rules: &[(
        "!request.userInfo.username.startsWith('system:serviceaccount:hxb-ws-') || (request.operation == 'UPDATE' && \
         object.spec.?replicas.orValue(1) == oldObject.spec.?replicas.orValue(1) && \
         object.spec.template.spec == oldObject.spec.template.spec && \
         object.spec.template.metadata.?labels.orValue({}) == oldObject.spec.template.metadata.?labels.orValue({}) && \
         object.spec.?ordinals.orValue({}) == oldObject.spec.?ordinals.orValue({}) && \
         object.spec.?updateStrategy.orValue({}) == oldObject.spec.?updateStrategy.orValue({}) && \
         object.spec.?persistentVolumeClaimRetentionPolicy.orValue({}) == \
         oldObject.spec.?persistentVolumeClaimRetentionPolicy.orValue({}) && \
         object.spec.?minReadySeconds.orValue(0) == oldObject.spec.?minReadySeconds.orValue(0) && \
         object.spec.?strategy.orValue({}) == oldObject.spec.?strategy.orValue({}) && \
         object.spec.?paused.orValue(false) == oldObject.spec.?paused.orValue(false))",
        "what a control plane runs, and how often, is the platform's to say",
    )],
};
