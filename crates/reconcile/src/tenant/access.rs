//! Step 6: the preset ClusterRoles and who holds them. The platform owns these: edits are undone, extras deleted. And the
//! proof that the API server believes the tokens that say who somebody is.

use std::collections::BTreeSet;

use hexabase_core::names::GroupName;
use hexabase_core::roles::{self, PresetClusterRole};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::Api;
use kube::api::PostParams;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::apply::Cluster;
use crate::error::ReconcileError;
use crate::manifest::{Kind, Manifest};
use crate::status::Progress;
use crate::tenant::{labels, owned, subject};

/// Every preset ClusterRole, and one binding per group and role.
pub(crate) fn build(cluster_roles: &[(GroupName, PresetClusterRole)]) -> (Vec<Manifest>, Vec<Manifest>) {
    let labels = labels();
    let roles = PresetClusterRole::ALL.iter().map(|role| {
        let rules: Vec<Value> = roles::rules(*role)
            .into_iter()
            .map(|rule| json!({ "apiGroups": rule.api_groups, "resources": rule.resources, "verbs": rule.verbs }))
            .collect();
        Manifest::new(Kind::ClusterRole, None, role.as_str(), &labels, json!({ "rules": rules }))
    });
    let once: BTreeSet<&(GroupName, PresetClusterRole)> = cluster_roles.iter().collect();
    let bindings = once.into_iter().map(|(group, role)| {
        // The role's name already starts with the platform's.
        let name = format!("{role}:{group}");
        binding(Kind::ClusterRoleBinding, None, &name, "ClusterRole", role.as_str(), group.as_str())
    });
    (roles.collect(), bindings.collect())
}

/// A binding of one role to one group.
pub(crate) fn binding(
    kind: Kind,
    namespace: Option<&str>,
    name: &str,
    role_kind: &str,
    role: &str,
    group: &str,
) -> Manifest {
    let body = json!({
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role },
        "subjects": subject(group),
    });
    Manifest::new(kind, namespace, name, &labels(), body)
}

/// Makes roles and bindings true.
pub(crate) async fn progress(
    tenant: &Cluster,
    cluster_roles: &[(GroupName, PresetClusterRole)],
) -> Result<Progress, ReconcileError> {
    let (roles, bindings) = build(cluster_roles);
    for role in &roles {
        restore_role(tenant, role).await?;
    }
    restore_bindings(tenant, Kind::ClusterRoleBinding, None, &bindings).await?;
    Ok(Progress::Done)
}

/// Whether the API server believes the token. One that started while the issuer was out of reach asks for its keys again
/// after ten seconds only.
pub(crate) async fn proof(tenant: &Cluster, token: Option<&SecretString>) -> Result<Progress, ReconcileError> {
    let Some(token) = token else { return Ok(Progress::Done) };
    let spec = TokenReviewSpec { token: Some(token.expose_secret().to_owned()), ..TokenReviewSpec::default() };
    let review = TokenReview { spec, ..TokenReview::default() };
    let reviews: Api<TokenReview> = Api::all(tenant.client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await;
    let unreachable = |error| ReconcileError::Unreachable { api: tenant.title, source: Box::new(error) };
    let status = answer.map_err(unreachable)?.status.unwrap_or_default();
    if status.authenticated == Some(true) {
        return Ok(Progress::Done);
    }
    let why = status.error.map(|error| format!(": {error}")).unwrap_or_default();
    Ok(Progress::wait(1_000, format!("the API server does not believe the platform's tokens yet{why}")))
}

async fn restore_role(tenant: &Cluster, role: &Manifest) -> Result<(), ReconcileError> {
    let applied = tenant.apply(role).await?;
    // With an aggregation rule Kubernetes itself would write other rules over ours.
    if applied.data.get("aggregationRule").is_some_and(|rule| !rule.is_null()) {
        tenant.delete(role.kind, None, &role.name, None).await?;
        tenant.apply(role).await?;
    }
    Ok(())
}

/// Applies the bindings and deletes those of the platform that are not among them.
pub(crate) async fn restore_bindings(
    tenant: &Cluster,
    kind: Kind,
    namespace: Option<&str>,
    bindings: &[Manifest],
) -> Result<(), ReconcileError> {
    for binding in bindings {
        match tenant.apply(binding).await {
            // The role of a binding cannot be changed: it was made by somebody else.
            Err(error) if error.is(422) => {
                tenant.delete(kind, namespace, &binding.name, None).await?;
                tenant.apply(binding).await?;
            }
            other => drop(other?),
        }
    }
    for found in tenant.list(kind, namespace, &owned()).await? {
        let name = found.metadata.name.as_deref().unwrap_or_default();
        if !bindings.iter().any(|binding| binding.name == name) {
            tracing::info!(object.kind = kind.as_str(), object.name = name, "deleted a binding that nobody wants");
            tenant.delete(kind, namespace, name, None).await?;
        }
    }
    Ok(())
}
