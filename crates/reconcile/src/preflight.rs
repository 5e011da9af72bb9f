//! Checks of the host and the tools before anything depends on them.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{Api, DynamicObject, PostParams};

use crate::apply::Cluster;
use crate::helm::{Chart, Release};
use crate::host::{storage, values};
use crate::labels::Names;
use crate::manifest::Kind;
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

pub(crate) async fn run(host: &Cluster, chart: &Chart, settings: &HostSettings) -> Vec<Finding> {
    let version = version(host).await;
    let kube_version = version.as_ref().map_or("v1.35.0", String::as_str).to_owned();
    let finding = |check, result, remedy| Finding { check, result, caution: None, remedy };
    let classes = host.list(Kind::StorageClass, None, "").await.map_err(|error| error.to_string());
    vec![
        finding("host Kubernetes", version.and_then(check_version), "use a host with Kubernetes 1.34 or later"),
        finding(
            "rights on the host",
            rights(host).await,
            "give the worker's account that right in the whole host cluster; the role cluster-admin has all that are needed",
        ),
        Finding {
            caution: classes.as_ref().ok().and_then(|classes| unbounded(classes, settings)),
            ..finding(
                "storage class",
                classes.as_ref().map_err(Clone::clone).and_then(|classes| storage_class(classes, settings)),
                "mark one storage class as the default, or name one in the settings",
            )
        },
        finding(
            "vCluster chart",
            rendering(chart, settings, kube_version).await,
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

/// The rights without which nothing works, and which show that the whole role is there.
async fn rights(host: &Cluster) -> Result<String, String> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(host.client.clone());
    let asked = [
        ("", "namespaces", "create"),
        ("", "namespaces", "delete"),
        ("", "secrets", "patch"),
        ("", "secrets", "update"),
        ("", "resourcequotas", "update"),
        ("", "pods", "delete"),
        ("", "persistentvolumes", "delete"),
        ("", "nodes", "list"),
        ("", "nodes", "patch"),
        ("storage.k8s.io", "storageclasses", "list"),
        ("admissionregistration.k8s.io", "validatingadmissionpolicies", "patch"),
        ("admissionregistration.k8s.io", "validatingadmissionpolicies", "update"),
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings", "patch"),
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings", "update"),
        ("apps", "statefulsets", "patch"),
        ("apps", "statefulsets", "update"),
        ("networking.k8s.io", "networkpolicies", "patch"),
        ("networking.k8s.io", "networkpolicies", "delete"),
        ("networking.k8s.io", "networkpolicies", "update"),
        ("rbac.authorization.k8s.io", "roles", "escalate"),
        ("rbac.authorization.k8s.io", "rolebindings", "patch"),
        ("rbac.authorization.k8s.io", "clusterroles", "delete"),
    ];
    for (group, resource, verb) in asked {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: Some(group.to_owned()),
                    resource: Some(resource.to_owned()),
                    verb: Some(verb.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let answer = reviews.create(&PostParams::default(), &review).await.map_err(|error| error.to_string())?;
        if !answer.status.is_some_and(|status| status.allowed) {
            return Err(format!("may not {verb} {resource}"));
        }
    }
    Ok(format!("{} rights checked", asked.len()))
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

async fn rendering(chart: &Chart, settings: &HostSettings, kube_version: String) -> Result<String, String> {
    let names =
        NOBODY.parse().map(|id| Names::of(&id)).map_err(|error: hexabase_core::ids::InvalidId| error.to_string())?;
    let labels = serde_json::Map::new();
    let values = values::build(settings, &settings.kubernetes_tag, &names, &labels, None).to_string();
    let release = Release { name: names.name, namespace: names.namespace, kube_version, values };
    let manifests = chart.render(&release).await.map_err(|error| error.to_string())?;
    Ok(format!("renders {} objects", manifests.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_too_old_is_named() {
        assert!(check_version("v1.35.4+k3s1".to_owned()).is_ok());
        assert!(check_version("v1.33.9".to_owned()).unwrap_err().contains("v1.33.9"));
    }
}
