//! Step 2, first part: what all pods of the workspace may use together, and what a silent container gets.

use hexabase_core::plans::{
    CONTROL_PLANE_CPU, CONTROL_PLANE_MEMORY, CONTROL_PLANE_PODS, CONTROL_PLANE_STORAGE, Limits,
};
use hexabase_core::quantity::{Bytes, Cpu};
use hexabase_core::quota::Amounts;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

use crate::host::excess::Over;
use crate::host::values;
use crate::labels::Names;
use crate::manifest::{Kind, Manifest};
use crate::settings::EndpointMode;
use crate::tenant_user::{Quantities, amounts, thousandths};

pub(crate) const NAME: &str = "hexabase";

/// Services of the control plane: its own, the headless one, those that vCluster makes inside for DNS and for metrics and brings
/// here, and room for the throw-away ones of its first start.
const CONTROL_PLANE_SERVICES: u32 = 8;
/// Claims of the control plane: its own, and room for what vCluster makes anew.
const CONTROL_PLANE_CLAIMS: u32 = 4;
/// Secrets and ConfigMaps that vCluster keeps for itself.
const CONTROL_PLANE_OBJECTS: u32 = 20;
/// How many of these there are, but for moments: the control plane's pod and its DNS, the four Services, the claim of its store.
const OWN_PODS: u32 = 2;
const OWN_SERVICES: u32 = 4;
const OWN_CLAIMS: u32 = 1;
/// The memory of both pods. The CPU that is kept for them is all theirs.
const OWN_MEMORY: u64 = values::MEMORY.get() + values::DNS_MEMORY.get();
/// Kubernetes opens a port of every node for each port of a Service that is reached from outside, and counts these as well.
pub(crate) const PORTS_OF_A_LOAD_BALANCER: u32 = 4;
/// The least that a silent container gets, so that ordinary images start in time, and the most.
const CPU_RANGE: (u64, u64) = (100, 1000);
const MEMORY_RANGE: (u64, u64) = (128, 1024);
/// How many silent containers fit into the quota.
const SILENT: u64 = 10;
/// What a pod may write to its node's disk on the average, and a container that says nothing: several of these fit into a pod, or
/// pods with helpers beside them would use up what is for others of the plan.
pub(crate) const SCRATCH: Bytes = Bytes::from_gibibytes(4);
const SILENT_SCRATCH: Bytes = Bytes::from_gibibytes(1);
/// What the control plane may write there.
pub(crate) const CONTROL_PLANE_SCRATCH: Bytes = Bytes::from_gibibytes(10);
/// What a silent container reserves, whatever its share is.
const REQUEST_CPU: u64 = 25;
const REQUEST_MEMORY: u64 = 32;

/// What of the control plane runs, and so is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ControlPlane {
    /// All of it.
    Runs,
    /// Its DNS, which goes on with the pods of a workspace that sleeps.
    OnlyDns,
    /// Nothing.
    Rests,
}

/// The quota (plan plus control plane) and the defaults for containers that say nothing.
pub(crate) fn build(
    limits: &Limits,
    endpoint: &EndpointMode,
    names: &Names,
    labels: &Map<String, Value>,
) -> Vec<Manifest> {
    let Limits { amounts, projects, members: _, workspaces: _ } = limits;
    let Amounts { cpu, memory, storage, pods, services, load_balancers, persistent_volume_claims, objects } = amounts;
    let cpu_and_own = Cpu::from_millis(cpu.as_millis().saturating_add(CONTROL_PLANE_CPU.as_millis()));
    let memory_and_own = Bytes::new(memory.get().saturating_add(CONTROL_PLANE_MEMORY.get()));
    let storage_and_own = Bytes::new(storage.get().saturating_add(CONTROL_PLANE_STORAGE.get()));
    let own_ports = u32::from(matches!(endpoint, EndpointMode::NodePort { .. }));
    let node_ports = load_balancers.saturating_mul(PORTS_OF_A_LOAD_BALANCER).saturating_add(own_ports);
    let all_pods = u64::from(pods.saturating_add(CONTROL_PLANE_PODS));
    let scratch = Bytes::new(SCRATCH.get().saturating_mul(all_pods).saturating_add(CONTROL_PLANE_SCRATCH.get()));
    let count = |numbers: &[u32]| numbers.iter().fold(0_u32, |sum, number| sum.saturating_add(*number)).to_string();
    let quota = json!({ "spec": { "hard": {
        "requests.cpu": cpu_and_own.to_string(),
        "limits.cpu": cpu_and_own.to_string(),
        // Nodes evict other people's pods when their disk is full.
        "limits.ephemeral-storage": scratch.to_string(),
        "requests.memory": memory_and_own.to_string(),
        "limits.memory": memory_and_own.to_string(),
        "requests.storage": storage_and_own.to_string(),
        "pods": count(&[*pods, CONTROL_PLANE_PODS]),
        "persistentvolumeclaims": count(&[*persistent_volume_claims, CONTROL_PLANE_CLAIMS]),
        "services": count(&[*services, CONTROL_PLANE_SERVICES]),
        "services.nodeports": node_ports.to_string(),
        "services.loadbalancers": load_balancers.to_string(),
        // Beside the tenant's: the token of each pod, and the root certificate of each project.
        "secrets": count(&[*objects, *pods, *projects, CONTROL_PLANE_OBJECTS]),
        "configmaps": count(&[*objects, *projects, CONTROL_PLANE_OBJECTS]),
    } } });
    let namespace = Some(names.namespace.as_str());
    vec![
        Manifest::new(Kind::ResourceQuota, namespace, NAME, labels, quota),
        Manifest::new(Kind::LimitRange, namespace, NAME, labels, defaults(amounts)),
    ]
}

/// A LimitRange by which a silent container may use a tenth of the quota: a smaller share would refuse every container
/// that asks for more than it without setting a limit.
pub(crate) fn defaults(amounts: &Amounts) -> Value {
    let silent = u64::from(amounts.pods).clamp(1, SILENT);
    let cpu_share = (amounts.cpu.as_millis() / silent).clamp(CPU_RANGE.0, CPU_RANGE.1);
    let memory_share = (amounts.memory.get() / silent / (1 << 20)).clamp(MEMORY_RANGE.0, MEMORY_RANGE.1);
    json!({ "spec": { "limits": [{
        "type": "Container",
        "default": {
            "cpu": Cpu::from_millis(cpu_share).to_string(),
            "memory": Bytes::from_mebibytes(memory_share).to_string(),
            "ephemeral-storage": SILENT_SCRATCH.to_string(),
        },
        "defaultRequest": {
            "cpu": Cpu::from_millis(REQUEST_CPU).to_string(),
            "memory": Bytes::from_mebibytes(REQUEST_MEMORY).to_string(),
            "ephemeral-storage": "64Mi",
        },
    }] } })
}

/// Lets nothing of the quota fall below what is used, while it is still to be seen whether that fits into less: beside pods that
/// were let in before, the control plane's would be refused when it has to be made anew, and without it nobody could end those. It
/// is never more than was allowed so far, and comes down as they go.
pub(crate) fn spare(quota: &mut Manifest, found: &DynamicObject, control_plane: ControlPlane) {
    let Some(hard) = quota.json.pointer_mut("/spec/hard").and_then(Value::as_object_mut) else { return };
    for (name, wanted) in hard.iter_mut() {
        let at = |place: &str| found.data.pointer(place)?.get(name.as_str())?.as_str().map(number);
        let (Some(allowed), Some(used)) = (at("/spec/hard"), at("/status/used")) else { continue };
        let least = used.saturating_add(to_come(name, control_plane)).min(allowed);
        if wanted.as_str().map(number).is_some_and(|wanted| wanted < least) {
            *wanted = json!(if least.is_multiple_of(1000) { (least / 1000).to_string() } else { format!("{least}m") });
        }
    }
}

fn number(text: &str) -> u128 {
    thousandths(&Quantity(text.to_owned()))
}

/// What the control plane's pods need of it beyond what is counted, in thousandths.
fn to_come(name: &str, control_plane: ControlPlane) -> u128 {
    let all: u128 = match name {
        "requests.cpu" | "limits.cpu" => CONTROL_PLANE_CPU.as_millis().into(),
        "requests.memory" | "limits.memory" => u128::from(CONTROL_PLANE_MEMORY.get()).saturating_mul(1000),
        "pods" => u128::from(CONTROL_PLANE_PODS).saturating_mul(1000),
        "limits.ephemeral-storage" => u128::from(CONTROL_PLANE_SCRATCH.get()).saturating_mul(1000),
        _ => 0,
    };
    match control_plane {
        ControlPlane::Runs => 0,
        ControlPlane::OnlyDns => all.saturating_sub(dns(name)),
        ControlPlane::Rests => all,
    }
}

/// What of that its DNS has. It requests less than it may use, as all pods do: what they may use is what is exceeded first.
fn dns(name: &str) -> u128 {
    match name {
        "requests.cpu" | "limits.cpu" => values::DNS_CPU.as_millis().into(),
        "requests.memory" | "limits.memory" => u128::from(values::DNS_MEMORY.get()).saturating_mul(1000),
        "pods" => 1000,
        _ => 0,
    }
}

/// How much of what is kept for the control plane it does not take, in thousandths: as much more than the plan gives is used before
/// the quota is exceeded.
fn not_taken(name: &str, control_plane: ControlPlane) -> u128 {
    let pieces = match (name, control_plane) {
        ("services", _) => u64::from(CONTROL_PLANE_SERVICES - OWN_SERVICES),
        ("persistentvolumeclaims", _) => u64::from(CONTROL_PLANE_CLAIMS - OWN_CLAIMS),
        ("pods", ControlPlane::Runs) => u64::from(CONTROL_PLANE_PODS - OWN_PODS),
        ("limits.memory", ControlPlane::Runs) => CONTROL_PLANE_MEMORY.get().saturating_sub(OWN_MEMORY),
        // On the average; its DNS says nothing of that.
        ("limits.ephemeral-storage", _) => SCRATCH.get() * u64::from(CONTROL_PLANE_PODS) - SILENT_SCRATCH.get(),
        _ => 0,
    };
    u128::from(pieces).saturating_mul(1000)
}

/// What more is used of than this quota lets in, and by how much more than the plan gives; nothing once nothing beyond it is let in
/// any more, unknown until Kubernetes judges by it. What was let in before it judged by it is counted in the same reading: both are
/// of one version of the object, and Kubernetes writes the count before it lets anything in.
pub(crate) fn over(quota: &Manifest, applied: &DynamicObject, control_plane: ControlPlane) -> Option<Vec<Over>> {
    let hard = quota.json.pointer("/spec/hard")?.as_object()?;
    let at = |place: &str, name: &str| applied.data.pointer(place)?.get(name)?.as_str().map(number);
    let (mut judged, mut over) = (true, Vec::new());
    for (name, most) in hard {
        let (most, used) = (number(most.as_str()?), at("/status/used", name)?);
        let more = used.saturating_add(to_come(name, control_plane)).saturating_sub(most);
        if more > 0 {
            over.push((name.clone(), more.saturating_add(not_taken(name, control_plane))));
        }
        judged &= at("/status/hard", name).is_some_and(|counted| counted <= most);
    }
    (judged || !over.is_empty()).then_some(over)
}

/// What the tenant uses, while the control plane runs: all that is counted, without what the control plane takes of it. Of Secrets and
/// ConfigMaps nobody knows which are whose; without what is kept for the control plane's it is no more than the tenant's.
pub(crate) fn used(quota: &DynamicObject, projects: u32) -> Option<Amounts> {
    let counted: Quantities = serde_json::from_value(quota.data.pointer("/status/used")?.clone()).ok()?;
    let all = amounts(&counted);
    let own = Amounts {
        cpu: CONTROL_PLANE_CPU,
        memory: Bytes::new(OWN_MEMORY),
        storage: CONTROL_PLANE_STORAGE,
        pods: OWN_PODS,
        services: OWN_SERVICES,
        load_balancers: 0,
        persistent_volume_claims: OWN_CLAIMS,
        objects: CONTROL_PLANE_OBJECTS.saturating_add(projects).saturating_add(all.pods),
    };
    Some(all.less(&own))
}

/// Whether Kubernetes counts by this quota yet: until then it refuses every pod, or lets in more than it may. That it may let in
/// more than it does yet follows within a moment and holds nobody up.
pub(crate) fn is_counted(quota: &DynamicObject) -> bool {
    let hard = |place: &str| quota.data.pointer(place).and_then(Value::as_object);
    let (Some(wanted), Some(counted)) = (hard("/spec/hard"), hard("/status/hard")) else { return false };
    let most = |most: &Value| most.as_str().map(number);
    wanted.iter().all(|(name, wanted)| counted.get(name).and_then(most).is_some_and(|now| Some(now) <= most(wanted)))
}

/// Whether Kubernetes has ever counted by this quota: until then it refuses every pod, or does not know of it. It goes on counting
/// by the amounts of before for the moment in which others are asked for.
pub(crate) fn was_counted(quota: &DynamicObject) -> bool {
    let counted = quota.data.pointer("/status/hard").and_then(Value::as_object);
    counted.is_some_and(|counted| !counted.is_empty())
}

#[cfg(test)]
mod tests {
    use super::ControlPlane::{OnlyDns, Rests, Runs};
    use super::*;

    #[test]
    fn a_silent_container_gets_its_share_but_never_too_little_to_start() {
        let limits = |cpu, memory, pods| {
            let (cpu, memory) = (Cpu::from_millis(cpu), Bytes::from_gibibytes(memory));
            let limit = defaults(&Amounts { cpu, memory, pods, ..Amounts::NONE });
            let default = &limit["spec"]["limits"][0]["default"];
            (default["cpu"].as_str().unwrap().to_owned(), default["memory"].as_str().unwrap().to_owned())
        };
        assert_eq!(limits(4000, 8, 50), ("400m".to_owned(), "819Mi".to_owned()));
        assert_eq!(limits(500, 1, 50), ("100m".to_owned(), "128Mi".to_owned()));
        assert_eq!(limits(64_000, 64, 1), ("1".to_owned(), "1Gi".to_owned()));
    }

    fn hard(cpu: &str, pods: &str) -> Manifest {
        let body = json!({ "spec": { "hard": { "limits.cpu": cpu, "pods": pods, "secrets": "30" } } });
        Manifest::new(Kind::ResourceQuota, Some("n"), NAME, &Map::new(), body)
    }

    #[test]
    fn a_smaller_quota_is_known_to_fit_only_once_kubernetes_lets_in_no_more() {
        let over = |allowed: &str, used: &str, control_plane| {
            let counted = json!({ "limits.cpu": used, "pods": "8", "secrets": "30" });
            let status = json!({ "hard": { "limits.cpu": allowed, "pods": "8", "secrets": "30" }, "used": counted });
            let applied: DynamicObject = serde_json::from_value(json!({ "metadata": {}, "status": status })).unwrap();
            super::over(&hard("3", "12"), &applied, control_plane)
        };
        let cpu = |over: u128| Some(vec![("limits.cpu".to_owned(), over)]);
        assert_eq!(over("20", "2500m", Runs), None, "more may be let in at this moment");
        assert_eq!(over("3", "2500m", Runs), Some(Vec::new()));
        assert_eq!(over("20", "3500m", Runs), cpu(500));
        assert_eq!(over("3", "500m", Rests), Some(Vec::new()), "beside the control plane, which is to come");
        assert_eq!(over("3", "600m", Rests), cpu(100));
        assert_eq!(over("3", "1", OnlyDns), Some(Vec::new()), "a half of which its DNS has");
        assert_eq!(over("3", "1100m", OnlyDns), cpu(100));
        let uncounted: DynamicObject = serde_json::from_value(json!({ "metadata": {} })).unwrap();
        assert_eq!(super::over(&hard("3", "12"), &uncounted, Runs), None);
    }

    #[test]
    fn what_is_too_much_is_told_as_what_the_tenant_uses_more_than_the_plan_gives() {
        // A plan of one pod and one claim.
        let body = json!({ "spec": { "hard": { "pods": "5", "persistentvolumeclaims": "5" } } });
        let quota = Manifest::new(Kind::ResourceQuota, Some("n"), NAME, &Map::new(), body);
        let over = |pods: &str, control_plane| {
            let used = json!({ "pods": pods, "persistentvolumeclaims": "6" });
            let applied = json!({ "metadata": {}, "status": { "hard": {}, "used": used } });
            let mut over = super::over(&quota, &serde_json::from_value(applied).unwrap(), control_plane).unwrap();
            over.sort();
            over
        };
        let expected = |pods: u128| vec![("persistentvolumeclaims".to_owned(), 4_000), ("pods".to_owned(), pods)];
        assert_eq!(over("6", Runs), expected(3_000), "four of the six are the tenant's");
        assert_eq!(over("4", OnlyDns), expected(2_000));
        assert_eq!(over("3", Rests), expected(2_000));
    }

    #[test]
    fn what_the_control_plane_writes_to_the_disk_keeps_its_place_too() {
        let quota = |amount: &str| json!({ "limits.ephemeral-storage": amount });
        let found: DynamicObject = serde_json::from_value(json!({
            "metadata": {}, "spec": { "hard": quota("200Gi") }, "status": { "used": quota("80Gi") },
        }))
        .unwrap();
        let body = json!({ "spec": { "hard": quota("60Gi") } });
        let mut wanted = Manifest::new(Kind::ResourceQuota, Some("n"), NAME, &Map::new(), body);
        spare(&mut wanted, &found, Rests);
        let kept = wanted.json["spec"]["hard"]["limits.ephemeral-storage"].as_str().map(number);
        assert_eq!(kept, Some(number("90Gi")));
    }

    /// What is applied in place of a quota of 20 cores and 64 pods when 3 cores and 8 pods are wanted.
    fn lowered(cpu: &str, pods: &str, control_plane: ControlPlane) -> (String, String) {
        let found: DynamicObject = serde_json::from_value(json!({
            "metadata": {},
            "spec": { "hard": { "limits.cpu": "20", "pods": "64" } },
            "status": { "used": { "limits.cpu": cpu, "pods": pods } },
        }))
        .unwrap();
        let mut wanted = hard("3", "8");
        spare(&mut wanted, &found, control_plane);
        let hard = &wanted.json["spec"]["hard"];
        assert_eq!(hard["secrets"], "30", "of which nothing is known");
        (hard["limits.cpu"].as_str().unwrap().to_owned(), hard["pods"].as_str().unwrap().to_owned())
    }

    #[test]
    fn a_smaller_quota_leaves_the_control_plane_its_place_beside_what_runs() {
        let of = |cpu: &str, pods: &str| (cpu.to_owned(), pods.to_owned());
        assert_eq!(lowered("2500m", "8", Runs), of("3", "8"), "all of it fits");
        assert_eq!(lowered("7500m", "12", Runs), of("7500m", "12"), "the control plane is counted among it");
        assert_eq!(lowered("5500m", "9", Rests), of("8", "13"), "its pod is still to come");
        assert_eq!(lowered("5500m", "9", OnlyDns), of("7500m", "12"), "its DNS is there already");
        assert_eq!(lowered("19", "64", Rests), of("20", "64"), "never more than before");
    }

    #[test]
    fn what_the_tenant_uses_is_without_the_control_plane() {
        let used = |status: Value| {
            let quota = json!({ "metadata": {}, "status": status });
            super::used(&serde_json::from_value::<DynamicObject>(quota).unwrap(), 2)
        };
        assert_eq!(used(json!({})), None);
        let counted = json!({ "requests.cpu": "1", "limits.cpu": "4500m", "limits.memory": "3242Mi", "pods": "6",
            "secrets": "30", "services": "5", "persistentvolumeclaims": "4", "requests.storage": "8Gi" });
        let expected = Amounts {
            cpu: Cpu::from_millis(2_000),
            memory: Bytes::from_gibibytes(1),
            storage: Bytes::from_gibibytes(3),
            pods: 4,
            services: 1,
            load_balancers: 0,
            persistent_volume_claims: 3,
            objects: 2,
        };
        assert_eq!(used(json!({ "used": counted })), Some(expected));
        let nothing = json!({ "limits.cpu": "2500m", "limits.memory": "2218Mi", "pods": "2", "services": "4",
            "persistentvolumeclaims": "1", "requests.storage": "5Gi" });
        assert_eq!(used(json!({ "used": nothing })), Some(Amounts::NONE));
    }

    #[test]
    fn a_plan_bounds_what_is_written_to_the_nodes_disks_and_has_room_for_the_control_plane() {
        let names = Names::of(&"ws-0123456789abcdefghjk".parse().unwrap());
        let mut limits = hexabase_core::plans::seed().remove(0).limits;
        for (pods, expected) in [(1, "30Gi"), (20, "106Gi")] {
            limits.amounts.pods = pods;
            let built = build(&limits, &EndpointMode::ClusterIp, &names, &Map::new());
            assert_eq!(built[0].json["spec"]["hard"]["limits.ephemeral-storage"], expected);
        }
    }

    #[test]
    fn as_many_pods_as_the_plan_has_fit_when_each_has_helpers_that_say_nothing() {
        let names = Names::of(&"ws-0123456789abcdefghjk".parse().unwrap());
        let limits = hexabase_core::plans::seed().remove(0).limits;
        let built = build(&limits, &EndpointMode::ClusterIp, &names, &Map::new());
        let amount = |manifest: &Manifest, place: &str| number(manifest.json.pointer(place).unwrap().as_str().unwrap());
        let all = amount(&built[0], "/spec/hard/limits.ephemeral-storage");
        let silent = amount(&built[1], "/spec/limits/0/default/ephemeral-storage");
        let own = u128::from(CONTROL_PLANE_SCRATCH.get()) * 1000;
        assert!(silent * 4 * u128::from(limits.amounts.pods) + own <= all, "{silent} of {all}");
    }

    #[test]
    fn a_quota_counts_once_its_status_says_so() {
        let quota = |status: Value| {
            let quota = json!({ "metadata": {}, "spec": { "hard": { "pods": "2" } }, "status": status });
            is_counted(&serde_json::from_value::<DynamicObject>(quota).unwrap())
        };
        assert!(!quota(json!({})) && !quota(json!({ "hard": {} })));
        assert!(quota(json!({ "hard": { "pods": "1" } })), "it may let in more in a moment");
        assert!(!quota(json!({ "hard": { "pods": "3" } })), "it still lets in more than it may");
    }
}
