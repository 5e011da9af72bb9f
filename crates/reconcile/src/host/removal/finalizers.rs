//! What others hold: vCluster, of which nobody is left, at once; everybody else once they have had their time.

use std::collections::BTreeSet;

use hexabase_core::time::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use serde_json::json;

use crate::apply::Cluster;
use crate::error::ReconcileError;
use crate::labels::Names;
use crate::manifest::Kind;
use crate::receipt::ObjectRef;

/// What was deleted so long ago waits for nobody's finalizer any more.
pub(super) const HELD_MILLIS: i64 = 45_000;
/// vCluster's own finalizers: nobody is left to take them off.
const FINALIZERS: &str = "vcluster.loft.sh/";
/// Kinds that carry them.
const FINALIZED: [Kind; 4] = [Kind::ConfigMap, Kind::Secret, Kind::Service, Kind::PersistentVolumeClaim];

/// Takes every finalizer off what of the workspace was deleted a good while ago, but for its volumes; gives what had one. What
/// is not being deleted is not touched: nobody has been asked yet to clean up after it.
pub(super) async fn let_go(
    host: &Cluster,
    names: &Names,
    global: &BTreeSet<(Kind, String)>,
    now: Timestamp,
) -> Result<Vec<ObjectRef>, ReconcileError> {
    let nothing = json!({ "metadata": { "finalizers": [] } });
    let mut held: Vec<(Kind, Option<&str>, String)> = Vec::new();
    for (kind, name) in global {
        // Of a volume its provisioner knows more, and the receipt tells of it.
        if *kind != Kind::PersistentVolume
            && let Some(object) = host.get(*kind, None, name).await?
            && is_stuck(&object.metadata, now)
        {
            held.push((*kind, None, name.clone()));
        }
    }
    let namespace = names.namespace.as_str();
    for kind in Kind::ALL.iter().copied() {
        if !kind.is_namespaced() {
            continue;
        }
        let found = host.list_metadata(kind, Some(namespace), "").await?;
        let found = found.into_iter().filter(|metadata| is_stuck(metadata, now)).filter_map(|metadata| metadata.name);
        held.extend(found.map(|name| (kind, Some(namespace), name)));
    }
    for (kind, namespace, name) in &held {
        match host.merge(*kind, *namespace, name, &nothing).await {
            Err(error) if error.is(404) => {}
            other => other?,
        }
    }
    Ok(held.into_iter().map(|(kind, namespace, name)| kind.object(namespace, &name)).collect())
}

pub(super) fn is_held(metadata: &ObjectMeta) -> bool {
    metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty())
}

fn is_stuck(metadata: &ObjectMeta, now: Timestamp) -> bool {
    let deleted = metadata.deletion_timestamp.as_ref();
    is_held(metadata) && deleted.is_some_and(|deleted| now.millis_since(deleted.0.into()) > HELD_MILLIS)
}

/// Takes vCluster's finalizers off, or the namespace would never end.
pub(super) async fn strip_finalizers(host: &Cluster, names: &Names) -> Result<(), ReconcileError> {
    let namespace = Some(names.namespace.as_str());
    for kind in FINALIZED {
        for object in host.list(kind, namespace, "").await? {
            let Some(kept) = kept_finalizers(&object) else { continue };
            let name = object.metadata.name.as_deref().unwrap_or_default();
            let patch = json!({ "metadata": { "finalizers": kept } });
            match host.merge(kind, namespace, name, &patch).await {
                Err(error) if error.is(404) => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// The finalizers that are not vCluster's, if any is.
fn kept_finalizers(object: &DynamicObject) -> Option<Vec<String>> {
    let all = object.metadata.finalizers.as_ref()?;
    let kept: Vec<String> = all.iter().filter(|name| !name.starts_with(FINALIZERS)).cloned().collect();
    (kept.len() < all.len()).then_some(kept)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn only_vclusters_finalizers_are_taken_off() {
        let kept = |finalizers: Value| {
            let object = json!({ "metadata": { "finalizers": finalizers } });
            kept_finalizers(&serde_json::from_value(object).unwrap())
        };
        let both = json!(["vcluster.loft.sh/snapshot-controller", "kubernetes.io/pvc-protection"]);
        assert_eq!(kept(both), Some(vec!["kubernetes.io/pvc-protection".to_owned()]));
        assert_eq!(kept(json!(["kubernetes.io/pvc-protection"])), None);
    }
}
