//! Looks for what stands on the host of workspaces that are deleted, and has it removed.
//!
//! A worker that was overtaken may make a namespace anew after another one has removed it. Only a workspace whose row says
//! that it is deleted, or one that was made ahead and whose row says that it is gone, is taken away: one without a row may
//! belong to another installation on the same host, or be younger than the backup this database was restored from.

use std::collections::BTreeSet;
use std::time::Duration;

use hexabase_backends::bell::Topic;
use hexabase_backends::store::spare_workspaces::{self, SpareState};
use hexabase_backends::store::{MAX_PAGE, jobs, workspaces};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::phases::WorkspacePhase;
use hexabase_reconcile::Host;

use super::reconcile_workspace;
use super::worker::Outcome;
use crate::context::App;
use crate::error::{Error, Result};
use crate::leftovers::{self, HostLook};

/// The job's kind.
pub(super) const KIND: &str = "sweep-host";
/// Its only subject.
const SUBJECT: &str = "host";
/// How often the host is looked through.
const EVERY: Duration = Duration::from_secs(300);

/// Asks for the first look; those after it follow by themselves.
pub(super) async fn begin(app: &App) -> Result<()> {
    let now = app.clock.now();
    let tx = app.store.begin().await?;
    jobs::enqueue(&tx, KIND, SUBJECT, now, now).await?;
    Ok(tx.commit().await?)
}

pub(super) async fn run(app: &App, host: &Host) -> Result<Outcome> {
    // The host first: what is made between the two looks is then not taken for unknown.
    let found = host.workspaces().await.map_err(Error::internal)?;
    let living = living(app).await?;
    let mut deleted = Vec::new();
    let mut unknown = Vec::new();
    for id in found.into_iter().filter(|id| !living.contains(id)) {
        match workspaces::load_for_job(&app.store, &id).await? {
            Some(row) if row.phase == WorkspacePhase::Deleted => deleted.push(id),
            Some(_) => {}
            None => match spare_workspaces::load_for_job(&app.store, &id).await? {
                Some(spare) if spare.state == SpareState::Gone => deleted.push(id),
                Some(_) => {}
                None => unknown.push(id),
            },
        }
    }
    if let Some(first) = unknown.first() {
        tracing::warn!(
            count = unknown.len(),
            workspace.id = %first,
            "the host holds workspaces that this database does not know; they are left as they are"
        );
    }
    remove(app, &deleted).await?;
    look_at_neglected(app).await?;
    let tx = app.store.begin().await?;
    leftovers::note_host(&tx, &HostLook { at: app.clock.now(), removing: deleted, unknown }).await?;
    tx.commit().await?;
    Ok(Outcome::Again(EVERY))
}

/// Has the job look again at workspaces that it has lost: it never ends by itself while something of one may be on the host.
async fn look_at_neglected(app: &App) -> Result<()> {
    let now = app.clock.now();
    let tx = app.store.begin().await?;
    let neglected = jobs::list_neglected(&tx, reconcile_workspace::KIND, MAX_PAGE).await?;
    for id in &neglected {
        tracing::warn!(workspace.id = %id, "nobody was to look at a workspace any more; its job is begun anew");
        jobs::enqueue(&tx, reconcile_workspace::KIND, id, now, now).await?;
    }
    Ok(tx.commit().await?)
}

async fn living(app: &App) -> Result<BTreeSet<WorkspaceId>> {
    let mut all = BTreeSet::new();
    loop {
        let page = workspaces::list_ids_for_sweep(&app.store, all.last(), MAX_PAGE).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// Has each workspace's own job remove it: that one holds the lease, and with it a fence above any before.
async fn remove(app: &App, deleted: &[WorkspaceId]) -> Result<()> {
    if deleted.is_empty() {
        return Ok(());
    }
    let now = app.clock.now();
    let tx = app.store.begin().await?;
    for id in deleted {
        jobs::enqueue(&tx, reconcile_workspace::KIND, id.as_str(), now, now).await?;
    }
    tx.commit().await?;
    for id in deleted {
        tracing::warn!(workspace.id = %id, "something of a deleted workspace is on the host; it is being removed");
        app.bell.ring(Topic { kind: reconcile_workspace::KIND.to_owned(), subject: id.to_string() });
    }
    Ok(())
}
