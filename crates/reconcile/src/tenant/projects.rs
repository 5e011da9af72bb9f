//! Step 7: the projects: a namespace each, with its quota, defaults and bindings.

use std::collections::BTreeSet;

use futures::FutureExt;
use hexabase_core::ids::ProjectId;
use hexabase_core::phases::ProjectPhase;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::apply::{Cluster, in_parallel};
use crate::desired::{DesiredProject, ProjectGrant, ProjectLimits};
use crate::error::ReconcileError;
use crate::host::limits::defaults;
use crate::labels::PROJECT;
use crate::manifest::{Kind, Manifest, label};
use crate::status::Progress;
use crate::tenant::{access, labels};

const QUOTA: &str = "hexabase-quota";
const LIMITS: &str = "hexabase-limits";

/// The objects of one project.
pub(crate) struct Objects {
    pub(crate) namespace: Manifest,
    pub(crate) limits: Vec<Manifest>,
    pub(crate) bindings: Vec<Manifest>,
}

/// Namespace, quota and defaults, bindings.
pub(crate) fn build(project: &DesiredProject) -> Objects {
    let name = project.name.as_str();
    let mut marked = labels();
    marked.insert(PROJECT.to_owned(), json!(project.id.as_str()));
    let mut namespace_labels = marked.clone();
    // Ordinary images run as root; what the restricted level would refuse is only warned about.
    for (label, value) in [("enforce", "baseline"), ("enforce-version", "latest"), ("warn", "restricted")] {
        namespace_labels.insert(format!("pod-security.kubernetes.io/{label}"), json!(value));
    }
    let ProjectLimits { cpu, memory, storage, pods } = &project.limits;
    let quota = json!({ "spec": { "hard": {
        "requests.cpu": cpu.to_string(),
        "limits.cpu": cpu.to_string(),
        "requests.memory": memory.to_string(),
        "limits.memory": memory.to_string(),
        "requests.storage": storage.to_string(),
        "pods": pods.to_string(),
    } } });
    let grants: BTreeSet<&ProjectGrant> = project.grants.iter().collect();
    let bindings = grants.into_iter().map(|ProjectGrant { group, role }| {
        let title = format!("hexabase:{role}:{group}");
        access::binding(Kind::RoleBinding, Some(name), &title, "ClusterRole", role.as_str(), group.as_str())
    });
    Objects {
        namespace: Manifest::new(Kind::Namespace, None, name, &namespace_labels, Value::Null),
        limits: vec![
            Manifest::new(Kind::ResourceQuota, Some(name), QUOTA, &marked, quota),
            Manifest::new(Kind::LimitRange, Some(name), LIMITS, &marked, defaults(*cpu, *memory, *pods)),
        ],
        bindings: bindings.collect(),
    }
}

/// Makes the projects true; one that cannot be does not hold up the others.
pub(crate) async fn progress(
    tenant: &Cluster,
    projects: &[DesiredProject],
) -> Result<(Progress, Vec<(ProjectId, ProjectPhase)>), ReconcileError> {
    let results = in_parallel(projects.iter().map(|project| one(tenant, project).boxed()).collect()).await?;
    let mut first = Progress::Done;
    let mut phases = Vec::with_capacity(results.len());
    for (id, phase, progress) in results {
        phases.push((id, phase));
        if first == Progress::Done {
            first = progress;
        }
    }
    Ok((first, phases))
}

async fn one(
    tenant: &Cluster,
    project: &DesiredProject,
) -> Result<(ProjectId, ProjectPhase, Progress), ReconcileError> {
    let result = if project.present { keep(tenant, project).await } else { remove(tenant, project).await };
    let (phase, progress) = match result {
        Ok(result) => result,
        Err(ReconcileError::Refused { action, object, message, .. }) => {
            let phase = if project.present { ProjectPhase::Creating } else { ProjectPhase::Deleting };
            (phase, wait(5_000, project, &format!("{action} {object}: {message}")))
        }
        Err(error) => return Err(error),
    };
    Ok((project.id.clone(), phase, progress))
}

fn wait(millis: u64, project: &DesiredProject, text: &str) -> Progress {
    Progress::wait(millis, format!("project {}: {text}", project.name))
}

fn is_ours(found: &DynamicObject, project: &DesiredProject) -> bool {
    label(found, PROJECT) == Some(project.id.as_str())
}

async fn keep(tenant: &Cluster, project: &DesiredProject) -> Result<(ProjectPhase, Progress), ReconcileError> {
    let objects = build(project);
    let creating = |millis, text: &str| Ok((ProjectPhase::Creating, wait(millis, project, text)));
    match tenant.get(Kind::Namespace, None, &objects.namespace.name).await? {
        None => match tenant.create(&objects.namespace).await {
            Err(error) if error.is(409) => return creating(500, "its namespace was made by somebody else just now"),
            other => drop(other?),
        },
        Some(found) if !is_ours(&found, project) => {
            return creating(
                15_000,
                "a namespace of that name exists and is not the project's: delete it or rename it",
            );
        }
        Some(found) if found.metadata.deletion_timestamp.is_some() => {
            return creating(1_000, &terminating(&found));
        }
        Some(_) => {}
    }
    tenant.apply(&objects.namespace).await?;
    tenant.apply_all(&objects.limits).await?;
    let namespace = Some(project.name.as_str());
    access::restore_bindings(tenant, Kind::RoleBinding, namespace, &objects.bindings).await?;
    Ok((ProjectPhase::Ready, Progress::Done))
}

async fn remove(tenant: &Cluster, project: &DesiredProject) -> Result<(ProjectPhase, Progress), ReconcileError> {
    let name = project.name.as_str();
    let gone = (ProjectPhase::Deleted, Progress::Done);
    let Some(found) = tenant.get(Kind::Namespace, None, name).await? else { return Ok(gone) };
    if !is_ours(&found, project) {
        return Ok(gone);
    }
    if found.metadata.deletion_timestamp.is_none() {
        tenant.delete(Kind::Namespace, None, name, None).await?;
    }
    Ok((ProjectPhase::Deleting, wait(1_000, project, &terminating(&found))))
}

/// What holds up the end of a namespace, in Kubernetes' words.
fn terminating(found: &DynamicObject) -> String {
    let namespace = serde_json::to_value(found).and_then(serde_json::from_value::<Namespace>).ok();
    let conditions = namespace.and_then(|namespace| namespace.status).and_then(|status| status.conditions);
    let messages: Vec<String> = conditions
        .into_iter()
        .flatten()
        .filter(|condition| condition.status == "True")
        .filter_map(|condition| condition.message)
        .collect();
    if messages.is_empty() { "its namespace is being removed".to_owned() } else { messages.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_does_not_end_says_why() {
        let found = |conditions: Value| -> DynamicObject {
            serde_json::from_value(json!({ "metadata": {}, "status": { "conditions": conditions } })).unwrap()
        };
        let condition =
            |kind: &str, status: &str, message: &str| json!({ "type": kind, "status": status, "message": message });
        let conditions = json!([
            condition("NamespaceDeletionDiscoveryFailure", "False", "all fine"),
            condition("NamespaceFinalizersRemaining", "True", "Some content has finalizers remaining: x in 1 resource"),
        ]);
        assert_eq!(terminating(&found(conditions)), "Some content has finalizers remaining: x in 1 resource");
        assert_eq!(terminating(&found(json!([]))), "its namespace is being removed");
    }
}
