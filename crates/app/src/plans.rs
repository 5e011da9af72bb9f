//! Plans: what can be chosen, and what it would cost.

use hexabase_backends::store::workspaces::{self, WorkspaceScope};
use hexabase_backends::store::{Db, Tx, plans};
use hexabase_core::ids::{OrganizationId, WorkspaceId};
use hexabase_core::plans::{Plan, PlanVersion, Price};

use crate::authz::{self, OrganizationAction, WorkspaceAction};
use crate::context::{App, OpContext};
use crate::error::{Error, Result};
use crate::leaving;

/// A plan, as somebody chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanChoice<'a> {
    /// Its id.
    pub plan: &'a str,
    /// The version that they were shown, with its price and limits; the newest one, whichever that is, when absent.
    pub version: Option<PlanVersion>,
}

impl<'a> From<&'a str> for PlanChoice<'a> {
    fn from(plan: &'a str) -> Self {
        Self { plan, version: None }
    }
}

/// What a choice would cost.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// The plan, in the version that would be had.
    pub plan: Plan,
    /// What all living workspaces of the organisation cost per month, by currency.
    pub now: Vec<Price>,
    /// What they would cost.
    pub then: Vec<Price>,
    /// How many living workspaces the organisation would have under this plan.
    pub workspaces: u64,
}

/// The plans that new workspaces can choose, in order of display.
pub async fn list(app: &App) -> Result<Vec<Plan>> {
    Ok(plans::list_active(&app.store).await?)
}

/// The plan of this choice, if new workspaces can choose it.
///
/// # Errors
/// [`Error::Invalid`] with those that they can choose, [`Error::Conflict`] when it is not the version that was shown.
pub(crate) async fn choose(db: &impl Db, choice: PlanChoice<'_>) -> Result<Plan> {
    choose_beside(db, choice, None).await
}

/// The same for a workspace that has the plan `has`.
///
/// # Errors
/// As for [`choose`].
pub(crate) async fn choose_beside(
    db: &impl Db,
    PlanChoice { plan: id, version }: PlanChoice<'_>,
    has: Option<&Plan>,
) -> Result<Plan> {
    let known = plans::get(db, id).await?;
    let is_known = known.is_some();
    if let Some(plan) = known.filter(|plan| plan.active) {
        return match version.filter(|shown| *shown != plan.version) {
            None => Ok(plan),
            Some(shown) => Err(Error::conflict(
                "plan_changed",
                format!(
                    "the plan {id} was shown in version {shown}, and version {} is offered now; look at what it gives and costs, and \
                     choose again",
                    plan.version
                ),
            )),
        };
    }
    let why = match (is_known, has.is_some_and(|has| has.id == id)) {
        (false, _) => "there is no such plan".to_owned(),
        (true, true) => {
            format!("the workspace is under the plan {id} already, which is retired: it keeps the version that it has")
        }
        (true, false) => format!("the plan {id} is retired: no workspace is put under it any more"),
    };
    let choices: Vec<String> = plans::list_active(db).await?.into_iter().map(|plan| plan.id).collect();
    Err(Error::invalid("plan", format!("{why}; choose one of {}", choices.join(", "))))
}

/// The refusal of one more workspace of an organisation under a plan, with who can raise that.
pub(crate) fn too_many_workspaces(plan: &Plan, living: u64) -> Error {
    Error::LimitReached(format!(
        "the plan {} allows {} workspace(s) per organization and {living} exist; delete one or choose another plan, or ask the \
         platform's operator for a version that allows more",
        plan.id, plan.limits.workspaces
    ))
}

/// The plan of a workspace that is not leaving, with the workspace locked: what is counted against the plan stays so until
/// `tx` ends.
pub(crate) async fn plan_of(tx: &Tx, scope: &WorkspaceScope) -> Result<Plan> {
    let row = workspaces::lock(tx, scope).await?.ok_or(Error::NotFound("workspace"))?;
    if row.desired == workspaces::Desired::Absent {
        return Err(leaving::refused(&row));
    }
    let plan = plans::get_version(tx, &row.plan_id, row.plan_version).await?;
    plan.ok_or_else(|| Error::internal("the plan's row is missing"))
}

/// What another workspace under this plan would cost, or this one of the organisation's, if it came under the plan.
pub async fn estimate(
    app: &App,
    ctx: &OpContext,
    organization: &OrganizationId,
    plan: &str,
    workspace: Option<&WorkspaceId>,
) -> Result<Estimate> {
    let scope = authz::organization(&app.store, ctx, organization, OrganizationAction::SeeCosts).await?;
    let leaving = match workspace {
        None => None,
        Some(id) => {
            let found = authz::workspace(&app.store, ctx, id, WorkspaceAction::View).await?;
            let row = workspaces::get(&app.store, &found).await?;
            let row = row.filter(|row| row.organization_id == *organization && row.deleted_at.is_none());
            Some(row.map(|row| (row.plan_id, row.plan_version)).ok_or(Error::NotFound("workspace"))?)
        }
    };
    let plan = choose(&app.store, plan.into()).await?;
    let mut under = Vec::new();
    for (key, count) in workspaces::count_by_plan(&app.store, &scope).await? {
        let found = plans::get_version(&app.store, &key.0, key.1).await?;
        let found = found.ok_or_else(|| Error::internal("the plan's row is missing"))?;
        let staying = if leaving.as_ref() == Some(&key) { count.saturating_sub(1) } else { count };
        under.push((found, count, staying));
    }
    let now = Price::total(under.iter().map(|(plan, count, _)| (&plan.price, *count)));
    let others = under.iter().map(|(plan, _, staying)| (&plan.price, *staying));
    let then = Price::total(others.chain([(&plan.price, 1)]));
    let same = under.iter().filter(|(other, ..)| other.id == plan.id);
    let workspaces = same.map(|(_, _, staying)| staying).sum::<u64>() + 1;
    Ok(Estimate { plan, now, then, workspaces })
}
