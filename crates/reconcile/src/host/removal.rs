//! The way back, without the tenant's help: rights, control plane, pods, namespace, volumes.
//!
//! Each call reads what is there and takes the next step, so it may stop anywhere and be run again by another worker. It ends
//! within two minutes, whatever others do: a pod whose node does not answer, a finalizer that nobody takes off and a volume
//! that stays are each waited for, but for half a minute or so and then no more.
//! Network policies outlive the pods they bind (CVE-2024-7598): the namespace goes only when no pod is left.

mod ahead;
mod finalizers;
mod pods;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use hexabase_core::time::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use self::ahead::{begin_clean_up, begin_release, unprotect};
use self::finalizers::{HELD_MILLIS, let_go, strip_finalizers};
use self::pods::end_pods;
pub(super) use self::pods::{STUCK_MILLIS, stop};
use crate::apply::Cluster;
use crate::error::ReconcileError;
use crate::host::inventory;
use crate::host::namespace::{Claim, claim};
use crate::host::volumes::{self, Fate};
use crate::labels::Names;
use crate::manifest::Kind;
use crate::receipt::{ObjectRef, Receipt, Removal, Removed};

/// One call of [`Host::remove`](crate::Host::remove).
pub(crate) async fn remove(host: &Cluster, removal: &Removal) -> Result<Removed, ReconcileError> {
    let names = Names::of(&removal.id);
    let claimed = claim(host, &names, removal.organization.as_ref(), removal.fence).await?;
    let (seen, forced) = (removal.seen.iter().cloned().collect(), removal.forced.iter().cloned().collect());
    let mut found = Found { seen, forced };

    let global = inventory::cluster_scoped(host, &names).await?;
    found.seen.extend(global.iter().map(|(kind, name)| kind.object(None, name)));
    for (kind, name) in &global {
        host.delete(*kind, None, name, None).await?;
    }
    // Before that, nothing can be deleted for so long, and the look is spared.
    if removal.now.millis_since(removal.begun) > HELD_MILLIS {
        found.forced.extend(let_go(host, &names, &global, removal.now).await?);
    }
    let waiting = match claimed {
        Claim::Ours { ending, .. } => Some(empty(host, &names, removal.now, ending, &mut found.seen).await?),
        Claim::Absent if !global.is_empty() => Some(("cluster roles are being removed".to_owned(), 100)),
        Claim::Absent => None,
    };
    if let Some((reason, millis)) = waiting {
        return Ok(wait(reason, millis, found));
    }
    release(host, &names, removal.now, found).await
}

/// What all calls of a removal have come across.
struct Found {
    seen: BTreeSet<ObjectRef>,
    forced: BTreeSet<ObjectRef>,
}

fn wait(reason: String, millis: u64, Found { seen, forced }: Found) -> Removed {
    let after = std::time::Duration::from_millis(millis);
    Removed::Waiting { reason, after, seen: seen.into_iter().collect(), forced: forced.into_iter().collect() }
}

/// Empties the namespace and deletes it; says what is still in the way.
async fn empty(
    host: &Cluster,
    names: &Names,
    now: Timestamp,
    ending: Option<String>,
    seen: &mut BTreeSet<ObjectRef>,
) -> Result<(String, u64), ReconcileError> {
    let namespace = Some(names.namespace.as_str());
    seen.insert(Kind::Namespace.object(None, &names.namespace));
    if ending.is_none() {
        seen.extend(inventory::namespaced(host, names).await?);
        seen.extend(volumes::objects(host, names).await?);
    }
    // Without its rights the control plane makes no new pods while it ends.
    host.delete(Kind::RoleBinding, namespace, &format!("vc-{}", names.name), None).await?;
    begin_clean_up(host, names).await?;
    let stopping = stop(host, names).await?;
    if stopping.is_none() {
        begin_release(host, names, now).await?;
    }
    let pods: Vec<Pod> = host.list_as(Kind::Pod, namespace, "").await?;
    if let Some(pod) = end_pods(host, names, &pods, now).await? {
        return Ok((format!("pod {pod}: Terminating"), 250));
    }
    if let Some(workload) = stopping {
        return Ok((format!("{workload}: is being stopped"), 100));
    }
    strip_finalizers(host, names).await?;
    if ending.is_none() {
        if let Some(claim) = volumes::being_made(host, names, now).await? {
            return Ok((format!("PersistentVolumeClaim {claim}: its volume is being made"), 500));
        }
        seen.extend(volumes::objects(host, names).await?);
        unprotect(host, names).await?;
        host.delete(Kind::Namespace, None, &names.namespace, None).await?;
    }
    Ok((format!("namespace {}: {}", names.namespace, ending.as_deref().unwrap_or("Terminating")), 500))
}

/// The namespace is gone: sees to the volumes, and writes the receipt.
async fn release(host: &Cluster, names: &Names, now: Timestamp, mut found: Found) -> Result<Removed, ReconcileError> {
    let mut remaining = BTreeSet::new();
    let mut pending = None;
    for volume in volumes::of_workspace(host, names).await? {
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        let object = Kind::PersistentVolume.object(None, name);
        found.seen.insert(object.clone());
        match volumes::fate(&volume, now) {
            Fate::GiveUp => drop(remaining.insert(object)),
            Fate::Wait => pending = Some(format!("PersistentVolume {name}: is being removed")),
            Fate::Delete => {
                host.delete(Kind::PersistentVolume, None, name, None).await?;
                pending = Some(format!("PersistentVolume {name}: is being removed"));
            }
        }
    }
    if let Some(reason) = pending {
        return Ok(wait(reason, 500, found));
    }
    let removed = found.seen.difference(&remaining).cloned().collect();
    let (remaining, forced) = (remaining.into_iter().collect(), found.forced.into_iter().collect());
    // Nodes are handed back, and what was to be there is known, elsewhere.
    Ok(Removed::Gone(Receipt { removed, remaining, forced, ..Receipt::default() }))
}
