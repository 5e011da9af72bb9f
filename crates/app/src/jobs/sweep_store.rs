//! Looks for what hangs on deleted workspaces in the database, and takes it away.
//!
//! The deletion itself ends what there is. This is for what came after it: a request that had begun before, an older version of
//! the platform, a database that lost its last writes. Only what hangs on a row that says that it is deleted is touched.

use std::collections::BTreeMap;
use std::time::Duration;

use hexabase_backends::store::jobs::{self, Claim};
use hexabase_backends::store::{MAX_PAGE, leftovers, workspaces};
use hexabase_core::ids::WorkspaceId;
use serde_json::{Value, json};

use super::reconcile_workspace;
use super::worker::Outcome;
use crate::context::{App, Change};
use crate::error::{Error, Result};
use crate::leftovers::hanging;

/// The job's kind.
pub(super) const KIND: &str = "sweep-store";
/// Its only subject.
const SUBJECT: &str = "store";
/// How often the database is looked through.
const EVERY: Duration = Duration::from_secs(3600);
/// The same when there was more than one look tells.
const SOON: Duration = Duration::from_secs(10);

/// Asks for the first look; those after it follow by themselves.
pub(super) async fn begin(app: &App) -> Result<()> {
    let now = app.clock.now();
    let tx = app.store.begin().await?;
    jobs::enqueue(&tx, KIND, SUBJECT, now, now).await?;
    Ok(tx.commit().await?)
}

pub(super) async fn run(app: &App, claim: &Claim) -> Result<Outcome> {
    let found = hanging(&app.store, app.clock.now()).await?;
    let is_all = u64::try_from(found.len()).is_ok_and(|rows| rows < MAX_PAGE);
    let mut tables: BTreeMap<WorkspaceId, BTreeMap<String, u64>> = BTreeMap::new();
    for left in found {
        tables.entry(left.workspace).or_default().insert(left.what, left.rows);
    }
    for (id, rows) in &tables {
        take_away(app, claim, id, json!(rows)).await?;
    }
    let unknown = leftovers::list_unknown_for_job(&app.store, MAX_PAGE).await?;
    if let Some(first) = unknown.first() {
        tracing::warn!(
            count = unknown.len(),
            workspace.id = %first.workspace,
            "the database names workspaces of which there is no row; what names them is left as it is"
        );
    }
    Ok(Outcome::Again(if is_all { EVERY } else { SOON }))
}

/// Takes away what hangs on one workspace, and has its organisation's log say so.
async fn take_away(app: &App, claim: &Claim, id: &WorkspaceId, rows: Value) -> Result<()> {
    let now = app.clock.now();
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    let row = workspaces::load_for_job(&tx, id).await?;
    let row = row.ok_or_else(|| Error::internal("a deleted workspace has lost its row"))?;
    let left = leftovers::remove(&tx, id, reconcile_workspace::KIND, now).await?;
    tracing::warn!(workspace.id = %id, %rows, "rows of a deleted workspace were left; they are taken away");
    let change = Change {
        organization: Some(&row.organization_id),
        workspace: Some(id),
        action: "workspace.leftovers_removed",
        subject: id.as_str(),
        before: Some(rows),
        after: (!left.is_empty()).then(|| json!({ "left_organization": left })),
    };
    app.change_by_itself(&tx, &row.organization_id, change)?;
    Ok(tx.commit().await?)
}
