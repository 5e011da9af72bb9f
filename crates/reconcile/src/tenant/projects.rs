//! Step 7: the projects: a namespace each, with its quota, defaults, roles and bindings.

use std::collections::BTreeSet;

use futures::{FutureExt, TryFutureExt};
use hexabase_core::ids::ProjectId;
use hexabase_core::phases::ProjectPhase;
use hexabase_core::quota::Amounts;
use hexabase_core::roles::{ProjectRoleRef, Rule};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::apply::{Cluster, each, in_parallel};
use crate::desired::{DesiredProject, ProjectGrant};
use crate::error::ReconcileError;
use crate::host::limits::{PORTS_OF_A_LOAD_BALANCER, defaults, was_counted};
use crate::labels::{MANAGER, PROJECT};
use crate::ledger::tolerate;
use crate::manifest::{Kind, Manifest, ending, label};
use crate::status::Progress;
use crate::tenant::rights::Rights;
use crate::tenant::{access, labels};

pub(crate) const QUOTA: &str = "hexabase-quota";
const LIMITS: &str = "hexabase-limits";

/// The objects of one project.
pub(crate) struct Objects {
    /// The namespace as it is created, with what the platform always writes on it: what is created is held to be wanted by
    /// Kubernetes, also when no apply names it any more.
    first: Manifest,
    pub(crate) namespace: Manifest,
    pub(crate) limits: Vec<Manifest>,
    pub(crate) roles: Vec<Manifest>,
    pub(crate) bindings: Vec<Manifest>,
}

/// Namespace, quota and defaults, custom roles, bindings.
pub(crate) fn build(project: &DesiredProject) -> Objects {
    let name = project.name.as_str();
    let mut marked = labels();
    marked.insert(PROJECT.to_owned(), json!(project.id.as_str()));
    let mut namespace_labels = marked.clone();
    namespace_labels.extend(project.labels.iter().map(|(key, value)| (key.to_owned(), json!(value))));
    let mut always = marked.clone();
    // What the restricted level would refuse is warned about where it is not refused.
    let level = project.pod_security.as_str();
    for (label, value) in [("enforce", level), ("enforce-version", "latest"), ("warn", "restricted")] {
        always.insert(format!("pod-security.kubernetes.io/{label}"), json!(value));
    }
    namespace_labels.extend(always.clone());
    let grants: BTreeSet<&ProjectGrant> = project.grants.iter().collect();
    let bindings = grants.into_iter().map(|ProjectGrant { group, role }| {
        let kind = match role {
            ProjectRoleRef::Preset(_) => "ClusterRole",
            ProjectRoleRef::Custom(_) => "Role",
        };
        let (title, role) = (format!("hexabase:{role}:{group}"), role.to_string());
        access::binding(Kind::RoleBinding, Some(name), &title, kind, &role, group.as_str())
    });
    let roles = project
        .custom_roles
        .iter()
        .map(|custom| role(name, &ProjectRoleRef::Custom(custom.name.clone()).to_string(), &custom.rules));
    Objects {
        first: Manifest::new(Kind::Namespace, None, name, &always, Value::Null),
        namespace: Manifest::new(Kind::Namespace, None, name, &namespace_labels, Value::Null),
        limits: vec![
            Manifest::new(Kind::ResourceQuota, Some(name), QUOTA, &marked, quota(&project.limits)),
            Manifest::new(Kind::LimitRange, Some(name), LIMITS, &marked, defaults(&project.limits)),
        ],
        roles: roles.collect(),
        bindings: bindings.collect(),
    }
}

/// What the namespace may use. The host counts again, for the whole workspace.
fn quota(limits: &Amounts) -> Value {
    let Amounts { cpu, memory, storage, pods, services, load_balancers, persistent_volume_claims, objects } = limits;
    json!({ "spec": { "hard": {
        "requests.cpu": cpu.to_string(),
        "limits.cpu": cpu.to_string(),
        "requests.memory": memory.to_string(),
        "limits.memory": memory.to_string(),
        "requests.storage": storage.to_string(),
        "pods": pods.to_string(),
        "persistentvolumeclaims": persistent_volume_claims.to_string(),
        "services": services.to_string(),
        "services.loadbalancers": load_balancers.to_string(),
        "services.nodeports": load_balancers.saturating_mul(PORTS_OF_A_LOAD_BALANCER).to_string(),
        "secrets": objects.to_string(),
        // Kubernetes puts one of its own into every namespace.
        "configmaps": objects.saturating_add(1).to_string(),
    } } })
}

/// A Role of the platform.
pub(crate) fn role(namespace: &str, name: &str, rules: &[Rule]) -> Manifest {
    let rules = json!({ "rules": access::policy_rules(rules) });
    Manifest::new(Kind::Role, Some(namespace), name, &labels(), rules)
}

/// How far the projects are.
#[derive(Debug)]
pub(crate) struct Found {
    /// With all that they have.
    pub(crate) progress: Progress,
    /// With their roles and bindings alone.
    pub(crate) rights: Progress,
    pub(crate) phases: Vec<(ProjectId, ProjectPhase)>,
}

/// How far one of them is.
struct State {
    phase: ProjectPhase,
    rights: Progress,
    others: Progress,
}

/// Makes the projects true; one that cannot be does not hold up the others.
pub(crate) async fn progress(tenant: &Cluster, projects: &[DesiredProject]) -> Result<Found, ReconcileError> {
    let mut all = Found { progress: Progress::Done, rights: Progress::Done, phases: Vec::new() };
    if projects.is_empty() {
        return Ok(all);
    }
    let built: Vec<Option<Objects>> = projects.iter().map(|project| project.present.then(|| build(project))).collect();
    let wanted: Vec<&Manifest> =
        built.iter().flatten().flat_map(|objects| objects.roles.iter().chain(&objects.bindings)).collect();
    let places: Vec<Option<&str>> = projects.iter().map(|project| Some(project.name.as_str())).collect();
    let found = &Rights::find(tenant, [Kind::Role, Kind::RoleBinding], &places, &wanted).await?;
    let pairs = projects.iter().zip(&built);
    let calls = pairs.map(|(project, objects)| one(tenant, project, objects.as_ref(), found).boxed()).collect();
    let results = in_parallel(calls).await?;
    for (project, State { phase, rights, others }) in projects.iter().zip(results) {
        all.phases.push((project.id.clone(), phase));
        all.progress = all.progress.and(rights.clone()).and(others);
        all.rights = all.rights.and(rights);
    }
    Ok(all)
}

/// One of them, with its objects if it is to be there.
async fn one(
    tenant: &Cluster,
    project: &DesiredProject,
    objects: Option<&Objects>,
    found: &Rights,
) -> Result<State, ReconcileError> {
    let result = match objects {
        Some(objects) => keep(tenant, project, objects, found).await,
        None => remove(tenant, project, found).await,
    };
    let named = |progress: Progress| match progress {
        Progress::Wait { reason, after } => {
            Progress::Wait { reason: format!("project {}: {reason}", project.name), after }
        }
        Progress::Done => Progress::Done,
    };
    match result {
        Ok(State { phase, rights, others }) => Ok(State { phase, rights: named(rights), others: named(others) }),
        Err(error) if error.concerns_one_object() => {
            let phase = if project.present { ProjectPhase::Creating } else { ProjectPhase::Deleting };
            let rights = named(tolerate(Err(error)).unwrap_or_else(|wait| wait));
            Ok(State { phase, rights, others: Progress::Done })
        }
        Err(error) => Err(error),
    }
}

/// What stands where the project's namespace belongs.
#[derive(Debug, PartialEq, Eq)]
enum Owner {
    /// It carries the project's label.
    Ours,
    /// The platform made it, but somebody took the label off. What somebody else made after that was gone is none: Kubernetes notes
    /// anew who wrote it, and only whoever writes in the platform's name is taken for the platform.
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

async fn keep(
    tenant: &Cluster,
    project: &DesiredProject,
    objects: &Objects,
    rights: &Rights,
) -> Result<State, ReconcileError> {
    // As long as the namespace is not there, or not the project's, nobody has a right of ours in it.
    let without = |others| Ok(State { phase: ProjectPhase::Creating, rights: Progress::Done, others });
    let creating = |millis, text: &str| without(Progress::wait(millis, text));
    match tenant.get(Kind::Namespace, None, &objects.namespace.name).await? {
        None => match tenant.create(&objects.first).await {
            Err(error) if error.is(409) => return creating(500, "its namespace was made by somebody else just now"),
            Err(error) if error.concerns_one_object() => {
                return without(tolerate(Err(error)).unwrap_or_else(|wait| wait));
            }
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
    let namespace = Some(project.name.as_str());
    let (held, made) = if rights.has_none_in(namespace) {
        // Nobody is let into a new one before Kubernetes counts what they make there.
        let made = bound(tenant, objects).await?;
        if made != Progress::Done {
            return without(made);
        }
        (rights.make_true(tenant, namespace, &objects.roles, &objects.bindings).await?, made)
    } else {
        // Rights first: what was taken away does not live on because something else is refused.
        let held = rights.make_true(tenant, namespace, &objects.roles, &objects.bindings).await?;
        (held, bound(tenant, objects).await?)
    };
    let is_ready = held == Progress::Done && made == Progress::Done;
    let phase = if is_ready { ProjectPhase::Ready } else { ProjectPhase::Creating };
    Ok(State { phase, rights: held, others: made })
}

/// Makes the namespace be as it should with its quota and defaults; done once Kubernetes counts by the quota.
async fn bound(tenant: &Cluster, objects: &Objects) -> Result<Progress, ReconcileError> {
    let wanted = std::iter::once(&objects.namespace).chain(&objects.limits);
    let calls = wanted
        .map(|manifest| tenant.apply_exactly(manifest).map_ok(move |applied| counted(manifest, &applied)).boxed());
    each(calls.collect()).await
}

fn counted(manifest: &Manifest, applied: &DynamicObject) -> Progress {
    if manifest.kind == Kind::ResourceQuota && !was_counted(applied) {
        return Progress::wait(150, format!("{}: is not counted yet", manifest.title()));
    }
    Progress::Done
}

async fn remove(tenant: &Cluster, project: &DesiredProject, rights: &Rights) -> Result<State, ReconcileError> {
    let name = project.name.as_str();
    let gone = State { phase: ProjectPhase::Deleted, rights: Progress::Done, others: Progress::Done };
    let Some(found) = tenant.get(Kind::Namespace, None, name).await? else { return Ok(gone) };
    // One that lost the label is no other project's: until this one is gone, none has its name. Left alone it would be the next
    // one's, with everybody who had a right in it.
    if owner(&found, project) == Owner::Other {
        // Rights of ours that are left in it, as when the label was changed, are nobody's any more.
        let ended = rights.make_true(tenant, Some(name), &[], &[]).await?;
        return Ok(if ended == Progress::Done {
            gone
        } else {
            State { phase: ProjectPhase::Deleting, rights: ended, ..gone }
        });
    }
    if found.metadata.deletion_timestamp.is_none() {
        tenant.delete(Kind::Namespace, None, name, None).await?;
    }
    // What keeps the namespace from its end is not to keep anybody's rights in it.
    let ended = rights.make_true(tenant, Some(name), &[], &[]).await?;
    let ending = ending(&found).unwrap_or_else(|| "Terminating".to_owned());
    let others = Progress::wait(1_000, format!("its namespace is {ending}"));
    Ok(State { phase: ProjectPhase::Deleting, rights: ended, others })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hexabase_core::projects::{NetworkIsolation, PodSecurity, ProjectLabels};

    use super::*;

    fn project() -> DesiredProject {
        DesiredProject {
            id: "prj-0123456789abcdefghjk".parse().unwrap(),
            name: "shop".parse().unwrap(),
            present: true,
            limits: Amounts::of(|_| 1),
            labels: ProjectLabels::default(),
            pod_security: PodSecurity::Baseline,
            network: NetworkIsolation::Open,
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
    fn a_namespace_is_created_without_the_labels_that_may_go_again() {
        let labels = [("team".to_owned(), "shop".to_owned())].into_iter().collect::<BTreeMap<_, _>>();
        let objects = build(&DesiredProject { labels: labels.try_into().unwrap(), ..project() });
        let written = |manifest: &Manifest| manifest.json["metadata"]["labels"].as_object().unwrap().clone();
        let (first, mut then) = (written(&objects.first), written(&objects.namespace));
        assert_eq!(first["pod-security.kubernetes.io/enforce"], "baseline");
        assert_eq!(then.remove("team"), Some(json!("shop")));
        assert_eq!(first, then);
    }

    #[test]
    fn of_several_that_wait_the_first_reason_and_the_shortest_time_count() {
        let all = [Progress::Done, Progress::wait(15_000, "taken"), Progress::wait(1_000, "ending"), Progress::Done];
        assert_eq!(all.into_iter().fold(Progress::Done, Progress::and), Progress::wait(1_000, "taken"));
        assert_eq!(Progress::Done.and(Progress::Done), Progress::Done);
    }
}
