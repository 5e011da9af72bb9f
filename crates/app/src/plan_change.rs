//! Another plan for a workspace that runs: its quotas change in place, and nothing in it is made anew.

use hexabase_backends::store::workspaces::{self, Desired, Workspace, WorkspaceScope};
use hexabase_backends::store::{Tx, host_nodes, organizations, plans, projects as project_rows, workspace_members};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::nodes::NodeClass;
use hexabase_core::plans::{Plan, PlanWish, check_change};
use hexabase_core::quota::{Amounts, Resource};
use hexabase_core::time::Timestamp;
use hexabase_reconcile::{Fit, Users};
use serde_json::{Value, json};

use crate::authz::{self, WorkspaceAction};
use crate::context::{App, Change, OpContext};
use crate::error::{Error, Result};
use crate::jobs::follow;
use crate::plans::{PlanChoice, choose_beside, plan_of, too_many_workspaces};
use crate::workspaces::{WorkspaceDetails, details};
use crate::{organization_quota, projects, quota, tenant};

/// Puts a workspace under a plan, in its newest version; also under a newer version of the plan that it has. Refused while more
/// is used than the plan allows, with what uses it as far as the rows tell.
///
/// A plan that gives less of something is only noted: what is used now is known to the host alone, and may be more in the next
/// moment. The workspace comes under it once the host lets in no more than that, if no more is used then. Choosing the plan that it
/// has takes such a wish back.
pub async fn change_plan(
    app: &App,
    ctx: &OpContext,
    id: &WorkspaceId,
    plan: PlanChoice<'_>,
) -> Result<WorkspaceDetails> {
    let tx = app.store.begin().await?;
    let scope = authz::locked_workspace(&tx, ctx, id, WorkspaceAction::ChangePlan).await?;
    let from = plan_of(&tx, &scope).await?;
    let row = workspaces::get(&tx, &scope).await?.ok_or(Error::NotFound("workspace"))?;
    let to = choose_beside(&tx, plan, Some(&from)).await?;
    let key = (&to.id, to.version);
    let keeps = key == (&from.id, from.version);
    let is_asked_for = row.wanted_plan().is_some_and(|wish| key == (&wish.plan, wish.version));
    if is_asked_for || (keeps && row.plan_wish.is_none()) {
        tx.rollback().await?;
        return details(app, &scope).await;
    }
    let (action, before, after) = if keeps {
        workspaces::set_plan_wish(&tx, &scope, None, ctx.now).await?;
        ("workspace.plan_kept", row.plan_wish.map(|wish| wished(&wish)), told(&from))
    } else {
        check(&tx, &scope, &from, &to).await?;
        // In what was never usable is nothing.
        if row.ready_at.is_some() && to.limits.takes_from(&from.limits) {
            let too_much = too_much_of(&row, &from, &to);
            if !too_much.is_empty() {
                tx.rollback().await?;
                return Err(in_use(app, &scope, (&row, &to), &too_much).await);
            }
            let (plan, version, by) = (to.id.clone(), to.version, ctx.user.clone());
            let wish = PlanWish { plan, version, by, at: ctx.now, refused: None };
            workspaces::set_plan_wish(&tx, &scope, Some(&wish), ctx.now).await?;
            ("workspace.plan_asked_for", Some(told(&from)), told(&to))
        } else {
            let (before, after) = put_under(&tx, &scope, (&from, &to), ctx.now).await?;
            ("workspace.plan_changed", Some(before), after)
        }
    };
    follow::commit(app, ctx, tx, &scope, action, id.as_str(), (before, Some(after))).await?;
    tracing::info!(workspace.id = %id, plan = %to.id, plan.version = to.version, action, "another plan was chosen");
    details(app, &scope).await
}

/// Ends a wish for a plan by which the host counts since: the workspace comes under it, or stays under its own and says why.
/// `false`, and nothing happens, when something else is wanted by now.
pub(crate) async fn carry_out(app: &App, tx: &Tx, id: &WorkspaceId, wish: &PlanWish, fit: &Fit) -> Result<bool> {
    let why = match fit {
        Fit::Exceeds(what) => format!("{what}; end some of that, and ask for the plan again"),
        Fit::Fits => match come_under(app, tx, id, wish).await {
            Err(Error::NotFound(_)) => "whoever asked for it has no access to the workspace any more".to_owned(),
            Err(Error::Forbidden(_)) => {
                "whoever asked for it is no admin of the organization any more; another admin can ask again".to_owned()
            }
            Err(Error::Conflict { detail, .. } | Error::LimitReached(detail)) => detail,
            ended => return ended,
        },
    };
    let Some(row) = workspaces::load_for_job(tx, id).await? else { return Ok(false) };
    if !workspaces::refuse_plan_wish(tx, id, wish, &why, app.clock.now()).await? {
        return Ok(false);
    }
    let stays = json!({ "plan": row.plan_id, "version": row.plan_version, "reason": why });
    by_itself(app, tx, &row, "workspace.plan_kept", (wished(wish), stays))?;
    tracing::info!(workspace.id = %id, plan = %wish.plan, plan.version = wish.version, "workspace stays under its plan");
    Ok(true)
}

/// What was asked for is looked at as if it were asked for now: people and projects may have come since, and whoever asked may have
/// lost the right to.
async fn come_under(app: &App, tx: &Tx, id: &WorkspaceId, wish: &PlanWish) -> Result<bool> {
    let seen = workspaces::scope_for(tx, &wish.by, id).await?.ok_or(Error::NotFound("workspace"))?;
    organizations::lock_of(tx, &seen).await?;
    let row = workspaces::lock(tx, &seen).await?.ok_or(Error::NotFound("workspace"))?;
    if row.desired == Desired::Absent || row.wanted_plan() != Some(wish) {
        return Ok(false);
    }
    // What they may do stays so from here on.
    let scope = workspaces::scope_for(tx, &wish.by, id).await?.ok_or(Error::NotFound("workspace"))?;
    authz::may_choose_plan(&scope)?;
    let from = plan_of(tx, &scope).await?;
    let to = plans::get_version(tx, &wish.plan, wish.version).await?;
    let to = to.ok_or_else(|| Error::internal("the row of the plan that was asked for is missing"))?;
    check(tx, &scope, &from, &to).await?;
    let (before, mut after) = put_under(tx, &scope, (&from, &to), app.clock.now()).await?;
    after["asked_for_by"] = json!(wish.by);
    by_itself(app, tx, &row, "workspace.plan_changed", (before, after))?;
    tracing::info!(workspace.id = %id, plan = %to.id, plan.version = to.version, "workspace put under another plan");
    Ok(true)
}

fn by_itself(app: &App, tx: &Tx, row: &Workspace, action: &str, (before, after): (Value, Value)) -> Result<()> {
    let change = Change {
        organization: Some(&row.organization_id),
        workspace: Some(&row.id),
        action,
        subject: row.id.as_str(),
        before: Some(before),
        after: Some(after),
    };
    app.change_by_itself(tx, &row.organization_id, change)
}

async fn check(tx: &Tx, scope: &WorkspaceScope, from: &Plan, to: &Plan) -> Result<()> {
    check_change(from, to).map_err(|cause| Error::conflict("plan_immutable", cause.to_string()))?;
    check_workspaces(tx, scope, from, to).await?;
    check_use(tx, scope, from, to).await
}

/// Writes the plan down, and has the workspace sleep no later than that lets it; what else its rule says stays. Gives how it was and
/// how it is.
async fn put_under(
    tx: &Tx,
    scope: &WorkspaceScope,
    (from, to): (&Plan, &Plan),
    now: Timestamp,
) -> Result<(Value, Value)> {
    workspaces::set_plan(tx, scope, (&to.id, to.version), now).await?;
    let (mut was, mut is) = (told(from), told(to));
    let row = workspaces::get(tx, scope).await?.ok_or(Error::NotFound("workspace"))?;
    let before = row.sleep_rule.unwrap_or_default();
    let rule = before.clone().within(to.sleep_after_minutes);
    if rule != before {
        workspaces::set_sleep_rule(tx, scope, &rule, now).await?;
        was["sleep_rule"] = json!(before);
        is["sleep_rule"] = json!(rule);
    }
    Ok((was, is))
}

fn told(plan: &Plan) -> Value {
    json!({ "plan": plan.id, "version": plan.version })
}

fn wished(wish: &PlanWish) -> Value {
    json!({ "plan": wish.plan, "version": wish.version })
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
    Err(too_many_workspaces(to, others))
}

/// Whether what the workspace has fits into the plan. The workspace is locked.
async fn check_use(tx: &Tx, scope: &WorkspaceScope, from: &Plan, to: &Plan) -> Result<()> {
    let people = workspace_members::count(tx, scope).await?;
    let made = project_rows::count_living(tx, scope).await?;
    for (what, most, used) in [("members", to.limits.members, people), ("projects", to.limits.projects, made)] {
        if used > u64::from(most) {
            let detail = format!(
                "the plan {} allows {most} {what} and the workspace has {used}; members of WSAdmins can remove some first, or an admin of \
                 the organization can choose a larger plan",
                to.id
            );
            return Err(Error::conflict("quota_in_use", detail));
        }
    }
    let row = workspaces::get(tx, scope).await?.ok_or(Error::NotFound("workspace"))?;
    check_nodes(tx, scope, &row, to).await?;
    let living = projects::living(tx, scope).await?;
    let mut ledger = quota::ledger(&from.limits.amounts, &living);
    let replaced = ledger.replace_whole(to.limits.amounts.clone());
    replaced.map_err(|refusal| quota::refused(refusal, to, &living))
}

/// Whether the plan gives as many nodes as were asked for, and as there still are: those that are to be given back stay for as long
/// as something of the workspace is bound to them.
async fn check_nodes(tx: &Tx, scope: &WorkspaceScope, row: &Workspace, to: &Plan) -> Result<()> {
    let (most, asked) = (to.max_nodes, row.nodes_wanted);
    let has = u32::try_from(host_nodes::list(tx, scope).await?.len()).unwrap_or(u32::MAX);
    let what = if asked > most {
        format!("has asked for {asked}; members of WSAdmins can give some back first")
    } else if has > most {
        format!("still has {has}; ask again once enough are given back")
    } else if most == 0 && row.placed == NodeClass::Dedicated {
        "is still placed on nodes of its own; ask again once it is on shared ones".to_owned()
    } else {
        return Ok(());
    };
    let detail = format!(
        "the plan {} gives {most} nodes of its own and the workspace {what}, or an admin of the organization can choose another plan \
         that gives more",
        to.id
    );
    Err(Error::conflict("quota_in_use", detail))
}

/// What would be refused in a moment: a plan that allows less than there was in the workspace, in projects and outside of them, when
/// the host last counted it. What was counted long ago refuses nothing.
fn too_much_of(row: &Workspace, from: &Plan, to: &Plan) -> Vec<Resource> {
    quota::counted(row)
        .map(|used| quota::too_much(used, &from.limits.amounts, &to.limits.amounts).collect())
        .unwrap_or_default()
}

/// The refusal of that, with what uses it as far as whoever asks may see that. Not to be called inside a transaction.
async fn in_use(app: &App, scope: &WorkspaceScope, (row, to): (&Workspace, &Plan), too_much: &[Resource]) -> Error {
    let users = match tenant::as_caller(app, scope).await {
        Ok(user) => user.users(None).await,
        Err(_) => Users::default(),
    };
    let used = row.used.as_ref().unwrap_or(&Amounts::NONE);
    let each = too_much.iter().map(|resource| {
        let (left, used) = (resource.write(to.limits.amounts.get(*resource)), resource.write(used.get(*resource)));
        format!("{left} of {resource}, of which {used} is used{}", users.most_of(*resource))
    });
    let each: Vec<String> = each.collect();
    Error::conflict(
        "quota_in_use",
        format!(
            "the plan {} allows less than is used in the workspace, in its projects and outside of them: {}; end some of that, and ask \
             again when it has been counted, in a minute at most, or an admin of the organization can choose a larger plan",
            to.id,
            each.join("; ")
        ),
    )
}
