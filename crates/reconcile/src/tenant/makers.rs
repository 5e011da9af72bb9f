//! Step 6, second part: policies by which Kubernetes writes down who makes a Secret that holds a token. It does not say so by
//! itself, and such a token outlives its maker's access.
//!
//! One policy marks, and carries a mark over when the Secret is replaced by one without; another one refuses marks that are not true: also a token without one, should the first have been bent.
//! Kubernetes lets no policy protect policies, so these are restored when somebody edits them, as roles are.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use crate::apply::Cluster;
use crate::error::ReconcileError;
use crate::host::authentication::{PREFIX, minor};
use crate::labels::CREATED_BY;
use crate::manifest::{Kind, Manifest};
use crate::status::Progress;
use crate::tenant::labels;
use crate::tenant::rights::Rights;

/// The type of a Secret for which Kubernetes makes a token. It never changes.
pub(crate) const TOKEN_SECRET: &str = "kubernetes.io/service-account-token";
/// Annotation of such a Secret: for which ServiceAccount. Changed, it would have Kubernetes make another token, without a mark.
pub(crate) const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
/// How the names of the platform's people begin, as Kubernetes knows them.
const PEOPLE: &str = "hexabase:usr-";
const MARK: &str = "hexabase-token-makers";
const CHECK: &str = "hexabase-token-makers-are-true";
/// In these minor versions of Kubernetes policies that change objects are in beta, and off. Before there are none; since then
/// they are on, and to be had as v1 alone.
const BETA: RangeInclusive<u32> = 34..=35;

/// The kinds of a policy that changes objects, and of its binding.
type Mutating = [Kind; 2];
pub(crate) const IN_BETA: Mutating = [Kind::MutatingAdmissionPolicyBeta, Kind::MutatingAdmissionPolicyBindingBeta];
const STABLE: Mutating = [Kind::MutatingAdmissionPolicy, Kind::MutatingAdmissionPolicyBinding];

/// What the API server has to be told in a workspace with this version of Kubernetes, so that the policies can be there. They
/// need the gate and the API both: with the gate alone the API server would wait for policies and refuse everything. A later
/// version may know neither, and would not start with them.
pub(crate) fn api_server_args(kubernetes_tag: &str) -> &'static [&'static str] {
    match minor(kubernetes_tag).is_some_and(|minor| BETA.contains(&minor)) {
        true => &[
            "--feature-gates=MutatingAdmissionPolicy=true",
            "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
        ],
        false => &[],
    }
}

/// As what this version serves them, if it does. A version that cannot be told is taken for a new one.
fn served(kubernetes_tag: &str) -> Option<Mutating> {
    match minor(kubernetes_tag) {
        Some(minor) if minor < *BETA.start() => None,
        Some(minor) if BETA.contains(&minor) => Some(IN_BETA),
        _ => Some(STABLE),
    }
}

/// Two policies, each with its binding.
pub(crate) fn build([policy, binding]: Mutating) -> [[Manifest; 2]; 2] {
    let person = format!("request.userInfo.username.startsWith('{PEOPLE}')");
    let annotation = |name: &str, object: &str| format!("{object}.metadata.?annotations[?'{name}'].orValue('')");
    let of = |object: &str| annotation(CREATED_BY, object);
    // Whoever replaces a Secret by one from a file leaves its mark out, and is not to be refused for that.
    let marked = format!("{} != '' && {} == ''", of("oldObject"), of("object"));
    let takes = format!("request.operation == 'CREATE' ? {person} : ({marked})");
    let maker = format!("request.operation == 'CREATE' ? request.userInfo.username : {}", of("oldObject"));
    let mark = format!("Object{{metadata: Object.metadata{{annotations: {{'{CREATED_BY}': {maker}}}}}}}");
    let marks = json!({ "spec": {
        "failurePolicy": "Fail",
        "matchConditions": [condition("is-token", &is_token()), condition("takes-a-mark", &takes)],
        "matchConstraints": secrets(&["CREATE", "UPDATE"]),
        "mutations": [{ "patchType": "ApplyConfiguration", "applyConfiguration": { "expression": mark } }],
        "reinvocationPolicy": "Never",
    } });
    let checks = json!({ "spec": {
        "failurePolicy": "Fail",
        "matchConditions": [condition("is-token", &is_token())],
        "matchConstraints": secrets(&["CREATE", "UPDATE"]),
        "validations": [
            {
                "expression": "request.operation != 'CREATE' || variables.named == variables.maker",
                "message": format!("{CREATED_BY} names the person who makes a token, and nobody else"),
            },
            {
                "expression": "request.operation != 'UPDATE' || variables.named == variables.before",
                "message": format!("{CREATED_BY} stays as it is"),
            },
            {
                "expression": "request.operation != 'UPDATE' || variables.account == variables.accountBefore",
                "message": format!("{ACCOUNT_NAME} stays as it is; make another Secret"),
            },
        ],
        "variables": [
            { "name": "named", "expression": of("object") },
            { "name": "before", "expression": of("oldObject") },
            { "name": "account", "expression": annotation(ACCOUNT_NAME, "object") },
            { "name": "accountBefore", "expression": annotation(ACCOUNT_NAME, "oldObject") },
            { "name": "maker", "expression": format!("{person} ? request.userInfo.username : ''") },
        ],
    } });
    let object = |kind, name, body: Value| Manifest::new(kind, None, name, &labels(), body);
    let marked_by = json!({ "spec": { "policyName": MARK } });
    let checked_by = json!({ "spec": { "policyName": CHECK, "validationActions": ["Deny"] } });
    [
        [object(policy, MARK, marks), object(binding, MARK, marked_by)],
        [
            object(Kind::ValidatingAdmissionPolicy, CHECK, checks),
            object(Kind::ValidatingAdmissionPolicyBinding, CHECK, checked_by),
        ],
    ]
}

fn is_token() -> String {
    format!("object.?type.orValue('') == '{TOKEN_SECRET}'")
}

fn condition(name: &str, expression: &str) -> Value {
    json!({ "name": name, "expression": expression })
}

/// With what Kubernetes adds by itself, so that a policy which is as it should be is not written again.
fn secrets(operations: &[&str]) -> Value {
    json!({
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
        "resourceRules": [{
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "operations": operations,
            "resources": ["secrets"],
            "scope": "*",
        }],
    })
}

/// Makes the policies true: first the one that marks, without which the other would refuse people's tokens.
pub(crate) async fn progress(tenant: &Cluster, kubernetes_tag: &str) -> Result<Progress, ReconcileError> {
    let Some(mutating) = served(kubernetes_tag) else { return Ok(Progress::Done) };
    let mut progress = Progress::Done;
    for [policy, binding] in build(mutating) {
        let found = Rights::find(tenant, [policy.kind, binding.kind], &[None], &[&policy, &binding]).await?;
        progress = progress.and(found.make_true(tenant, None, &[policy], &[binding]).await?);
    }
    Ok(progress)
}

/// The id behind a name of one of the platform's people, as Kubernetes knows it.
pub(crate) fn person(username: &str) -> Option<&str> {
    username.strip_prefix(PREFIX)
}

#[cfg(test)]
mod tests {
    use hexabase_core::ids::{Id as _, UserId};

    use super::*;

    #[test]
    fn people_are_told_by_how_their_names_begin() {
        assert_eq!(PEOPLE, format!("{PREFIX}{}-", UserId::PREFIX));
        assert_eq!(person("hexabase:usr-x"), Some("usr-x"));
        assert_eq!(person("system:serviceaccount:web:robot"), None);
    }

    #[test]
    fn only_a_kubernetes_that_has_these_policies_in_beta_is_told_to_have_them() {
        for (tag, args, kinds) in [
            ("v1.33.9", 0, None),
            ("v1.34.0", 2, Some("admissionregistration.k8s.io/v1beta1")),
            ("v1.35.4", 2, Some("admissionregistration.k8s.io/v1beta1")),
            ("v1.36.0", 0, Some("admissionregistration.k8s.io/v1")),
            ("latest", 0, Some("admissionregistration.k8s.io/v1")),
        ] {
            assert_eq!(api_server_args(tag).len(), args, "{tag}");
            let versions = served(tag).map(|kinds| kinds.map(Kind::api_version));
            assert_eq!(versions, kinds.map(|version| [version, version].map(ToOwned::to_owned)), "{tag}");
        }
        for [old, new] in [[IN_BETA[0], STABLE[0]], [IN_BETA[1], STABLE[1]]] {
            assert_eq!(old.as_str(), new.as_str());
        }
    }
}
