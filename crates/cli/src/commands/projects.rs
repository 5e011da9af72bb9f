//! `hxb project`.

use hexabase_api::projects::{Project, ProjectCreate, ProjectQuotaCreate};

use super::confirm;
use crate::args;
use crate::clock;
use crate::context::Context;
use crate::error::Result;
use crate::output::{age, fields, say, table};
use crate::resolve;

pub(crate) async fn run(context: &Context, command: args::Project) -> Result<()> {
    let api = context.api()?;
    match command {
        args::Project::Create { name, place, cpu, memory, storage, pods, below } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let given = cpu.is_some() || memory.is_some() || storage.is_some() || pods.is_some();
            let quota = given.then_some(ProjectQuotaCreate { cpu, memory, storage, pods });
            let parent = match below {
                Some(below) => Some(resolve::project_id(&api, &workspace, &below).await?.to_string()),
                None => None,
            };
            let body = ProjectCreate { name, quota, parent };
            let project = api.post::<Project>(&["workspaces", workspace.as_str(), "projects"], &body).await?;
            context.format.show(&project.raw, || {
                format!("Project {} in workspace {} is {}.", project.value.name, place.workspace, project.value.phase)
            })
        }
        args::Project::List { place } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let all = api.list::<Project>(&["workspaces", workspace.as_str(), "projects"], &[]).await?;
            context.format.show(&all.raw, || {
                let now = clock::now();
                let rows = all.value.into_iter().map(|project| {
                    let (quota, age) = (project.quota, age(project.created_at, now));
                    [
                        project.name,
                        project.phase.to_string(),
                        quota.cpu,
                        quota.memory,
                        quota.storage,
                        quota.pods.to_string(),
                        age,
                    ]
                });
                let header = ["NAME", "PHASE", "CPU", "MEMORY", "STORAGE", "PODS", "AGE"];
                table(header, "There are no projects in this workspace.", rows)
            })
        }
        args::Project::Get { project, place } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let id = resolve::project_id(&api, &workspace, &project).await?;
            let project = api.get::<Project>(&["workspaces", workspace.as_str(), "projects", id.as_str()]).await?;
            context.format.show(&project.raw, || details(project.value))
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

fn details(project: Project) -> String {
    fields([
        ("Name", project.name),
        ("Id", project.id.to_string()),
        ("Workspace", project.workspace.to_string()),
        ("Phase", project.phase.to_string()),
        ("Below", project.parent.map(|parent| parent.to_string()).unwrap_or_default()),
        ("CPU", project.quota.cpu),
        ("Memory", project.quota.memory),
        ("Storage", project.quota.storage),
        ("Pods", project.quota.pods.to_string()),
        ("Made", project.created_at.to_string()),
    ])
}
