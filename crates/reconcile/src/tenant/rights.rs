//! The platform's roles and bindings in a tenant: what is there of them, what has to go, what is to be made true. Its policies
//! and theirs are kept in the same way.
//!
//! What nobody wants goes first, and one object that is refused holds up none of the others, so that a right which was taken
//! away does not live on for somebody else's sake. Of what is as it should be, nothing is written.

use std::collections::{HashMap, HashSet};

use futures::FutureExt;
use kube::api::{DynamicObject, ListParams, ObjectMeta, Preconditions};
use serde_json::{Value, json};

use crate::apply::{Cluster, Dependents, each};
use crate::error::ReconcileError;
use crate::labels::{MANAGED_BY, MANAGER};
use crate::manifest::{Kind, Manifest};
use crate::status::Progress;
use crate::tenant::owned;

/// How the names of everything that the platform makes here begin.
const NAMES: [&str; 2] = ["hexabase:", "hexabase-custom-"];
/// Most objects in one namespace that nobody wants and that are taken away in one look.
const MOST_SURPLUS: usize = 1_000;
/// Most letters of a name; Kubernetes has no longer ones.
const MOST_NAME: usize = 253;

/// Roles (or policies) and bindings of one kind each, in some namespaces, as they were found.
pub(crate) struct Rights {
    roles: Found,
    bindings: Found,
}

impl Rights {
    /// Compares what is there of a kind of role and one of binding with what is `wanted` in these namespaces, or in none. What
    /// is in others is left alone, and whoever fills those keeps nothing from being found here.
    pub(crate) async fn find(
        tenant: &Cluster,
        [roles, bindings]: [Kind; 2],
        places: &[Option<&str>],
        wanted: &[&Manifest],
    ) -> Result<Self, ReconcileError> {
        let roles = Found::list(tenant, roles, places, wanted).await?;
        Ok(Self { roles, bindings: Found::list(tenant, bindings, places, wanted).await? })
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

    /// Whether nobody has a right of the platform's there: none that could be taken away.
    pub(crate) fn has_none_in(&self, namespace: Option<&str>) -> bool {
        [&self.roles, &self.bindings].into_iter().all(|found| {
            let place = found.places.get(namespace.unwrap_or_default());
            found.is_all && place.is_some_and(|place| place.objects.is_empty())
        })
    }
}

/// What is the platform's of one kind.
struct Found {
    kind: Kind,
    /// By namespace.
    places: HashMap<String, Place>,
    /// Whether everything was looked at.
    is_all: bool,
}

/// What is the platform's in one namespace.
#[derive(Default)]
struct Place {
    /// By name, whether it is as it is wanted. Of a large object no more is kept.
    objects: HashMap<String, bool>,
    /// How many of them nobody wants.
    surplus: usize,
    /// Whether there are more of those.
    is_cut: bool,
}

/// The name of an object that the platform made, by that and by who wrote it.
fn ours(metadata: &ObjectMeta) -> Option<&str> {
    let name = metadata.name.as_deref().filter(|name| NAMES.iter().any(|start| name.starts_with(start)))?;
    let mut writers = metadata.managed_fields.iter().flatten();
    writers.any(|entry| entry.manager.as_deref() == Some(MANAGER)).then_some(name)
}

impl Found {
    fn nothing(kind: Kind, places: &[Option<&str>]) -> Self {
        let places = places.iter().map(|place| (place.unwrap_or_default().to_owned(), Place::default()));
        Self { kind, places: places.collect(), is_all: true }
    }

    async fn list(
        tenant: &Cluster,
        kind: Kind,
        places: &[Option<&str>],
        wanted: &[&Manifest],
    ) -> Result<Self, ReconcileError> {
        let mut found = Self::nothing(kind, places);
        let wanted = wanted.iter().filter(|manifest| manifest.kind == kind);
        let wanted: HashMap<(&str, &str), &Manifest> = wanted
            .map(|manifest| ((manifest.namespace.as_deref().unwrap_or_default(), manifest.name.as_str()), *manifest))
            .collect();
        let note = |object: DynamicObject| {
            let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
            let name = object.metadata.name.as_deref().unwrap_or_default();
            let wanted = wanted.get(&(namespace, name));
            found.note(namespace, name, wanted.map(|manifest| is_as_wanted(&object, manifest)));
        };
        let labelled = tenant.each_object(kind, &owned(), note).await?;
        // Whoever takes the label off an object does not keep it so.
        let note = |metadata: ObjectMeta| {
            let namespace = metadata.namespace.as_deref().unwrap_or_default();
            if let Some(name) = ours(&metadata) {
                found.note(namespace, name, wanted.contains_key(&(namespace, name)).then_some(false));
            }
        };
        let others = ListParams::default().labels(&format!("{MANAGED_BY}!={MANAGER}"));
        let others = tenant.each_metadata(kind, others, note).await?;
        found.is_all = labelled && others;
        Ok(found)
    }

    /// Notes an object of the platform's; whether it is as it is wanted, if anybody wants it.
    fn note(&mut self, namespace: &str, name: &str, as_wanted: Option<bool>) {
        let Some(place) = self.places.get_mut(namespace) else { return };
        if name.is_empty() || name.len() > MOST_NAME {
            return;
        }
        if as_wanted.is_none() {
            place.is_cut = place.surplus >= MOST_SURPLUS;
            if place.is_cut {
                return;
            }
            place.surplus += 1;
        }
        place.objects.insert(name.to_owned(), as_wanted.unwrap_or(false));
    }

    /// Deletes what is not wanted. It is not done as long as there may be more of that than was found.
    async fn prune(
        &self,
        tenant: &Cluster,
        namespace: Option<&str>,
        wanted: &[Manifest],
    ) -> Result<Progress, ReconcileError> {
        let Some(place) = self.places.get(namespace.unwrap_or_default()) else {
            return Ok(Progress::wait(500, "its roles and bindings were not looked at"));
        };
        let wanted: HashSet<&str> = wanted.iter().map(|manifest| manifest.name.as_str()).collect();
        let surplus = place.objects.keys().map(String::as_str).filter(|name| !wanted.contains(name));
        let calls = surplus.map(|name| {
            tracing::info!(object.kind = self.kind.as_str(), object.name = name, "deletes what nobody wants");
            remove(tenant, self.kind, namespace, name, None).boxed()
        });
        let ended = each(calls.collect()).await?;
        Ok(ended.and(self.rest(place)))
    }

    /// Whether there may be more than was found in this namespace.
    fn rest(&self, place: &Place) -> Progress {
        let more = |millis, of: &str| Progress::wait(millis, format!("{}: there are more {of}", self.kind.as_str()));
        match (place.is_cut, self.is_all) {
            (true, _) => more(1_000, "that nobody wants than are deleted at once"),
            (false, false) => more(15_000, "in the workspace than can be looked at"),
            (false, true) => Progress::Done,
        }
    }

    /// Applies what is not as it is wanted.
    async fn restore(&self, tenant: &Cluster, wanted: &[Manifest]) -> Result<Progress, ReconcileError> {
        let differing = wanted.iter().filter(|manifest| {
            let place = self.places.get(manifest.namespace.as_deref().unwrap_or_default());
            place.is_none_or(|place| place.objects.get(&manifest.name) != Some(&true))
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
