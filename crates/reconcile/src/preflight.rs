//! Checks of the host and the tools before anything depends on them.

use std::collections::BTreeSet;

use futures::FutureExt;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{Api, ApiResource, DynamicObject, PostParams};

use crate::apply::{Cluster, all_of};
use crate::exact::verbs;
use crate::helm::{Chart, Release};
use crate::host::{inventory, storage, values, virtual_cluster};
use crate::labels::Names;
use crate::manifest::{Kind, Manifest};
use crate::settings::HostSettings;

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was checked.
    pub check: &'static str,
    /// What was found, or what is wrong.
    pub result: Result<String, String>,
    /// What to know of it although it is right.
    pub caution: Option<String>,
    /// What to do when it is wrong.
    pub remedy: &'static str,
}

/// Ordered deletion of namespaces and the stable authentication format begin here.
const OLDEST_MINOR: u32 = 34;
/// An id that no workspace ever has: the first moment, the number nought.
const NOBODY: &str = "ws-00000000000000000000";
/// Of what the platform keeps on a host beside what comes out of the chart.
const KEPT: [Kind; 6] = [
    Kind::ResourceQuota,
    Kind::LimitRange,
    Kind::NetworkPolicy,
    Kind::Secret,
    Kind::ValidatingAdmissionPolicy,
    Kind::ValidatingAdmissionPolicyBinding,
];
/// What else is done there. A role is made with rights that the worker does not have itself, and given to a control plane's account.
const OTHERS: [(Kind, &str); 14] = [
    (Kind::ApiService, "get"),
    (Kind::Namespace, "create"),
    (Kind::Namespace, "patch"),
    (Kind::Namespace, "delete"),
    (Kind::Node, "get"),
    (Kind::Node, "list"),
    (Kind::Node, "patch"),
    (Kind::PersistentVolume, "delete"),
    (Kind::PersistentVolumeClaim, "delete"),
    (Kind::Pod, "patch"),
    (Kind::Pod, "delete"),
    (Kind::Role, "escalate"),
    (Kind::Role, "bind"),
    (Kind::ClusterRole, "delete"),
];

/// What is done there with a part of an object.
const PARTS: [Right; 1] = [(Kind::Pod, "patch", Some("resize"))];

/// A kind, a verb, and the part of the objects if it is not good for them as a whole.
type Right = (Kind, &'static str, Option<&'static str>);

pub(crate) async fn run(host: &Cluster, chart: &Chart, settings: &HostSettings) -> Vec<Finding> {
    let version = version(host).await;
    let kube_version = version.as_ref().map_or("v1.35.0", String::as_str).to_owned();
    let finding = |check, result, remedy| Finding { check, result, caution: None, remedy };
    let classes = host.list(Kind::StorageClass, None, "").await.map_err(|error| error.to_string());
    let rendered = rendered(chart, settings, kube_version).await;
    let brought = rendered.as_deref().unwrap_or_default();
    vec![
        finding("host Kubernetes", version.and_then(check_version), "use a host with Kubernetes 1.34 or later"),
        finding(
            "rights on the host",
            rights(host, brought).await,
            "give the worker's account these rights in the whole host cluster; the role cluster-admin has all that are needed",
        ),
        Finding {
            caution: classes.as_ref().ok().and_then(|classes| unbounded(classes, settings)),
            ..finding(
                "storage class",
                classes.as_ref().map_err(Clone::clone).and_then(|classes| storage_class(classes, settings)),
                "mark one storage class of the host as its default: the volumes of control planes are of that one",
            )
        },
        finding(
            "vCluster chart",
            rendered.map(|manifests| format!("renders {} objects", manifests.len())),
            "check the paths of Helm and the chart in the settings, and that the chart is the supported version",
        ),
    ]
}

async fn version(host: &Cluster) -> Result<String, String> {
    let version = host.client.apiserver_version().await;
    version.map(|version| version.git_version).map_err(|error| format!("the API server does not answer: {error}"))
}

fn check_version(version: String) -> Result<String, String> {
    let minor = version.trim_start_matches('v').split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    match minor {
        Some(minor) if minor < OLDEST_MINOR => Err(format!("{version} is older than 1.{OLDEST_MINOR}")),
        _ => Ok(version),
    }
}

/// The rights without which nothing works, and which show that the whole role is there; by what the chart brings.
fn asked(chart: &[Manifest]) -> BTreeSet<Right> {
    let kept = KEPT.into_iter().chain(chart.iter().map(|manifest| manifest.kind));
    let kept = kept.flat_map(|kind| verbs(kind).map(move |verb| (kind, verb)));
    let pruned = virtual_cluster::PRUNED.into_iter().map(|kind| (kind, "delete"));
    let listed = inventory::kinds().chain(inventory::CLUSTER_SCOPED).map(|kind| (kind, "list"));
    let whole = kept.chain(pruned).chain(listed).chain(OTHERS);
    whole.map(|(kind, verb)| (kind, verb, None)).chain(PARTS).collect()
}

async fn rights(host: &Cluster, chart: &[Manifest]) -> Result<String, String> {
    let (asked, reviews) = (asked(chart), Api::all(host.client.clone()));
    let calls = asked.iter().map(|right| is_allowed(&reviews, *right).boxed()).collect();
    let mut missing = Vec::new();
    for ((kind, verb, part), allowed) in asked.iter().zip(all_of(calls).await) {
        if !allowed? {
            let part = part.map(|part| format!("/{part}")).unwrap_or_default();
            missing.push(format!("{verb} {}{part}", kind.resource().plural));
        }
    }
    match missing.is_empty() {
        true => Ok(format!("{} rights checked", asked.len())),
        false => Err(format!("may not {}", missing.join(", "))),
    }
}

async fn is_allowed(reviews: &Api<SelfSubjectAccessReview>, (kind, verb, part): Right) -> Result<bool, String> {
    let ApiResource { group, plural, .. } = kind.resource();
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(group),
                resource: Some(plural),
                subresource: part.map(ToOwned::to_owned),
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = reviews.create(&PostParams::default(), &review).await.map_err(|error| error.to_string())?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

fn unbounded(classes: &[DynamicObject], settings: &HostSettings) -> Option<String> {
    let found = storage::without_sizes(settings, classes);
    (!found.is_empty()).then(|| {
        format!(
            "volumes of {} are folders of a node that grow beyond what was asked for: neither `storage` of a plan nor the volume of a \
             control plane bounds what is written to the disk that workspaces share",
            found.join(", ")
        )
    })
}

fn storage_class(classes: &[DynamicObject], settings: &HostSettings) -> Result<String, String> {
    let found = classes.iter().find(|class| match &settings.storage_class {
        Some(name) => class.metadata.name.as_ref() == Some(name),
        None => storage::is_default(class),
    });
    match (found, &settings.storage_class) {
        (Some(class), _) => Ok(class.metadata.name.clone().unwrap_or_default()),
        (None, Some(name)) => Err(format!("there is no storage class {name}")),
        (None, None) => Err("no storage class is the default".to_owned()),
    }
}

async fn rendered(chart: &Chart, settings: &HostSettings, kube_version: String) -> Result<Vec<Manifest>, String> {
    let names =
        NOBODY.parse().map(|id| Names::of(&id)).map_err(|error: hexabase_core::ids::InvalidId| error.to_string())?;
    let labels = serde_json::Map::new();
    let values = values::build(settings, &settings.kubernetes_tag, &names, &labels, None, None).to_string();
    let release = Release { name: names.name, namespace: names.namespace, kube_version, values };
    chart.render(&release).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;
    use crate::host::places::Places;
    use crate::host::{authentication, limits, network, policies};

    #[test]
    fn whatever_may_have_to_be_put_straight_or_made_anew_on_a_host_is_asked_for() {
        let (desired, labels) = (crate::golden::desired(), Map::new());
        let names = Names::of(&desired.id);
        let settings = HostSettings::new(None, "helm".into(), "chart".into());
        let (trusted, places) = (&desired.authentication, Places::default());
        let built = [
            policies::build(),
            network::build(&settings, trusted, &places, &names, &labels, &desired.projects),
            limits::build(&desired.limits, &settings.endpoint, &names, &labels),
            vec![authentication::build(&desired, "v1.35.4", &names, &labels)],
        ];
        for manifest in built.iter().flatten() {
            assert!(KEPT.contains(&manifest.kind), "{}", manifest.title());
        }
        let brought = |kind| Manifest::new(kind, Some("n"), "x", &labels, Value::Null);
        let asked = asked(&[brought(Kind::Service), brought(Kind::RoleBinding)]);
        for kind in [Kind::LimitRange, Kind::Secret, Kind::ResourceQuota, Kind::Service, Kind::RoleBinding] {
            assert!(asked.contains(&(kind, "update", None)), "{kind:?}");
        }
        for kind in [Kind::Secret, Kind::ResourceQuota, Kind::RoleBinding] {
            assert!(asked.contains(&(kind, "delete", None)), "{kind:?}");
        }
        assert!(!verbs(Kind::Service).any(|verb| verb == "delete"), "what vCluster brought would go with it");
        for kind in virtual_cluster::PRUNED {
            assert!(asked.contains(&(kind, "list", None)) && asked.contains(&(kind, "delete", None)), "{kind:?}");
        }
        for right in [(Kind::Role, "escalate"), (Kind::Role, "bind"), (Kind::Pod, "list")] {
            assert!(asked.contains(&(right.0, right.1, None)), "{right:?}");
        }
        assert!(asked.contains(&(Kind::Pod, "patch", Some("resize"))));
    }

    #[test]
    fn a_host_that_is_too_old_is_named() {
        assert!(check_version("v1.35.4+k3s1".to_owned()).is_ok());
        assert!(check_version("v1.33.9".to_owned()).unwrap_err().contains("v1.33.9"));
    }
}
