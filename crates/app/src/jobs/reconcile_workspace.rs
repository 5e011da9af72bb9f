//! Brings a workspace to what its row asks for: there, or gone.
//!
//! The same run makes, repairs, resumes after a crash and removes; it reads the row, lets `reconcile` compare it with the
//! clusters, and stores what was found.

use std::time::Duration;

use hexabase_backends::store::jobs::{self, Claim};
use hexabase_backends::store::projects;
use hexabase_backends::store::workspace_steps::{self, StepRecord, StepState};
use hexabase_backends::store::workspaces::{self, Departed, Desired, Workspace};
use hexabase_backends::store::{MAX_PAGE, StoreError, Tx};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::phases::{ProjectPhase, WorkspacePhase, WorkspaceStep};
use hexabase_core::time::Timestamp;
use hexabase_reconcile::{Host, Inventory, Observed, Progress, Receipt, ReconcileError, Removal, Removed};
use serde_json::json;

use super::desired::{Wanted, wanted};
use super::worker::Outcome;
use super::{custom_roles, expiry, nodes, plan_wish, rest, spare};
use crate::context::{App, Change, Happening};
use crate::error::{Error, Result};

/// The job's kind; its subject is the workspace's id.
pub const KIND: &str = "reconcile-workspace";
/// How often a workspace that is as it should be is looked at again: drift is repaired within a minute.
pub(super) const DRIFT: Duration = Duration::from_secs(30);
/// After this long without becoming ready a workspace is called failed. It is still being tried.
const PATIENCE_SECONDS: i64 = 600;
/// For so long a step of a start is looked at as often as it asks for; none takes longer where all is well.
const START_MILLIS: i64 = 60_000;
/// How often a removal that does not end is looked at in the end.
const SLOWEST: Duration = Duration::from_secs(60);
/// How often, at least, what people hold up inside of a workspace is looked at.
const HELD: Duration = Duration::from_secs(15);
/// How often, at most, what came back after a deletion is looked at until it is gone, and one that takes very long.
pub(super) const UNHURRIED: Duration = Duration::from_secs(2);

pub(super) async fn run(app: &App, host: &Host, claim: &Claim) -> Result<Outcome> {
    let id: WorkspaceId = claim.subject.parse().map_err(Error::internal)?;
    // One that is made ahead is worked on by the same job, so that its fence goes on growing when somebody takes it.
    let Some(row) = workspaces::load_for_job(&app.store, &id).await? else {
        return spare::run(app, host, claim, &id).await;
    };
    match row.desired {
        _ if row.phase == WorkspacePhase::Deleted => clear_away(app, host, claim, row).await,
        Desired::Present => bring_up(app, host, claim, row).await,
        Desired::Asleep => rest::put_to_sleep(app, host, claim, row).await,
        Desired::Absent if row.phase == WorkspacePhase::ToBeDeleted => rest::await_removal(app, host, claim, row).await,
        Desired::Absent => take_down(app, host, claim, row).await,
    }
}

async fn bring_up(app: &App, host: &Host, claim: &Claim, row: Workspace) -> Result<Outcome> {
    if rest::falls_asleep(app, claim, &row).await? {
        return Ok(Outcome::Again(Duration::ZERO));
    }
    let own = nodes::settle(app, host, claim, &row).await?;
    let mut wanted = wanted(app, claim, &row).await?;
    wanted.desired.placement = own.placement.clone();
    match host.reconcile(&wanted.desired).await {
        Ok(observed) => conclude(app, host, claim, &row, &wanted, &own, &observed).await,
        Err(cause) => {
            let sentence = sentence(&cause);
            store_failure(app, claim, &row, &sentence).await?;
            Err(Error::internal(cause))
        }
    }
}

/// What follows from a look at the clusters.
async fn conclude(
    app: &App,
    host: &Host,
    claim: &Claim,
    row: &Workspace,
    wanted: &Wanted,
    own: &nodes::Settled,
    observed: &Observed,
) -> Result<Outcome> {
    let after = follow_up(app, claim, row, wanted, observed).await?;
    nodes::tell(app, claim, row, own, observed.moved.as_ref()).await?;
    if row.receipt.is_none() && observed.is_done(WorkspaceStep::Access) {
        match note_inventory(app, host, claim, row).await {
            // It is ready all the same, and the next look tries again.
            Err(Error::Internal(cause)) => {
                tracing::warn!(workspace.id = %row.id, error = %cause, "what it has on the host could not be written down");
            }
            noted => noted?,
        }
    }
    // Last: what somebody waits for is stored.
    if let Some(unbound) = &observed.unbound {
        host.bind(&row.id, unbound).await;
    }
    Ok(Outcome::Again(after.min(own.pause(observed.moved.as_ref()))))
}

/// Writes down once what a workspace has on the host, so that the receipt of its deletion tells of that as well, and of what
/// somebody else takes away until then.
async fn note_inventory(app: &App, host: &Host, claim: &Claim, row: &Workspace) -> Result<()> {
    let Inventory { all: remaining, lasting } = host.inventory(&row.id).await.map_err(Error::internal)?;
    let inventory = Receipt { remaining, lasting: Some(lasting), ..Receipt::default() };
    let inventory = serde_json::to_value(&inventory).map_err(Error::internal)?;
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    workspaces::note_inventory(&tx, &row.id, &inventory).await?;
    Ok(tx.commit().await?)
}

/// Does what the rows want done about what was found; says when to look again.
async fn follow_up(
    app: &App,
    claim: &Claim,
    row: &Workspace,
    wanted: &Wanted,
    observed: &Observed,
) -> Result<Duration> {
    store_progress(app, claim, row, observed).await?;
    let replanned = plan_wish::settle(app, claim, row, observed.fit.as_ref()).await?;
    let settled = custom_roles::settle(app, claim, row, observed, &wanted.pending).await? || replanned;
    // A role whose binding may still be there is not over yet.
    if wanted.expired && observed.has_done(WorkspaceStep::Access) && observed.has_done(WorkspaceStep::Projects) {
        expiry::forget(app, claim, row, wanted.at).await?;
    }
    // What was accepted just now is to be bound; what ends next is to end on time.
    let waiting = pause(app, row, observed).await?;
    Ok(if settled { Duration::ZERO } else { expiry::until(wanted.next_expiry, app.clock.now()).min(waiting) })
}

/// When to look again at what waits. What is inside of a workspace its people can hold up for ever, such as the count of a quota or a
/// namespace: the longer that lasts the later, but for a project that was asked for a moment ago. So is a control plane that takes
/// longer than any start: many of them, as of a node that is lost, would leave the worker no time for the others.
async fn pause(app: &App, row: &Workspace, observed: &Observed) -> Result<Duration> {
    let Some((step, _, after)) = observed.waiting() else { return Ok(DRIFT) };
    let now = app.clock.now();
    // A start that moves on is none that does not end, however long it was kept from it: its message was written just now.
    if step < WorkspaceStep::Access && now.millis_since(row.updated_at) < START_MILLIS {
        return Ok(after);
    }
    let steps = workspace_steps::list_for_job(&app.store, &row.id).await?;
    let mut begun = steps.iter().filter(|known| known.step == step).map(|known| known.started_at);
    if step < WorkspaceStep::Access {
        let moved = begun.next().map_or(now, |begun| begun.max(row.updated_at));
        return Ok(pace(after, now.millis_since(moved) - START_MILLIS).min(DRIFT.max(after)));
    }
    let projects = projects::list_for_job(&app.store, &row.id, None, MAX_PAGE).await?;
    let made = projects.iter().filter(|project| project.phase == ProjectPhase::Creating);
    let since = begun.chain(made.map(|project| project.created_at)).max().unwrap_or(now);
    Ok(pace(after, now.millis_since(since)).min(HELD.max(after)))
}

/// Stores what was found, and tells the feed what changed. Nothing is written when nothing changed.
async fn store_progress(app: &App, claim: &Claim, row: &Workspace, observed: &Observed) -> Result<()> {
    let now = app.clock.now();
    let before = workspace_steps::list_for_job(&app.store, &row.id).await?;
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    let mut changed = false;
    let current = observed.waiting().map(|(step, _, _)| step);
    for status in &observed.steps {
        // A step that waits only for an earlier one has not begun; it is no news.
        if status.progress != Progress::Done && Some(status.step) != current {
            continue;
        }
        let (state, message) = match &status.progress {
            Progress::Done => (StepState::Done, None),
            Progress::Wait { reason, .. } => (StepState::Running, Some(reason.as_str())),
        };
        let known = before.iter().find(|step| step.step == status.step);
        if known.is_some_and(|step| step.state == state && step.message.as_deref() == message) {
            continue;
        }
        changed = true;
        let record = StepRecord {
            step: status.step,
            state,
            message: message.map(str::to_owned),
            // What was done begins anew.
            started_at: known.filter(|step| step.state != StepState::Done).map_or(now, |step| step.started_at),
            finished_at: (state == StepState::Done).then_some(now),
        };
        workspace_steps::upsert(&tx, &row.id, &record).await?;
        let data = json!({ "step": status.step, "state": state.as_str(), "message": message });
        append(app, &tx, row, "workspace.progress", data)?;
    }
    store_projects(app, &tx, row, observed, now).await?;
    let trouble = trouble(row, observed);
    // What was counted before says less and less about now while something keeps it from being counted.
    let used = observed.used.as_ref().or(row.used.as_ref().filter(|_| trouble.is_none()));
    if used != row.used.as_ref() {
        workspaces::note_used(&tx, &row.id, used).await?;
    }
    match (&observed.tenant, trouble) {
        (Some(tenant), None) => {
            let endpoint = format!("{}:{}", tenant.host, tenant.port);
            let moved = row.endpoint.as_deref() != Some(&endpoint) || row.ca_pem.as_deref() != Some(&tenant.ca_pem);
            let first = row.phase != WorkspacePhase::Ready;
            // Another plan was chosen since it was looked at, whose limits are not in force: nobody is let in before the next look.
            if row.ready_at.is_none()
                && let Err(stale) = workspaces::lock_under_plan(&tx, row).await
            {
                return match stale {
                    StoreError::Stale => Ok(tx.rollback().await?),
                    other => Err(other.into()),
                };
            }
            let beside = observed.contested.as_deref();
            // Another message that is left tells of trouble that is over.
            if first || moved || row.message.as_deref() != beside {
                workspaces::set_ready(&tx, &row.id, &endpoint, &tenant.ca_pem, now).await?;
                if beside.is_some() {
                    workspaces::set_progress(&tx, &row.id, WorkspacePhase::Ready, None, beside, now).await?;
                }
                append(app, &tx, row, "workspace.ready", json!({ "phase": "ready" }))?;
            }
            if first {
                let took = now.millis_since(row.desired_since.unwrap_or(row.created_at));
                tracing::info!(workspace.id = %row.id, duration_ms = took, "workspace is ready");
            }
        }
        (_, Some((step, reason))) => {
            let phase = troubled_phase(row, now);
            if changed || row.phase != phase || row.message.as_deref() != Some(reason) {
                let step = (phase != WorkspacePhase::Ready).then_some(step);
                workspaces::set_progress(&tx, &row.id, phase, step, Some(reason), now).await?;
            }
        }
        (None, None) => {}
    }
    tx.commit().await?;
    Ok(())
}

/// What keeps a workspace from being ready. Projects come and go while one is in use, so that they do not make it less ready;
/// but nobody is let into one that wakes before every right in them is true again.
fn trouble<'a>(row: &Workspace, observed: &'a Observed) -> Option<(WorkspaceStep, &'a str)> {
    let waiting = observed.waiting().filter(|(step, ..)| *step != WorkspaceStep::Projects);
    match (waiting, &observed.project_rights) {
        (Some((step, reason, _)), _) => Some((step, reason)),
        (None, Progress::Wait { reason, .. }) if row.phase != WorkspacePhase::Ready => {
            Some((WorkspaceStep::Projects, reason.as_str()))
        }
        (None, _) => None,
    }
}

async fn store_projects(app: &App, tx: &Tx, row: &Workspace, observed: &Observed, now: Timestamp) -> Result<()> {
    let rows = projects::list_for_job(tx, &row.id, None, MAX_PAGE).await?;
    for (id, phase) in &observed.projects {
        if rows.iter().any(|project| project.id == *id && project.phase != *phase) {
            projects::set_phase(tx, id, *phase, now).await?;
            append(app, tx, row, "project.phase", json!({ "project": id, "phase": phase }))?;
        }
    }
    Ok(())
}

/// What a workspace is called while something stands in its way. One that was ready stays so, with a message beside it:
/// whoever uses it may notice nothing.
fn troubled_phase(row: &Workspace, now: Timestamp) -> WorkspacePhase {
    let late = now.millis_since(row.desired_since.unwrap_or(row.created_at)) > PATIENCE_SECONDS * 1_000;
    match (row.desired, row.phase) {
        (Desired::Absent, WorkspacePhase::ToBeDeleted) => WorkspacePhase::ToBeDeleted,
        (Desired::Absent, _) => WorkspacePhase::Deleting,
        (Desired::Asleep, WorkspacePhase::Asleep) => WorkspacePhase::Asleep,
        (Desired::Asleep, _) => WorkspacePhase::FallingAsleep,
        (Desired::Present, WorkspacePhase::Ready) => WorkspacePhase::Ready,
        (Desired::Present, _) if late => WorkspacePhase::Failed,
        (Desired::Present, WorkspacePhase::Waking) => WorkspacePhase::Waking,
        (Desired::Present, _) => WorkspacePhase::Creating,
    }
}

/// Shows a fault in the workspace's message, so that people need no access to logs to see why it does not go on.
pub(super) async fn store_failure(app: &App, claim: &Claim, row: &Workspace, sentence: &str) -> Result<()> {
    if row.message.as_deref() == Some(sentence) {
        return Ok(());
    }
    let now = app.clock.now();
    let phase = troubled_phase(row, now);
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    workspaces::set_progress(&tx, &row.id, phase, row.step, Some(sentence), now).await?;
    workspaces::note_used(&tx, &row.id, None).await?;
    append(app, &tx, row, "workspace.progress", json!({ "step": row.step, "state": "failed", "message": sentence }))?;
    tx.commit().await?;
    Ok(())
}

async fn take_down(app: &App, host: &Host, claim: &Claim, row: Workspace) -> Result<Outcome> {
    let noted: Receipt = match &row.receipt {
        Some(value) => serde_json::from_value(value.clone()).map_err(Error::internal)?,
        None => Receipt::default(),
    };
    let Receipt { remaining: seen, forced, missing, .. } = first_look(app, host, claim, &row, noted).await?;
    let now = app.clock.now();
    let begun = rest::removal_began(&row).unwrap_or(now);
    let (id, organization) = (row.id.clone(), Some(row.organization_id.clone()));
    let removal = Removal { id, organization, fence: claim.epoch, now, begun, seen, forced };
    let removed = match host.remove(&removal).await {
        Ok(removed) => removed,
        Err(cause @ ReconcileError::NotOurs { owner: Some(_), .. }) => {
            return forsake(app, claim, &row, &cause).await;
        }
        Err(cause) => {
            store_failure(app, claim, &row, &sentence(&cause)).await?;
            return Err(Error::internal(cause));
        }
    };
    let removed = nodes::hand_all_back(app, host, &row, removed).await?;
    let now = app.clock.now();
    let mut changed_at = row.updated_at;
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    let outcome = match removed {
        Removed::Gone(receipt) => {
            let receipt = Receipt { missing, ..receipt };
            nodes::note_returned(app, &tx, &row, &receipt, now).await?;
            let value = serde_json::to_value(&receipt).map_err(Error::internal)?;
            let departed = workspaces::set_deleted(&tx, &row.id, &value, now).await?;
            tell_deleted(app, &tx, &row, &departed)?;
            tracing::info!(workspace.id = %row.id, objects = receipt.removed.len(), "workspace is gone");
            Outcome::Done
        }
        Removed::Waiting { reason, after, seen, forced } => {
            // Until all is gone the receipt names what was there; the next run goes on from it.
            let inventory = Receipt { remaining: seen, forced, missing, ..Receipt::default() };
            let value = serde_json::to_value(&inventory).map_err(Error::internal)?;
            if row.receipt.as_ref() != Some(&value) {
                workspaces::note_receipt(&tx, &row.id, &value, now).await?;
                changed_at = now;
            }
            if row.message.as_deref() != Some(&reason) {
                workspaces::set_progress(&tx, &row.id, WorkspacePhase::Deleting, None, Some(&reason), now).await?;
                changed_at = now;
                append(
                    app,
                    &tx,
                    &row,
                    "workspace.progress",
                    json!({ "step": null, "state": "running", "message": reason }),
                )?;
            }
            Outcome::Again(removal_pace(after, now.millis_since(begun), now.millis_since(changed_at)))
        }
    };
    tx.commit().await?;
    Ok(outcome)
}

/// Compares what is on the host with what is to be there, once and before anything is removed: from then on nobody could tell what
/// somebody else took away. What is missing is not among what the removal comes across.
async fn first_look(app: &App, host: &Host, claim: &Claim, row: &Workspace, noted: Receipt) -> Result<Receipt> {
    let Receipt { remaining, lasting: Some(lasting), .. } = noted else { return Ok(noted) };
    let missing = match host.missing(&row.id, &lasting).await {
        Ok(missing) => missing,
        Err(cause) => {
            store_failure(app, claim, row, &sentence(&cause)).await?;
            return Err(Error::internal(cause));
        }
    };
    let remaining = remaining.into_iter().filter(|object| !missing.contains(object)).collect();
    let seen = Receipt { remaining, missing, ..Receipt::default() };
    let value = serde_json::to_value(&seen).map_err(Error::internal)?;
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    workspaces::note_receipt(&tx, &row.id, &value, app.clock.now()).await?;
    tx.commit().await?;
    Ok(seen)
}

/// Ends the deletion of a workspace whose place on the host another organisation has, as it says itself: of its own there is
/// nothing. Whoever was given what was another one's, by a database that had lost its last writes, gets rid of it so. Where that
/// is not said, it may be this workspace's own after all, whose marks were taken off: its deletion is not over.
async fn forsake(app: &App, claim: &Claim, row: &Workspace, cause: &ReconcileError) -> Result<Outcome> {
    tracing::error!(
        workspace.id = %row.id, error = %cause,
        "of a workspace that is deleted nothing is on the host, and what bears its name there is left alone: did the database \
         lose its last writes?"
    );
    let now = app.clock.now();
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    let returned = nodes::give_all_back(app, &tx, row, now).await?;
    let receipt = Receipt { returned, ..Receipt::default() };
    let mut value = serde_json::to_value(&receipt).map_err(Error::internal)?;
    value["note"] = json!("what bears its name on the host is another organization's, and was left alone");
    let departed = workspaces::set_deleted(&tx, &row.id, &value, now).await?;
    tell_deleted(app, &tx, row, &departed)?;
    tx.commit().await?;
    Ok(Outcome::Done)
}

/// Writes down that the workspace is gone, and whose access went with it.
fn tell_deleted(app: &App, tx: &Tx, row: &Workspace, Departed { members, left_organization }: &Departed) -> Result<()> {
    let before = json!({ "name": row.name.as_str(), "members": members, "left_organization": left_organization });
    let gone = Change {
        organization: Some(&row.organization_id),
        workspace: Some(&row.id),
        action: "workspace.deleted",
        subject: row.id.as_str(),
        before: Some(before),
        after: Some(json!({ "phase": "deleted" })),
    };
    app.change_by_itself(tx, &row.organization_id, gone)
}

/// When to look again at what has been going on for so long: what does not end by itself, such as an object with somebody else's
/// finalizer, is looked at less and less often.
pub(super) fn pace(after: Duration, age_millis: i64) -> Duration {
    let age = Duration::from_millis(u64::try_from(age_millis).unwrap_or(0));
    after.max((age / 40).min(SLOWEST))
}

/// When to look again at a removal that was asked for so long ago, and at which nothing has changed for so long. How long it has
/// been looked at is not known: it may be that there was no worker in between, or no host.
fn removal_pace(after: Duration, age_millis: i64, unchanged_millis: i64) -> Duration {
    let least = if age_millis > PATIENCE_SECONDS * 1_000 { after.max(UNHURRIED) } else { after };
    pace(least, unchanged_millis)
}

/// Removes what came back after the deletion was over, if anything did. The record stays as it is.
async fn clear_away(app: &App, host: &Host, claim: &Claim, row: Workspace) -> Result<Outcome> {
    let now = app.clock.now();
    let begun = row.deleted_at.unwrap_or(now);
    let (id, organization, fence) = (row.id, Some(row.organization_id), claim.epoch);
    let removal = Removal { id, organization, fence, now, begun, seen: Vec::new(), forced: Vec::new() };
    match host.remove(&removal).await {
        Ok(Removed::Gone(_)) => Ok(Outcome::Done),
        // Nobody waits for it, and what somebody holds may stay for ever.
        Ok(Removed::Waiting { after, .. }) => Ok(Outcome::Again(pace(after.max(UNHURRIED), now.millis_since(begun)))),
        Err(cause @ ReconcileError::NotOurs { .. }) => {
            tracing::error!(workspace.id = %removal.id, error = %cause, "what bears a deleted workspace's name is left alone");
            Ok(Outcome::Done)
        }
        Err(cause) => Err(Error::internal(cause)),
    }
}

pub(super) fn append(app: &App, tx: &Tx, row: &Workspace, kind: &str, data: serde_json::Value) -> Result<()> {
    let (organization, workspace) = (&row.organization_id, Some(&row.id));
    app.record(tx, Happening { organization, workspace, kind, subject: row.id.as_str(), data })
}

/// An error with its causes, in one line.
pub(super) fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
