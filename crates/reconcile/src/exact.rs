//! Objects that are the platform's alone: of them also goes what somebody added, which an apply leaves alone.

pub(crate) mod fights;

use std::collections::BTreeSet;
use std::time::Instant;

use futures::FutureExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::DynamicObject;
use serde_json::Value;

use crate::apply::{Cluster, in_parallel};
use crate::error::ReconcileError;
use crate::host::workload;
use crate::labels::MANAGER;
use crate::manifest::{Kind, Manifest};
use crate::status::Progress;
use crate::tenant::rights::remove;

/// By a change of these vCluster has its pods made anew, and so does `kubectl rollout restart`: they are left alone.
const OF_THE_PODS: &str = "/spec/template/metadata/annotations";
const TEMPLATE: &str = "/spec/template";

impl Cluster {
    /// Makes all be so, several at a time, as [`Self::apply_exactly`] does; stops at the first that is refused. One that is contested
    /// keeps none of the others from its turn, and is told of in the end.
    pub(crate) async fn apply_all_exactly<'a>(
        &self,
        manifests: impl IntoIterator<Item = &'a Manifest>,
    ) -> Result<(), ReconcileError> {
        let calls = manifests.into_iter().map(|manifest| self.apply_exactly(manifest).map(contested).boxed()).collect();
        in_parallel(calls).await?.into_iter().flatten().next().map_or(Ok(()), Err)
    }

    /// As [`Self::apply`], and takes away what somebody put beside it, such as a rule that lets everybody in. Not by deleting
    /// the object, so that there is no moment without it; only one that was made so that nobody can change it is made anew.
    pub(crate) async fn apply_exactly(&self, manifest: &Manifest) -> Result<DynamicObject, ReconcileError> {
        match self.apply_and_straighten(manifest).await {
            Err(refusal) if refusal.is(422) => self.make_anew(manifest, refusal).await,
            exact => exact,
        }
    }

    async fn apply_and_straighten(&self, manifest: &Manifest) -> Result<DynamicObject, ReconcileError> {
        let applied = self.apply(manifest).await?;
        if !is_bent(&applied, manifest) {
            return Ok(applied);
        }
        let Manifest { kind, namespace, name, .. } = manifest;
        let managers = others(&applied, *kind);
        let makes_pods = matches!(kind, Kind::StatefulSet | Kind::Deployment);
        // What is wanted was applied: whatever was added to it, it can be used.
        let ends_pods = makes_pods || is_immutable(&applied);
        if ends_pods && self.fights.is_on(&place(manifest), Instant::now()) {
            let namespace = namespace.clone().unwrap_or_default();
            return Err(ReconcileError::Contested { object: manifest.title(), namespace, managers });
        }
        tracing::warn!(
            object.kind = kind.as_str(),
            object.namespace = namespace.as_deref(),
            object.name = name,
            object.managers = managers,
            "is put straight: somebody has written into it"
        );
        let straight = self.put(manifest, &straight(applied, manifest)).await?;
        if makes_pods {
            self.fights.note(&place(manifest), Instant::now());
        }
        Ok(straight)
    }

    async fn make_anew(&self, manifest: &Manifest, refusal: ReconcileError) -> Result<DynamicObject, ReconcileError> {
        let Manifest { kind, namespace, name, .. } = manifest;
        let found = self.get(*kind, namespace.as_deref(), name).await?;
        let Some(found) = found.filter(|found| is_made_otherwise(found, manifest)) else { return Err(refusal) };
        tracing::warn!(
            object.kind = kind.as_str(),
            object.namespace = namespace.as_deref(),
            object.name = name,
            object.managers = others(&found, *kind),
            "is made anew, because nobody can change it"
        );
        workload::outdate(self, manifest).await?;
        match remove(self, *kind, namespace.as_deref(), name, found.metadata.uid.as_deref()).await? {
            Progress::Done => {
                let made = self.apply(manifest).await?;
                self.fights.note(&place(manifest), Instant::now());
                Ok(made)
            }
            Progress::Wait { .. } => Err(refusal),
        }
    }
}

/// Where the object is: one that is made anew is at the same place.
fn place(manifest: &Manifest) -> String {
    format!("{}/{}", manifest.namespace.as_deref().unwrap_or_default(), manifest.title())
}

fn contested(made: Result<DynamicObject, ReconcileError>) -> Result<Option<ReconcileError>, ReconcileError> {
    match made {
        Ok(_) => Ok(None),
        Err(error @ ReconcileError::Contested { .. }) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

/// Whether it is a Secret or a ConfigMap that nobody can change: it is made anew, and with it the pods that have mounted it.
fn is_immutable(applied: &DynamicObject) -> bool {
    applied.data.get("immutable") == Some(&Value::Bool(true))
}

/// What of an object of this kind is nobody else's to write.
const fn own_fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Secret | Kind::ConfigMap => &["data", "binaryData", "immutable"],
        // Controllers of some hosts name Secrets in it.
        Kind::ServiceAccount => &["automountServiceAccountToken"],
        // An apply writes these as a whole.
        Kind::Role | Kind::RoleBinding => &["rules", "subjects"],
        // Labels and annotations may be added to a namespace.
        Kind::Namespace => &[],
        _ => &["spec"],
    }
}

/// Whether Kubernetes fills in much of it by itself, so that only those who wrote a field tell whether it was added.
const fn has_defaults(kind: Kind) -> bool {
    matches!(kind, Kind::StatefulSet | Kind::Deployment | Kind::Service | Kind::Ingress | Kind::PodDisruptionBudget)
}

/// What Kubernetes lets nobody change of it. Named only for what is made anew for its sake: a Service would have another
/// address, which pods have been told, and pods would go with their workload.
const fn fixed_fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Secret => &["/type", "/immutable"],
        Kind::ConfigMap => &["/immutable"],
        // With other scopes our amounts are refused.
        Kind::ResourceQuota => &["/spec/scopes", "/spec/scopeSelector"],
        Kind::RoleBinding => &["/roleRef"],
        _ => &[],
    }
}

/// What an account has to be allowed to do with objects of this kind, so that they can be kept.
pub(crate) fn verbs(kind: Kind) -> impl Iterator<Item = &'static str> {
    let anew = (!fixed_fields(kind).is_empty()).then_some("delete");
    ["create", "get", "patch", "update"].into_iter().chain(anew)
}

fn is_made_otherwise(found: &DynamicObject, wanted: &Manifest) -> bool {
    fixed_fields(wanted.kind).iter().any(|place| found.data.pointer(place) != wanted.json.pointer(place))
}

/// Whether somebody added something to what was just applied.
fn is_bent(applied: &DynamicObject, manifest: &Manifest) -> bool {
    if has_defaults(manifest.kind) {
        return applied.metadata.managed_fields.iter().flatten().any(is_of_another);
    }
    own_fields(manifest.kind).iter().any(|field| {
        let found = applied.data.get(*field).unwrap_or(&Value::Null);
        adds(found, manifest.json.get(*field))
    })
}

/// Whether there is something of which `wanted` says nothing. What both have was applied; Kubernetes may write it in another
/// way, `1k` for `1000`.
fn adds(found: &Value, wanted: Option<&Value>) -> bool {
    match (found, wanted) {
        (Value::Null, _) => false,
        (_, None | Some(Value::Null)) => true,
        (Value::Object(found), Some(Value::Object(wanted))) => {
            found.iter().any(|(name, value)| adds(value, wanted.get(name)))
        }
        (Value::Array(found), Some(Value::Array(wanted))) => {
            found.len() != wanted.len() || found.iter().zip(wanted).any(|(found, wanted)| adds(found, Some(wanted)))
        }
        _ => false,
    }
}

/// Whether these are fields of the spec that somebody wrote beside what we apply, also in our name.
fn is_of_another(entry: &ManagedFieldsEntry) -> bool {
    !is_ours(entry)
        && noted(entry, "spec")
            .is_some_and(|spec| !(is_of_the_pods_only(spec) || is_by_us(entry) && is_only_a_number(spec)))
}

/// Noted of what was stopped although it could not be applied (`host/removal/pods.rs`); the number is applied with the next look.
fn is_only_a_number(spec: &Value) -> bool {
    spec.as_object().is_some_and(|fields| fields.keys().eq(["f:replicas"]))
}

fn is_by_us(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(MANAGER)
}

fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    is_by_us(entry) && entry.operation.as_deref() == Some("Apply")
}

/// What of this field is in the note.
fn noted<'a>(entry: &'a ManagedFieldsEntry, field: &str) -> Option<&'a Value> {
    entry.fields_v1.as_ref()?.0.get(format!("f:{field}"))
}

/// Who wrote these fields. What a webhook changes in a request is noted as that of whoever sent it.
fn name_of(entry: &ManagedFieldsEntry) -> &str {
    match entry.manager.as_deref() {
        Some(MANAGER) => "a webhook, or somebody in the platform's name,",
        name => name.unwrap_or("somebody"),
    }
}

/// Who wrote what is the platform's alone, by the names that they give themselves.
fn others(found: &DynamicObject, kind: Kind) -> String {
    let writes = |entry: &&ManagedFieldsEntry| match has_defaults(kind) {
        true => is_of_another(entry),
        false => !is_ours(entry) && own_fields(kind).iter().any(|field| noted(entry, field).is_some()),
    };
    let entries = found.metadata.managed_fields.iter().flatten().filter(writes);
    let names: BTreeSet<&str> = entries.map(name_of).collect();
    if names.is_empty() { "somebody".to_owned() } else { names.into_iter().collect::<Vec<_>>().join(", ") }
}

fn is_of_the_pods_only(spec: &Value) -> bool {
    let mut names = OF_THE_PODS.split('/').skip(2);
    let last = names.try_fold(spec, |fields, name| {
        fields.as_object().filter(|fields| fields.len() == 1)?.get(&format!("f:{name}"))
    });
    last.is_some()
}

/// The object with what is the platform's as it is wanted, and all else as it was found. Of what others wrote of that, nothing
/// is noted any more.
fn straight(mut object: DynamicObject, manifest: &Manifest) -> DynamicObject {
    let of_the_pods = object.data.pointer(OF_THE_PODS).and_then(Value::as_object).cloned();
    for field in own_fields(manifest.kind) {
        match (manifest.json.get(*field), &mut object.data) {
            (Some(wanted), data) => data[*field] = wanted.clone(),
            (None, Value::Object(data)) => drop(data.remove(*field)),
            (None, _) => {}
        }
    }
    if let Some(template) = object.data.pointer_mut(TEMPLATE).filter(|template| template.is_object()) {
        for (name, value) in of_the_pods.into_iter().flatten() {
            // There may be no place for it yet: a manifest does not have to name any.
            let wanted = &mut template["metadata"]["annotations"][name];
            if wanted.is_null() {
                *wanted = value;
            }
        }
    }
    if let Some(entries) = &mut object.metadata.managed_fields {
        entries.retain(|entry| !is_of_another(entry));
    }
    object
}

#[cfg(test)]
mod tests;
