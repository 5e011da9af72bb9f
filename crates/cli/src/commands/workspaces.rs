//! `hxb workspace`.

use std::collections::BTreeMap;

use hexabase_api::organizations::Organization;
use hexabase_api::workspaces::{Workspace, WorkspaceCreate, WorkspacePlanUpdate};

use super::{confirm, inside, plans, quota};
use crate::args::{self, Goal};
use crate::client::{Api, Fetched};
use crate::clock;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::output::{Format, age, fields, say, table};
use crate::receipt::Receipt;
use crate::resolve;
use crate::wait::wait;

pub(crate) async fn run(context: &Context, command: args::Workspace) -> Result<()> {
    let api = context.api()?;
    match command {
        args::Workspace::Create { name, plan, org, wait: _, no_wait, timeout } => {
            let organization = resolve::organization(&api, org.as_deref()).await?;
            // Who may not know the cost may not make a workspace either, and is told so by that.
            if let Ok(found) = plans::estimate(&api, &organization.id, &plan, None).await {
                say(&plans::sentence(&found.value));
            }
            let path = ["organizations", organization.id.as_str(), "workspaces"];
            let made = api.post::<Workspace>(&path, &WorkspaceCreate { name, plan }).await?;
            if no_wait {
                return context.format.show(&made.raw, || {
                    format!(
                        "Workspace {} ({}) is being created in {}.",
                        made.value.name, made.value.id, organization.name
                    )
                });
            }
            show_ready(context, wait(&api, &made.value.id, Goal::Ready, timeout.timeout).await?)
        }
        args::Workspace::List { org } => list(context, &api, org.as_deref()).await,
        args::Workspace::Get { workspace } => {
            let workspace = resolve::workspace(&api, &workspace).await?;
            context.format.show(&workspace.raw, || details(workspace.value))
        }
        args::Workspace::Delete { workspace, yes, wait: waits, timeout } => {
            let workspace = resolve::workspace(&api, &workspace).await?.value;
            confirm(yes, "workspace", &workspace.name).await?;
            api.delete(&["workspaces", workspace.id.as_str()]).await?;
            say(&format!("Workspace {} ({}) is being deleted.", workspace.name, workspace.id));
            if !waits {
                return Ok(());
            }
            show_deleted(context, &workspace.name, wait(&api, &workspace.id, Goal::Deleted, timeout.timeout).await?)
        }
        args::Workspace::SetPlan { workspace, plan } => {
            let workspace = resolve::workspace(&api, &workspace).await?.value;
            let id = workspace.id.as_str();
            if let Ok(found) = plans::estimate(&api, &workspace.organization, &plan, Some(&workspace.id)).await {
                say(&plans::sentence(&found.value));
            }
            let changed = api.put::<Workspace>(&["workspaces", id, "plan"], &WorkspacePlanUpdate { plan }).await?;
            context.format.show(&changed.raw, || {
                let Workspace { name, plan, plan_version, .. } = &changed.value;
                format!("Workspace {name} is under the plan {plan} (version {plan_version}).")
            })
        }
        args::Workspace::Quota { workspace } => {
            let id = resolve::workspace_id(&api, &workspace).await?;
            quota::of_workspace(context, &api, &id).await
        }
        args::Workspace::Wait { workspace, goal, timeout } => {
            let id = match resolve::workspace_id(&api, &workspace).await {
                Err(error) if error.kind() == Kind::NotFound && goal == Goal::Deleted => {
                    say(&format!("There is no workspace {workspace}."));
                    return Ok(());
                }
                other => other?,
            };
            let found = wait(&api, &id, goal, timeout.timeout).await?;
            match goal {
                Goal::Ready => show_ready(context, found),
                Goal::Deleted => show_deleted(context, &workspace, found),
            }
        }
        args::Workspace::Events { workspace, namespace } => {
            inside::events(context, &api, &workspace, namespace.as_deref()).await
        }
        args::Workspace::Usage { workspace, namespace } => {
            inside::usage(context, &api, &workspace, namespace.as_deref()).await
        }
    }
}

fn show_ready(context: &Context, workspace: Option<Fetched<Workspace>>) -> Result<()> {
    let workspace = workspace.ok_or_else(|| Error::new(Kind::NotFound, "the workspace is gone"))?;
    context.format.show(&workspace.raw, || {
        let Workspace { name, id, .. } = &workspace.value;
        format!("Workspace {name} ({id}) is ready. Use it with: hxb kubeconfig {name} --set-current")
    })
}

fn show_deleted(context: &Context, name: &str, workspace: Option<Fetched<Workspace>>) -> Result<()> {
    match workspace {
        Some(workspace) => context.format.show(&workspace.raw, || {
            let deleted = format!("Workspace {} is deleted.", workspace.value.name);
            match Receipt::of(&workspace.value) {
                Some(receipt) => {
                    let (removed, remaining) = (receipt.removed(), receipt.remaining());
                    format!("{deleted} Removed: {removed}. Remaining: {remaining}.{}", receipt.list())
                }
                None => deleted,
            }
        }),
        None => {
            say(&format!("Workspace {name} is deleted."));
            Ok(())
        }
    }
}

async fn list(context: &Context, api: &Api, org: Option<&str>) -> Result<()> {
    let all = match org {
        Some(org) => {
            let organization = resolve::organization(api, Some(org)).await?;
            api.list::<Workspace>(&["organizations", organization.id.as_str(), "workspaces"], &[]).await?
        }
        None => api.list::<Workspace>(&["workspaces"], &[]).await?,
    };
    let names: BTreeMap<_, _> = match context.format {
        Format::Table => {
            let organizations = api.list::<Organization>(&["organizations"], &[]).await?.value;
            organizations.into_iter().map(|organization| (organization.id, organization.name)).collect()
        }
        Format::Json | Format::Yaml => BTreeMap::new(),
    };
    context.format.show(&all.raw, || {
        let now = clock::now();
        let rows = all.value.into_iter().map(|one| {
            let organization = names.get(&one.organization).cloned().unwrap_or_else(|| one.organization.to_string());
            [one.name, organization, one.plan, one.phase.to_string(), age(one.created_at, now), one.id.to_string()]
        });
        table(["NAME", "ORGANISATION", "PLAN", "PHASE", "AGE", "ID"], "There are no workspaces.", rows)
    })
}

fn details(workspace: Workspace) -> String {
    let moment = |at: Option<hexabase_core::time::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    let receipt = Receipt::of(&workspace);
    let mut text = fields([
        ("Name", workspace.name),
        ("Id", workspace.id.to_string()),
        ("Organisation", workspace.organization.to_string()),
        ("Plan", format!("{} (version {})", workspace.plan, workspace.plan_version)),
        ("Phase", workspace.phase.to_string()),
        ("Message", workspace.message.unwrap_or_default()),
        ("Server", workspace.server),
        ("Issuer", workspace.issuer),
        ("Asked for", workspace.created_at.to_string()),
        ("Ready", moment(workspace.ready_at)),
        ("Deleted", moment(workspace.deleted_at)),
        ("Removed", receipt.as_ref().map(Receipt::removed).unwrap_or_default()),
        ("Remaining", receipt.as_ref().map(Receipt::remaining).unwrap_or_default()),
    ]);
    text.push_str(&receipt.map(Receipt::list).unwrap_or_default());
    if !workspace.steps.is_empty() {
        let rows = workspace
            .steps
            .into_iter()
            .map(|step| [step.name.to_string(), step.state, step.message.unwrap_or_default()]);
        text.push_str("\n\n");
        text.push_str(&table(["STEP", "STATE", "MESSAGE"], "", rows));
    }
    text
}
