//! `hxb project`.

use std::collections::BTreeMap;

use hexabase_api::projects::{Project, ProjectCreate, ProjectQuotaCreate, ProjectUpdate};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::projects::{NetworkIsolation, PodSecurity};

use super::confirm;
use crate::args::{self, Level, Network, Quota};
use crate::client::Api;
use crate::clock;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::output::{age, fields, say, table};
use crate::resolve;

pub(crate) async fn run(context: &Context, command: args::Project) -> Result<()> {
    let api = context.api()?;
    match command {
        args::Project::Create { name, place, quota, below, labels, pod_security, network } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let parent = match below {
                Some(below) => Some(resolve::project_id(&api, &workspace, &below).await?.to_string()),
                None => None,
            };
            let labels = labels.into_iter().collect();
            let (quota, pod_security, network) = (share(quota), level(pod_security), isolation(network));
            let body = ProjectCreate { name, quota, parent, labels, pod_security, network };
            let project = api.post::<Project>(&["workspaces", workspace.as_str(), "projects"], &body).await?;
            context.format.show(&project.raw, || {
                format!("Project {} in workspace {} is {}.", project.value.name, place.workspace, project.value.phase)
            })
        }
        args::Project::Update { project, place, quota, below, top, labels, no_labels, pod_security, network } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let id = resolve::project_id(&api, &workspace, &project).await?;
            let path = ["workspaces", workspace.as_str(), "projects", id.as_str()];
            let parent = match below {
                Some(below) => Some(Some(resolve::project_id(&api, &workspace, &below).await?.to_string())),
                None => top.then_some(None),
            };
            let labels = match labels.is_empty() && no_labels.is_empty() {
                true => None,
                false => Some(changed(api.get::<Project>(&path).await?.value.labels, labels, &no_labels)),
            };
            let (quota, pod_security, network) = (share(quota), level(pod_security), isolation(network));
            let body = ProjectUpdate { quota, parent, labels, pod_security, network };
            let nothing = body.quota.is_none() && body.parent.is_none() && body.labels.is_none();
            if nothing && body.pod_security.is_none() && body.network.is_none() {
                return Err(Error::new(Kind::Usage, "nothing to change").hint("see: hxb project update --help"));
            }
            let project = api.patch::<Project>(&path, &body).await?;
            let below = above(&api, &workspace, &project.value).await?;
            context.format.show(&project.raw, || details(project.value, below))
        }
        args::Project::List { place } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let all = api.list::<Project>(&["workspaces", workspace.as_str(), "projects"], &[]).await?;
            context.format.show(&all.raw, || {
                let now = clock::now();
                let names: BTreeMap<_, _> =
                    all.value.iter().map(|project| (project.id.clone(), project.name.clone())).collect();
                let rows = all.value.into_iter().map(|project| {
                    let below = project.parent.map(|id| names.get(&id).cloned().unwrap_or_else(|| id.to_string()));
                    let (quota, age) = (project.quota, age(project.created_at, now));
                    [
                        project.name,
                        below.unwrap_or_default(),
                        project.phase.to_string(),
                        quota.cpu,
                        quota.memory,
                        quota.storage,
                        quota.pods.to_string(),
                        age,
                    ]
                });
                let header = ["NAME", "BELOW", "PHASE", "CPU", "MEMORY", "STORAGE", "PODS", "AGE"];
                table(header, "There are no projects in this workspace.", rows)
            })
        }
        args::Project::Get { project, place } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let id = resolve::project_id(&api, &workspace, &project).await?;
            let project = api.get::<Project>(&["workspaces", workspace.as_str(), "projects", id.as_str()]).await?;
            let below = above(&api, &workspace, &project.value).await?;
            context.format.show(&project.raw, || details(project.value, below))
        }
        args::Project::Delete { project, place, yes } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let id = resolve::project_id(&api, &workspace, &project).await?;
            confirm(yes, "project", &project).await?;
            api.delete(&["workspaces", workspace.as_str(), "projects", id.as_str()]).await?;
            say(&format!("Project {project} is being deleted."));
            Ok(())
        }
    }
}

/// What is asked for, if anything is.
fn share(quota: Quota) -> Option<ProjectQuotaCreate> {
    let Quota { cpu, memory, storage, pods, services, load_balancers, volume_claims, objects } = quota;
    let counts = [pods, services, load_balancers, volume_claims, objects];
    let given = cpu.is_some() || memory.is_some() || storage.is_some() || counts.iter().any(Option::is_some);
    given.then_some(ProjectQuotaCreate {
        cpu,
        memory,
        storage,
        pods,
        services,
        load_balancers,
        persistent_volume_claims: volume_claims,
        objects,
    })
}

fn level(level: Option<Level>) -> Option<PodSecurity> {
    level.map(|level| match level {
        Level::Restricted => PodSecurity::Restricted,
        Level::Baseline => PodSecurity::Baseline,
    })
}

fn isolation(network: Option<Network>) -> Option<NetworkIsolation> {
    network.map(|network| match network {
        Network::Isolated => NetworkIsolation::Isolated,
        Network::Open => NetworkIsolation::Open,
    })
}

/// The labels that there are, with some more and without others.
fn changed(
    mut labels: BTreeMap<String, String>,
    set: Vec<(String, String)>,
    removed: &[String],
) -> BTreeMap<String, String> {
    labels.retain(|key, _| !removed.contains(key));
    labels.extend(set);
    labels
}

/// The name of the project that one stands below.
async fn above(api: &Api, workspace: &WorkspaceId, project: &Project) -> Result<String> {
    let Some(parent) = &project.parent else { return Ok(String::new()) };
    let path = ["workspaces", workspace.as_str(), "projects", parent.as_str()];
    Ok(api.get::<Project>(&path).await?.value.name)
}

fn details(project: Project, below: String) -> String {
    let left = project.available;
    let of =
        |left: String, all: String| if left.is_empty() || left == all { all } else { format!("{all}, {left} left") };
    let count = |left: u32, all: u32| of(left.to_string(), all.to_string());
    let labels: Vec<String> = project.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    // An older server says nothing of what is left.
    let told = !left.cpu.is_empty();
    let pods = if told { count(left.pods, project.quota.pods) } else { project.quota.pods.to_string() };
    fields([
        ("Name", project.name),
        ("Id", project.id.to_string()),
        ("Workspace", project.workspace.to_string()),
        ("Phase", project.phase.to_string()),
        ("Below", below),
        ("CPU", of(left.cpu, project.quota.cpu)),
        ("Memory", of(left.memory, project.quota.memory)),
        ("Storage", of(left.storage, project.quota.storage)),
        ("Pods", pods),
        ("Services", count(left.services, project.quota.services)),
        ("Load balancers", count(left.load_balancers, project.quota.load_balancers)),
        ("Volume claims", count(left.persistent_volume_claims, project.quota.persistent_volume_claims)),
        ("Objects", count(left.objects, project.quota.objects)),
        ("Labels", labels.join(", ")),
        ("Pod Security", project.pod_security.to_string()),
        ("Network", project.network.to_string()),
        ("Made", project.created_at.to_string()),
    ])
}
