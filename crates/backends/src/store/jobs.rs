//! Jobs: one row for each kind of work and subject, and the row is the job.
//!
//! A job carries no data: whoever claims it reads the subject and does what is needed. Enqueueing an enqueued job makes
//! it no second one; enqueueing a running one makes it run again. A claim is a lease with a number that only grows, so
//! a worker whose lease ran out and was taken over can no longer write.

use hexabase_core::time::Timestamp;
use sea_orm::sea_query::{Expr, ExprTrait, LockType};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select,
    Statement, UpdateMany, Value,
};

use super::column::{Table, signed, time};
use super::db::{Connection, Db};
use super::{Store, StoreError, Tx, capped};
use crate::entities::operations::job;

const TABLE: Table = Table("jobs");
/// How far above a number that no claim of this database has the next one is: no job is claimed so often in years.
const GAP: i64 = 1 << 24;

/// The right to carry out one job, until its lease runs out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The kind of work.
    pub kind: String,
    /// The id of the subject.
    pub subject: String,
    /// The fencing number: higher than that of any earlier claim of this job.
    pub epoch: i64,
    /// How often the job had been enqueued when it was claimed.
    pub generation: i64,
    /// Which attempt this is since the last success, counting from 1.
    pub attempts: u32,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// There is nothing left to do, unless the job was enqueued again meanwhile.
    Done,
    /// It went well as far as it goes now; look again then.
    RunAgainAt(Timestamp),
    /// It was stopped by a higher number than its own which no claim of this database has: the next claim is far above it, so that
    /// whoever had that one, and may live after all, does not come by the same numbers.
    RunAgainAbove {
        /// When to look again.
        at: Timestamp,
        /// That number.
        fence: i64,
    },
    /// It failed; try again then.
    RetryAt {
        /// When.
        at: Timestamp,
        /// What a person should know about the failure.
        error: String,
    },
}

/// How many jobs there are, by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Could be claimed now.
    pub due: u64,
    /// To be run later.
    pub scheduled: u64,
    /// Claimed, with a lease that holds.
    pub running: u64,
    /// Those of all of the above whose last attempt failed.
    pub failing: u64,
}

/// A job that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The id of the subject.
    pub subject: String,
    /// Why the last attempt failed, if it did.
    pub error: Option<String>,
}

/// Asks for the job to be run at `run_at` or before.
pub async fn enqueue(tx: &Tx, kind: &str, subject: &str, run_at: Timestamp, now: Timestamp) -> Result<(), StoreError> {
    let upsert = Statement::from_sql_and_values(
        tx.conn().get_database_backend(),
        "INSERT INTO jobs (kind, subject, run_at, generation, attempts, lease_epoch, created_at) \
         VALUES ($1, $2, $3, 1, 0, 0, $4) \
         ON CONFLICT (kind, subject) DO UPDATE SET \
         run_at = CASE WHEN jobs.run_at IS NULL OR jobs.run_at > excluded.run_at \
         THEN excluded.run_at ELSE jobs.run_at END, \
         generation = jobs.generation + 1",
        [kind.into(), subject.into(), run_at.as_micros().into(), now.as_micros().into()],
    );
    tx.conn().execute_raw(upsert).await?;
    Ok(())
}

/// [`enqueue`] for every workspace of which something may be on the host, in one statement however many there are.
pub async fn enqueue_for_workspaces(tx: &Tx, kind: &str, run_at: Timestamp, now: Timestamp) -> Result<(), StoreError> {
    let upsert = Statement::from_sql_and_values(
        tx.conn().get_database_backend(),
        "INSERT INTO jobs (kind, subject, run_at, generation, attempts, lease_epoch, created_at) \
         SELECT CAST($1 AS TEXT), id, CAST($2 AS BIGINT), 1, 0, 0, CAST($3 AS BIGINT) \
         FROM workspaces WHERE living_name IS NOT NULL \
         ON CONFLICT (kind, subject) DO UPDATE SET \
         run_at = CASE WHEN jobs.run_at IS NULL OR jobs.run_at > excluded.run_at \
         THEN excluded.run_at ELSE jobs.run_at END, \
         generation = jobs.generation + 1",
        [kind.into(), run_at.as_micros().into(), now.as_micros().into()],
    );
    tx.conn().execute_raw(upsert).await?;
    Ok(())
}

/// `kind IN (…)` for these kinds, as parameters from number `first` on.
fn of_kinds(kinds: &[&str], first: usize) -> String {
    let places: Vec<String> = (first..first + kinds.len()).map(|place| format!("${place}")).collect();
    if places.is_empty() { "1 = 0".to_owned() } else { format!("kind IN ({})", places.join(", ")) }
}

fn values(first: impl IntoIterator<Item = Value>, kinds: &[&str]) -> Vec<Value> {
    first.into_iter().chain(kinds.iter().map(|kind| Value::from(*kind))).collect()
}

/// Claims the job of one of these kinds that has been due longest, for `lease_seconds`; `None` when none is.
pub async fn claim(
    store: &Store,
    kinds: &[&str],
    now: Timestamp,
    owner: &str,
    lease_seconds: i64,
) -> Result<Option<Claim>, StoreError> {
    let tx = store.begin().await?;
    let backend = tx.conn().get_database_backend();
    let skip_locked = if backend == DbBackend::Postgres { "FOR UPDATE SKIP LOCKED" } else { "" };
    let claim = Statement::from_sql_and_values(
        backend,
        format!(
            "UPDATE jobs SET lease_owner = $1, lease_expires_at = $2, lease_epoch = lease_epoch + 1, \
             attempts = attempts + 1 \
             WHERE (kind, subject) = (SELECT kind, subject FROM jobs \
             WHERE run_at <= $3 AND (lease_expires_at IS NULL OR lease_expires_at <= $3) AND {} \
             ORDER BY run_at, kind, subject LIMIT 1 {skip_locked}) \
             RETURNING kind, subject, lease_epoch, generation, attempts",
            of_kinds(kinds, 4)
        ),
        values([owner.into(), now.plus_seconds(lease_seconds).as_micros().into(), now.as_micros().into()], kinds),
    );
    let Some(row) = tx.conn().query_one_raw(claim).await? else { return Ok(None) };
    let attempts: i64 = row.try_get_by_index(4)?;
    let claim = Claim {
        kind: row.try_get_by_index(0)?,
        subject: row.try_get_by_index(1)?,
        epoch: row.try_get_by_index(2)?,
        generation: row.try_get_by_index(3)?,
        attempts: TABLE.number("attempts", attempts)?,
    };
    tx.commit().await?;
    Ok(Some(claim))
}

/// Updates the row as long as the claim is ours.
fn ours(claim: &Claim) -> UpdateMany<job::Entity> {
    job::Entity::update_many()
        .filter(job::Column::Kind.eq(claim.kind.as_str()))
        .filter(job::Column::Subject.eq(claim.subject.as_str()))
        .filter(job::Column::LeaseEpoch.eq(claim.epoch))
        .filter(job::Column::LeaseOwner.is_not_null())
}

async fn changed(tx: &Tx, update: UpdateMany<job::Entity>) -> Result<(), StoreError> {
    let updated = update.exec(tx.conn()).await?;
    if updated.rows_affected > 0 { Ok(()) } else { Err(StoreError::Stale) }
}

/// Moves the end of the lease; [`StoreError::Stale`] when the job was claimed by somebody else, or is finished.
pub async fn renew(store: &Store, claim: &Claim, now: Timestamp, lease_seconds: i64) -> Result<(), StoreError> {
    let tx = store.begin().await?;
    let until = now.plus_seconds(lease_seconds).as_micros();
    changed(&tx, ours(claim).col_expr(job::Column::LeaseExpiresAt, Expr::value(until))).await?;
    tx.commit().await
}

/// Takes every lease of jobs of these kinds away: whoever held one is known to be gone, because the database belongs to one
/// process at a time and this one has just started. A worker that lives all the same is fenced by the next claim.
pub async fn release_all(tx: &Tx, kinds: &[&str]) -> Result<u64, StoreError> {
    let update = job::Entity::update_many()
        .col_expr(job::Column::LeaseOwner, Expr::value(None::<String>))
        .col_expr(job::Column::LeaseExpiresAt, Expr::value(None::<i64>))
        .filter(job::Column::Kind.is_in(kinds.iter().copied()))
        .filter(job::Column::LeaseOwner.is_not_null());
    Ok(update.exec(tx.conn()).await?.rows_affected)
}

/// Ends the attempt; [`StoreError::Stale`], and the transaction must not be committed, when the claim is no longer ours.
///
/// A job that was enqueued while it ran stays due, whatever `finish` says.
pub async fn finish(tx: &Tx, claim: &Claim, finish: Finish) -> Result<(), StoreError> {
    let mut epoch = claim.epoch;
    let (run_at, error) = match finish {
        Finish::Done => (None, None),
        Finish::RunAgainAbove { at, fence } => {
            epoch = Ord::max(epoch, fence.saturating_add(GAP));
            (Some(at.as_micros()), None)
        }
        Finish::RunAgainAt(at) => (Some(at.as_micros()), None),
        Finish::RetryAt { at, error } => (Some(at.as_micros()), Some(error)),
    };
    let next = Expr::case(Expr::col(job::Column::Generation).eq(claim.generation), Expr::value(run_at))
        .finally(Expr::col(job::Column::RunAt));
    let mut update = ours(claim)
        .col_expr(job::Column::RunAt, next.into())
        .col_expr(job::Column::LeaseOwner, Expr::value(None::<String>))
        .col_expr(job::Column::LeaseExpiresAt, Expr::value(None::<i64>))
        .col_expr(job::Column::LeaseEpoch, Expr::value(epoch))
        .col_expr(job::Column::LastError, Expr::value(error.clone()));
    if error.is_none() {
        update = update.col_expr(job::Column::Attempts, Expr::value(0i64));
    }
    changed(tx, update).await
}

/// Lets the transaction commit only if the claim is still ours then; [`StoreError::Stale`] at once when it is not
/// already. Call it before writing results.
pub async fn hold(tx: &Tx, claim: &Claim) -> Result<(), StoreError> {
    let row = job::Entity::find_by_id(key(claim)).one(tx.conn()).await?;
    if row.is_none_or(|row| row.lease_epoch != claim.epoch) {
        return Err(StoreError::Stale);
    }
    // The lock is taken at the commit: taken now, it would be in the opposite order to a use case, which changes the
    // subject's row before it enqueues.
    tx.hold_at_commit(claim.clone());
    Ok(())
}

pub(super) async fn lock_held(tx: &Tx, claim: &Claim) -> Result<(), StoreError> {
    let row = job::Entity::find_by_id(key(claim)).lock(LockType::NoKeyUpdate).one(tx.conn()).await?;
    if row.is_some_and(|row| row.lease_epoch == claim.epoch) { Ok(()) } else { Err(StoreError::Stale) }
}

fn key(claim: &Claim) -> (String, String) {
    (claim.kind.clone(), claim.subject.clone())
}

/// The earliest moment at which there may be something of these kinds to claim; in the past when there is now.
pub async fn next_due(db: &impl Db, kinds: &[&str]) -> Result<Option<Timestamp>, StoreError> {
    let query = Statement::from_sql_and_values(
        db.conn().get_database_backend(),
        format!(
            "SELECT MIN(CASE WHEN lease_expires_at > run_at THEN lease_expires_at ELSE run_at END) \
             FROM jobs WHERE run_at IS NOT NULL AND {}",
            of_kinds(kinds, 1)
        ),
        values([], kinds),
    );
    let Some(row) = db.conn().query_one_raw(query).await? else { return Ok(None) };
    let at: Option<i64> = row.try_get_by_index(0)?;
    Ok(at.map(time))
}

/// How many jobs there are at `now`, by state.
pub async fn backlog(db: &impl Db, now: Timestamp) -> Result<Backlog, StoreError> {
    let query = Statement::from_sql_and_values(
        db.conn().get_database_backend(),
        "SELECT COUNT(CASE WHEN lease_expires_at > $1 THEN 1 END), \
         COUNT(CASE WHEN run_at <= $1 THEN 1 END), \
         COUNT(CASE WHEN run_at <= $1 AND lease_expires_at > $1 THEN 1 END), \
         COUNT(*), COUNT(last_error) FROM jobs WHERE run_at IS NOT NULL",
        [now.as_micros().into()],
    );
    let Some(row) = db.conn().query_one_raw(query).await? else { return Ok(Backlog::default()) };
    let count = |index| -> Result<u64, StoreError> { TABLE.number("count", row.try_get_by_index::<i64>(index)?) };
    let (running, run_at_past, both, all) = (count(0)?, count(1)?, count(2)?, count(3)?);
    let due = run_at_past - both;
    Ok(Backlog { due, running, scheduled: all - due - running, failing: count(4)? })
}

/// Workspaces, made ahead or not, of which something may be on the host and at whose job of this kind nobody will look again:
/// none in a whole database.
pub async fn list_neglected(db: &impl Db, kind: &str, limit: u64) -> Result<Vec<String>, StoreError> {
    let backend = db.conn().get_database_backend();
    let query = Statement::from_sql_and_values(
        backend,
        "SELECT id FROM (SELECT id FROM workspaces WHERE living_name IS NOT NULL \
         UNION ALL SELECT id FROM spare_workspaces WHERE state NOT IN ('gone', 'foreign')) AS living \
         WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE kind = $1 AND subject = living.id AND run_at IS NOT NULL) \
         ORDER BY id LIMIT $2",
        [kind.into(), signed(capped(limit)).into()],
    );
    let rows = db.conn().query_all_raw(query).await?;
    rows.iter().map(|row| row.try_get_by_index::<String>(0).map_err(StoreError::from)).collect()
}

fn not_done(kind: &str) -> Select<job::Entity> {
    job::Entity::find().filter(job::Column::Kind.eq(kind)).filter(job::Column::RunAt.is_not_null())
}

/// How many jobs of a kind are not done.
pub async fn count_unfinished(db: &impl Db, kind: &str) -> Result<u64, StoreError> {
    Ok(not_done(kind).count(db.conn()).await?)
}

/// Jobs of a kind that are not done, by subject.
pub async fn list_unfinished(db: &impl Db, kind: &str, limit: u64) -> Result<Vec<Unfinished>, StoreError> {
    let query = not_done(kind).order_by_asc(job::Column::Subject).limit(capped(limit));
    let unfinished = |row: job::Model| Unfinished { subject: row.subject, error: row.last_error };
    Ok(query.all(db.conn()).await?.into_iter().map(unfinished).collect())
}
