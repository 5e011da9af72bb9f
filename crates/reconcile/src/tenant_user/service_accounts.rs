//! Tokens of ServiceAccounts inside a tenant: which Secrets hold one, and how the tokens of a ServiceAccount are ended.
//!
//! Kubernetes remembers no token that was asked for. It goes by the uid of the ServiceAccount, though: made anew under the same
//! name, with another uid, it keeps its bindings and no token of before is good for it.

use std::collections::HashSet;
use std::time::Duration;

use futures::FutureExt;
use hexabase_core::ids::UserId;
use hexabase_core::time::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::TenantUser;
use crate::apply::{Dependents, all_of};
use crate::error::ReconcileError;
use crate::labels::{CREATED_BY, MANAGED_BY, MANAGER};
use crate::manifest::{Kind, Manifest};
use crate::status::Progress;
use crate::tenant::makers::{ACCOUNT_NAME, TOKEN_SECRET, person};
use crate::tenant::rights::remove;

/// What of a ServiceAccount outlives its uid, beside its metadata.
const KEPT: [&str; 3] = ["secrets", "imagePullSecrets", "automountServiceAccountToken"];

/// Kubernetes' finalizer while what an object owns is being made nobody's.
const ORPHAN: &str = "orphan";
/// How long a ServiceAccount is made anew, before the one of before or the one of after is given up.
const PATIENCE: Duration = Duration::from_secs(20);
/// The shortest pause between two attempts, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// A Secret that holds a token of a ServiceAccount.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenSecret {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The ServiceAccount.
    pub service_account: String,
    /// Who made it, if it was one of the platform's people, and Kubernetes was told to write that down by then.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    metadata: ObjectMeta,
}

/// A ServiceAccount, all of whose tokens have ended, unless it is [`Missing`] and that is not known.
#[derive(Debug)]
pub struct Renewed {
    /// Whether there was none, so that they had ended before.
    pub absent: bool,
    /// Why it is not known to be there again.
    pub missing: Option<Missing>,
    /// The pods that still hold such tokens, and have to be restarted; or why they cannot be told.
    pub pods: Result<Vec<String>, ReconcileError>,
}

/// A ServiceAccount that was to be deleted and is not known to be there again.
#[derive(Debug)]
pub struct Missing {
    /// What went wrong last.
    pub why: ReconcileError,
    /// Whether the one of before is known to be deleted, and its tokens with it.
    pub ended: bool,
    /// What it was: whoever applies this has it again.
    pub manifest: Value,
}

/// What is known of a ServiceAccount that is being made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is as it was.
    Untouched,
    /// A deletion was asked for, and what came of it is not known.
    Unknown,
    /// It is being deleted, or is gone already.
    Ended,
}

impl TenantUser {
    /// Every Secret that holds a token of a ServiceAccount. The tokens themselves are not read.
    pub async fn token_secrets(&self) -> Result<Vec<TokenSecret>, ReconcileError> {
        let found = self.cluster.list_metadata_by_field(Kind::Secret, &format!("type={TOKEN_SECRET}")).await?;
        Ok(found.into_iter().filter_map(token_secret).collect())
    }

    /// Namespace and name of every ServiceAccount.
    pub async fn service_accounts(&self) -> Result<HashSet<(String, String)>, ReconcileError> {
        let found = self.cluster.list_metadata(Kind::ServiceAccount, None, "").await?;
        Ok(found.into_iter().filter_map(|metadata| metadata.namespace.zip(metadata.name)).collect())
    }

    /// Deletes Secrets, whoever's finalizers hold them; what came of each, in their order.
    pub async fn end_secrets(&self, secrets: &[TokenSecret]) -> Vec<Result<(), ReconcileError>> {
        let calls = secrets.iter().map(|secret| {
            let TokenSecret { namespace, name, metadata, .. } = secret;
            self.end(Kind::Secret, namespace, name, metadata).boxed()
        });
        all_of(calls.collect()).await
    }

    /// Makes ServiceAccounts (namespace and name) anew, so that all their tokens end; what came of each, in their order.
    pub async fn renew_service_accounts(&self, accounts: &[(String, String)]) -> Vec<Result<Renewed, ReconcileError>> {
        let calls = accounts.iter().map(|(namespace, name)| self.renew(namespace, name).boxed()).collect();
        all_of(calls).await
    }

    async fn renew(&self, namespace: &str, name: &str) -> Result<Renewed, ReconcileError> {
        let Some(found) = self.cluster.get(Kind::ServiceAccount, Some(namespace), name).await? else {
            return Ok(Renewed { absent: true, missing: None, pods: Ok(Vec::new()) });
        };
        refuse_ours(Kind::ServiceAccount, name, &found.metadata)?;
        let (again, uid) = (as_it_was(&found, namespace, name), found.metadata.uid.as_deref());
        // Whoever may make none, or has no room for one, is not let destroy one.
        self.cluster.try_apply(&trial(&again, uid)).await?;
        let missing = self.replace(&again, uid, PATIENCE).await?;
        Ok(Renewed { absent: false, missing, pods: self.pods_with_tokens(namespace, name).await })
    }

    /// Deletes the ServiceAccount with this uid and makes it again. Once its deletion was asked for nobody else comes back to
    /// it, so that no error ends this: it looks again what is there, until it is there anew or `patience` is over.
    ///
    /// # Errors
    /// It is as it was.
    async fn replace(
        &self,
        again: &Manifest,
        uid: Option<&str>,
        patience: Duration,
    ) -> Result<Option<Missing>, ReconcileError> {
        let (begun, [mut pause, longest]) = (Instant::now(), PAUSES);
        let mut standing = Standing::Untouched;
        loop {
            let late = begun.elapsed() > patience / 2;
            let why = match self.advance(again, uid, &mut standing, late).await {
                Ok(true) => return Ok(None),
                Ok(false) => still_there(&again.name),
                Err(error) if standing == Standing::Untouched && error.concerns_one_object() => return Err(error),
                Err(error) => error,
            };
            if begun.elapsed() > patience {
                return match standing {
                    Standing::Untouched => Err(why),
                    Standing::Unknown if self.is_untouched(again, uid).await => Err(why),
                    _ => Ok(Some(Missing { why, ended: standing == Standing::Ended, manifest: again.json.clone() })),
                };
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Does what comes next; says whether it is there anew. `late`, Kubernetes is not waited for any more.
    async fn advance(
        &self,
        again: &Manifest,
        uid: Option<&str>,
        standing: &mut Standing,
        late: bool,
    ) -> Result<bool, ReconcileError> {
        let (place, name) = (again.namespace.as_deref(), again.name.as_str());
        let found = self.cluster.get(Kind::ServiceAccount, place, name).await?;
        let Some(old) = found.filter(|found| found.metadata.uid.as_deref() == uid) else {
            *standing = Standing::Ended;
            // An apply, because Kubernetes makes the account `default` by itself, perhaps before us.
            return self.cluster.apply(again).await.map(|_| true);
        };
        if old.metadata.deletion_timestamp.is_some() {
            *standing = Standing::Ended;
            return self.release(again, &old.metadata, late).await.map(|()| false);
        }
        *standing = Standing::Unknown;
        match self.cluster.delete_this(Kind::ServiceAccount, place, name, uid, Dependents::Stay).await {
            // It was there a moment ago, and this had no effect.
            Err(error @ ReconcileError::Refused { .. }) if !error.is(409) => {
                *standing = Standing::Untouched;
                Err(error)
            }
            other => other.map(|_| false),
        }
    }

    /// Takes off finalizers, which would keep its name from the next one, but not Kubernetes' own: it would delete what the
    /// ServiceAccount owns.
    async fn release(&self, again: &Manifest, old: &ObjectMeta, late: bool) -> Result<(), ReconcileError> {
        let all = old.finalizers.as_deref().unwrap_or_default();
        let kept: Vec<&str> = all.iter().map(String::as_str).filter(|name| *name == ORPHAN && !late).collect();
        if kept.len() == all.len() {
            return Ok(());
        }
        let read = json!({ "uid": old.uid, "resourceVersion": old.resource_version, "finalizers": kept });
        let patch = json!({ "metadata": read });
        self.cluster.merge(Kind::ServiceAccount, again.namespace.as_deref(), &again.name, &patch).await
    }

    async fn is_untouched(&self, again: &Manifest, uid: Option<&str>) -> bool {
        let found = self.cluster.get(Kind::ServiceAccount, again.namespace.as_deref(), &again.name).await;
        found.is_ok_and(|found| {
            let metadata = found.map(|found| found.metadata);
            metadata.is_some_and(|found| found.uid.as_deref() == uid && found.deletion_timestamp.is_none())
        })
    }

    async fn end(&self, kind: Kind, namespace: &str, name: &str, metadata: &ObjectMeta) -> Result<(), ReconcileError> {
        refuse_ours(kind, name, metadata)?;
        match remove(&self.cluster, kind, Some(namespace), name, metadata.uid.as_deref()).await? {
            Progress::Done => Ok(()),
            Progress::Wait { reason, .. } => Err(refused(kind, name, 409, reason)),
        }
    }

    async fn pods_with_tokens(&self, namespace: &str, account: &str) -> Result<Vec<String>, ReconcileError> {
        let pods: Vec<Pod> = self.cluster.list_as(Kind::Pod, Some(namespace), "").await?;
        let holding = pods.into_iter().filter(|pod| holds_token(pod, account));
        Ok(holding.filter_map(|pod| pod.metadata.name).collect())
    }
}

fn refused(kind: Kind, name: &str, code: u16, message: String) -> ReconcileError {
    ReconcileError::Refused { action: "delete", object: format!("{} {name}", kind.as_str()), code, message }
}

fn still_there(name: &str) -> ReconcileError {
    refused(Kind::ServiceAccount, name, 409, format!("delete ServiceAccount {name}: it is still there"))
}

fn refuse_ours(kind: Kind, name: &str, metadata: &ObjectMeta) -> Result<(), ReconcileError> {
    let label = metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
    match label.is_some_and(|by| by == MANAGER) {
        true => {
            let why = "it is the platform's, by its label app.kubernetes.io/managed-by, and stays";
            Err(refused(kind, name, 403, why.to_owned()))
        }
        false => Ok(()),
    }
}

fn token_secret(metadata: ObjectMeta) -> Option<TokenSecret> {
    let annotation = |name: &str| metadata.annotations.as_ref().and_then(|all| all.get(name));
    let maker = annotation(CREATED_BY).and_then(|username| person(username)?.parse().ok());
    let created = metadata.creation_timestamp.as_ref().map(|created| created.0.into());
    Some(TokenSecret {
        namespace: metadata.namespace.clone()?,
        name: metadata.name.clone()?,
        service_account: annotation(ACCOUNT_NAME).cloned().unwrap_or_default(),
        created_by: maker,
        created_at: created.unwrap_or(Timestamp::from_seconds(0)),
        metadata,
    })
}

/// The ServiceAccount with everything that people and programs gave it.
fn as_it_was(found: &DynamicObject, namespace: &str, name: &str) -> Manifest {
    let ObjectMeta { labels, annotations, owner_references, .. } = &found.metadata;
    let labels: Map<String, Value> =
        labels.iter().flatten().map(|(label, value)| (label.clone(), json!(value))).collect();
    let kept = KEPT.iter().filter_map(|field| Some(((*field).to_owned(), found.data.get(*field)?.clone())));
    let mut again = Manifest::new(Kind::ServiceAccount, Some(namespace), name, &labels, Value::Object(kept.collect()));
    if let Some(annotations) = annotations {
        again.json["metadata"]["annotations"] = json!(annotations);
    }
    if let Some(owners) = owner_references {
        again.json["metadata"]["ownerReferences"] = json!(owners);
    }
    again
}

/// The same under a name that nobody has, for the API server to judge.
fn trial(again: &Manifest, uid: Option<&str>) -> Manifest {
    let mut trial = again.clone();
    trial.name = format!("hexabase-trial-{}", uid.unwrap_or_default());
    trial.json["metadata"]["name"] = json!(trial.name);
    trial
}

fn holds_token(pod: &Pod, account: &str) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let over = matches!(phase, Some("Succeeded" | "Failed"));
    let has_token = |volume: &Volume| {
        let mut sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        sources.any(|source| source.service_account_token.is_some())
    };
    let spec = pod.spec.as_ref();
    !over
        && spec.is_some_and(|spec| {
            spec.service_account_name.as_deref() == Some(account) && spec.volumes.iter().flatten().any(has_token)
        })
}

#[cfg(test)]
mod tests {
    use hexabase_testkit::kubernetes::FakeKubernetes;

    use super::*;
    use crate::connection::Host;
    use crate::settings::HostSettings;

    const ROBOT: &str = "/api/v1/namespaces/web/serviceaccounts/robot";
    const SOON: Duration = Duration::from_millis(300);

    /// A workspace with the ServiceAccount `robot`, whose uid is `u-1`, with this in its metadata.
    async fn with_robot(more: Value) -> (FakeKubernetes, TenantUser) {
        let server = FakeKubernetes::start().await.unwrap();
        let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
        let cluster = Host::connect(settings).await.unwrap().cluster;
        server.put("/api/v1/namespaces/web", json!({ "metadata": { "name": "web" } }));
        let mut metadata = json!({ "name": "robot", "namespace": "web", "uid": "u-1", "labels": { "app": "web" } });
        metadata.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        let robot = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata });
        server.put(ROBOT, robot);
        (server, TenantUser { cluster, turns: super::super::looks::turns("accounts") })
    }

    fn uid(server: &FakeKubernetes) -> Option<String> {
        server.get(ROBOT).and_then(|robot| robot["metadata"]["uid"].as_str().map(ToOwned::to_owned))
    }

    fn robot() -> Manifest {
        let labels = json!({ "app": "web" });
        Manifest::new(Kind::ServiceAccount, Some("web"), "robot", labels.as_object().unwrap(), json!({}))
    }

    #[tokio::test]
    async fn a_service_account_is_made_anew_whoever_holds_it() {
        // Kubernetes' own finalizer is taken off at last, when nobody else does that.
        for finalizers in [json!([]), json!(["example.com/hold"]), json!(["orphan", "example.com/hold"])] {
            let (server, tenant) = with_robot(json!({ "finalizers": finalizers })).await;
            let missing = tenant.replace(&robot(), Some("u-1"), SOON * 10).await.unwrap();
            assert!(missing.is_none(), "{missing:?}");
            assert_ne!(uid(&server).as_deref(), Some("u-1"), "{finalizers}");
            assert_eq!(server.get(ROBOT).unwrap()["metadata"]["labels"], json!({ "app": "web" }));
        }
    }

    #[tokio::test]
    async fn one_whose_deletion_has_no_effect_is_an_error_and_stays() {
        for code in [403, 500, 503] {
            let (server, tenant) = with_robot(json!({})).await;
            server.refuse("DELETE", ROBOT, code);
            assert!(tenant.replace(&robot(), Some("u-1"), SOON).await.is_err(), "{code}");
            assert_eq!(uid(&server).as_deref(), Some("u-1"), "{code}");
        }
    }

    #[tokio::test]
    async fn one_that_cannot_be_made_again_is_told_with_all_that_it_was() {
        for code in [403, 500] {
            let (server, tenant) = with_robot(json!({})).await;
            server.refuse("PATCH", ROBOT, code);
            let missing = tenant.replace(&robot(), Some("u-1"), SOON).await.unwrap().unwrap();
            assert_eq!((missing.ended, missing.manifest, uid(&server)), (true, robot().json, None), "{code}");
        }
        // What does not let itself be freed vanishes later.
        let (server, tenant) = with_robot(json!({ "finalizers": ["example.com/hold"] })).await;
        server.refuse("PATCH", ROBOT, 403);
        let missing = tenant.replace(&robot(), Some("u-1"), SOON).await.unwrap().unwrap();
        assert_eq!((missing.ended, missing.manifest), (true, robot().json));
    }

    #[tokio::test]
    async fn whoever_may_make_none_destroys_none() {
        let (server, tenant) = with_robot(json!({})).await;
        server.refuse("PATCH", "/api/v1/namespaces/web/serviceaccounts/hexabase-trial-u-1", 403);
        let outcome = tenant.renew("web", "robot").await;
        assert!(outcome.is_err_and(|error| error.is(403)));
        assert_eq!(uid(&server).as_deref(), Some("u-1"));
    }

    #[test]
    fn a_service_account_is_made_anew_with_what_it_was_given_and_no_other_identity() {
        let found = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": "robot", "namespace": "web", "uid": "u-1", "resourceVersion": "7",
                "creationTimestamp": "2026-01-01T00:00:00Z", "labels": { "app": "web" }, "annotations": { "note": "x" },
                "finalizers": ["example.com/hold"],
                "managedFields": [{ "manager": "kubectl" }],
                "ownerReferences": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "u-0" }] },
            "secrets": [{ "name": "robot-token" }], "imagePullSecrets": [{ "name": "registry" }],
            "automountServiceAccountToken": false,
        });
        let again = as_it_was(&serde_json::from_value(found).unwrap(), "web", "robot");
        let expected = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": "robot", "namespace": "web", "labels": { "app": "web" }, "annotations": { "note": "x" },
                "ownerReferences": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "u-0" }] },
            "secrets": [{ "name": "robot-token" }], "imagePullSecrets": [{ "name": "registry" }],
            "automountServiceAccountToken": false,
        });
        assert_eq!(again.json, expected);
        let bare = json!({ "metadata": { "name": "default", "namespace": "web", "uid": "u-1" } });
        let again = as_it_was(&serde_json::from_value(bare).unwrap(), "web", "default");
        assert_eq!(again.json["metadata"], json!({ "name": "default", "namespace": "web", "labels": {} }));
    }

    #[test]
    fn a_pod_holds_a_token_when_one_is_projected_into_it_and_it_has_not_ended() {
        let holds = |account: &str, phase: &str, source: Value| {
            let volumes = json!([{ "name": "plain", "emptyDir": {} },
                { "name": "access", "projected": { "sources": [{ "configMap": { "name": "ca" } }, source] } }]);
            let pod = json!({ "metadata": { "name": "p" }, "status": { "phase": phase },
                "spec": { "containers": [], "serviceAccountName": account, "volumes": volumes } });
            holds_token(&serde_json::from_value(pod).unwrap(), "robot")
        };
        let token = json!({ "serviceAccountToken": { "path": "token" } });
        assert!(holds("robot", "Running", token.clone()) && holds("robot", "Pending", token.clone()));
        assert!(!holds("other", "Running", token.clone()) && !holds("robot", "Succeeded", token));
        assert!(!holds("robot", "Running", json!({ "configMap": { "name": "x" } })));
    }

    #[test]
    fn the_maker_of_a_secret_is_one_of_our_people_or_not_known() {
        let read = |by: Value| {
            let annotations = json!({ ACCOUNT_NAME: "robot", CREATED_BY: by });
            let metadata = json!({ "name": "s", "namespace": "web", "annotations": annotations,
                "creationTimestamp": "2026-01-01T00:00:00Z" });
            token_secret(serde_json::from_value(metadata).unwrap()).unwrap()
        };
        let secret = read(json!("hexabase:usr-0123456789abcdefghjk"));
        assert_eq!((secret.namespace.as_str(), secret.service_account.as_str()), ("web", "robot"));
        assert_eq!(secret.created_by, "usr-0123456789abcdefghjk".parse().ok());
        assert_eq!(secret.created_at.to_string(), "2026-01-01T00:00:00Z");
        for other in ["hexabase:usr-x", "usr-0123456789abcdefghjk", "system:serviceaccount:web:robot", ""] {
            assert_eq!(read(json!(other)).created_by, None, "{other}");
        }
    }
}
