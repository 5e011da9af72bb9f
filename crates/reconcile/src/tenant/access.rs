//! Step 6: the ClusterRoles of the platform, preset and custom, and who holds them. The platform owns these: edits are
//! undone, extras deleted. And the proof that the API server believes the tokens that say who somebody is.

use std::collections::BTreeSet;

use hexabase_core::names::GroupName;
use hexabase_core::roles::{self, ClusterRoleRef, PresetClusterRole, Rule};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::Api;
use kube::api::PostParams;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::apply::Cluster;
use crate::desired::CustomRole;
use crate::error::ReconcileError;
use crate::manifest::{Kind, Manifest};
use crate::status::Progress;
use crate::tenant::rights::Rights;
use crate::tenant::{labels, subject};

/// Every preset ClusterRole, the custom ones, and one binding per group and role.
pub(crate) fn build(
    cluster_roles: &[(GroupName, ClusterRoleRef)],
    custom_roles: &[CustomRole],
) -> (Vec<Manifest>, Vec<Manifest>) {
    let presets = PresetClusterRole::ALL.iter().map(|preset| cluster_role(preset.as_str(), &roles::rules(*preset)));
    let custom = custom_roles
        .iter()
        .map(|role| cluster_role(&ClusterRoleRef::Custom(role.name.clone()).to_string(), &role.rules));
    let once: BTreeSet<&(GroupName, ClusterRoleRef)> = cluster_roles.iter().collect();
    let bindings = once.into_iter().map(|(group, role)| {
        // The role's name already starts with the platform's.
        let (name, role) = (format!("{role}:{group}"), role.to_string());
        binding(Kind::ClusterRoleBinding, None, &name, "ClusterRole", &role, group.as_str())
    });
    (presets.chain(custom).collect(), bindings.collect())
}

/// A ClusterRole of the platform.
pub(crate) fn cluster_role(name: &str, rules: &[Rule]) -> Manifest {
    Manifest::new(Kind::ClusterRole, None, name, &labels(), json!({ "rules": policy_rules(rules) }))
}

/// Rules as `rbac.authorization.k8s.io/v1` writes them.
pub(crate) fn policy_rules(rules: &[Rule]) -> Vec<Value> {
    let policy_rule = |rule: &Rule| {
        let Rule { api_groups, resources, verbs, resource_names } = rule;
        let mut value = json!({ "apiGroups": api_groups, "resources": resources, "verbs": verbs });
        if !resource_names.is_empty() {
            value["resourceNames"] = json!(resource_names);
        }
        value
    };
    rules.iter().map(policy_rule).collect()
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
    cluster_roles: &[(GroupName, ClusterRoleRef)],
    custom_roles: &[CustomRole],
) -> Result<Progress, ReconcileError> {
    let (roles, bindings) = build(cluster_roles, custom_roles);
    let wanted: Vec<&Manifest> = roles.iter().chain(&bindings).collect();
    let found = Rights::find(tenant, [Kind::ClusterRole, Kind::ClusterRoleBinding], &[None], &wanted).await?;
    found.make_true(tenant, None, &roles, &bindings).await
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
