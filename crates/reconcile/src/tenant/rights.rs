//! The platform's roles and bindings in a tenant: what is there of them, what has to go, what is to be made true. Its policies
//! and theirs are kept in the same way.
//!
//! What nobody wants goes first, and one object that is refused holds up none of the others, so that a right which was taken
//! away does not live on for somebody else's sake. Of what is as it should be, nothing is written.

use std::collections::{HashMap, HashSet};

use futures::FutureExt;
use kube::api::{DynamicObject, ObjectMeta, Preconditions};
use serde_json::{Value, json};

use crate::apply::{Cluster, Dependents, each};
use crate::error::ReconcileError;
use crate::labels::{MANAGED_BY, MANAGER};
use crate::manifest::{Kind, Manifest};
use crate::status::Progress;
use crate::tenant::owned;

/// How the names of everything that the platform makes here begin.
const NAMES: [&str; 2] = ["hexabase:", "hexabase-custom-"];
/// Most objects of the platform's without its label that are looked after at once.
const MOST_OTHERS: usize = 10_000;

/// Roles (or policies) and bindings of one kind each, in all namespaces, as they were found.
pub(crate) struct Rights {
    roles: Found,
    bindings: Found,
}

impl Rights {
    pub(crate) async fn find(tenant: &Cluster, roles: Kind, bindings: Kind) -> Result<Self, ReconcileError> {
        Ok(Self { roles: Found::list(tenant, roles).await?, bindings: Found::list(tenant, bindings).await? })
    }

    /// Makes these, and no others of the platform's, be there: in one namespace, or in none.
    pub(crate) async fn make_true(
        &self,
        tenant: &Cluster,
        namespace: Option<&str>,
        roles: &[Manifest],
        bindings: &[Manifest],
    ) -> Result<Progress, ReconcileError> {
        let ended = self.bindings.prune(tenant, namespace, bindings).await?;
        let ended = ended.and(self.roles.prune(tenant, namespace, roles).await?);
        let made = self.roles.restore(tenant, roles).await?;
        Ok(ended.and(made).and(self.bindings.restore(tenant, bindings).await?))
    }
}

/// Everything of one kind that is the platform's.
struct Found {
    kind: Kind,
    /// By namespace and name; nothing is known of an object whose label somebody took off.
    objects: HashMap<(String, String), Option<DynamicObject>>,
}

fn key(namespace: Option<&str>, name: &str) -> (String, String) {
    (namespace.unwrap_or_default().to_owned(), name.to_owned())
}

/// The key of an object that the platform made, by its name and by who wrote it.
fn ours(metadata: &ObjectMeta) -> Option<(String, String)> {
    let name = metadata.name.as_deref().filter(|name| NAMES.iter().any(|start| name.starts_with(start)))?;
    let namespace = metadata.namespace.as_deref();
    let mut writers = metadata.managed_fields.iter().flatten();
    let written = writers.any(|entry| entry.manager.as_deref() == Some(MANAGER));
    // Kubernetes has no longer ones.
    let short = [name, namespace.unwrap_or_default()].iter().all(|name| name.len() <= 253);
    (written && short).then(|| key(namespace, name))
}

impl Found {
    async fn list(tenant: &Cluster, kind: Kind) -> Result<Self, ReconcileError> {
        // Of more than are kept nothing is known: what nobody wants is found once those before it are gone, what is wanted is
        // written once more.
        let labelled = tenant.list_some(kind, &owned()).await?.into_iter().map(|object| {
            let metadata = &object.metadata;
            (key(metadata.namespace.as_deref(), metadata.name.as_deref().unwrap_or_default()), Some(object))
        });
        // Whoever takes the label off an object does not keep it so.
        let mut objects = HashMap::new();
        let note = |metadata: ObjectMeta| {
            if let Some(key) = ours(&metadata).filter(|_| objects.len() < MOST_OTHERS) {
                objects.insert(key, None);
            }
        };
        tenant.each_metadata(kind, &format!("{MANAGED_BY}!={MANAGER}"), note).await?;
        objects.extend(labelled);
        Ok(Self { kind, objects })
    }

    /// Deletes what is not wanted.
    async fn prune(
        &self,
        tenant: &Cluster,
        namespace: Option<&str>,
        wanted: &[Manifest],
    ) -> Result<Progress, ReconcileError> {
        let wanted: HashSet<&str> = wanted.iter().map(|manifest| manifest.name.as_str()).collect();
        let here = self.objects.keys().filter(|(place, _)| place == namespace.unwrap_or_default());
        let surplus = here.map(|(_, name)| name.as_str()).filter(|name| !wanted.contains(name));
        let calls = surplus.map(|name| {
            tracing::info!(object.kind = self.kind.as_str(), object.name = name, "deletes what nobody wants");
            remove(tenant, self.kind, namespace, name, None).boxed()
        });
        each(calls.collect()).await
    }

    /// Applies what is not as it is wanted.
    async fn restore(&self, tenant: &Cluster, wanted: &[Manifest]) -> Result<Progress, ReconcileError> {
        let differing = wanted.iter().filter(|manifest| {
            let found = self.objects.get(&key(manifest.namespace.as_deref(), &manifest.name));
            !found.and_then(Option::as_ref).is_some_and(|found| is_as_wanted(found, manifest))
        });
        each(differing.map(|manifest| make(tenant, manifest).boxed()).collect()).await
    }
}

/// Whether an apply would change nothing. Labels that somebody added are theirs.
fn is_as_wanted(found: &DynamicObject, wanted: &Manifest) -> bool {
    let labels = wanted.json.pointer("/metadata/labels").and_then(Value::as_object);
    let labelled = labels.into_iter().flatten().all(|(name, value)| {
        let found = found.metadata.labels.as_ref().and_then(|labels| labels.get(name));
        found.map(String::as_str) == value.as_str()
    });
    let same = |field: &str| present(&found.data, field) == present(&wanted.json, field);
    labelled && ["rules", "aggregationRule", "roleRef", "subjects", "spec"].into_iter().all(same)
}

fn present<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    object.get(field).filter(|value| !value.is_null())
}

async fn make(tenant: &Cluster, manifest: &Manifest) -> Result<Progress, ReconcileError> {
    let binds = matches!(manifest.kind, Kind::RoleBinding | Kind::ClusterRoleBinding);
    let bent = match tenant.apply(manifest).await {
        // The role of a binding cannot be changed: it was made by somebody else.
        Err(error) if binds && error.is(422) => true,
        // With an aggregation rule Kubernetes itself would write other rules over ours.
        applied => {
            let applied = applied?;
            let aggregates = present(&applied.data, "aggregationRule").is_some();
            if !aggregates && !is_as_wanted(&applied, manifest) {
                return straighten(tenant, &applied, manifest).await;
            }
            aggregates
        }
    };
    if bent {
        match remove(tenant, manifest.kind, manifest.namespace.as_deref(), &manifest.name, None).await? {
            Progress::Done => drop(tenant.apply(manifest).await?),
            wait => return Ok(wait),
        }
    }
    Ok(Progress::Done)
}

/// Takes away what somebody put beside what is wanted, which an apply leaves alone: a condition more, for which a policy holds
/// for nobody. Not by deleting it, so that there is no moment without it.
async fn straighten(tenant: &Cluster, bent: &DynamicObject, manifest: &Manifest) -> Result<Progress, ReconcileError> {
    let straight = tenant.replace(bent, manifest).await?;
    if !is_as_wanted(&straight, manifest) {
        // Kubernetes may fill in what it did not when this was written; that holds up nothing.
        tracing::warn!(object = manifest.title(), "differs from what is wanted, also when it is replaced");
    }
    Ok(Progress::Done)
}

/// Deletes an object. RBAC goes by an object that is being deleted as by any other, so what somebody's finalizer keeps would
/// go on giving rights: it is taken off. With a `uid`, one that was made anew meanwhile counts as gone, and stays.
pub(crate) async fn remove(
    tenant: &Cluster,
    kind: Kind,
    namespace: Option<&str>,
    name: &str,
    uid: Option<&str>,
) -> Result<Progress, ReconcileError> {
    let only = Preconditions { uid: uid.map(ToOwned::to_owned), resource_version: None };
    let conflict = match tenant.delete_this(kind, namespace, name, only, Dependents::Go).await {
        Ok(true) => None,
        Ok(false) => return Ok(Progress::Done),
        // Another one has its name by now, or somebody writes it at this moment.
        Err(error) if error.is(409) => Some(error),
        Err(error) => return Err(error),
    };
    if !is_there(tenant, kind, namespace, name, uid).await? {
        return Ok(Progress::Done);
    }
    if let Some(error) = conflict {
        return Err(error);
    }
    let mut free = json!({ "metadata": { "finalizers": null } });
    if let Some(uid) = uid {
        free["metadata"]["uid"] = json!(uid);
    }
    match tenant.merge(kind, namespace, name, &free).await {
        Err(error) if error.is(404) => {}
        other => other?,
    }
    match is_there(tenant, kind, namespace, name, uid).await? {
        false => Ok(Progress::Done),
        true => Ok(Progress::wait(500, format!("delete {} {name}: it is still there", kind.as_str()))),
    }
}

async fn is_there(
    tenant: &Cluster,
    kind: Kind,
    namespace: Option<&str>,
    name: &str,
    uid: Option<&str>,
) -> Result<bool, ReconcileError> {
    let found = tenant.get(kind, namespace, name).await?;
    Ok(found.is_some_and(|found| uid.is_none_or(|uid| found.metadata.uid.as_deref() == Some(uid))))
}

#[cfg(test)]
mod tests;
