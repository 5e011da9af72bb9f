//! What happens to a workspace.

use hexabase_core::ids::{UserId, WorkspaceId};
use hexabase_core::names::WorkspaceName;
use hexabase_core::nodes::NodeClass;
use hexabase_core::phases::{WorkspacePhase, WorkspaceStep};
use hexabase_core::plans::{PlanId, PlanVersion, PlanWish};
use hexabase_core::quota::Amounts;
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::{Expr, ExprTrait, Func, LockType};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QuerySelect, UpdateMany};
use serde_json::Value;

use super::{Desired, Workspace, WorkspaceScope, read};
use crate::entities::workspaces::workspace;
use crate::store::column::json_of;
use crate::store::db::{self, Connection};
use crate::store::organizations::{self, OrganizationScope};
use crate::store::{StoreError, Tx, projects, service_account_tokens, workspace_members};

/// A workspace to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWorkspace {
    /// Its id.
    pub id: WorkspaceId,
    /// Its name.
    pub name: WorkspaceName,
    /// Its plan.
    pub plan_id: PlanId,
    /// The version of the plan: one that there is.
    pub plan_version: PlanVersion,
}

/// Adds a workspace of the organisation, in phase `creating`, made by the scope's person.
///
/// [`Unique::WorkspaceName`](crate::store::Unique::WorkspaceName) when a living one has the name.
pub async fn insert(
    tx: &Tx,
    scope: &OrganizationScope,
    new: &NewWorkspace,
    now: Timestamp,
) -> Result<WorkspaceScope, StoreError> {
    let model = workspace::Model {
        id: new.id.to_string(),
        organization_id: scope.id().to_string(),
        name: new.name.to_string(),
        living_name: Some(new.name.to_string()),
        plan_id: new.plan_id.clone(),
        phase: WorkspacePhase::Creating.to_string(),
        step: None,
        message: None,
        desired: Desired::Present.to_string(),
        created_by: scope.user().to_string(),
        created_at: now.as_micros(),
        updated_at: now.as_micros(),
        ready_at: None,
        deleting_at: None,
        deleted_at: None,
        endpoint: None,
        ca_pem: None,
        receipt: None,
        version: 1,
        plan_version: new.plan_version.into(),
        desired_since: None,
        last_used_at: None,
        sleep_rule: None,
        sleep_rule_at: None,
        removal_at: None,
        moved_at: None,
        used: None,
        nodes_wanted: 0,
        nodes_since: None,
        placed: NodeClass::Shared.to_string(),
        nodes_message: None,
        plan_wish: None,
    };
    db::insert(tx.conn(), model).await?;
    Ok(WorkspaceScope::of_maker(scope, new.id.clone()))
}

/// The workspace, with nobody else changing what belongs to it until the transaction ends: take it before counting
/// against a limit, and before comparing the version with an `If-Match`.
pub async fn lock(tx: &Tx, scope: &WorkspaceScope) -> Result<Option<Workspace>, StoreError> {
    let query = workspace::Entity::find_by_id(scope.workspace().as_str()).lock(LockType::NoKeyUpdate);
    query.one(tx.conn()).await?.map(read).transpose()
}

/// The same for the job that saw it as `seen`; [`StoreError::Stale`] when it is under another plan by now, whose limits are not
/// those that the job made true.
pub async fn lock_under_plan(tx: &Tx, seen: &Workspace) -> Result<(), StoreError> {
    let query = workspace::Entity::find_by_id(seen.id.as_str()).lock(LockType::NoKeyUpdate);
    let row = query.one(tx.conn()).await?.map(read).transpose()?;
    let plan = |row: &Workspace| (row.plan_id.clone(), row.plan_version);
    if row.is_some_and(|row| plan(&row) == plan(seen)) { Ok(()) } else { Err(StoreError::Stale) }
}

pub(super) fn change(id: &WorkspaceId, now: Timestamp) -> UpdateMany<workspace::Entity> {
    workspace::Entity::update_many()
        .col_expr(workspace::Column::UpdatedAt, Expr::value(now.as_micros()))
        .col_expr(workspace::Column::Version, Expr::col(workspace::Column::Version).add(1))
        .filter(workspace::Column::Id.eq(id.as_str()))
}

/// Keeps the earliest moment when there is one.
fn first(column: workspace::Column, now: Timestamp) -> Expr {
    Func::coalesce([Expr::col(column), Expr::value(now.as_micros())]).into()
}

pub(super) async fn changed(tx: &Tx, update: UpdateMany<workspace::Entity>) -> Result<(), StoreError> {
    let updated = update.exec(tx.conn()).await?;
    if updated.rows_affected > 0 { Ok(()) } else { Err(StoreError::Stale) }
}

/// Notes how far the job is.
///
/// [`StoreError::Stale`] when the owner wants something else by now: a phase of coming to life is refused once sleep or the
/// deletion was asked for, and a phase of going before that.
pub async fn set_progress(
    tx: &Tx,
    id: &WorkspaceId,
    phase: WorkspacePhase,
    step: Option<WorkspaceStep>,
    message: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let desired = match phase {
        WorkspacePhase::Creating | WorkspacePhase::Ready | WorkspacePhase::Failed | WorkspacePhase::Waking => {
            Desired::Present
        }
        WorkspacePhase::FallingAsleep | WorkspacePhase::Asleep => Desired::Asleep,
        WorkspacePhase::ToBeDeleted | WorkspacePhase::Deleting | WorkspacePhase::Deleted => Desired::Absent,
    };
    let update = change(id, now)
        .col_expr(workspace::Column::Phase, Expr::value(phase.as_str()))
        .col_expr(workspace::Column::Step, Expr::value(step.map(|step| step.as_str().to_owned())))
        .col_expr(workspace::Column::Message, Expr::value(message.map(str::to_owned)))
        .filter(workspace::Column::Desired.eq(desired.as_str()))
        .filter(workspace::Column::DeletedAt.is_null());
    changed(tx, update).await
}

/// Notes that the workspace is usable, and where; what counts from its coming to be so counts from here. [`StoreError::Stale`] when
/// sleep or its deletion was asked for.
pub async fn set_ready(
    tx: &Tx,
    id: &WorkspaceId,
    endpoint: &str,
    ca_pem: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let newly = workspace::Column::Phase.ne(WorkspacePhase::Ready.as_str());
    let since = Expr::case(newly, Expr::value(now.as_micros())).finally(Expr::col(workspace::Column::DesiredSince));
    let update = change(id, now)
        .col_expr(workspace::Column::DesiredSince, since.into())
        .col_expr(workspace::Column::Phase, Expr::value(WorkspacePhase::Ready.as_str()))
        .col_expr(workspace::Column::Step, Expr::value(None::<String>))
        .col_expr(workspace::Column::Message, Expr::value(None::<String>))
        .col_expr(workspace::Column::Endpoint, Expr::value(endpoint))
        .col_expr(workspace::Column::CaPem, Expr::value(ca_pem))
        .col_expr(workspace::Column::ReadyAt, first(workspace::Column::ReadyAt, now))
        .filter(workspace::Column::Desired.eq(Desired::Present.as_str()));
    changed(tx, update).await
}

/// Puts the workspace under another plan, or another version of its own, whatever else was asked for; [`StoreError::Stale`] when
/// its deletion was. The version is one that there is.
pub async fn set_plan(
    tx: &Tx,
    scope: &WorkspaceScope,
    (plan, version): (&str, PlanVersion),
    now: Timestamp,
) -> Result<(), StoreError> {
    let update = change(scope.workspace(), now)
        .col_expr(workspace::Column::PlanId, Expr::value(plan))
        .col_expr(workspace::Column::PlanVersion, Expr::value(i64::from(version)))
        .col_expr(workspace::Column::PlanWish, Expr::value(None::<String>))
        .filter(workspace::Column::Desired.ne(Desired::Absent.as_str()));
    changed(tx, update).await
}

/// Notes which plan the workspace is to come under, or that it keeps its own; [`StoreError::Stale`] when its deletion was asked
/// for.
pub async fn set_plan_wish(
    tx: &Tx,
    scope: &WorkspaceScope,
    wish: Option<&PlanWish>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let update = change(scope.workspace(), now)
        .col_expr(workspace::Column::PlanWish, Expr::value(wish.map(json_of).transpose()?))
        .filter(workspace::Column::Desired.ne(Desired::Absent.as_str()));
    changed(tx, update).await
}

/// Notes that the workspace stays under its plan, and why; `false`, and nothing changes, when something else than this wish
/// stands by now.
pub async fn refuse_plan_wish(
    tx: &Tx,
    id: &WorkspaceId,
    wish: &PlanWish,
    why: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let refused = PlanWish { refused: Some(why.to_owned()), ..wish.clone() };
    let update = change(id, now)
        .col_expr(workspace::Column::PlanWish, Expr::value(json_of(&refused)?))
        .filter(workspace::Column::PlanWish.eq(json_of(wish)?))
        .filter(workspace::Column::Desired.ne(Desired::Absent.as_str()));
    Ok(update.exec(tx.conn()).await?.rows_affected > 0)
}

/// Notes that a project of the workspace was moved. That is no change of the workspace that anybody sees: its version stays.
pub async fn note_move(tx: &Tx, scope: &WorkspaceScope, now: Timestamp) -> Result<(), StoreError> {
    let update = workspace::Entity::update_many()
        .col_expr(workspace::Column::MovedAt, Expr::value(now.as_micros()))
        .filter(workspace::Column::Id.eq(scope.workspace().as_str()));
    changed(tx, update).await
}

/// Notes what is used in the workspace, or that nobody knows any more. Nobody sees that change: its version stays. Nothing is noted once
/// sleep or its deletion was asked for: what was seen before says nothing about later.
pub async fn note_used(tx: &Tx, id: &WorkspaceId, used: Option<&Amounts>) -> Result<(), StoreError> {
    let update = workspace::Entity::update_many()
        .col_expr(workspace::Column::Used, Expr::value(used.map(json_of).transpose()?))
        .filter(workspace::Column::Id.eq(id.as_str()))
        .filter(workspace::Column::Desired.eq(Desired::Present.as_str()));
    update.exec(tx.conn()).await?;
    Ok(())
}

/// Asks for the workspace's deletion at once, also where it was asked for with time to undo it; `false` when it goes already.
pub async fn request_deletion(tx: &Tx, scope: &WorkspaceScope, now: Timestamp) -> Result<bool, StoreError> {
    let update = change(scope.workspace(), now)
        .col_expr(workspace::Column::Desired, Expr::value(Desired::Absent.as_str()))
        .col_expr(workspace::Column::Phase, Expr::value(WorkspacePhase::Deleting.as_str()))
        .col_expr(workspace::Column::Step, Expr::value(None::<String>))
        .col_expr(workspace::Column::Message, Expr::value(None::<String>))
        .col_expr(workspace::Column::DeletingAt, Expr::value(now.as_micros()))
        .col_expr(workspace::Column::DesiredSince, Expr::value(now.as_micros()))
        .col_expr(workspace::Column::RemovalAt, Expr::value(None::<i64>))
        .filter(
            Condition::any()
                .add(workspace::Column::Desired.ne(Desired::Absent.as_str()))
                .add(workspace::Column::Phase.eq(WorkspacePhase::ToBeDeleted.as_str())),
        );
    Ok(update.exec(tx.conn()).await?.rows_affected > 0)
}

/// Whose access ended with a workspace, by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departed {
    /// Everybody who was a member of it.
    pub members: Vec<UserId>,
    /// Those of them who belong to its organisation no more.
    pub left_organization: Vec<UserId>,
}

/// Notes that nothing of the workspace is left on the host: frees its name and those of its projects, forgets which tokens its
/// Kubernetes gave out, and ends everybody's membership in it, and with the last workspace in its organisation. The row stays as
/// a record for the organisation's admins.
///
/// [`StoreError::Stale`] when the deletion was not asked for, or is over already.
pub async fn set_deleted(tx: &Tx, id: &WorkspaceId, receipt: &Value, now: Timestamp) -> Result<Departed, StoreError> {
    let update = change(id, now)
        .col_expr(workspace::Column::Phase, Expr::value(WorkspacePhase::Deleted.as_str()))
        .col_expr(workspace::Column::LivingName, Expr::value(None::<String>))
        .col_expr(workspace::Column::Step, Expr::value(None::<String>))
        .col_expr(workspace::Column::Message, Expr::value(None::<String>))
        .col_expr(workspace::Column::Endpoint, Expr::value(None::<String>))
        .col_expr(workspace::Column::CaPem, Expr::value(None::<String>))
        .col_expr(workspace::Column::Receipt, Expr::value(receipt.to_string()))
        .col_expr(workspace::Column::DeletedAt, Expr::value(now.as_micros()))
        .filter(workspace::Column::Desired.eq(Desired::Absent.as_str()))
        .filter(workspace::Column::DeletedAt.is_null());
    changed(tx, update).await?;
    projects::set_all_deleted(tx, id, now).await?;
    service_account_tokens::forget_all(tx, id).await?;
    let row = super::load_for_job(tx, id).await?.ok_or(StoreError::Stale)?;
    let members = workspace_members::remove_all(tx, id).await?;
    let left_organization = organizations::leave_all(tx, &row.organization_id, &members).await?;
    Ok(Departed { members, left_organization })
}

/// Notes what a deletion that is under way has found so far; [`StoreError::Stale`] when none is.
pub async fn note_receipt(tx: &Tx, id: &WorkspaceId, receipt: &Value, now: Timestamp) -> Result<(), StoreError> {
    let update = change(id, now)
        .col_expr(workspace::Column::Receipt, Expr::value(receipt.to_string()))
        .filter(workspace::Column::Desired.eq(Desired::Absent.as_str()))
        .filter(workspace::Column::DeletedAt.is_null());
    changed(tx, update).await
}

/// Notes what a workspace had on the host when it was first ready, to be compared with what its deletion removes. That is no
/// change of it that anybody sees: its version stays.
pub async fn note_inventory(tx: &Tx, id: &WorkspaceId, inventory: &Value) -> Result<(), StoreError> {
    let update = workspace::Entity::update_many()
        .col_expr(workspace::Column::Receipt, Expr::value(inventory.to_string()))
        .filter(workspace::Column::Id.eq(id.as_str()))
        .filter(workspace::Column::Desired.eq(Desired::Present.as_str()));
    changed(tx, update).await
}
