//! Step 7: the projects: a namespace each, with its quota, defaults, roles and bindings.

use std::collections::BTreeSet;

use futures::FutureExt;
use hexabase_core::ids::ProjectId;
use hexabase_core::phases::ProjectPhase;
use hexabase_core::roles::{ProjectRoleRef, Rule};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::apply::{Cluster, in_parallel};
use crate::desired::{CustomRole, DesiredProject, ProjectGrant, ProjectLimits};
use crate::error::ReconcileError;
use crate::host::limits::defaults;
use crate::labels::{MANAGER, PROJECT};
use crate::manifest::{Kind, Manifest, ending, label};
use crate::status::Progress;
use crate::tenant::{access, labels};

const QUOTA: &str = "hexabase-quota";
const LIMITS: &str = "hexabase-limits";

/// The objects of one project.
pub(crate) struct Objects {
    pub(crate) namespace: Manifest,
    pub(crate) limits: Vec<Manifest>,
    pub(crate) roles: Vec<Manifest>,
    pub(crate) bindings: Vec<Manifest>,
}

/// Namespace, quota and defaults, the custom roles that were accepted, bindings.
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
        let kind = match role {
            ProjectRoleRef::Preset(_) => "ClusterRole",
            ProjectRoleRef::Custom(_) => "Role",
        };
        let (title, role) = (format!("hexabase:{role}:{group}"), role.to_string());
        access::binding(Kind::RoleBinding, Some(name), &title, kind, &role, group.as_str())
    });
    let roles = project.custom_roles.iter().filter_map(|custom| {
        let title = ProjectRoleRef::Custom(custom.name.clone()).to_string();
        custom.accepted.as_ref().map(|rules| role(name, &title, rules))
    });
    Objects {
        namespace: Manifest::new(Kind::Namespace, None, name, &namespace_labels, Value::Null),
        limits: vec![
            Manifest::new(Kind::ResourceQuota, Some(name), QUOTA, &marked, quota),
            Manifest::new(Kind::LimitRange, Some(name), LIMITS, &marked, defaults(*cpu, *memory, *pods)),
        ],
        roles: roles.collect(),
        bindings: bindings.collect(),
    }
}

/// A Role of the platform.
pub(crate) fn role(namespace: &str, name: &str, rules: &[Rule]) -> Manifest {
    let rules = json!({ "rules": access::policy_rules(rules) });
    Manifest::new(Kind::Role, Some(namespace), name, &labels(), rules)
}

/// Makes the projects true; one that cannot be does not hold up the others.
pub(crate) async fn progress(
    tenant: &Cluster,
    projects: &[DesiredProject],
) -> Result<(Progress, Vec<(ProjectId, ProjectPhase)>), ReconcileError> {
    let results = in_parallel(projects.iter().map(|project| one(tenant, project).boxed()).collect()).await?;
    let phases = results.iter().map(|(id, phase, _)| (id.clone(), *phase)).collect();
    Ok((together(results.into_iter().map(|(_, _, progress)| progress)), phases))
}

/// The first reason of several, and the shortest time.
fn together(all: impl Iterator<Item = Progress>) -> Progress {
    all.fold(Progress::Done, |first, next| match (first, next) {
        (Progress::Wait { reason, after }, Progress::Wait { after: other, .. }) => {
            Progress::Wait { reason, after: after.min(other) }
        }
        (Progress::Done, next) => next,
        (first, Progress::Done) => first,
    })
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

/// What stands where the project's namespace belongs.
#[derive(Debug, PartialEq, Eq)]
enum Owner {
    /// It carries the project's label.
    Ours,
    /// The platform made it, but somebody took the label off.
    Unlabelled,
    /// Somebody else's, or another project's.
    Other,
}

fn owner(found: &DynamicObject, project: &DesiredProject) -> Owner {
    match label(found, PROJECT) {
        Some(id) if id == project.id.as_str() => Owner::Ours,
        Some(_) => Owner::Other,
        None => {
            let mut writers = found.metadata.managed_fields.iter().flatten();
            let ours = writers.any(|entry| entry.manager.as_deref() == Some(MANAGER));
            if ours { Owner::Unlabelled } else { Owner::Other }
        }
    }
}

async fn keep(tenant: &Cluster, project: &DesiredProject) -> Result<(ProjectPhase, Progress), ReconcileError> {
    let objects = build(project);
    let creating = |millis, text: &str| Ok((ProjectPhase::Creating, wait(millis, project, text)));
    match tenant.get(Kind::Namespace, None, &objects.namespace.name).await? {
        None => match tenant.create(&objects.namespace).await {
            Err(error) if error.is(409) => return creating(500, "its namespace was made by somebody else just now"),
            other => drop(other?),
        },
        Some(found) => {
            if let Some(ending) = ending(&found) {
                return creating(1_000, &format!("a namespace of that name is still being removed: {ending}"));
            }
            if owner(&found, project) == Owner::Other {
                let text =
                    "a namespace of that name exists and is not the project's: delete it, or choose another name";
                return creating(15_000, text);
            }
        }
    }
    tenant.apply(&objects.namespace).await?;
    tenant.apply_all(&objects.limits).await?;
    let namespace = Some(project.name.as_str());
    for role in &objects.roles {
        access::restore_role(tenant, role).await?;
    }
    access::restore_bindings(tenant, Kind::RoleBinding, namespace, &objects.bindings).await?;
    let custom = |role: &CustomRole| ProjectRoleRef::Custom(role.name.clone()).to_string();
    let wanted: Vec<String> = project.custom_roles.iter().map(custom).collect();
    access::prune(tenant, Kind::Role, namespace, &wanted).await?;
    Ok((ProjectPhase::Ready, Progress::Done))
}

async fn remove(tenant: &Cluster, project: &DesiredProject) -> Result<(ProjectPhase, Progress), ReconcileError> {
    let name = project.name.as_str();
    let gone = (ProjectPhase::Deleted, Progress::Done);
    let Some(found) = tenant.get(Kind::Namespace, None, name).await? else { return Ok(gone) };
    // A namespace without the label may by now be meant for another project: it is left alone.
    if owner(&found, project) != Owner::Ours {
        return Ok(gone);
    }
    if found.metadata.deletion_timestamp.is_none() {
        tenant.delete(Kind::Namespace, None, name, None).await?;
    }
    let ending = ending(&found).unwrap_or_else(|| "Terminating".to_owned());
    Ok((ProjectPhase::Deleting, wait(1_000, project, &format!("its namespace is {ending}"))))
}

#[cfg(test)]
mod tests {
    use hexabase_core::quantity::{Bytes, Cpu};

    use super::*;

    fn project() -> DesiredProject {
        DesiredProject {
            id: "prj-0123456789abcdefghjk".parse().unwrap(),
            name: "shop".parse().unwrap(),
            present: true,
            limits: ProjectLimits { cpu: Cpu::from_millis(1), memory: Bytes::new(1), storage: Bytes::new(1), pods: 1 },
            grants: Vec::new(),
            custom_roles: Vec::new(),
        }
    }

    #[test]
    fn a_namespace_is_the_projects_only_by_its_label_or_by_who_made_it() {
        let owner =
            |metadata: Value| owner(&serde_json::from_value(json!({ "metadata": metadata })).unwrap(), &project());
        assert_eq!(owner(json!({ "labels": { PROJECT: "prj-0123456789abcdefghjk" } })), Owner::Ours);
        let made = json!([{ "manager": "hexabase" }]);
        assert_eq!(owner(json!({ "managedFields": made })), Owner::Unlabelled);
        let other = json!({ PROJECT: "prj-0123456789abcdefghj0" });
        assert_eq!(owner(json!({ "labels": other, "managedFields": made })), Owner::Other);
        assert_eq!(owner(json!({ "managedFields": [{ "manager": "kubectl" }] })), Owner::Other);
    }

    #[test]
    fn of_several_that_wait_the_first_reason_and_the_shortest_time_count() {
        let all = [Progress::Done, Progress::wait(15_000, "taken"), Progress::wait(1_000, "ending"), Progress::Done];
        assert_eq!(together(all.into_iter()), Progress::wait(1_000, "taken"));
        assert_eq!(together([Progress::Done].into_iter()), Progress::Done);
    }
}
