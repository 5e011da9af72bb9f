//! Knows which nodes of the host the operator offers to workspaces, keeps those empty that nobody has, and looks for marks of
//! workspaces that do not have their nodes any more.
//!
//! `serve` has no right on the host: what it says of free nodes, it reads here.

use std::collections::BTreeMap;
use std::time::Duration;

use hexabase_backends::store::Tx;
use hexabase_backends::store::host_nodes::{self, HostNode};
use hexabase_backends::store::jobs::{self, Claim};
use hexabase_backends::store::workspaces;
use hexabase_core::ids::WorkspaceId;
use hexabase_core::nodes::{NodeClass, NodeName};
use hexabase_core::time::Timestamp;
use hexabase_reconcile::{Holder, Host, Progress, SeenNode};

use super::worker::Outcome;
use crate::context::App;
use crate::error::{Error, Result};

/// The job's kind.
pub(super) const KIND: &str = "keep-nodes";
/// Its only subject.
const SUBJECT: &str = "host";
/// How often the host is looked at.
const EVERY: Duration = Duration::from_secs(15);
/// How long after a node was closed it is looked whether somebody came in the last moment.
const SETTLING: Duration = Duration::from_secs(3);

/// Asks for the first look; those after it follow by themselves.
pub(super) async fn begin(app: &App) -> Result<()> {
    let now = app.clock.now();
    let tx = app.store.begin().await?;
    look_soon(&tx, now).await?;
    Ok(tx.commit().await?)
}

/// Asks for a look at once, in the transaction that gives a node back: nobody else can have it before one has found it offered and
/// empty.
pub(super) async fn look_soon(tx: &Tx, now: Timestamp) -> Result<()> {
    Ok(jobs::enqueue(tx, KIND, SUBJECT, now, now).await?)
}

pub(super) async fn run(app: &App, host: &Host, claim: &Claim) -> Result<Outcome> {
    // The host first: a node is given to a workspace before it says so, and changed only while it is as it was read.
    let seen = host.nodes().await.map_err(Error::internal)?;
    let rows = host_nodes::list_for_job(&app.store).await?;
    let mut plan = plan(&seen, &rows);
    let mut empty = Vec::with_capacity(plan.offers.len());
    for name in plan.offers {
        if host.is_empty(name).await.map_err(Error::internal)? {
            empty.push(name);
        } else {
            tracing::warn!(node = %name, "a node is offered once the pods are gone that are on it; it is to be drained");
        }
    }
    plan.offers = empty;
    store(app, claim, &plan).await?;
    let closes = plan.marks.iter().any(|(node, kept)| *kept && !node.closed);
    for (node, kept) in plan.marks {
        let Progress::Wait { reason, .. } = host.keep_free(node, kept).await.map_err(Error::internal)? else {
            continue;
        };
        tracing::warn!(node = %node.name, reason = %reason, "a node could not be marked; tried again soon");
    }
    for (name, id) in plan.orphans {
        clear(app, host, &name, &id).await?;
    }
    Ok(Outcome::Again(if closes { SETTLING } else { EVERY }))
}

/// What is to be done about the nodes of the host.
#[derive(Debug, Default)]
struct Plan<'a> {
    /// Nodes that workspaces can have from now on, if they are empty: nobody could come any more already before this look.
    offers: Vec<&'a NodeName>,
    /// Nodes that they can have no more.
    withdrawals: Vec<&'a NodeName>,
    /// Nodes that are nobody's and are to be kept empty, or not any more.
    marks: Vec<(&'a SeenNode, bool)>,
    /// Nodes that say they are a workspace's, which the database does not know.
    orphans: Vec<(NodeName, WorkspaceId)>,
}

fn plan<'a>(seen: &'a [SeenNode], rows: &'a [HostNode]) -> Plan<'a> {
    let known: BTreeMap<&NodeName, &HostNode> = rows.iter().map(|row| (&row.name, row)).collect();
    let mut plan = Plan::default();
    for node in seen {
        let row = known.get(&node.name);
        let owner = row.and_then(|row| row.workspace_id.as_ref());
        if let Holder::Workspace(id) = &node.holder
            && owner != Some(id)
        {
            plan.orphans.push((node.name.clone(), id.clone()));
        }
        if owner.is_some() {
            continue;
        }
        let is_kept = node.holder == Holder::Free && node.closed;
        match (row, node.offered && node.usable && is_kept) {
            (None, true) => plan.offers.push(&node.name),
            (Some(_), false) => plan.withdrawals.push(&node.name),
            (None, false) | (Some(_), true) => {}
        }
        match (&node.holder, node.offered) {
            // Also one that says it is free: somebody may have taken a half of that off.
            (Holder::Nobody | Holder::Free, true) => plan.marks.push((node, true)),
            (Holder::Free, false) => plan.marks.push((node, false)),
            _ => {}
        }
    }
    let gone = rows.iter().filter(|row| row.workspace_id.is_none() && !seen.iter().any(|node| node.name == row.name));
    plan.withdrawals.extend(gone.map(|row| &row.name));
    plan
}

async fn store(app: &App, claim: &Claim, plan: &Plan<'_>) -> Result<()> {
    if plan.offers.is_empty() && plan.withdrawals.is_empty() {
        return Ok(());
    }
    let now = app.clock.now();
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    for name in &plan.offers {
        if host_nodes::offer(&tx, name, now).await? {
            tracing::info!(node = %name, "a node is offered to workspaces");
        }
    }
    for name in &plan.withdrawals {
        if host_nodes::withdraw(&tx, name).await? {
            tracing::info!(node = %name, "a node is not offered to workspaces any more");
        }
    }
    Ok(tx.commit().await?)
}

/// Takes a mark off a node that the database has given to nobody, or to somebody else. Where it has drawn pods of a workspace that is
/// on nodes of its own, that one's job moves them first, and nothing more of it comes until then. A workspace that is not known may be
/// another installation's.
async fn clear(app: &App, host: &Host, name: &NodeName, id: &WorkspaceId) -> Result<()> {
    let Some(row) = workspaces::load_for_job(&app.store, id).await? else {
        tracing::warn!(node = %name, workspace.id = %id, "a node says it is a workspace's that this database does not know");
        return Ok(());
    };
    let moves = row.placed == NodeClass::Dedicated;
    match host.disown(id, name, moves).await.map_err(Error::internal)? {
        Progress::Done => {
            tracing::warn!(node = %name, workspace.id = %id, "a mark of a workspace was taken off a node")
        }
        Progress::Wait { reason, .. } => {
            tracing::warn!(node = %name, workspace.id = %id, reason = %reason, "a node bears the mark of a workspace without having it");
        }
    }
    Ok(())
}
