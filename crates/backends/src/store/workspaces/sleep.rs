//! Sleep and waking, and deletions that can still be undone.

use hexabase_core::ids::WorkspaceId;
use hexabase_core::phases::WorkspacePhase;
use hexabase_core::sleep::SleepRule;
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, UpdateMany};

use super::changes::{change, changed};
use super::{Desired, WorkspaceScope};
use crate::entities::workspaces::workspace;
use crate::store::db::Connection;
use crate::store::{StoreError, Tx, workspace_steps};

/// A use is noted only when none was in so many seconds: a busy workspace costs a write a minute.
const USE_SECONDS: i64 = 60;

/// A change of what is wanted of a workspace, which begins a phase.
fn want(id: &WorkspaceId, desired: Desired, phase: Expr, now: Timestamp) -> UpdateMany<workspace::Entity> {
    change(id, now)
        .col_expr(workspace::Column::Desired, Expr::value(desired.as_str()))
        .col_expr(workspace::Column::DesiredSince, Expr::value(now.as_micros()))
        .col_expr(workspace::Column::Phase, phase)
        .col_expr(workspace::Column::Step, Expr::value(None::<String>))
        .col_expr(workspace::Column::Message, Expr::value(None::<String>))
}

fn phase(phase: WorkspacePhase) -> Expr {
    Expr::value(phase.as_str())
}

async fn any(tx: &Tx, update: UpdateMany<workspace::Entity>) -> Result<bool, StoreError> {
    Ok(update.exec(tx.conn()).await?.rows_affected > 0)
}

/// Asks for a workspace to be put to sleep that is ready, or was before and does not come back; `false`, and nothing changes, when
/// it never was or does not run.
pub async fn request_sleep(tx: &Tx, id: &WorkspaceId, now: Timestamp) -> Result<bool, StoreError> {
    let runs = [WorkspacePhase::Ready, WorkspacePhase::Waking, WorkspacePhase::Failed].map(WorkspacePhase::as_str);
    let update = want_asleep(id, now)
        .filter(workspace::Column::Phase.is_in(runs))
        .filter(workspace::Column::ReadyAt.is_not_null());
    any(tx, update).await
}

/// The same of one that is ready and was last used then; `false` also when it was used since.
pub async fn request_sleep_unless_used(
    tx: &Tx,
    id: &WorkspaceId,
    last_used_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let unused = match last_used_at {
        Some(at) => workspace::Column::LastUsedAt.eq(at.as_micros()),
        None => workspace::Column::LastUsedAt.is_null(),
    };
    let ready = workspace::Column::Phase.eq(WorkspacePhase::Ready.as_str());
    any(tx, want_asleep(id, now).filter(ready).filter(unused)).await
}

fn want_asleep(id: &WorkspaceId, now: Timestamp) -> UpdateMany<workspace::Entity> {
    want(id, Desired::Asleep, phase(WorkspacePhase::FallingAsleep), now)
        .filter(workspace::Column::Desired.eq(Desired::Present.as_str()))
}

/// As [`want`], of a workspace that is to come back. Nobody is let in where it was before its sleep: where it is, is said anew
/// once all is true again. What was used in it is counted anew as well.
fn want_back(id: &WorkspaceId, phase: Expr, now: Timestamp) -> UpdateMany<workspace::Entity> {
    want(id, Desired::Present, phase, now)
        .col_expr(workspace::Column::Endpoint, Expr::value(None::<String>))
        .col_expr(workspace::Column::Used, Expr::value(None::<String>))
}

/// Asks for a sleeping workspace to be woken; of many who ask at once one is told `true`. Its steps begin anew.
pub async fn request_wake(tx: &Tx, id: &WorkspaceId, now: Timestamp) -> Result<bool, StoreError> {
    let update = want_back(id, phase(WorkspacePhase::Waking), now)
        .filter(workspace::Column::Desired.eq(Desired::Asleep.as_str()));
    let woken = any(tx, update).await?;
    if woken {
        workspace_steps::forget(tx, id).await?;
    }
    Ok(woken)
}

/// Notes that somebody uses the workspace. That is no change of it: its version stays.
pub async fn note_use(tx: &Tx, id: &WorkspaceId, now: Timestamp) -> Result<(), StoreError> {
    let long_ago = now.plus_seconds(-USE_SECONDS).as_micros();
    let update = workspace::Entity::update_many()
        .col_expr(workspace::Column::LastUsedAt, Expr::value(now.as_micros()))
        .filter(workspace::Column::Id.eq(id.as_str()))
        .filter(
            Condition::any()
                .add(workspace::Column::LastUsedAt.is_null())
                .add(workspace::Column::LastUsedAt.lt(long_ago)),
        );
    any(tx, update).await?;
    Ok(())
}

/// Says when the workspace sleeps by itself, from now on.
pub async fn set_sleep_rule(
    tx: &Tx,
    scope: &WorkspaceScope,
    rule: &SleepRule,
    now: Timestamp,
) -> Result<(), StoreError> {
    let kept = serde_json::to_string(rule).map_err(|error| StoreError::Other(Box::new(error)))?;
    let update = change(scope.workspace(), now)
        .col_expr(workspace::Column::SleepRule, Expr::value(kept))
        .col_expr(workspace::Column::SleepRuleAt, Expr::value(now.as_micros()));
    changed(tx, update).await
}

/// Asks for the workspace's deletion at `removal_at`, until when that can be undone; `false` when it was asked for before.
pub async fn request_deletion_at(
    tx: &Tx,
    scope: &WorkspaceScope,
    removal_at: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let update = want(scope.workspace(), Desired::Absent, phase(WorkspacePhase::ToBeDeleted), now)
        .col_expr(workspace::Column::DeletingAt, Expr::value(now.as_micros()))
        .col_expr(workspace::Column::RemovalAt, Expr::value(removal_at.as_micros()))
        .filter(workspace::Column::Desired.ne(Desired::Absent.as_str()));
    any(tx, update).await
}

/// Takes a deletion back whose removal has not begun; `false` when there is none. It begins at `removal_at`, unless the host refuses that.
pub async fn undo_deletion(tx: &Tx, scope: &WorkspaceScope, now: Timestamp) -> Result<bool, StoreError> {
    let id = scope.workspace();
    // One that never was ready goes on being made; all others wake.
    let never_ready = Expr::col(workspace::Column::ReadyAt).is_null();
    let next = Expr::case(never_ready, phase(WorkspacePhase::Creating)).finally(phase(WorkspacePhase::Waking));
    let update = want_back(id, next.into(), now)
        .col_expr(workspace::Column::DeletingAt, Expr::value(None::<i64>))
        .col_expr(workspace::Column::RemovalAt, Expr::value(None::<i64>))
        .filter(workspace::Column::Phase.eq(WorkspacePhase::ToBeDeleted.as_str()));
    let undone = any(tx, update).await?;
    if undone {
        workspace_steps::forget(tx, id).await?;
    }
    Ok(undone)
}

/// Notes that nothing runs of a workspace that is to be deleted: its API server is nowhere.
pub async fn set_stopped(tx: &Tx, id: &WorkspaceId, now: Timestamp) -> Result<(), StoreError> {
    let update = change(id, now)
        .col_expr(workspace::Column::Endpoint, Expr::value(None::<String>))
        .col_expr(workspace::Column::Message, Expr::value(None::<String>))
        .filter(workspace::Column::Phase.eq(WorkspacePhase::ToBeDeleted.as_str()));
    changed(tx, update).await
}

/// Begins the removal, after which nothing is undone; [`StoreError::Stale`] when somebody was faster, or undid the deletion.
pub async fn begin_removal(tx: &Tx, id: &WorkspaceId, now: Timestamp) -> Result<(), StoreError> {
    let update = change(id, now)
        .col_expr(workspace::Column::Phase, Expr::value(WorkspacePhase::Deleting.as_str()))
        .col_expr(workspace::Column::Message, Expr::value(None::<String>))
        .filter(workspace::Column::Phase.eq(WorkspacePhase::ToBeDeleted.as_str()));
    changed(tx, update).await
}
