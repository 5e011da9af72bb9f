//! A workspace's own nodes, as its job sees them: claimed, marked, left and handed back, as its row wants it; and whether it may
//! move to other nodes (docs/adr/0023-nodes-of-a-workspaces-own.md).

use std::time::Duration;

use hexabase_backends::store::Tx;
use hexabase_backends::store::host_nodes::{self, HostNode};
use hexabase_backends::store::jobs::{self, Claim};
use hexabase_backends::store::workspaces::{self, Workspace};
use hexabase_core::nodes::{NodeClass, NodeName, NodeState};
use hexabase_core::time::Timestamp;
use hexabase_reconcile::{FoundNodes, Host, Placement, Progress, Receipt, Removed, WantedNodes};
use serde_json::{Value, json};

use super::keep_nodes;
use super::reconcile_workspace::{DRIFT, append, pace, sentence};
use crate::context::{App, Change};
use crate::error::{Error, Result};

/// How often it is looked whether a node has become free.
const LATER: Duration = Duration::from_secs(15);
/// So long after a move began, budgets of disruption hold it up no more.
const PATIENCE_MILLIS: i64 = 600_000;
/// So long after, pods that are not ready hold it up no more, however young they are.
const HURRY_MILLIS: i64 = 3_600_000;

/// Said until its pods were looked at in their new place.
const MOVING: &str = "its pods are being moved";

/// How far the nodes of a workspace are.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Where its pods are to be.
    pub(super) placement: Placement,
    message: Option<String>,
    /// What is said while nothing else is: that a node is not empty yet.
    left: Option<String>,
    after: Option<Duration>,
    /// For how long it has been waited for, in milliseconds.
    age_millis: i64,
}

impl Settled {
    /// When to look again, at the latest; `moved` is how far its pods are. Less and less often: a free node may not come for days,
    /// and a pod may never end.
    pub(super) fn pause(&self, moved: Option<&Progress>) -> Duration {
        let moving = match moved {
            Some(Progress::Wait { after, .. }) => Some(*after),
            Some(Progress::Done) | None => None,
        };
        let soonest = self.after.into_iter().chain(moving).min();
        soonest.map_or(DRIFT, |after| pace(after, self.age_millis).min(LATER.max(after)))
    }
}

/// Where a workspace's pods are, as far as its row says. On which nodes they may be, it does not: none is moved by it.
pub(super) fn as_it_is(row: &Workspace) -> Placement {
    Placement { dedicated: row.placed == NodeClass::Dedicated, ..Placement::default() }
}

/// One look at the nodes of a workspace. What is wrong with them is told, and holds up nothing else: rights that end do not wait
/// for a node.
pub(super) async fn settle(app: &App, host: &Host, claim: &Claim, row: &Workspace) -> Result<Settled> {
    let Some(since) = row.nodes_since else { return Ok(Settled::default()) };
    let now = app.clock.now();
    // What bears its name on the host may be somebody else's: such a workspace gets no node.
    let (nodes, refused) = match host.claim(&row.id, Some(&row.organization_id), claim.epoch).await {
        Ok(()) => (balanced(app, claim, row).await?, None),
        Err(cause) => (host_nodes::of_workspace_for_job(&app.store, &row.id).await?, Some(cause)),
    };
    let of = |draining: bool| {
        let these = nodes.iter().filter(|node| (node.state == NodeState::Draining) == draining);
        these.map(|node| node.name.clone()).collect::<Vec<NodeName>>()
    };
    let goal = if row.nodes_wanted > 0 { NodeClass::Dedicated } else { NodeClass::Shared };
    let wanted = WantedNodes { id: row.id.clone(), keeps: of(false), leaves: of(true), placed: row.placed, goal, now };
    let own: Vec<NodeName> = nodes.iter().map(|node| node.name.clone()).collect();
    let placement = |placed: NodeClass, leaving: Vec<NodeName>, since: Timestamp| Placement {
        dedicated: placed == NodeClass::Dedicated,
        own: own.clone(),
        leaving,
        moves: true,
        insists: insists(since, now),
        hurries: hurries(since, now),
    };
    if nodes.is_empty() && wanted.placed == wanted.goal && goal == NodeClass::Shared {
        let begun = begun(row, None, since, now);
        let (placement, age_millis) = (placement(row.placed, Vec::new(), begun), now.millis_since(since));
        return Ok(Settled { placement, age_millis, ..Settled::default() });
    }
    let found = match refused {
        None => host.settle_nodes(&wanted).await,
        Some(cause) => Err(cause),
    };
    let found = match found {
        Ok(found) => found,
        Err(cause) => {
            let message = sentence(&cause);
            let placement = placement(row.placed, Vec::new(), begun(row, Some(&message), since, now));
            return Ok(Settled { placement, message: Some(message), after: Some(LATER), ..Settled::default() });
        }
    };
    let placed = store(app, claim, row, (nodes.as_slice(), &wanted, &found)).await?;
    let missing = wanted.keeps.len() < usize::try_from(row.nodes_wanted).unwrap_or(usize::MAX);
    let waits = found.keeps.iter().chain(&found.leaves).map(|(_, progress)| progress).chain([&found.may_move]);
    let waits = waits.filter_map(|progress| match progress {
        Progress::Wait { after, .. } => Some(*after),
        Progress::Done => None,
    });
    let after = waits.chain(missing.then_some(LATER)).min();
    let message = match placed == row.placed {
        true => told(row.nodes_wanted, &wanted, &found),
        false => Some(MOVING.to_owned()),
    };
    // What may move now has something to do at once.
    let after = if placed == row.placed { after } else { Some(Duration::ZERO) };
    let since = if placed == row.placed { moving_since(since, &nodes, &found, now) } else { now };
    let (left, age_millis) = (left(&found), now.millis_since(since));
    let begun = begun(row, message.as_deref(), since, now);
    Ok(Settled { placement: placement(placed, found.closed, begun), message, left, after, age_millis })
}

/// Since when its pods are asked to move: not since before a look that found all of them in their place. A node may turn out not to
/// be the workspace's long after the last move.
fn begun(row: &Workspace, message: Option<&str>, since: Timestamp, now: Timestamp) -> Timestamp {
    if was_at_rest(row.nodes_message.as_deref(), message) { now } else { since }
}

/// Whether the last look found no pod that has to move, by what it `told`: nothing, or only what is told of the nodes now.
fn was_at_rest(told: Option<&str>, message: Option<&str>) -> bool {
    told.is_none() || told == message
}

/// Set when its pods were asked to move long enough ago.
fn insists(since: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let long_ago = now.plus_millis(-PATIENCE_MILLIS);
    (since < long_ago).then_some(long_ago)
}

/// Whether its pods were asked to move so long ago that none of them is waited for to be ready.
fn hurries(since: Timestamp, now: Timestamp) -> bool {
    now.millis_since(since) > HURRY_MILLIS
}

/// Since when pods are being moved: since the workspace was placed where it is, or since a node that it gives back was closed to new
/// pods, if that was later.
fn moving_since(placed: Timestamp, nodes: &[HostNode], found: &FoundNodes, now: Timestamp) -> Timestamp {
    let closed = found.leaves.iter().filter(|(name, _)| found.closed.contains(name));
    let since = closed.map(|(name, progress)| {
        let known = nodes.iter().find(|node| node.name == *name);
        match (known, progress) {
            (Some(node), Progress::Wait { reason, .. }) if node.message.as_deref() == Some(reason.as_str()) => {
                node.changed_at
            }
            // Something else was in the way until now.
            _ => now,
        }
    });
    since.chain([placed]).max().unwrap_or(placed)
}

/// What keeps the nodes from being as they are wanted: the first thing that somebody can do something about.
fn told(count: u32, wanted: &WantedNodes, found: &FoundNodes) -> Option<String> {
    let (has, wants) = (wanted.keeps.len(), usize::try_from(count).unwrap_or(usize::MAX));
    if has < wants {
        return Some(format!(
            "{has} of {wants} nodes; no other one is free at the moment; an operator of the platform can offer more"
        ));
    }
    let moves = match &found.may_move {
        Progress::Wait { reason, .. } => Some(reason.clone()),
        Progress::Done => None,
    };
    let mut stay = found.leaves.iter().filter(|(name, _)| !found.closed.contains(name));
    found.keeps.iter().find_map(of_node).or(moves).or_else(|| stay.find_map(of_node))
}

/// That a node is not empty yet from which pods are being moved: which one goes next says more.
fn left(found: &FoundNodes) -> Option<String> {
    found.leaves.iter().filter(|(name, _)| found.closed.contains(name)).find_map(of_node)
}

fn of_node((name, progress): &(NodeName, Progress)) -> Option<String> {
    match progress {
        Progress::Wait { reason, .. } => Some(format!("node {name}: {reason}")),
        Progress::Done => None,
    }
}

/// What is to happen so that a workspace with these nodes has so many.
#[derive(Debug, PartialEq, Eq)]
struct Balance {
    /// Nodes that were to be given back and are kept.
    kept: Vec<NodeName>,
    /// Nodes that are to be given back.
    drained: Vec<NodeName>,
    /// How many more are to be claimed.
    claims: usize,
}

fn balance(nodes: &[HostNode], wanted: usize) -> Balance {
    let (draining, mut staying): (Vec<&HostNode>, Vec<&HostNode>) =
        nodes.iter().partition(|node| node.state == NodeState::Draining);
    // Those that cannot be used yet go first.
    staying.sort_by_key(|node| (node.state != NodeState::Ready, node.name.clone()));
    let drained = staying.iter().skip(wanted).map(|node| node.name.clone()).collect();
    let missing = wanted.saturating_sub(staying.len());
    let kept: Vec<NodeName> = draining.iter().take(missing).map(|node| node.name.clone()).collect();
    let claims = missing - kept.len();
    Balance { kept, drained, claims }
}

/// The nodes of the workspace, as many as it is to have if there are so many.
async fn balanced(app: &App, claim: &Claim, row: &Workspace) -> Result<Vec<HostNode>> {
    let nodes = host_nodes::of_workspace_for_job(&app.store, &row.id).await?;
    let Balance { kept, drained, claims } = balance(&nodes, usize::try_from(row.nodes_wanted).unwrap_or(usize::MAX));
    let hopeless = claims == 0 || host_nodes::count_free(&app.store).await? == 0;
    if kept.is_empty() && drained.is_empty() && hopeless {
        return Ok(nodes);
    }
    let now = app.clock.now();
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    for name in &kept {
        host_nodes::set_state(&tx, &row.id, name, NodeState::Claimed, None, now).await?;
    }
    for name in &drained {
        host_nodes::set_state(&tx, &row.id, name, NodeState::Draining, None, now).await?;
    }
    let mut claimed = kept;
    for _ in 0..claims {
        let Some(name) = host_nodes::claim(&tx, &row.id, now).await? else { break };
        claimed.push(name);
    }
    for (action, names) in [("workspace.nodes_claimed", &claimed), ("workspace.nodes_draining", &drained)] {
        if !names.is_empty() {
            by_itself(app, &tx, row, action, json!({ "nodes": names }))?;
        }
    }
    tx.commit().await?;
    Ok(host_nodes::of_workspace_for_job(&app.store, &row.id).await?)
}

/// Stores what was found; gives where the workspace's pods are put from now on. Nothing is written when nothing changed.
async fn store(
    app: &App,
    claim: &Claim,
    row: &Workspace,
    (nodes, wanted, found): (&[HostNode], &WantedNodes, &FoundNodes),
) -> Result<NodeClass> {
    let kept = found.keeps.iter().map(|(name, progress)| match progress {
        Progress::Done => (name, NodeState::Ready, None),
        Progress::Wait { reason, .. } => (name, NodeState::Claimed, Some(reason.as_str())),
    });
    let left = found.leaves.iter().filter_map(|(name, progress)| match progress {
        Progress::Done => None,
        Progress::Wait { reason, .. } => Some((name, NodeState::Draining, Some(reason.as_str()))),
    });
    let state_of = |name: &NodeName| nodes.iter().find(|node| node.name == *name).map(|node| node.state);
    let differs = |(name, state, message): &(&NodeName, NodeState, Option<&str>)| {
        let known = nodes.iter().find(|node| node.name == **name);
        known.is_some_and(|node| node.state != *state || node.message.as_deref() != *message)
    };
    let changes: Vec<(&NodeName, NodeState, Option<&str>)> = kept.chain(left).filter(differs).collect();
    let gone = found.leaves.iter().filter(|(_, progress)| *progress == Progress::Done);
    let returned: Vec<NodeName> = gone.map(|(name, _)| name.clone()).collect();
    let moves = wanted.placed != wanted.goal && found.may_move == Progress::Done;
    if changes.is_empty() && returned.is_empty() && !moves {
        return Ok(wanted.placed);
    }
    let now = app.clock.now();
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    for (name, state, message) in changes {
        host_nodes::set_state(&tx, &row.id, name, state, message, now).await?;
        if state_of(name) != Some(state) {
            append(app, &tx, row, "workspace.node", json!({ "node": name, "state": state, "message": message }))?;
        }
    }
    give_back(app, &tx, row, &returned, now).await?;
    if moves {
        workspaces::set_placed(&tx, &row.id, wanted.goal, now).await?;
        workspaces::note_nodes_message(&tx, &row.id, Some(MOVING)).await?;
        by_itself(app, &tx, row, "workspace.placed", json!({ "placed": wanted.goal }))?;
    }
    tx.commit().await?;
    if moves {
        tracing::info!(workspace.id = %row.id, placed = wanted.goal.as_str(), "workspace moves to other nodes");
    }
    Ok(if moves { wanted.goal } else { wanted.placed })
}

/// Forgets the nodes, and has the host looked at: what is given back may be offered no more, or gone, or not empty.
async fn give_back(app: &App, tx: &Tx, row: &Workspace, names: &[NodeName], now: Timestamp) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    for name in names {
        host_nodes::give_back(tx, &row.id, name).await?;
    }
    keep_nodes::look_soon(tx, now).await?;
    by_itself(app, tx, row, "workspace.nodes_returned", json!({ "nodes": names }))
}

fn by_itself(app: &App, tx: &Tx, row: &Workspace, action: &str, after: Value) -> Result<()> {
    let change = Change {
        organization: Some(&row.organization_id),
        workspace: Some(&row.id),
        action,
        subject: row.id.as_str(),
        before: None,
        after: Some(after),
    };
    app.change_by_itself(tx, &row.organization_id, change)
}

/// Shows what keeps the workspace from being where it is to be; `moved` is how far its pods are, where that is known. If they begin to
/// move, it is noted when.
pub(super) async fn tell(
    app: &App,
    claim: &Claim,
    row: &Workspace,
    settled: &Settled,
    moved: Option<&Progress>,
) -> Result<()> {
    let before = row.nodes_message.as_deref();
    let message = says(settled, moved, before);
    if before == message.as_deref() {
        return Ok(());
    }
    let moves = matches!(moved, Some(Progress::Wait { .. }));
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    workspaces::note_nodes_message(&tx, &row.id, message.as_deref()).await?;
    if moves && was_at_rest(before, settled.message.as_deref()) {
        workspaces::note_moving(&tx, &row.id, app.clock.now()).await?;
    }
    Ok(tx.commit().await?)
}

/// What is told of the nodes, and of the pods while they move.
fn says(settled: &Settled, moved: Option<&Progress>, before: Option<&str>) -> Option<String> {
    match (settled.message.as_deref(), moved) {
        (Some(message), Some(Progress::Wait { reason, .. })) if message != MOVING => {
            Some(format!("{message}; {reason}"))
        }
        (Some(message), _) => Some(message.to_owned()),
        (None, Some(Progress::Wait { reason, .. })) => Some(reason.clone()),
        (None, Some(Progress::Done)) => settled.left.clone(),
        (None, None) => before.map(str::to_owned),
    }
}

/// Hands back every node of a workspace that is gone from the host but for them; its removal is not over before. The receipt
/// names them.
pub(super) async fn hand_all_back(app: &App, host: &Host, row: &Workspace, removed: Removed) -> Result<Removed> {
    let mut receipt = match removed {
        Removed::Gone(receipt) => receipt,
        waiting @ Removed::Waiting { .. } => return Ok(waiting),
    };
    for node in host_nodes::of_workspace_for_job(&app.store, &row.id).await? {
        match host.hand_back(&row.id, &node.name).await.map_err(Error::internal)? {
            Progress::Done => receipt.returned.push(node.name),
            Progress::Wait { reason, after } => {
                let Receipt { removed, remaining, forced, .. } = receipt;
                let seen = removed.into_iter().chain(remaining).collect();
                return Ok(Removed::Waiting { reason, after, seen, forced });
            }
        }
    }
    Ok(Removed::Gone(receipt))
}

/// Writes down that the nodes which the receipt names are nobody's, in the transaction that ends the workspace.
pub(super) async fn note_returned(
    app: &App,
    tx: &Tx,
    row: &Workspace,
    receipt: &Receipt,
    now: Timestamp,
) -> Result<()> {
    give_back(app, tx, row, &receipt.returned, now).await
}

/// Gives back every node of a workspace whose place on the host is another's, in the transaction that ends it; says which. Their
/// marks are taken off by the job that keeps the nodes, once nothing of the workspace runs there.
pub(super) async fn give_all_back(app: &App, tx: &Tx, row: &Workspace, now: Timestamp) -> Result<Vec<NodeName>> {
    let nodes = host_nodes::of_workspace_for_job(tx, &row.id).await?;
    let names: Vec<NodeName> = nodes.into_iter().map(|node| node.name).collect();
    give_back(app, tx, row, &names, now).await?;
    Ok(names)
}

#[cfg(test)]
mod tests;
