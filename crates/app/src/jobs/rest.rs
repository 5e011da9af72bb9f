//! Sleep, as the job of a workspace sees it: when it begins by itself, how far it is, when it ends by itself; and the time
//! in which a deletion can be undone, which a workspace spends asleep.

use std::time::Duration;

use hexabase_backends::store::Tx;
use hexabase_backends::store::jobs::{self, Claim};
use hexabase_backends::store::workspaces::{self, Desired, Workspace};
use hexabase_core::phases::WorkspacePhase;
use hexabase_core::time::Timestamp;
use hexabase_reconcile::{Host, Progress, ReconcileError, Rest, Workloads};
use serde_json::{Value, json};

use super::desired::wanted;
use super::reconcile_workspace::{DRIFT, append, pace, sentence, store_failure};
use super::worker::Outcome;
use super::{nodes, plan_wish};
use crate::context::{App, Change};
use crate::error::{Error, Result};
use crate::members;

/// Asks for sleep when the workspace's rule wants that now; says whether it did.
pub(super) async fn falls_asleep(app: &App, claim: &Claim, row: &Workspace) -> Result<bool> {
    let now = app.clock.now();
    let Some(rule) = row.sleep_rule.as_ref().filter(|_| row.phase == WorkspacePhase::Ready) else { return Ok(false) };
    let since = row.settled_since();
    let Some(reason) = rule.tired(since, row.last_used_at.unwrap_or(since), now) else { return Ok(false) };
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    // Not when somebody has used it since it was looked at.
    if !workspaces::request_sleep_unless_used(&tx, &row.id, row.last_used_at, now).await? {
        tx.rollback().await?;
        return Ok(false);
    }
    let after = json!({ "phase": WorkspacePhase::FallingAsleep, "reason": reason });
    by_itself(app, &tx, row, "workspace.falling_asleep", after)?;
    tx.commit().await?;
    // Open streams end with it.
    app.bell.ring(members::topic(&row.id));
    tracing::info!(workspace.id = %row.id, reason = reason.as_str(), "workspace goes to sleep by its rule");
    Ok(true)
}

/// Asks for the end of sleep when the workspace's rule wants that now; says whether it did.
async fn wakes(app: &App, claim: &Claim, row: &Workspace) -> Result<bool> {
    let now = app.clock.now();
    if !row.sleep_rule.as_ref().is_some_and(|rule| rule.rested(row.settled_since(), now)) {
        return Ok(false);
    }
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    if !workspaces::request_wake(&tx, &row.id, now).await? {
        tx.rollback().await?;
        return Ok(false);
    }
    let after = json!({ "phase": WorkspacePhase::Waking, "reason": "schedule" });
    by_itself(app, &tx, row, "workspace.waking", after)?;
    tx.commit().await?;
    Ok(true)
}

fn by_itself(app: &App, tx: &Tx, row: &Workspace, action: &str, after: Value) -> Result<()> {
    let change = Change {
        organization: Some(&row.organization_id),
        workspace: Some(&row.id),
        action,
        subject: row.id.as_str(),
        before: Some(json!({ "phase": row.phase })),
        after: Some(after),
    };
    app.change_by_itself(tx, &row.organization_id, change)
}

/// One look at a workspace that is to sleep.
pub(super) async fn put_to_sleep(app: &App, host: &Host, claim: &Claim, row: Workspace) -> Result<Outcome> {
    if wakes(app, claim, &row).await? {
        return Ok(Outcome::Again(Duration::ZERO));
    }
    let keeps = row.sleep_rule.as_ref().is_some_and(|rule| rule.keep_workloads);
    let workloads = if keeps { Workloads::Stay } else { Workloads::Stop };
    let rest = rest(app, host, claim, &row, workloads).await?;
    store(app, claim, &row, &rest).await?;
    // What it had stopped in that moment may still be counted.
    if row.phase == WorkspacePhase::Asleep && plan_wish::settle(app, claim, &row, rest.fit.as_ref()).await? {
        return Ok(Outcome::Again(Duration::ZERO));
    }
    Ok(Outcome::Again(pause(&rest, age(app, &row))))
}

/// One look at a workspace whose deletion can still be undone.
pub(super) async fn await_removal(app: &App, host: &Host, claim: &Claim, row: Workspace) -> Result<Outcome> {
    let left = row.removal_at.map_or(0, |at| at.millis_since(app.clock.now()));
    if left <= 0 {
        // It may have been undone since, under a fence that the database does not know: then it still can be.
        if let Err(cause @ ReconcileError::Fenced { .. }) =
            host.claim(&row.id, Some(&row.organization_id), claim.epoch).await
        {
            store_failure(app, claim, &row, &sentence(&cause)).await?;
            return Err(Error::internal(cause));
        }
        let tx = app.store.begin().await?;
        jobs::hold(&tx, claim).await?;
        workspaces::begin_removal(&tx, &row.id, app.clock.now()).await?;
        append(app, &tx, &row, "workspace.progress", json!({ "phase": WorkspacePhase::Deleting }))?;
        tx.commit().await?;
        return Ok(Outcome::Again(Duration::ZERO));
    }
    let rest = rest(app, host, claim, &row, Workloads::Stop).await?;
    if rest.stopped == Progress::Done && (row.endpoint.is_some() || row.message.is_some()) {
        let tx = app.store.begin().await?;
        jobs::hold(&tx, claim).await?;
        workspaces::set_stopped(&tx, &row.id, app.clock.now()).await?;
        tx.commit().await?;
    }
    Ok(Outcome::Again(pause(&rest, age(app, &row)).min(Duration::from_millis(left.unsigned_abs()))))
}

async fn rest(app: &App, host: &Host, claim: &Claim, row: &Workspace, workloads: Workloads) -> Result<Rest> {
    let mut wanted = wanted(app, claim, row).await?;
    // As long as a deletion can be undone, its nodes stay as they are too.
    if row.desired == Desired::Asleep {
        let own = nodes::settle(app, host, claim, row).await?;
        wanted.desired.placement = own.placement.clone();
        // Nothing runs that could be in the wrong place.
        nodes::tell(app, claim, row, &own, Some(&Progress::Done)).await?;
    }
    match host.rest(&wanted.desired, workloads, wanted.at).await {
        Ok(rest) => Ok(rest),
        Err(cause) => {
            store_failure(app, claim, row, &sentence(&cause)).await?;
            Err(Error::internal(cause))
        }
    }
}

/// Stores how far the sleep is, and tells the feed what changed. Nothing is written when nothing changed.
async fn store(app: &App, claim: &Claim, row: &Workspace, rest: &Rest) -> Result<()> {
    let (phase, message) = shown(row, rest);
    if row.phase == phase && row.message.as_deref() == message {
        return Ok(());
    }
    let now = app.clock.now();
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    workspaces::set_progress(&tx, &row.id, phase, None, message, now).await?;
    if row.phase == phase {
        append(app, &tx, row, "workspace.progress", json!({ "step": null, "state": "running", "message": message }))?;
    } else {
        append(app, &tx, row, "workspace.asleep", json!({ "phase": phase }))?;
        let took = now.millis_since(row.desired_since.unwrap_or(now));
        tracing::info!(workspace.id = %row.id, duration_ms = took, "workspace is asleep");
    }
    tx.commit().await?;
    Ok(())
}

/// What a workspace on its way to sleep is called, and what stands in the way. Once asleep it stays so, with trouble of its
/// host beside it.
fn shown<'a>(row: &Workspace, rest: &'a Rest) -> (WorkspacePhase, Option<&'a str>) {
    match (&rest.stopped, &rest.kept) {
        (Progress::Wait { reason, .. }, _) if row.phase != WorkspacePhase::Asleep => {
            (WorkspacePhase::FallingAsleep, Some(reason.as_str()))
        }
        (Progress::Wait { reason, .. }, _) | (Progress::Done, Progress::Wait { reason, .. }) => {
            (WorkspacePhase::Asleep, Some(reason.as_str()))
        }
        (Progress::Done, Progress::Done) => (WorkspacePhase::Asleep, None),
    }
}

/// How many milliseconds ago what is wanted now was asked for.
fn age(app: &App, row: &Workspace) -> i64 {
    row.desired_since.map_or(0, |since| app.clock.now().millis_since(since))
}

/// When to look again, for one that has been on its way to sleep for so long: the more often it was looked at in vain, the later.
fn pause(rest: &Rest, age_millis: i64) -> Duration {
    let after = |progress: &Progress| match progress {
        Progress::Done => DRIFT,
        Progress::Wait { after, .. } => *after,
    };
    pace(after(&rest.stopped).min(after(&rest.kept)), age_millis).min(DRIFT)
}

/// When the removal of a workspace began: with the wish, or when the time to undo it was over.
pub(super) fn removal_began(row: &Workspace) -> Option<Timestamp> {
    row.deleting_at.max(row.removal_at)
}

#[cfg(test)]
mod tests;
