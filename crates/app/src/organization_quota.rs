//! What all workspaces of an organisation may use together, where the platform's operator has set it: the first of the three
//! levels on which amounts are shared out. Each workspace takes as much of it as its plan gives.

use std::collections::HashMap;

use hexabase_backends::store::organizations::{self, OrganizationScope};
use hexabase_backends::store::plans::{self, PlanKey};
use hexabase_backends::store::workspaces::{self, UnderPlan};
use hexabase_backends::store::{Db, Store, Tx};
use hexabase_core::ids::{OrganizationId, WorkspaceId};
use hexabase_core::plans::Plan;
use hexabase_core::quota::{Amounts, GivenOn, Ledger, Refusal, Share};
use serde_json::json;

use crate::authz::{self, OrganizationAction};
use crate::clock::Clock;
use crate::context::{App, OpContext};
use crate::error::{Error, Result};
use crate::operator::{self, Deed};
use crate::quota::more_than_left;

/// What an organisation may use, and how much of it is left.
#[derive(Debug, Clone)]
pub struct OrganizationHeadroom {
    /// What all of its workspaces may use together; whatever their plans give when absent.
    pub limit: Option<Amounts>,
    /// What their plans give.
    pub given: Amounts,
    /// What more they can be given.
    pub left: Option<Amounts>,
}

/// The living workspaces with what their plans give, as shares of `whole`.
async fn ledger(db: &impl Db, whole: &Amounts, living: &[UnderPlan]) -> Result<Ledger<WorkspaceId>> {
    let mut known: HashMap<&PlanKey, Amounts> = HashMap::new();
    let mut shares = Vec::with_capacity(living.len());
    for one in living {
        let amounts = match known.get(&one.plan) {
            Some(amounts) => amounts.clone(),
            None => {
                let plan = plans::get_version(db, &one.plan.0, one.plan.1).await?;
                let plan = plan.ok_or_else(|| Error::internal("the plan's row is missing"))?;
                known.insert(&one.plan, plan.limits.amounts.clone());
                plan.limits.amounts
            }
        };
        shares.push((one.id.clone(), Share { from: None, amounts }));
    }
    Ok(Ledger::new(whole.clone(), shares))
}

/// Refuses a workspace under a plan, a new one or one that is there, for which the organisation has not enough left. The
/// organisation is locked.
pub(crate) async fn check(tx: &Tx, scope: &OrganizationScope, workspace: &WorkspaceId, plan: &Plan) -> Result<()> {
    let Some(whole) = organizations::quota(tx, scope.id()).await? else { return Ok(()) };
    let mut ledger = ledger(tx, &whole, &workspaces::under_plans(tx, scope).await?).await?;
    let asked = plan.limits.amounts.clone();
    let edited = match ledger.get(workspace) {
        Some(_) => ledger.resize(workspace, asked),
        None => ledger.reserve(workspace.clone(), None, asked),
    };
    edited.map_err(|refusal| match refusal {
        Refusal::Short { each, .. } => Error::LimitReached(format!(
            "the plan {} gives too much: {} that can be had of the organization's quota; choose a smaller plan, delete another \
             workspace, or ask the platform's operator for a larger quota",
            plan.id,
            more_than_left(&each)
        )),
        _ => Error::internal("a workspace has given of its share"),
    })
}

/// What is left of an organisation's quota, to be known before a workspace is asked for.
pub async fn headroom(app: &App, ctx: &OpContext, organization: &OrganizationId) -> Result<OrganizationHeadroom> {
    let scope = authz::organization(&app.store, ctx, organization, OrganizationAction::SeeCosts).await?;
    let limit = organizations::quota(&app.store, scope.id()).await?;
    let living = workspaces::under_plans(&app.store, &scope).await?;
    // What the whole is does not matter for what was given of it.
    let ledger = ledger(&app.store, limit.as_ref().unwrap_or(&Amounts::NONE), &living).await?;
    let left = limit.as_ref().map(|_| ledger.left(None));
    Ok(OrganizationHeadroom { limit, given: ledger.given(None), left })
}

/// Sets what all workspaces of an organisation may use together, or takes the limit away, for an operator of the platform.
///
/// # Errors
/// [`Error::NotFound`] when there is no such organisation, and [`Error::Conflict`] when its workspaces have more, with those that
/// have it.
pub async fn set(
    store: &Store,
    clock: &Clock,
    organization: &OrganizationId,
    quota: Option<&Amounts>,
    operator: &str,
) -> Result<()> {
    let tx = store.begin().await?;
    if !organizations::lock_for_operator(&tx, organization).await? {
        return Err(Error::NotFound("organization"));
    }
    let before = organizations::quota(&tx, organization).await?;
    if let Some(quota) = quota {
        let living = workspaces::under_plans_for_operator(&tx, organization).await?;
        let unlimited = Amounts::of(|_| u64::MAX);
        let mut ledger = ledger(&tx, before.as_ref().unwrap_or(&unlimited), &living).await?;
        ledger.replace_whole(quota.clone()).map_err(|refusal| in_use(refusal, &living))?;
    }
    organizations::set_quota_for_operator(&tx, organization, quota).await?;
    let deed = Deed {
        organization,
        action: "organization.quota_set",
        subject: organization.as_str(),
        before: Some(json!({ "quota": before })),
        after: Some(json!({ "quota": quota })),
        told: json!({ "quota": quota }),
    };
    operator::tell(&tx, clock, deed, operator)?;
    Ok(tx.commit().await?)
}

fn in_use(refusal: Refusal<WorkspaceId>, living: &[UnderPlan]) -> Error {
    let Refusal::InUse { each, .. } = refusal else {
        return Error::internal("the whole was not to be given to anybody");
    };
    let less = each.iter().map(|GivenOn { resource, asked, given, to }| {
        let users = living.iter().filter(|one| to.contains(&one.id));
        let users: Vec<String> = users.map(|one| format!("{} (plan {})", one.name, one.plan.0)).collect();
        let (asked, given) = (resource.write(*asked), resource.write(*given));
        format!("{asked} of {resource} is less than the {given} that the plans of {} give", users.join(", "))
    });
    let less: Vec<String> = less.collect();
    let detail = format!("the organization's quota would be too small: {}", less.join("; "));
    Error::conflict("quota_in_use", detail)
}
