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
    rules: &[(
        "!request.userInfo.username.startsWith('system:serviceaccount:hxb-ws-') || (request.operation == 'UPDATE' && \
         object.spec.?replicas.orValue(1) == oldObject.spec.?replicas.orValue(1) && \
         object.spec.template.spec == oldObject.spec.template.spec && \
         object.spec.template.metadata.?labels.orValue({}) == oldObject.spec.template.metadata.?labels.orValue({}))",
        "what a control plane runs, and how often, is the platform's to say",
    )],
};
