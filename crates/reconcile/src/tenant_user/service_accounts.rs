//! Tokens of ServiceAccounts inside a tenant: which Secrets hold one, and how the tokens of a ServiceAccount are ended.
//!
//! Kubernetes remembers no token that was asked for. It goes by the uid of the ServiceAccount, though: made anew under the same
//! name, with another uid, it keeps its bindings and no token of before is good for it.

use std::collections::HashSet;

use futures::FutureExt;
use hexabase_core::ids::UserId;
use hexabase_core::time::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use kube::api::ListParams;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::TenantUser;
use super::reading::Metadata;
use super::renewal::{Missing, PATIENCE, Renewal};
use crate::apply::all_of;
use crate::error::ReconcileError;
use crate::labels::{CREATED_BY, MANAGED_BY, MANAGER};
use crate::manifest::Kind;
use crate::status::Progress;
use crate::tenant::makers::{ACCOUNT_NAME, TOKEN_SECRET, person};
use crate::tenant::rights::remove;

/// Most letters of a name; Kubernetes has no longer ones.
const MOST_NAME: usize = 253;

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
    uid: Option<String>,
    /// Whether it is the platform's, by its label.
    ours: bool,
}

/// A ServiceAccount, all of whose tokens have ended, unless it is [`Missing`] and that is not known.
#[derive(Debug)]
pub struct Renewed {
    /// Whether there was none, so that they had ended before.
    pub absent: bool,
    /// Why it is not known to be there again.
    pub missing: Option<Missing>,
    /// Whether Kubernetes may delete what it owned, because making that nobody's took too long.
    pub forced: bool,
    /// The pods that still hold such tokens, and have to be restarted; or why they cannot be told.
    pub pods: Result<Vec<String>, ReconcileError>,
}

/// Of a pod what tells whether it holds a token.
#[derive(Deserialize)]
struct HoldingPod {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: HoldingSpec,
    #[serde(default)]
    status: HoldingStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HoldingSpec {
    service_account_name: Option<String>,
    volumes: Option<Vec<HoldingVolume>>,
}

#[derive(Deserialize)]
struct HoldingVolume {
    projected: Option<Projected>,
}

#[derive(Deserialize)]
struct Projected {
    sources: Option<Vec<Source>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    service_account_token: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct HoldingStatus {
    phase: Option<String>,
}

impl TenantUser {
    /// Every Secret that holds a token of a ServiceAccount. The tokens themselves are not read.
    pub async fn token_secrets(&self) -> Result<Vec<TokenSecret>, ReconcileError> {
        let mut found = Vec::new();
        let chosen = ListParams::default().fields(&format!("type={TOKEN_SECRET}"));
        let is_all = self.cluster.each_metadata(Kind::Secret, chosen, |metadata| found.extend(token_secret(&metadata)));
        all(Kind::Secret, is_all.await?)?;
        Ok(found)
    }

    /// Namespace and name of every ServiceAccount.
    pub async fn service_accounts(&self) -> Result<HashSet<(String, String)>, ReconcileError> {
        let mut found = HashSet::new();
        let note = |metadata: ObjectMeta| {
            let names = metadata.namespace.zip(metadata.name);
            found.extend(names.filter(|(namespace, name)| namespace.len().max(name.len()) <= MOST_NAME));
        };
        let is_all = self.cluster.each_metadata(Kind::ServiceAccount, ListParams::default(), note).await?;
        all(Kind::ServiceAccount, is_all)?;
        Ok(found)
    }

    /// Deletes Secrets, whoever's finalizers hold them; what came of each, in their order.
    pub async fn end_secrets(&self, secrets: &[TokenSecret]) -> Vec<Result<(), ReconcileError>> {
        all_of(secrets.iter().map(|secret| self.end(secret).boxed()).collect()).await
    }

    /// Makes ServiceAccounts (namespace and name) anew, so that all their tokens end; what came of each, in their order.
    pub async fn renew_service_accounts(&self, accounts: &[(String, String)]) -> Vec<Result<Renewed, ReconcileError>> {
        let calls = accounts.iter().map(|(namespace, name)| self.renew(namespace, name).boxed()).collect();
        all_of(calls).await
    }

    async fn renew(&self, namespace: &str, name: &str) -> Result<Renewed, ReconcileError> {
        let Some(found) = self.cluster.get(Kind::ServiceAccount, Some(namespace), name).await? else {
            return Ok(Renewed { absent: true, missing: None, forced: false, pods: Ok(Vec::new()) });
        };
        refuse_ours(Kind::ServiceAccount, name, is_ours(&found.metadata))?;
        let mut renewal = Renewal::new(&self.cluster, &found, namespace, name);
        renewal.rehearse().await?;
        let missing = renewal.carry_out(PATIENCE).await?;
        let forced = renewal.is_forced();
        Ok(Renewed { absent: false, missing, forced, pods: self.pods_with_tokens(namespace, name).await })
    }

    async fn end(&self, secret: &TokenSecret) -> Result<(), ReconcileError> {
        let (kind, name) = (Kind::Secret, secret.name.as_str());
        refuse_ours(kind, name, secret.ours)?;
        match remove(&self.cluster, kind, Some(&secret.namespace), name, secret.uid.as_deref()).await? {
            Progress::Done => Ok(()),
            Progress::Wait { reason, .. } => Err(refused(kind, name, 409, reason)),
        }
    }

    async fn pods_with_tokens(&self, namespace: &str, account: &str) -> Result<Vec<String>, ReconcileError> {
        let mut holding = Vec::new();
        self.each("pods", &Pod::url_path(&(), Some(namespace)), |pod: HoldingPod| {
            if holds_token(&pod, account) {
                holding.extend(pod.metadata.name);
            }
        })
        .await?;
        Ok(holding)
    }
}

pub(super) fn refused(kind: Kind, name: &str, code: u16, message: String) -> ReconcileError {
    ReconcileError::Refused { action: "delete", object: format!("{} {name}", kind.as_str()), code, message }
}

fn is_ours(metadata: &ObjectMeta) -> bool {
    metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == MANAGER)
}

/// Refuses to go by a list of which there is more than can be read: something would be overlooked.
fn all(kind: Kind, is_all: bool) -> Result<(), ReconcileError> {
    match is_all {
        true => Ok(()),
        false => Err(ReconcileError::Refused {
            action: "list",
            object: kind.as_str().to_owned(),
            code: 403,
            message: format!("there are more objects of the kind {} in the workspace than can be read", kind.as_str()),
        }),
    }
}

fn refuse_ours(kind: Kind, name: &str, ours: bool) -> Result<(), ReconcileError> {
    match ours {
        true => {
            let why = "it is the platform's, by its label app.kubernetes.io/managed-by, and stays";
            Err(refused(kind, name, 403, why.to_owned()))
        }
        false => Ok(()),
    }
}

/// Of a Secret what is needed here: its people may write on it as much as they like.
fn token_secret(metadata: &ObjectMeta) -> Option<TokenSecret> {
    let named = |text: &String| (text.len() <= MOST_NAME).then(|| text.clone());
    let annotation = |name: &str| metadata.annotations.as_ref().and_then(|all| all.get(name));
    let maker = annotation(CREATED_BY).and_then(|username| person(username)?.parse().ok());
    let created = metadata.creation_timestamp.as_ref().map(|created| created.0.into());
    Some(TokenSecret {
        namespace: metadata.namespace.as_ref().and_then(named)?,
        name: metadata.name.as_ref().and_then(named)?,
        service_account: annotation(ACCOUNT_NAME).and_then(named).unwrap_or_default(),
        created_by: maker,
        created_at: created.unwrap_or(Timestamp::from_seconds(0)),
        uid: metadata.uid.clone(),
        ours: is_ours(metadata),
    })
}

fn holds_token(pod: &HoldingPod, account: &str) -> bool {
    let over = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let has_token = |volume: &HoldingVolume| {
        let mut sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        sources.any(|source| source.service_account_token.is_some())
    };
    let HoldingSpec { service_account_name, volumes } = &pod.spec;
    !over && service_account_name.as_deref() == Some(account) && volumes.iter().flatten().any(has_token)
}

#[cfg(test)]
mod tests {
    use hexabase_testkit::tenant::FakeTenant;
    use serde_json::{Value, json};

    use super::*;

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

    #[tokio::test]
    async fn however_much_is_written_on_secrets_and_accounts_they_are_read_page_by_page() {
        let server = FakeTenant::start().await.unwrap();
        let tenant = TenantUser::connect(&server.address(), &server.ca_pem, "token").await.unwrap();
        let paths = ["/api/v1/secrets", "/api/v1/serviceaccounts"];
        let long = "x".repeat(300 << 10);
        let item = |number: usize| {
            json!({ "metadata": { "namespace": "web", "name": format!("s-{number}"),
            "annotations": { ACCOUNT_NAME: long } } })
        };
        let list = |more: &str, items: Vec<Value>| {
            json!({ "apiVersion": "meta.k8s.io/v1", "metadata": { "continue": more },
            "kind": "PartialObjectMetadataList", "items": items })
        };
        for path in paths {
            server.answer("GET", path, 200, list("", (0..20).map(item).collect()));
        }
        let secrets = tenant.token_secrets().await.unwrap();
        assert_eq!((secrets.len(), secrets[0].service_account.as_str()), (20, ""), "no account has such a name");
        assert_eq!(tenant.service_accounts().await.unwrap().len(), 20);
        assert!(
            server.asked("GET").iter().all(|asked| asked.query.contains("limit=1000")),
            "{:?}",
            server.asked("GET")
        );

        // Too long at once, whatever is asked for: fewer and fewer are asked for.
        for path in paths {
            server.answer("GET", path, 200, list("", (0..40).map(item).collect()));
        }
        assert!(tenant.token_secrets().await.is_err() && tenant.service_accounts().await.is_err());
        assert!(
            server
                .asked("GET")
                .iter()
                .any(|asked| asked.query.contains("limit=1&") || asked.query.ends_with("limit=1"))
        );

        // Without an end something would be overlooked.
        for path in paths {
            server.answer(
                "GET",
                path,
                200,
                list("more", vec![json!({ "metadata": { "namespace": "web", "name": "s" } })]),
            );
        }
        let told = tenant.token_secrets().await.map(drop);
        assert!(matches!(&told, Err(ReconcileError::Refused { code: 403, .. })), "{told:?}");
    }

    #[test]
    fn the_maker_of_a_secret_is_one_of_our_people_or_not_known() {
        let read = |by: Value| {
            let annotations = json!({ ACCOUNT_NAME: "robot", CREATED_BY: by });
            let metadata = json!({ "name": "s", "namespace": "web", "annotations": annotations,
                "creationTimestamp": "2026-01-01T00:00:00Z" });
            token_secret(&serde_json::from_value(metadata).unwrap()).unwrap()
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
