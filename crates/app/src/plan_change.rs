//! Another plan for a workspace that runs: its quotas change in place, and nothing in it is made anew.

use hexabase_backends::store::workspaces::{self, Workspace, WorkspaceScope};
use hexabase_backends::store::{Tx, organizations, projects as project_rows, workspace_members};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::phases::WorkspacePhase;
use hexabase_core::plans::{Plan, check_change};
use hexabase_core::quota::Resource;
use hexabase_core::time::Timestamp;
use serde_json::{Value, json};

use crate::authz::{self, WorkspaceAction};
use crate::context::{App, OpContext};
use crate::error::{Error, Result};
use crate::jobs::follow;
use crate::plans::{PlanChoice, choose, plan_of};
use crate::workspaces::{WorkspaceDetails, details};
use crate::{organization_quota, projects, quota};

/// Puts a workspace under a plan, in its newest version; also under a newer version of the plan that it has. Refused while more
/// is used than the plan allows, with what uses it.
pub async fn change_plan(
    app: &App,
    ctx: &OpContext,
    id: &WorkspaceId,
    plan: PlanChoice<'_>,
) -> Result<WorkspaceDetails> {
    let tx = app.store.begin().await?;
    let scope = authz::locked_workspace(&tx, ctx, id, WorkspaceAction::ChangePlan).await?;
    let from = plan_of(&tx, &scope).await?;
    let to = choose(&tx, plan).await?;
    if (&to.id, to.version) == (&from.id, from.version) {
        tx.rollback().await?;
        return details(app, &scope).await;
    }
    check_change(&from, &to).map_err(|cause| Error::conflict("plan_immutable", cause.to_string()))?;
    check_workspaces(&tx, &scope, &from, &to).await?;
    check_use(&tx, &scope, &from, &to).await?;
    workspaces::set_plan(&tx, &scope, (&to.id, to.version), ctx.now).await?;
    bound_sleep(&tx, &scope, &to, ctx.now).await?;
    let said = (Some(told(&from)), Some(told(&to)));
    follow::commit(app, ctx, tx, &scope, "workspace.plan_changed", id.as_str(), said).await?;
    tracing::info!(workspace.id = %id, plan = %to.id, plan.version = to.version, "workspace put under another plan");
    details(app, &scope).await
}

/// Has the workspace sleep no later than its new plan lets it; what else its rule says stays.
async fn bound_sleep(tx: &Tx, scope: &WorkspaceScope, to: &Plan, now: Timestamp) -> Result<()> {
    let row = workspaces::get(tx, scope).await?.ok_or(Error::NotFound("workspace"))?;
    let before = row.sleep_rule.unwrap_or_default();
    let rule = before.clone().within(to.sleep_after_minutes);
    if rule != before {
        workspaces::set_sleep_rule(tx, scope, &rule, now).await?;
    }
    Ok(())
}

fn told(plan: &Plan) -> Value {
    json!({ "plan": plan.id, "version": plan.version })
}

/// Whether the organisation may have one more workspace under the plan, and has as much left as it gives. The organisation is
/// locked.
async fn check_workspaces(tx: &Tx, scope: &WorkspaceScope, from: &Plan, to: &Plan) -> Result<()> {
    let organization = organizations::scope_for(tx, scope.user(), scope.organization()).await?;
    let organization = organization.ok_or(Error::NotFound("workspace"))?;
    let living = workspaces::count_living(tx, &organization, &to.id).await?;
    let others = if from.id == to.id { living.saturating_sub(1) } else { living };
    if others < u64::from(to.limits.workspaces) {
        return organization_quota::check(tx, &organization, scope.workspace(), to).await;
    }
    Err(Error::LimitReached(format!(
        "the plan {} allows {} workspace(s) per organization and {others} exist; delete one or choose another plan",
        to.id, to.limits.workspaces
    )))
}

/// Whether what the workspace has fits into the plan. The workspace is locked.
async fn check_use(tx: &Tx, scope: &WorkspaceScope, from: &Plan, to: &Plan) -> Result<()> {
    let people = workspace_members::count(tx, scope).await?;
    let made = project_rows::count_living(tx, scope).await?;
    for (what, most, used) in [("members", to.limits.members, people), ("projects", to.limits.projects, made)] {
        if used > u64::from(most) {
            let detail =
                format!("the plan {} allows {most} {what} and the workspace has {used}; remove some first", to.id);
            return Err(Error::conflict("quota_in_use", detail));
        }
    }
    let row = workspaces::get(tx, scope).await?.ok_or(Error::NotFound("workspace"))?;
    if row.nodes_wanted > to.max_nodes {
        let (most, has) = (to.max_nodes, row.nodes_wanted);
        let detail = format!(
            "the plan {} gives {most} nodes of its own and the workspace has asked for {has}; give some back first",
            to.id
        );
        return Err(Error::conflict("quota_in_use", detail));
    }
    check_running(&row, from, to)?;
    let living = projects::living(tx, scope).await?;
    let mut ledger = quota::ledger(&from.limits.amounts, &living);
    let replaced = ledger.replace_whole(to.limits.amounts.clone());
    replaced.map_err(|refusal| quota::refused(refusal, to, &living))
}

/// Whether what there is in the workspace fits into the plan, in projects and outside of them, as the host counted it last. What is
/// not known is taken not to fit.
fn check_running(row: &Workspace, from: &Plan, to: &Plan) -> Result<()> {
    let (before, after) = (&from.limits.amounts, &to.limits.amounts);
    // In what was never usable is nothing.
    if row.ready_at.is_none() || before.exceeds(after).is_none() {
        return Ok(());
    }
    let Some(used) = &row.used else {
        let detail = "what the workspace uses is not known yet; wake it if it sleeps, and ask again in a minute";
        return Err(Error::conflict("not_ready", detail));
    };
    let keeps = row.sleep_rule.as_ref().is_some_and(|rule| rule.keep_workloads);
    let stopped = row.phase == WorkspacePhase::Asleep && !keeps;
    let rests = |resource: Resource| stopped && matches!(resource, Resource::Cpu | Resource::Memory | Resource::Pods);
    let too_much = |resource: &Resource| {
        let left = after.get(*resource);
        left < before.get(*resource) && left < used.get(*resource) && !rests(*resource)
    };
    let Some(resource) = Resource::ALL.iter().copied().find(too_much) else { return Ok(()) };
    let (left, used) = (resource.write(after.get(resource)), resource.write(used.get(resource)));
    Err(Error::conflict(
        "quota_in_use",
        format!(
            "the plan {} allows {left} of {resource} and the workspace uses {used}, in its projects and outside of them; end some \
             of that, and ask again when it has been counted, in a minute at most",
            to.id
        ),
    ))
}
