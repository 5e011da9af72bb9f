//! Workspaces asleep: put to sleep and woken by hand, woken by whoever uses them, and when they sleep by themselves.

use std::time::{Duration, Instant};

use hexabase_backends::bell::{Listener, Ring, Topic};
use hexabase_backends::store::jobs;
use hexabase_backends::store::workspaces::{self, Desired, Workspace, WorkspaceScope};
use hexabase_core::ids::{UserId, WorkspaceId};
use hexabase_core::phases::WorkspacePhase;
use hexabase_core::sleep::{MINUTES, SleepRule};
use serde_json::json;

use crate::authz::{self, While, WorkspaceAction};
use crate::context::{App, Change, OpContext};
use crate::error::{Error, Result};
use crate::jobs::{RECONCILE_WORKSPACE, follow};
use crate::plans::plan_of;
use crate::waiting::Waiter;
use crate::workspaces::{WorkspaceDetails, details};
use crate::{leaving, members};

/// Longest time for which a request is held while its workspace wakes. kubectl asks again by itself when it is over.
const HOLD: Duration = Duration::from_secs(60);
/// How often to look without hearing anything: another process's bell is not heard here.
const LOOK_ANYWAY: Duration = Duration::from_millis(500);
/// Milliseconds after which a use is worth noting again.
const USE_MILLIS: i64 = 60_000;

/// Puts a workspace to sleep that is ready, or was before and does not wake. Open streams end at once. Asking twice changes nothing.
///
/// # Errors
/// [`Error::Conflict`] for a workspace that never was ready.
pub async fn sleep(app: &App, ctx: &OpContext, id: &WorkspaceId) -> Result<WorkspaceDetails> {
    let tx = app.store.begin().await?;
    let scope = authz::locked_workspace_while(&tx, ctx, id, WorkspaceAction::Sleep, While::Living).await?;
    let row = workspaces::get(&tx, &scope).await?.ok_or(Error::NotFound("workspace"))?;
    if row.desired == Desired::Asleep {
        tx.rollback().await?;
        return details(app, &scope).await;
    }
    if !workspaces::request_sleep(&tx, id, ctx.now).await? {
        let sentence = format!("the workspace is {}; only one that was ready before can be put to sleep", row.phase);
        return Err(Error::conflict("not_ready", sentence));
    }
    let said = (Some(json!({ "phase": row.phase })), Some(json!({ "phase": WorkspacePhase::FallingAsleep })));
    follow::commit(app, ctx, tx, &scope, "workspace.falling_asleep", id.as_str(), said).await?;
    app.bell.ring(members::topic(id));
    tracing::info!(workspace.id = %id, "workspace is put to sleep");
    details(app, &scope).await
}

/// Wakes a workspace without using it. For one that is awake this changes nothing.
///
/// # Errors
/// [`Error::Conflict`] when the workspace is leaving.
pub async fn wake(app: &App, ctx: &OpContext, id: &WorkspaceId) -> Result<WorkspaceDetails> {
    let tx = app.store.begin().await?;
    let scope = authz::locked_workspace_while(&tx, ctx, id, WorkspaceAction::Sleep, While::Living).await?;
    let row = workspaces::get(&tx, &scope).await?.ok_or(Error::NotFound("workspace"))?;
    if workspaces::request_wake(&tx, id, ctx.now).await? {
        let said = (Some(json!({ "phase": row.phase })), Some(json!({ "phase": WorkspacePhase::Waking })));
        follow::commit(app, ctx, tx, &scope, "workspace.waking", id.as_str(), said).await?;
        tracing::info!(workspace.id = %id, "workspace is woken");
    } else {
        tx.rollback().await?;
    }
    details(app, &scope).await
}

/// Says when the workspace sleeps by itself, and what of it; what the rule says of time counts from now on. The rule that holds
/// changes nothing.
///
/// # Errors
/// [`Error::Invalid`] for a rule that cannot be meant, or that waits longer than the workspace's plan lets it.
pub async fn set_rule(app: &App, ctx: &OpContext, id: &WorkspaceId, rule: SleepRule) -> Result<WorkspaceDetails> {
    let tx = app.store.begin().await?;
    let scope = authz::locked_workspace_while(&tx, ctx, id, WorkspaceAction::Sleep, While::Living).await?;
    let rule = rule.checked().map_err(|cause| Error::invalid("sleep_rule", cause.to_string()))?;
    let plan = plan_of(&tx, &scope).await?;
    if let Some(most) = plan.sleep_after_minutes
        && rule.clone().within(Some(most)) != rule
    {
        let sentence = format!(
            "under the plan {} a workspace sleeps after {most} minutes without use or sooner; give from {} to {most} minutes, as in \
             hxb workspace sleep-rule --after {most}m",
            plan.id,
            MINUTES.start()
        );
        return Err(Error::invalid("after_minutes", sentence));
    }
    let row = workspaces::get(&tx, &scope).await?.ok_or(Error::NotFound("workspace"))?;
    if row.sleep_rule.clone().unwrap_or_default() == rule {
        tx.rollback().await?;
        return details(app, &scope).await;
    }
    workspaces::set_sleep_rule(&tx, &scope, &rule, ctx.now).await?;
    let said = (row.sleep_rule.map(|before| json!(before)), Some(json!(rule)));
    follow::commit(app, ctx, tx, &scope, "workspace.sleep_rule_changed", id.as_str(), said).await?;
    details(app, &scope).await
}

/// Whether a workspace sleeps, or has not quite woken up.
pub(crate) fn is_asleep(row: &Workspace) -> bool {
    row.desired == Desired::Asleep || row.phase == WorkspacePhase::Waking
}

/// The workspace, awake: one that sleeps is woken in the name of `user`, who is about to use it, and waited for. Of many
/// who wake it one does; all wait.
///
/// # Errors
/// [`Error::Unavailable`] when it takes too long or too many wait for it already, [`Error::Conflict`] when its deletion is asked for meanwhile.
pub(crate) async fn awake(app: &App, row: Workspace, user: &UserId) -> Result<Workspace> {
    if !is_asleep(&row) {
        return Ok(row);
    }
    let Some(waiter) = Waiter::enter(&row.id) else {
        let sentence = "the workspace is waking up, and too many requests wait for it already; try again in a moment";
        return Err(Error::Unavailable(sentence.to_owned()));
    };
    let mut bell = app.bell.subscribe();
    let id = row.id.clone();
    let waking = async {
        let mut row = row;
        loop {
            match (row.desired, row.phase) {
                (Desired::Absent, _) => return Err(leaving::refused(&row)),
                (Desired::Asleep, _) => wake_for(app, &row, user).await?,
                (Desired::Present, WorkspacePhase::Waking) => {}
                (Desired::Present, _) => return Ok(row),
            }
            let since = news(&mut bell, &id).await;
            row = waiter.look(since, load(app, &id)).await?;
        }
    };
    match tokio::time::timeout(HOLD, waking).await {
        Ok(woken) => woken,
        Err(_) => Err(Error::Unavailable(
            "the workspace was asleep and is waking up, which takes longer than usual; try again in a moment"
                .to_owned(),
        )),
    }
}

/// Wakes a sleeping workspace in the name of the scope's person, whose wish has to be carried out inside. Nobody waits for that,
/// and the wish stands if it fails: it is carried out when the workspace wakes for another reason.
pub(crate) async fn stir(app: &App, scope: &WorkspaceScope) {
    let stirred = async {
        let row = workspaces::get(&app.store, scope).await?;
        match row.filter(|row| row.desired == Desired::Asleep) {
            Some(row) => wake_for(app, &row, scope.user()).await,
            None => Ok(()),
        }
    };
    if let Err(error) = stirred.await {
        tracing::warn!(workspace.id = %scope.workspace(), %error, "a sleeping workspace could not be woken");
    }
}

/// Wakes a workspace because somebody uses it.
async fn wake_for(app: &App, row: &Workspace, user: &UserId) -> Result<()> {
    let now = app.clock.now();
    let tx = app.store.begin().await?;
    if !workspaces::request_wake(&tx, &row.id, now).await? {
        return Ok(tx.rollback().await?);
    }
    jobs::enqueue(&tx, RECONCILE_WORKSPACE, row.id.as_str(), now, now).await?;
    let change = Change {
        organization: Some(&row.organization_id),
        workspace: Some(&row.id),
        action: "workspace.waking",
        subject: row.id.as_str(),
        before: Some(json!({ "phase": row.phase })),
        after: Some(json!({ "phase": WorkspacePhase::Waking, "reason": "used", "used_by": user })),
    };
    app.change_by_itself(&tx, &row.organization_id, change)?;
    tx.commit().await?;
    app.bell.ring(Topic { kind: RECONCILE_WORKSPACE.to_owned(), subject: row.id.to_string() });
    tracing::info!(workspace.id = %row.id, user.id = %user, "workspace is woken by a request");
    Ok(())
}

async fn load(app: &App, id: &WorkspaceId) -> Result<Workspace> {
    workspaces::load_for_issuer(&app.store, id).await?.ok_or(Error::NotFound("workspace"))
}

/// Returns when the workspace may have changed, with the moment since when that would matter.
async fn news(bell: &mut Listener, id: &WorkspaceId) -> Instant {
    let rung = async {
        while let Some(ring) = bell.next().await {
            match ring {
                Ring::Topic(topic) if topic.subject != id.as_str() => {}
                Ring::Topic(_) | Ring::Missed => return,
            }
        }
    };
    let heard = tokio::time::timeout(LOOK_ANYWAY, rung).await;
    let now = Instant::now();
    // Without hearing anything, what another one saw in the meantime is new enough.
    if heard.is_ok() { now } else { now.checked_sub(LOOK_ANYWAY).unwrap_or(now) }
}

/// Notes that somebody uses the workspace, where its rule hangs on that; at most once a minute. A use that cannot be noted
/// is none the less served.
pub(crate) async fn note_use(app: &App, row: &Workspace) {
    let now = app.clock.now();
    let counts = row.sleep_rule.as_ref().is_some_and(|rule| rule.after_minutes.is_some());
    if !counts || row.last_used_at.is_some_and(|used| now.millis_since(used) <= USE_MILLIS) {
        return;
    }
    let noted = async {
        let tx = app.store.begin().await?;
        workspaces::note_use(&tx, &row.id, now).await?;
        tx.commit().await
    };
    if let Err(error) = noted.await {
        tracing::warn!(workspace.id = %row.id, %error, "a use of a workspace could not be noted");
    }
}
