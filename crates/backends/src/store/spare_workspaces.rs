//! Workspaces that were made ahead: asleep, nobody's, and never used. A creation takes one in its own transaction.

use hexabase_core::ids::WorkspaceId;
use hexabase_core::time::Timestamp;
use hexabase_core::words;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Statement};

use super::column::{Table, time};
use super::db::{self, Connection, Db};
use super::{StoreError, Tx, capped};
use crate::entities::workspaces::spare_workspace;

const TABLE: Table = Table("spare_workspaces");

words! {
    /// Where a spare workspace stands.
    SpareState, "state of a spare workspace" {
        /// It is being brought up for the first time.
        Making = "making",
        /// It has been up, and is being put to sleep.
        Settling = "settling",
        /// A creation may take it.
        Asleep = "asleep",
        /// Nobody is to have it; it is being removed.
        Discarded = "discarded",
        /// Nothing of it is left; kept, so that what comes back of it is known to be ours.
        Gone = "gone",
        /// What bears its name on the host is somebody's, or not ours: its row is older than that, and it is left alone for good.
        Foreign = "foreign",
    }
}

/// A spare workspace. One that was taken has no row here any more, but one among the workspaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spare {
    /// The id that it has, and that whoever takes it will have.
    pub id: WorkspaceId,
    /// By which versions it was made.
    pub version: String,
    /// Where it stands.
    pub state: SpareState,
    /// What stands in the way.
    pub message: Option<String>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When its state last changed.
    pub changed_at: Timestamp,
}

fn read(model: spare_workspace::Model) -> Result<Spare, StoreError> {
    Ok(Spare {
        id: TABLE.parse("id", &model.id)?,
        version: model.version,
        state: TABLE.parse("state", &model.state)?,
        message: model.message,
        created_at: time(model.created_at),
        changed_at: time(model.changed_at),
    })
}

/// Begins a spare workspace.
pub async fn insert(tx: &Tx, id: &WorkspaceId, version: &str, now: Timestamp) -> Result<(), StoreError> {
    let model = spare_workspace::Model {
        id: id.to_string(),
        version: version.to_owned(),
        state: SpareState::Making.to_string(),
        message: None,
        created_at: now.as_micros(),
        changed_at: now.as_micros(),
    };
    db::insert(tx.conn(), model).await
}

/// Takes the oldest one of this version that is asleep, if there is one: it is the transaction's alone, and gone from here
/// with its commit. Of many who take at once none waits for another, and no two are given the same.
pub async fn take(tx: &Tx, version: &str) -> Result<Option<WorkspaceId>, StoreError> {
    let backend = tx.conn().get_database_backend();
    let skip_locked = if backend == DbBackend::Postgres { "FOR UPDATE SKIP LOCKED" } else { "" };
    let take = Statement::from_sql_and_values(
        backend,
        format!(
            "DELETE FROM spare_workspaces WHERE id = (SELECT id FROM spare_workspaces \
             WHERE state = $1 AND version = $2 ORDER BY id LIMIT 1 {skip_locked}) RETURNING id"
        ),
        [SpareState::Asleep.as_str().into(), version.into()],
    );
    let Some(row) = tx.conn().query_one_raw(take).await? else { return Ok(None) };
    let id: String = row.try_get_by_index(0)?;
    Ok(Some(TABLE.parse("id", &id)?))
}

/// Moves one on from a state, with what stands in the way; [`StoreError::Stale`] when it is in another state, or was taken.
pub async fn set_state(
    tx: &Tx,
    id: &WorkspaceId,
    (from, to): (SpareState, SpareState),
    message: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let update = spare_workspace::Entity::update_many()
        .col_expr(spare_workspace::Column::State, Expr::value(to.as_str()))
        .col_expr(spare_workspace::Column::Message, Expr::value(message.map(str::to_owned)))
        .col_expr(spare_workspace::Column::ChangedAt, Expr::value(now.as_micros()))
        .filter(spare_workspace::Column::Id.eq(id.as_str()))
        .filter(spare_workspace::Column::State.eq(from.as_str()));
    let updated = update.exec(tx.conn()).await?;
    if updated.rows_affected > 0 { Ok(()) } else { Err(StoreError::Stale) }
}

/// The spare workspace with this id, for the job that works on it.
pub async fn load_for_job(db: &impl Db, id: &WorkspaceId) -> Result<Option<Spare>, StoreError> {
    spare_workspace::Entity::find_by_id(id.as_str()).one(db.conn()).await?.map(read).transpose()
}

/// When one was last thrown away for a reason: it could not be made, or is in use.
pub async fn last_failure_for_job(db: &impl Db) -> Result<Option<Timestamp>, StoreError> {
    let thrown_away = [SpareState::Discarded, SpareState::Gone, SpareState::Foreign].map(SpareState::as_str);
    let query = spare_workspace::Entity::find()
        .filter(spare_workspace::Column::State.is_in(thrown_away))
        .filter(spare_workspace::Column::Message.is_not_null())
        .order_by_desc(spare_workspace::Column::ChangedAt);
    Ok(query.one(db.conn()).await?.map(|model| time(model.changed_at)))
}

/// Those of which something of ours may be on the host, by id; up to `limit` after `after`.
pub async fn list_for_job(db: &impl Db, after: Option<&WorkspaceId>, limit: u64) -> Result<Vec<Spare>, StoreError> {
    let over = [SpareState::Gone, SpareState::Foreign].map(SpareState::as_str);
    let mut query = spare_workspace::Entity::find().filter(spare_workspace::Column::State.is_not_in(over));
    if let Some(after) = after {
        query = query.filter(spare_workspace::Column::Id.gt(after.as_str()));
    }
    let query = query.order_by_asc(spare_workspace::Column::Id).limit(capped(limit));
    query.all(db.conn()).await?.into_iter().map(read).collect()
}
