//! The tenant's API server as one of its users sees it: what that person may do, and roles made with that person's rights.
//!
//! Every call carries the person's own token and nothing else, so that the tenant's RBAC decides, its check against
//! giving away more than one has included.

mod looks;
mod project_usage;
mod quantities;
mod reading;
mod renewal;
mod service_accounts;
mod usage;
mod users;

use std::sync::Arc;

use futures::{FutureExt, TryFutureExt};
use hexabase_core::ids::UserId;
use hexabase_core::names::{GroupName, ProjectName, RoleName};
use hexabase_core::roles::{ClusterRoleRef, ProjectRoleRef, Rule, ServedResource};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::api::{Api, PostParams};
use kube::core::discovery::v2::{APIGroupDiscovery, APIResourceDiscovery};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::apply::{Cluster, in_parallel};
use crate::error::ReconcileError;
use crate::host::api_server::SERVER_NAME;
use crate::host::authentication::PREFIX;
use crate::manifest::{Kind, Manifest};
use crate::tenant::{self, access, projects};

pub use self::looks::{LogQuestion, MOST_LOG_BYTES, SeenContainer, SeenEvent, SeenLine, SeenLog, SeenPod};
pub use self::project_usage::ProjectUsage;
pub(crate) use self::project_usage::{Quantities, amounts, thousandths};
pub use self::reading::{Listed, Told, Turn};
pub use self::renewal::Missing;
pub use self::service_accounts::{Renewed, TokenSecret};
pub use self::usage::{NamespaceUsage, Usage};
pub use self::users::{ClaimUsage, PodUsage, ServiceUsage, Users};

/// Whom Kubernetes counts among everybody who has shown who they are.
const AUTHENTICATED: &str = "system:authenticated";

/// A workspace's API server, asked with the token of one person.
pub struct TenantUser {
    cluster: Cluster,
    /// Shared by all who look inside the same workspace.
    turns: Arc<Semaphore>,
}

/// Something that somebody may or may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// The verb.
    pub verb: &'a str,
    /// The API group; empty for the core group.
    pub api_group: &'a str,
    /// The resource, with its subresource after a slash.
    pub resource: &'a str,
    /// The namespace; without one it is about all of them, or about no namespace at all.
    pub namespace: Option<&'a str>,
    /// The object; without one it is about all of them.
    pub name: Option<&'a str>,
}

/// Kubernetes' answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, in Kubernetes' words: the binding that allows it.
    pub reason: Option<String>,
}

/// Where a custom role is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolePlace<'a> {
    /// A ClusterRole of the workspace.
    Workspace,
    /// A Role in the namespace of a project and of each one below it, into which it is carried.
    Projects(&'a [&'a ProjectName]),
}

impl TenantUser {
    /// A client for the API server at `address` (host and port), known by `ca_pem`. Makes no call yet.
    ///
    /// # Errors
    /// The certificate is none, or the token is empty: a request without one would be made as nobody.
    pub async fn connect(address: &str, ca_pem: &str, token: &str) -> Result<Self, ReconcileError> {
        let configuration = |text: String| ReconcileError::Configuration(text.into());
        if token.is_empty() {
            return Err(configuration("there is no token for the workspace's API server".to_owned()));
        }
        let cluster = tenant::client(address, SERVER_NAME, ca_pem, &json!({ "token": token })).await;
        Ok(Self { cluster: cluster.map_err(configuration)?, turns: reading::turns(address) })
    }

    /// Everything that the API server serves to this person.
    pub async fn resources(&self) -> Result<Vec<ServedResource>, ReconcileError> {
        let client = &self.cluster.client;
        let (core, groups) =
            futures::future::join(client.list_core_api_versions_aggregated(), client.list_api_groups_aggregated())
                .await;
        let failed = |error| ReconcileError::Unreachable { api: self.cluster.title, source: Box::new(error) };
        let mut groups = [core.map_err(failed)?.items, groups.map_err(failed)?.items].concat();
        Ok(groups.iter_mut().flat_map(served).collect())
    }

    /// Lets the API server judge the role wherever it is to be, and makes none.
    ///
    /// # Errors
    /// [`ReconcileError::Refused`] with Kubernetes' own sentence, above all when the person would give away rights that the
    /// person does not hold in one of the places.
    pub async fn try_role(&self, place: RolePlace<'_>, name: &RoleName, rules: &[Rule]) -> Result<(), ReconcileError> {
        let manifests = manifests(place, name, rules);
        let trial =
            |manifest| self.cluster.try_apply(manifest).map_err(move |error| placed(error, manifest, place)).boxed();
        in_parallel(manifests.iter().map(trial).collect()).await.map(drop)
    }

    /// Makes the role, or gives it these rules, wherever it is to be. What was made is not taken back when a later place is
    /// refused: try first, and let the platform put right what is left.
    ///
    /// # Errors
    /// As for [`Self::try_role`].
    pub async fn apply_role(
        &self,
        place: RolePlace<'_>,
        name: &RoleName,
        rules: &[Rule],
    ) -> Result<(), ReconcileError> {
        let manifests = manifests(place, name, rules);
        let apply =
            |manifest| self.cluster.apply(manifest).map_err(move |error| placed(error, manifest, place)).boxed();
        in_parallel(manifests.iter().map(apply).collect()).await.map(drop)
    }

    /// Whether the person may do it.
    pub async fn may_i(&self, question: &Question<'_>) -> Result<Verdict, ReconcileError> {
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.cluster.client.clone());
        let spec =
            SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes(question)), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..Default::default() };
        let answer = reviews.create(&PostParams::default(), &review).await;
        answer.map(|review| verdict(review.status)).map_err(|error| self.unanswered(error))
    }

    /// Whether somebody else may, who is in these groups.
    ///
    /// # Errors
    /// [`ReconcileError::Refused`] with 403 when the person may not ask about others.
    pub async fn may(
        &self,
        user: &UserId,
        groups: &[&GroupName],
        question: &Question<'_>,
    ) -> Result<Verdict, ReconcileError> {
        let reviews: Api<SubjectAccessReview> = Api::all(self.cluster.client.clone());
        let mut groups: Vec<String> = groups.iter().map(|group| format!("{PREFIX}{group}")).collect();
        groups.push(AUTHENTICATED.to_owned());
        let spec = SubjectAccessReviewSpec {
            resource_attributes: Some(attributes(question)),
            user: Some(format!("{PREFIX}{user}")),
            groups: Some(groups),
            ..Default::default()
        };
        let review = SubjectAccessReview { spec, ..Default::default() };
        let answer = reviews.create(&PostParams::default(), &review).await;
        answer.map(|review| verdict(review.status)).map_err(|error| self.unanswered(error))
    }

    /// The same for each of several people, with all the groups that each is in; in their order.
    ///
    /// # Errors
    /// As for [`Self::may`].
    pub async fn may_each(
        &self,
        people: &[(&UserId, Vec<&GroupName>)],
        question: &Question<'_>,
    ) -> Result<Vec<bool>, ReconcileError> {
        let calls = people.iter().map(|(user, groups)| self.may(user, groups, question).boxed());
        let verdicts = in_parallel(calls.collect()).await?;
        Ok(verdicts.into_iter().map(|verdict| verdict.allowed).collect())
    }

    fn unanswered(&self, error: kube::Error) -> ReconcileError {
        match error {
            kube::Error::Api(status) if status.code == 403 => ReconcileError::Refused {
                action: "create",
                object: "an access review".to_owned(),
                code: status.code,
                message: status.message,
            },
            error => ReconcileError::Unreachable { api: self.cluster.title, source: Box::new(error) },
        }
    }

    /// The rules of a ClusterRole, as far as they are about resources; `None` when there is none.
    pub async fn cluster_role(&self, name: &str) -> Result<Option<Vec<Rule>>, ReconcileError> {
        let found: Option<ClusterRole> = self.cluster.get_as(Kind::ClusterRole, None, name).await?;
        Ok(found.map(|role| role.rules.into_iter().flatten().filter_map(rule).collect()))
    }
}

fn manifests(place: RolePlace<'_>, name: &RoleName, rules: &[Rule]) -> Vec<Manifest> {
    match place {
        RolePlace::Workspace => vec![access::cluster_role(&ClusterRoleRef::Custom(name.clone()).to_string(), rules)],
        RolePlace::Projects(namespaces) => {
            let name = ProjectRoleRef::Custom(name.clone()).to_string();
            namespaces.iter().map(|namespace| projects::role(namespace.as_str(), &name, rules)).collect()
        }
    }
}

/// Says in which of several projects a role was refused; Kubernetes does not always.
fn placed(error: ReconcileError, manifest: &Manifest, place: RolePlace<'_>) -> ReconcileError {
    let RolePlace::Projects([_, _, ..]) = place else { return error };
    match (error, &manifest.namespace) {
        (ReconcileError::Refused { action, object, code, message }, Some(namespace)) => {
            ReconcileError::Refused { action, object, code, message: format!("in the project {namespace}: {message}") }
        }
        (error, _) => error,
    }
}

fn attributes(question: &Question<'_>) -> ResourceAttributes {
    let Question { verb, api_group, resource, namespace, name } = *question;
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (resource, None),
    };
    ResourceAttributes {
        verb: Some(verb.to_owned()),
        group: Some(api_group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
        ..Default::default()
    }
}

fn verdict(status: Option<SubjectAccessReviewStatus>) -> Verdict {
    let (allowed, reason) = status.map_or((false, None), |status| (status.allowed, status.reason));
    Verdict { allowed, reason: reason.filter(|reason| !reason.is_empty()) }
}

fn rule(rule: PolicyRule) -> Option<Rule> {
    let resources = rule.resources.filter(|resources| !resources.is_empty())?;
    Some(Rule {
        api_groups: rule.api_groups.unwrap_or_default(),
        resources,
        verbs: rule.verbs,
        resource_names: rule.resource_names.unwrap_or_default(),
    })
}

/// The resources of a group, each once, with what can be done with it in any of the group's versions.
fn served(group: &mut APIGroupDiscovery) -> Vec<ServedResource> {
    let api_group = group.metadata.take().and_then(|metadata| metadata.name).unwrap_or_default();
    let mut found: Vec<ServedResource> = Vec::new();
    let mut note = |name: String, aliases: Vec<String>, namespaced: bool, verbs: Vec<String>| match found
        .iter_mut()
        .find(|known| known.name == name)
    {
        Some(known) => known.verbs.extend(verbs),
        None => found.push(ServedResource { api_group: api_group.clone(), name, aliases, namespaced, verbs }),
    };
    for resource in group.versions.iter_mut().flat_map(|version| version.resources.drain(..)) {
        let APIResourceDiscovery { resource, scope, singular_resource, verbs, short_names, subresources, .. } =
            resource;
        let Some(name) = resource else { continue };
        let namespaced = scope.as_deref() == Some("Namespaced");
        for below in subresources {
            let subresource = below.subresource.unwrap_or_default();
            note(format!("{name}/{subresource}"), Vec::new(), namespaced, below.verbs);
        }
        let singular = singular_resource.filter(|singular| !singular.is_empty());
        note(name, singular.into_iter().chain(short_names).collect(), namespaced, verbs);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_is_asked_for_with_an_empty_token() {
        assert!(TenantUser::connect("127.0.0.1:1", "", "").await.is_err());
    }

    #[test]
    fn what_is_served_is_read_with_subresources_and_short_names_over_all_versions() {
        let verbs = |words: &[&str]| json!(words);
        let mut group: APIGroupDiscovery =
            serde_json::from_value(json!({ "metadata": { "name": "apps" }, "versions": [
            { "version": "v1", "resources": [{ "resource": "deployments", "scope": "Namespaced",
                "singularResource": "deployment", "shortNames": ["deploy"], "verbs": verbs(&["get"]),
                "subresources": [{ "subresource": "scale", "verbs": verbs(&["patch"]) }] }] },
            { "version": "v1beta1", "resources": [
                { "resource": "deployments", "scope": "Namespaced", "verbs": verbs(&["create"]) },
                { "resource": "nodes", "scope": "Cluster", "verbs": verbs(&["list"]) }] },
        ] }))
            .unwrap();
        let found = served(&mut group);
        let names: Vec<(&str, bool, Vec<&str>)> = found
            .iter()
            .map(|one| (one.name.as_str(), one.namespaced, one.verbs.iter().map(String::as_str).collect()))
            .collect();
        let expected = [
            ("deployments/scale", true, vec!["patch"]),
            ("deployments", true, vec!["get", "create"]),
            ("nodes", false, vec!["list"]),
        ];
        assert_eq!(names, expected);
        assert_eq!(found[1].aliases, ["deployment", "deploy"]);
    }

    #[test]
    fn a_subresource_is_asked_for_as_one() {
        let question =
            Question { verb: "get", api_group: "", resource: "pods/log", namespace: Some("web"), name: None };
        let asked = attributes(&question);
        assert_eq!((asked.resource.as_deref(), asked.subresource.as_deref()), (Some("pods"), Some("log")));
    }
}
