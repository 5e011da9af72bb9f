//! Step 2, first part: what all pods of the workspace may use together, and what a silent container gets.

use hexabase_core::plans::{
    CONTROL_PLANE_CPU, CONTROL_PLANE_MEMORY, CONTROL_PLANE_PODS, CONTROL_PLANE_STORAGE, Limits,
};
use hexabase_core::quantity::{Bytes, Cpu};
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

use crate::labels::Names;
use crate::manifest::{Kind, Manifest};
use crate::settings::EndpointMode;

pub(crate) const NAME: &str = "hexabase";

/// Services of the control plane: its own, the headless one, DNS, and the throw-away ones of vCluster's first start.
const CONTROL_PLANE_SERVICES: u32 = 8;
/// Secrets and ConfigMaps that vCluster keeps for itself.
const CONTROL_PLANE_OBJECTS: u32 = 20;
/// The least that a silent container gets, so that ordinary images start in time, and the most.
const CPU_RANGE: (u64, u64) = (100, 1000);
const MEMORY_RANGE: (u64, u64) = (128, 1024);
/// How many silent containers fit into the quota.
const SILENT: u64 = 10;
/// What a silent container reserves, whatever its share is.
const REQUEST_CPU: u64 = 25;
const REQUEST_MEMORY: u64 = 32;

/// The quota (plan plus control plane) and the defaults for containers that say nothing.
pub(crate) fn build(
    limits: &Limits,
    endpoint: &EndpointMode,
    names: &Names,
    labels: &Map<String, Value>,
) -> Vec<Manifest> {
    let Limits { cpu, memory, storage, pods, projects, members: _, workspaces: _ } = limits;
    let cpu_and_own = Cpu::from_millis(cpu.as_millis() + CONTROL_PLANE_CPU.as_millis());
    let memory_and_own = Bytes::new(memory.get() + CONTROL_PLANE_MEMORY.get());
    let storage_and_own = Bytes::new(storage.get() + CONTROL_PLANE_STORAGE.get());
    let node_ports = u32::from(matches!(endpoint, EndpointMode::NodePort { .. }));
    let quota = json!({ "spec": { "hard": {
        "requests.cpu": cpu_and_own.to_string(),
        "limits.cpu": cpu_and_own.to_string(),
        "requests.memory": memory_and_own.to_string(),
        "limits.memory": memory_and_own.to_string(),
        "requests.storage": storage_and_own.to_string(),
        "pods": (pods + CONTROL_PLANE_PODS).to_string(),
        "persistentvolumeclaims": (pods + CONTROL_PLANE_PODS).to_string(),
        "services": (pods + CONTROL_PLANE_SERVICES).to_string(),
        "services.nodeports": node_ports.to_string(),
        "services.loadbalancers": "0",
        // Per pod: its token and a few of its own; per project: the cluster's root certificate.
        "secrets": (pods * 10 + projects + CONTROL_PLANE_OBJECTS).to_string(),
        "configmaps": (pods * 10 + projects + CONTROL_PLANE_OBJECTS).to_string(),
    } } });
    let namespace = Some(names.namespace.as_str());
    vec![
        Manifest::new(Kind::ResourceQuota, namespace, NAME, labels, quota),
        Manifest::new(Kind::LimitRange, namespace, NAME, labels, defaults(*cpu, *memory, *pods)),
    ]
}

/// A LimitRange by which a silent container may use a tenth of the quota: a smaller share would refuse every container
/// that asks for more than it without setting a limit.
pub(crate) fn defaults(cpu: Cpu, memory: Bytes, pods: u32) -> Value {
    let silent = u64::from(pods).clamp(1, SILENT);
    let cpu_share = (cpu.as_millis() / silent).clamp(CPU_RANGE.0, CPU_RANGE.1);
    let memory_share = (memory.get() / silent / (1 << 20)).clamp(MEMORY_RANGE.0, MEMORY_RANGE.1);
    json!({ "spec": { "limits": [{
        "type": "Container",
        "default": {
            "cpu": Cpu::from_millis(cpu_share).to_string(),
            "memory": Bytes::from_mebibytes(memory_share).to_string(),
            "ephemeral-storage": "4Gi",
        },
        "defaultRequest": {
            "cpu": Cpu::from_millis(REQUEST_CPU).to_string(),
            "memory": Bytes::from_mebibytes(REQUEST_MEMORY).to_string(),
            "ephemeral-storage": "64Mi",
        },
    }] } })
}

/// Whether Kubernetes counts by this quota yet: until then it refuses every pod. A later change of the amounts follows
/// within a moment and holds nobody up.
pub(crate) fn is_counted(quota: &DynamicObject) -> bool {
    quota.data.pointer("/status/hard").and_then(Value::as_object).is_some_and(|hard| !hard.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_container_gets_its_share_but_never_too_little_to_start() {
        let limits = |cpu, memory, pods| {
            let limit = defaults(Cpu::from_millis(cpu), Bytes::from_gibibytes(memory), pods);
            let default = &limit["spec"]["limits"][0]["default"];
            (default["cpu"].as_str().unwrap().to_owned(), default["memory"].as_str().unwrap().to_owned())
        };
        assert_eq!(limits(4000, 8, 50), ("400m".to_owned(), "819Mi".to_owned()));
        assert_eq!(limits(500, 1, 50), ("100m".to_owned(), "128Mi".to_owned()));
        assert_eq!(limits(64_000, 64, 1), ("1".to_owned(), "1Gi".to_owned()));
    }

    #[test]
    fn a_quota_counts_once_its_status_says_so() {
        let quota = |status: Value| {
            let quota = json!({ "metadata": {}, "spec": { "hard": { "pods": "2" } }, "status": status });
            is_counted(&serde_json::from_value::<DynamicObject>(quota).unwrap())
        };
        assert!(!quota(json!({})) && !quota(json!({ "hard": {} })));
        assert!(quota(json!({ "hard": { "pods": "1" } })));
    }
}
