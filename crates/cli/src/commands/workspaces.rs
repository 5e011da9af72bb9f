//! `hxb workspace`.

use std::collections::BTreeMap;
use std::time::Duration;

use hexabase_api::organizations::Organization;
use hexabase_api::plans::Estimate;
use hexabase_api::workspaces::{PlanChange, SleepRule, Workspace, WorkspaceCreate, WorkspacePlanUpdate};
use hexabase_core::names::WorkspaceName;
use serde_json::json;

use super::{confirm, confirm_deed, inside, nodes, plans, quota};
use crate::args::{self, Goal};
use crate::client::{Api, Fetched};
use crate::clock;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::output::{Format, age, fields, price, say, table};
use crate::receipt::Receipt;
use crate::resolve;
use crate::wait::wait;

/// For how long a deletion can be undone when nothing is said of it.
const GRACE: Duration = Duration::from_secs(3_600);

pub(crate) async fn run(context: &Context, command: args::Workspace) -> Result<()> {
    let api = context.api()?;
    match command {
        args::Workspace::Create { name, plan, org, wait: _, no_wait, timeout } => {
            // Before anything is said of costs: what cannot be made costs nothing.
            name.parse::<WorkspaceName>().map_err(|refused| Error::new(Kind::Usage, refused.to_string()))?;
            let organization = resolve::organization(&api, org.as_deref()).await?;
            // Who may not know the cost may not make a workspace either, and is told so by that.
            let plan_version = shown(plans::estimate(&api, &organization.id, &plan, None).await)?;
            let path = ["organizations", organization.id.as_str(), "workspaces"];
            let made = api.post::<Workspace>(&path, &WorkspaceCreate { name, plan, plan_version }).await?;
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
        args::Workspace::Delete { workspace, yes, grace, wait: waits, timeout } => {
            let minutes = grace_minutes(grace, yes || waits)?;
            // What --yes alone means is not what was going to be asked for.
            let hint = match grace {
                Some(_) => "give --yes as well",
                None => "give --yes: it goes at once and cannot be undone; with --yes --grace 1h it can, for an hour",
            };
            let workspace = resolve::workspace(&api, &workspace).await?.value;
            match minutes {
                0 => confirm(yes, "workspace", &workspace.name).await?,
                _ => confirm_later(yes, &workspace.name, minutes, hint).await?,
            }
            delete(&api, &workspace, minutes).await?;
            if !waits {
                return Ok(());
            }
            if minutes > 0 {
                // Nobody sits and waits for hours until it begins.
                say(&format!(
                    "That is not waited for: hxb workspace wait {} --for deleted --timeout {}m",
                    workspace.id,
                    minutes.saturating_add(5)
                ));
                return Ok(());
            }
            show_deleted(context, &workspace.name, wait(&api, &workspace.id, Goal::Deleted, timeout.timeout).await?)
        }
        args::Workspace::SetPlan { workspace, plan } => {
            let workspace = resolve::workspace(&api, &workspace).await?.value;
            let id = workspace.id.as_str();
            let plan_version = shown(plans::estimate(&api, &workspace.organization, &plan, Some(&workspace.id)).await)?;
            let body = WorkspacePlanUpdate { plan, plan_version };
            let changed = api.put::<Workspace>(&["workspaces", id, "plan"], &body).await?;
            context.format.show(&changed.raw, || {
                let Workspace { name, plan, plan_version, plan_change, .. } = &changed.value;
                let is = format!("Workspace {name} is under the plan {plan} (version {plan_version}).");
                match plan_change {
                    Some(next) => format!(
                        "{is} It comes under {} if it uses no more than that gives, which is being looked at; what became of it: \
                         hxb workspace get {name}",
                        next.plan
                    ),
                    None => is,
                }
            })
        }
        args::Workspace::Quota { workspace } => {
            let id = resolve::workspace_id(&api, &workspace).await?;
            quota::of_workspace(context, &api, &id).await
        }
        args::Workspace::Nodes(command) => nodes::run(context, &api, command).await,
        args::Workspace::Restore { workspace, wait: waits, timeout } => {
            let asked = ask(&api, &workspace, "restore").await?;
            show_waking(context, &api, asked, waits.then_some(timeout.timeout)).await
        }
        args::Workspace::Wake { workspace, wait: waits, timeout } => {
            let asked = ask(&api, &workspace, "wake").await?;
            show_waking(context, &api, asked, waits.then_some(timeout.timeout)).await
        }
        args::Workspace::Sleep { workspace, wait: waits, timeout } => {
            let asked = ask(&api, &workspace, "sleep").await?;
            let found = match waits {
                true => wait(&api, &asked.value.id, Goal::Asleep, timeout.timeout).await?.unwrap_or(asked),
                false => asked,
            };
            context.format.show(&found.raw, || format!("Workspace {} is {}.", found.value.name, found.value.phase))
        }
        args::Workspace::SleepRule { workspace, after, at, wake_at, keep_workloads } => {
            let rule = SleepRule { after_minutes: whole_minutes(after)?, keep_workloads, sleep_at: at, wake_at };
            let id = resolve::workspace_id(&api, &workspace).await?;
            let changed = api.put::<Workspace>(&["workspaces", id.as_str(), "sleep-rule"], &rule).await?;
            let Workspace { name, sleep_rule, .. } = &changed.value;
            context
                .format
                .show(&changed.raw, || format!("Workspace {name} sleeps by itself: {}.", said(sleep_rule.as_ref())))
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
                Goal::Ready | Goal::Asleep => show_reached(context, goal, found),
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

/// Shows an estimate, unless the caller may not see one; gives the version that it is of, so that nobody gets another one than they
/// were shown. Nothing is chosen whose cost could not be asked for.
fn shown(estimate: Result<Fetched<Estimate>>) -> Result<Option<u32>> {
    match estimate {
        Ok(Fetched { value: estimate, .. }) => {
            say(&plans::sentence(&estimate));
            Ok(Some(estimate.plan.version))
        }
        Err(error) if error.is_out_of_sight() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Asks something of a workspace that takes time.
async fn ask(api: &Api, workspace: &str, verb: &str) -> Result<Fetched<Workspace>> {
    let id = resolve::workspace_id(api, workspace).await?;
    api.post(&["workspaces", id.as_str(), verb], &json!({})).await
}

async fn delete(api: &Api, workspace: &Workspace, minutes: u64) -> Result<()> {
    let Workspace { name, id, .. } = workspace;
    let path = ["workspaces", id.as_str()];
    if minutes == 0 {
        api.delete(&path).await?;
        say(&format!("Workspace {name} ({id}) is being deleted."));
        return Ok(());
    }
    let minutes = minutes.to_string();
    let asked = api.delete_with::<Workspace>(&path, &[("grace_minutes", minutes.as_str())]).await?;
    match asked.value.removal_at {
        Some(at) => say(&format!(
            "Workspace {name} ({id}) is closed and will be deleted at {at}. Until then: hxb workspace restore {id}"
        )),
        None => say(&format!("Workspace {name} ({id}) is being deleted.")),
    }
    Ok(())
}

async fn confirm_later(yes: bool, name: &str, minutes: u64, hint: &str) -> Result<()> {
    let warning = format!(
        "This closes workspace {name} at once, and deletes it with everything in it in {minutes} minutes. \
         Type its name to go on:"
    );
    confirm_deed(yes, &format!("the deletion of workspace {name}"), &warning, name, hint).await
}

/// For how many minutes a deletion can be undone: scripts, and whoever waits for its end, want that now.
fn grace_minutes(given: Option<Duration>, at_once: bool) -> Result<u64> {
    let default = if at_once { Duration::ZERO } else { GRACE };
    Ok(u64::from(whole_minutes(Some(given.unwrap_or(default)))?.unwrap_or_default()))
}

fn whole_minutes(time: Option<Duration>) -> Result<Option<u32>> {
    let Some(time) = time else { return Ok(None) };
    let minutes = u32::try_from(time.as_secs() / 60).ok().filter(|_| time.as_secs().is_multiple_of(60));
    minutes.map(Some).ok_or_else(|| Error::new(Kind::Usage, "give a time in whole minutes, such as 30m or 2h"))
}

/// When a workspace sleeps by itself, as the end of a sentence.
fn said(rule: Option<&SleepRule>) -> String {
    let Some(SleepRule { after_minutes, keep_workloads, sleep_at, wake_at }) = rule else { return "never".to_owned() };
    let mut parts = Vec::new();
    parts.extend(after_minutes.map(|minutes| format!("after {minutes} min without use")));
    parts.extend(sleep_at.as_ref().map(|time| format!("at {time} UTC")));
    if parts.is_empty() {
        parts.push("never".to_owned());
    }
    parts.extend(wake_at.as_ref().map(|time| format!("is woken at {time} UTC")));
    parts.extend(keep_workloads.then(|| "keeps its pods running".to_owned()));
    parts.join(", ")
}

async fn show_waking(context: &Context, api: &Api, asked: Fetched<Workspace>, waits: Option<Duration>) -> Result<()> {
    if let Some(timeout) = waits {
        return show_ready(context, wait(api, &asked.value.id, Goal::Ready, timeout).await?);
    }
    context.format.show(&asked.raw, || format!("Workspace {} is {}.", asked.value.name, asked.value.phase))
}

fn show_reached(context: &Context, goal: Goal, workspace: Option<Fetched<Workspace>>) -> Result<()> {
    match (goal, workspace) {
        (Goal::Asleep, Some(found)) => {
            context.format.show(&found.raw, || format!("Workspace {} is asleep.", found.value.name))
        }
        (_, workspace) => show_ready(context, workspace),
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
                    let forced =
                        receipt.forced().map(|forced| format!(" Held by others: {forced}.")).unwrap_or_default();
                    let returned =
                        receipt.returned().map(|nodes| format!(" Nodes given back: {nodes}.")).unwrap_or_default();
                    let missing = receipt.missing().map(|missing| format!(" Missing: {missing}.")).unwrap_or_default();
                    format!(
                        "{deleted} Removed: {removed}. Remaining: {remaining}.{forced}{missing}{returned}{}",
                        receipt.list()
                    )
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
        table(["NAME", "ORGANIZATION", "PLAN", "PHASE", "AGE", "ID"], "There are no workspaces.", rows)
    })
}

fn next_plan(change: PlanChange) -> String {
    let PlanChange { plan, plan_version, refused } = change;
    let what =
        refused.map_or_else(|| "what is used is being looked at".to_owned(), |why| format!("not possible: {why}"));
    format!("{plan} (version {plan_version}), {what}")
}

fn details(workspace: Workspace) -> String {
    let moment = |at: Option<hexabase_core::time::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    let receipt = Receipt::of(&workspace);
    let mut text = fields([
        ("Name", workspace.name),
        ("Id", workspace.id.to_string()),
        ("Organization", workspace.organization.to_string()),
        ("Plan", format!("{} (version {})", workspace.plan, workspace.plan_version)),
        ("Price/month", workspace.price.map(|one| price(one.price_minor, &one.currency)).unwrap_or_default()),
        ("Next plan", workspace.plan_change.map(next_plan).unwrap_or_default()),
        ("Phase", workspace.phase.to_string()),
        ("Message", workspace.message.unwrap_or_default()),
        ("Server", workspace.server),
        ("Issuer", workspace.issuer),
        ("Asked for", workspace.created_at.to_string()),
        ("Ready", moment(workspace.ready_at)),
        ("Sleeps", workspace.sleep_rule.as_ref().map(|rule| said(Some(rule))).unwrap_or_default()),
        ("To be deleted", moment(workspace.removal_at)),
        ("Deleted", moment(workspace.deleted_at)),
        ("Removed", receipt.as_ref().map(Receipt::removed).unwrap_or_default()),
        ("Remaining", receipt.as_ref().map(Receipt::remaining).unwrap_or_default()),
        ("Held", receipt.as_ref().and_then(Receipt::forced).unwrap_or_default()),
        ("Missing", receipt.as_ref().and_then(Receipt::missing).unwrap_or_default()),
        ("Nodes given back", receipt.as_ref().and_then(Receipt::returned).unwrap_or_default()),
        ("Note", receipt.as_ref().map(|receipt| receipt.note.clone()).unwrap_or_default()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_who_is_asked_can_undo_a_deletion_and_a_script_says_if_it_wants_to() {
        let minutes = |given: Option<u64>, at_once| grace_minutes(given.map(Duration::from_secs), at_once);
        assert_eq!(minutes(None, false).ok(), Some(60));
        assert_eq!(minutes(None, true).ok(), Some(0));
        assert_eq!(minutes(Some(7_200), true).ok(), Some(120));
        assert_eq!(minutes(Some(0), false).ok(), Some(0));
        assert!(minutes(Some(90), false).is_err());
    }

    #[test]
    fn a_rule_is_said_as_people_say_it() {
        let rule = |after_minutes, sleep_at: Option<&str>, wake_at: Option<&str>, keep_workloads| {
            let (sleep_at, wake_at) = (sleep_at.map(str::to_owned), wake_at.map(str::to_owned));
            said(Some(&SleepRule { after_minutes, keep_workloads, sleep_at, wake_at }))
        };
        assert_eq!(said(None), "never");
        assert_eq!(rule(None, None, None, false), "never");
        assert_eq!(rule(Some(30), None, None, false), "after 30 min without use");
        let all = "after 30 min without use, at 20:00 UTC, is woken at 08:00 UTC, keeps its pods running";
        assert_eq!(rule(Some(30), Some("20:00"), Some("08:00"), true), all);
    }
}
