//! A ServiceAccount on its way to being made anew: deleted, and made again with all it was given but another uid.
//!
//! In between it is not there, and nobody else comes back to it. So once it may be deleted no error ends this: it looks again what
//! is there, until it is there anew or its time is over.

use std::mem::replace;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DynamicObject, Preconditions};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::service_accounts::refused;
use crate::apply::{Cluster, Dependents};
use crate::error::ReconcileError;
use crate::manifest::{Kind, Manifest};

/// How long the deletion is tried, and from then on, how long the next one is tried to be made.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What of a ServiceAccount outlives its uid, beside its metadata.
const KEPT: [&str; 3] = ["secrets", "imagePullSecrets", "automountServiceAccountToken"];
/// Kubernetes' finalizer while what an object owns is being made nobody's.
const ORPHAN: &str = "orphan";
/// Kubernetes' finalizer while what an object owns is being deleted.
const FOREGROUND: &str = "foregroundDeletion";
/// The shortest pause between two attempts, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// A ServiceAccount that was to be deleted and is not known to be there again.
#[derive(Debug)]
pub struct Missing {
    /// What went wrong last.
    pub why: ReconcileError,
    /// Whether the one of before is known to be deleted, and its tokens with it; Kubernetes may accept them for a minute more,
    /// as long as somebody's finalizer holds it.
    pub ended: bool,
    /// What it was: whoever applies this has it again.
    pub manifest: Value,
}

/// What is known of the ServiceAccount of before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is as it was.
    Untouched,
    /// Its deletion was asked for, and what came of it is not known.
    Unknown,
    /// It is being deleted, or is gone.
    Ended { since: Instant },
}

/// A ServiceAccount that is being made anew.
pub(super) struct Renewal<'c> {
    cluster: &'c Cluster,
    /// The next one.
    again: Manifest,
    /// Of the one of before.
    uid: Option<String>,
    /// In which state the one of before was when `again` was read from it.
    version: Option<String>,
    standing: Standing,
    forced: bool,
}

impl<'c> Renewal<'c> {
    pub(super) fn new(cluster: &'c Cluster, found: &DynamicObject, namespace: &str, name: &str) -> Self {
        let ObjectMeta { uid, resource_version, .. } = found.metadata.clone();
        let again = as_it_was(found, namespace, name);
        Self { cluster, again, uid, version: resource_version, standing: Standing::Untouched, forced: false }
    }

    /// Whether what it owned may be deleted, because making that nobody's took too long.
    pub(super) fn is_forced(&self) -> bool {
        self.forced
    }

    /// Has the API server judge whether the next one can be made: whoever may make none, or has no room for one, is not let
    /// destroy one.
    pub(super) async fn rehearse(&self) -> Result<(), ReconcileError> {
        // Under a name that nobody has.
        let mut trial = self.again.clone();
        trial.name = format!("hexabase-trial-{}", self.uid.as_deref().unwrap_or_default());
        trial.json["metadata"]["name"] = json!(trial.name);
        self.cluster.try_apply(&trial).await
    }

    /// Deletes it and makes it again; says what became of it if it is not known to be there again after all.
    ///
    /// # Errors
    /// It is as it was.
    pub(super) async fn carry_out(&mut self, patience: Duration) -> Result<Option<Missing>, ReconcileError> {
        let (begun, [mut pause, longest]) = (Instant::now(), PAUSES);
        loop {
            let why = match self.advance(patience / 2).await {
                Ok(true) => return Ok(None),
                Ok(false) => self.still_there(),
                Err(error) if self.standing == Standing::Untouched && error.concerns_one_object() => return Err(error),
                Err(error) => error,
            };
            let (since, ended) = match self.standing {
                Standing::Ended { since } => (since, true),
                Standing::Untouched | Standing::Unknown => (begun, false),
            };
            if since.elapsed() > patience {
                if !ended && (self.standing == Standing::Untouched || self.is_untouched().await) {
                    return Err(why);
                }
                return Ok(Some(Missing { why, ended, manifest: self.again.json.clone() }));
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Does what comes next; says whether it is there anew. For `allowed` Kubernetes is waited for.
    async fn advance(&mut self, allowed: Duration) -> Result<bool, ReconcileError> {
        let Some(found) = self.found().await? else {
            self.ended();
            return self.make().await;
        };
        if found.metadata.uid != self.uid {
            self.ended();
            return self.complete(&found).await;
        }
        if found.metadata.deletion_timestamp.is_some() {
            let since = self.ended();
            self.release(&found.metadata, since.elapsed() > allowed).await?;
        } else {
            self.delete(&found).await?;
        }
        Ok(false)
    }

    async fn found(&self) -> Result<Option<DynamicObject>, ReconcileError> {
        self.cluster.get(Kind::ServiceAccount, self.again.namespace.as_deref(), &self.again.name).await
    }

    /// It is being deleted or gone; says since when that is known.
    fn ended(&mut self) -> Instant {
        if let Standing::Ended { since } = self.standing {
            return since;
        }
        let since = Instant::now();
        self.standing = Standing::Ended { since };
        since
    }

    /// Has it deleted exactly as `again` tells of it. What somebody gave it meanwhile is read first, and no other is deleted.
    async fn delete(&mut self, found: &DynamicObject) -> Result<(), ReconcileError> {
        let namespace = self.again.namespace.clone().unwrap_or_default();
        if found.metadata.resource_version != self.version {
            self.version.clone_from(&found.metadata.resource_version);
            self.again = as_it_was(found, &namespace, &self.again.name);
        }
        let name = self.again.name.as_str();
        // If this process dies in the next moments, this is where it still stands.
        tracing::info!(service_account.manifest = %self.again.json, "a ServiceAccount is deleted to be made anew");
        let only = Preconditions { uid: self.uid.clone(), resource_version: self.version.clone() };
        let before = replace(&mut self.standing, Standing::Unknown);
        match self.cluster.delete_this(Kind::ServiceAccount, Some(&namespace), name, only, Dependents::Stay).await {
            Ok(_) => {
                self.ended();
                Ok(())
            }
            Err(error @ ReconcileError::Refused { .. }) => {
                self.standing = before;
                // Changed since it was read.
                if error.is(409) { Ok(()) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }

    /// Takes off finalizers, which would keep its name from the next one. Kubernetes' own is waited for: without it what the
    /// ServiceAccount owns is deleted.
    async fn release(&mut self, old: &ObjectMeta, late: bool) -> Result<(), ReconcileError> {
        let all = old.finalizers.as_deref().unwrap_or_default();
        let kept: Vec<&str> = all.iter().map(String::as_str).filter(|name| *name == ORPHAN && !late).collect();
        if kept.len() == all.len() {
            return Ok(());
        }
        let patch = json!({ "metadata": {
            "uid": old.uid, "resourceVersion": old.resource_version, "finalizers": kept } });
        let place = self.again.namespace.as_deref();
        self.cluster.merge(Kind::ServiceAccount, place, &self.again.name, &patch).await?;
        self.forced |= late && all.iter().any(|name| name == ORPHAN);
        Ok(())
    }

    /// Created rather than applied: what two people who do this at once give the next one adds up.
    async fn make(&self) -> Result<bool, ReconcileError> {
        match self.cluster.create(&self.again).await {
            Ok(_) => Ok(true),
            // Kubernetes makes the account `default` by itself, and anybody may have made another.
            Err(error) if error.is(409) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives the one that somebody else made in its place what that lacks.
    async fn complete(&self, other: &DynamicObject) -> Result<bool, ReconcileError> {
        if other.metadata.deletion_timestamp.is_some() {
            return Ok(false);
        }
        let Some(mut patch) = lacking(&self.again.json, other) else { return Ok(true) };
        patch["metadata"]["uid"] = json!(other.metadata.uid);
        patch["metadata"]["resourceVersion"] = json!(other.metadata.resource_version);
        let place = self.again.namespace.as_deref();
        self.cluster.merge(Kind::ServiceAccount, place, &self.again.name, &patch).await.map(|()| true)
    }

    async fn is_untouched(&self) -> bool {
        self.found().await.is_ok_and(|found| {
            let metadata = found.map(|found| found.metadata);
            metadata.is_some_and(|found| found.uid == self.uid && found.deletion_timestamp.is_none())
        })
    }

    fn still_there(&self) -> ReconcileError {
        let name = &self.again.name;
        refused(Kind::ServiceAccount, name, 409, format!("delete ServiceAccount {name}: it is still there"))
    }
}

/// The ServiceAccount with everything that people and programs gave it.
fn as_it_was(found: &DynamicObject, namespace: &str, name: &str) -> Manifest {
    let ObjectMeta { labels, annotations, owner_references, finalizers, .. } = &found.metadata;
    let labels: Map<String, Value> =
        labels.iter().flatten().map(|(label, value)| (label.clone(), json!(value))).collect();
    let kept = KEPT.iter().filter_map(|field| Some(((*field).to_owned(), found.data.get(*field)?.clone())));
    let mut again = Manifest::new(Kind::ServiceAccount, Some(namespace), name, &labels, Value::Object(kept.collect()));
    let metadata = &mut again.json["metadata"];
    if let Some(annotations) = annotations {
        metadata["annotations"] = json!(annotations);
    }
    if let Some(owners) = owner_references {
        metadata["ownerReferences"] = json!(owners);
    }
    let of_others = |name: &&String| ![ORPHAN, FOREGROUND].contains(&name.as_str());
    let finalizers: Vec<&String> = finalizers.iter().flatten().filter(of_others).collect();
    if !finalizers.is_empty() {
        metadata["finalizers"] = json!(finalizers);
    }
    again
}

/// What `other` has nothing of, as a merge patch.
fn lacking(again: &Value, other: &DynamicObject) -> Option<Value> {
    let other = json!({ "metadata": other.metadata, "data": other.data });
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(all) => all.is_empty(),
        _ => false,
    };
    let mut patch = json!({ "metadata": {} });
    for map in ["labels", "annotations"] {
        for (name, value) in again["metadata"][map].as_object().into_iter().flatten() {
            if other["metadata"][map][name.as_str()].is_null() {
                patch["metadata"][map][name.as_str()] = value.clone();
            }
        }
    }
    for list in ["ownerReferences", "finalizers"] {
        if is_empty(&other["metadata"][list]) && !is_empty(&again["metadata"][list]) {
            patch["metadata"][list] = again["metadata"][list].clone();
        }
    }
    for field in KEPT {
        if is_empty(&other["data"][field]) && !is_empty(&again[field]) {
            patch[field] = again[field].clone();
        }
    }
    (patch != json!({ "metadata": {} })).then_some(patch)
}

#[cfg(test)]
mod tests;
