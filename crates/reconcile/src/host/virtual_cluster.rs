//! Step 4: the virtual cluster's own objects, rendered from the chart and applied under our field manager.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::apply::Cluster;
use crate::desired::DesiredWorkspace;
use crate::error::ReconcileError;
use crate::helm::{Chart, Release};
use crate::host::places::MetricsServer;
use crate::host::values;
use crate::labels::{self, Names, PART, PART_CHART, RENDERING, SYNCED_BY};
use crate::manifest::{Kind, Manifest, label};
use crate::settings::HostSettings;

/// What a chart of another version may leave behind.
pub(crate) const PRUNED: [Kind; 12] = [
    Kind::StatefulSet,
    Kind::Deployment,
    Kind::Service,
    Kind::Ingress,
    Kind::PodDisruptionBudget,
    Kind::RoleBinding,
    Kind::Role,
    Kind::ServiceAccount,
    Kind::NetworkPolicy,
    Kind::ResourceQuota,
    Kind::LimitRange,
    Kind::Secret,
];

/// The objects of a workspace's virtual cluster, ready to be applied.
pub(crate) async fn render(
    chart: &Chart,
    settings: &HostSettings,
    desired: &DesiredWorkspace,
    names: &Names,
    kube_version: &str,
    metrics: Option<&MetricsServer>,
) -> Result<Vec<Manifest>, ReconcileError> {
    let own = labels::of_workspace(&desired.id, desired.organization.as_ref());
    let values = values::build(settings, &desired.kubernetes_tag(settings), names, &own, desired.pool(), metrics);
    let release = Release {
        name: names.name.clone(),
        namespace: names.namespace.clone(),
        kube_version: kube_version.to_owned(),
        values: values.to_string(),
    };
    Ok(label_all(chart.render(&release).await?, own))
}

/// The chart's objects with our labels.
fn label_all(mut manifests: Vec<Manifest>, mut labels: Map<String, Value>) -> Vec<Manifest> {
    labels.insert(PART.to_owned(), json!(PART_CHART));
    for manifest in &mut manifests {
        manifest.label(&labels);
    }
    manifests
}

/// Whether the control plane is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Power {
    On,
    Off,
}

/// Applies the objects, the workload last, and removes what an earlier rendering left.
pub(crate) async fn apply(
    host: &Cluster,
    names: &Names,
    manifests: &[Manifest],
    last_rendering: Option<&str>,
    power: Power,
) -> Result<(), ReconcileError> {
    let is_workload = |manifest: &&Manifest| matches!(manifest.kind, Kind::StatefulSet | Kind::Deployment);
    // What somebody else writes into one keeps nothing else from its turn.
    let goes_on =
        |applied: &Result<(), ReconcileError>| matches!(applied, Ok(()) | Err(ReconcileError::Contested { .. }));
    let beside = host.apply_all_exactly(manifests.iter().filter(|manifest| !is_workload(manifest))).await;
    if !goes_on(&beside) {
        return beside;
    }
    let workloads = manifests.iter().filter(is_workload).map(|workload| powered(workload, power));
    let applied = host.apply_all_exactly(&workloads.collect::<Vec<_>>()).await;
    if !goes_on(&applied) {
        return applied;
    }
    let applied = beside.and(applied);
    // Of the rendering itself: with sleep and waking nothing has to be pruned.
    let rendering = fingerprint(manifests);
    if last_rendering == Some(rendering.as_str()) {
        return applied;
    }
    prune(host, names, manifests).await?;
    let patch = json!({ "metadata": { "annotations": { RENDERING: rendering } } });
    host.merge(Kind::Namespace, None, &names.namespace, &patch).await?;
    applied
}

/// The workload as it is applied. One that is off wants no replicas, and says so: left out, the number would be Kubernetes' own.
fn powered(workload: &Manifest, power: Power) -> Manifest {
    let mut workload = workload.clone();
    if let (Power::Off, Some(spec)) = (power, workload.json.pointer_mut("/spec").and_then(Value::as_object_mut)) {
        spec.insert("replicas".to_owned(), json!(0));
    }
    workload
}

async fn prune(host: &Cluster, names: &Names, manifests: &[Manifest]) -> Result<(), ReconcileError> {
    let wanted: HashSet<(Kind, &str)> =
        manifests.iter().map(|manifest| (manifest.kind, manifest.name.as_str())).collect();
    let selector = format!("{PART}={PART_CHART}");
    for kind in PRUNED {
        for object in host.list(kind, Some(&names.namespace), &selector).await? {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            // A tenant may write any label on what vCluster brings here.
            if !wanted.contains(&(kind, name)) && label(&object, SYNCED_BY).is_none() {
                tracing::info!(workspace.id = names.name, object.kind = kind.as_str(), object.name = name, "pruned");
                host.delete(kind, Some(&names.namespace), name, None).await?;
            }
        }
    }
    Ok(())
}

/// FNV-1a over the objects: the same in every process. Guards no secret, only saves a dozen calls.
fn fingerprint(manifests: &[Manifest]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for manifest in manifests {
        for byte in manifest.json.to_string().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_that_is_off_wants_no_replicas_and_is_else_the_same() {
        let set = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "x", "namespace": "n" },
            "spec": { "replicas": 1, "serviceName": "x-headless" } });
        let set = Manifest::parse(set).unwrap();
        assert_eq!(powered(&set, Power::On), set);
        let mut off = powered(&set, Power::Off);
        assert_eq!(off.json["spec"]["replicas"], 0);
        off.json["spec"]["replicas"] = json!(1);
        assert_eq!(off, set);
    }
}
