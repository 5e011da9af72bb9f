//! How far each step of a workspace is.

use hexabase_core::ids::WorkspaceId;
use hexabase_core::phases::WorkspaceStep;
use hexabase_core::time::Timestamp;
use hexabase_core::words;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect};

use super::column::{Table, micros_opt, time, time_opt};
use super::db::{Connection, Db};
use super::workspaces::WorkspaceScope;
use super::{MAX_PAGE, StoreError, Tx};
use crate::entities::workspaces::workspace_step;

const TABLE: Table = Table("workspace_steps");

words! {
    /// How far a step is.
    StepState, "step state" {
        /// Waits for something it does not do itself.
        Waiting = "waiting",
        /// Is being carried out.
        Running = "running",
        /// Is done.
        Done = "done",
        /// Did not succeed; the message says why, and it is tried again.
        Failed = "failed",
    }
}

/// One step of one workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRecord {
    /// The step.
    pub step: WorkspaceStep,
    /// How far it is.
    pub state: StepState,
    /// What a person should know about it.
    pub message: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was done or failed.
    pub finished_at: Option<Timestamp>,
}

/// Writes how far a step is, over what was there.
pub async fn upsert(tx: &Tx, workspace: &WorkspaceId, record: &StepRecord) -> Result<(), StoreError> {
    let model = workspace_step::Model {
        workspace_id: workspace.to_string(),
        step: record.step.to_string(),
        state: record.state.to_string(),
        message: record.message.clone(),
        started_at: record.started_at.as_micros(),
        finished_at: micros_opt(record.finished_at),
    };
    use workspace_step::Column::{FinishedAt, Message, StartedAt, State, Step, WorkspaceId as Workspace};
    let over =
        OnConflict::columns([Workspace, Step]).update_columns([State, Message, StartedAt, FinishedAt]).to_owned();
    workspace_step::Entity::insert(model.into_active_model())
        .on_conflict(over)
        .exec_without_returning(tx.conn())
        .await?;
    Ok(())
}

/// Forgets the steps of a workspace that begins anew with them.
pub(super) async fn forget(tx: &Tx, workspace: &WorkspaceId) -> Result<(), StoreError> {
    let all = workspace_step::Entity::delete_many();
    all.filter(workspace_step::Column::WorkspaceId.eq(workspace.as_str())).exec(tx.conn()).await?;
    Ok(())
}

/// The steps that were begun, in the order of the steps.
pub async fn list(db: &impl Db, scope: &WorkspaceScope) -> Result<Vec<StepRecord>, StoreError> {
    list_for_job(db, scope.workspace()).await
}

/// The same, for the job that works on the workspace.
pub async fn list_for_job(db: &impl Db, workspace: &WorkspaceId) -> Result<Vec<StepRecord>, StoreError> {
    let query = workspace_step::Entity::find()
        .filter(workspace_step::Column::WorkspaceId.eq(workspace.as_str()))
        .limit(MAX_PAGE);
    let read = |model: workspace_step::Model| {
        Ok(StepRecord {
            step: TABLE.parse("step", &model.step)?,
            state: TABLE.parse("state", &model.state)?,
            message: model.message,
            started_at: time(model.started_at),
            finished_at: time_opt(model.finished_at),
        })
    };
    let mut records: Vec<StepRecord> =
        query.all(db.conn()).await?.into_iter().map(read).collect::<Result<_, StoreError>>()?;
    records.sort_by_key(|record| record.step);
    Ok(records)
}
