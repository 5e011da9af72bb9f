//! Idempotency keys: a request that was carried out is answered again, not carried out again.
//!
//! The answer is kept after the change was committed. Between the two a server may die, or fail to tell what it did; then the audit
//! log, which has a record of every change in the transaction of the change, says whether there was one.

use hexabase_core::ids::{AuditEntryId, Id as _};
use hexabase_core::time::Timestamp;
use hexabase_core::words;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

use super::column::{Table, time};
use super::db::{self, Connection};
use super::{Digest, Store, StoreError, Tx};
use crate::entities::audit::audit_entry;
use crate::entities::operations::idempotency_key as key;

const TABLE: Table = Table("idempotency_keys");
/// A record is at most so much older than its request, by the clocks of servers.
const SKEW_SECONDS: i64 = 60;
/// For so long it is known what became of a request that was never finished.
const LOST_SECONDS: i64 = 24 * 3600;

words! {
    /// Where a request with a key stands.
    State, "idempotency state" {
        /// Being carried out.
        InFlight = "in_flight",
        /// Carried out; its answer is kept.
        Done = "done",
    }
}

/// A request with an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whose key it is; the same key of somebody else is another one.
    pub principal: String,
    /// The key.
    pub key: String,
    /// The HTTP method.
    pub method: String,
    /// The path and query.
    pub path: String,
    /// The digest of the body.
    pub body_hash: Digest,
    /// The id by which the audit log knows it.
    pub request_id: String,
}

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// Carry it out, then [`finish`] or [`abandon`] it. Nobody else gets this for the same key.
    New,
    /// Somebody is carrying it out.
    InFlight,
    /// It was carried out; give this answer.
    Replay {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// It was carried out, and there is no answer of it: its server died before that was kept, or failed after the change.
    CarriedOut {
        /// What was done, such as `workspace.created`.
        action: String,
        /// The id of what it was done to.
        subject: String,
    },
    /// The key was used for a different request.
    Mismatch,
}

/// Begins a request. When it is neither finished nor abandoned by `in_flight_until`, its key is free again, unless something was
/// changed by it less than a day ago.
pub async fn begin(
    store: &Store,
    request: &Request,
    now: Timestamp,
    in_flight_until: Timestamp,
) -> Result<Begin, StoreError> {
    let tx = store.begin().await?;
    if let Some(lost) = lost(&tx, request, now).await? {
        tx.rollback().await?;
        return Ok(lost);
    }
    let over = key::Entity::delete_many()
        .filter(key::Column::Principal.eq(request.principal.as_str()))
        .filter(key::Column::Key.eq(request.key.as_str()))
        .filter(key::Column::ExpiresAt.lte(now.as_micros()));
    over.exec(tx.conn()).await?;
    let model = key::Model {
        principal: request.principal.clone(),
        key: request.key.clone(),
        method: request.method.clone(),
        path: request.path.clone(),
        body_hash: request.body_hash.to_string(),
        state: State::InFlight.to_string(),
        status: None,
        // Until there is an answer.
        response: Some(request.request_id.clone()),
        created_at: now.as_micros(),
        expires_at: in_flight_until.as_micros(),
    };
    // PostgreSQL waits here for one who inserts the same key at the same time.
    let begin = if db::insert_if_absent(tx.conn(), model).await? { Begin::New } else { existing(&tx, request).await? };
    tx.commit().await?;
    Ok(begin)
}

/// What became of an earlier request with this key that was never finished, if anything did.
async fn lost(tx: &Tx, request: &Request, now: Timestamp) -> Result<Option<Begin>, StoreError> {
    let found = key::Entity::find_by_id((request.principal.clone(), request.key.clone()))
        .filter(key::Column::State.eq(State::InFlight.as_str()))
        .filter(key::Column::ExpiresAt.lte(now.as_micros()))
        .filter(key::Column::CreatedAt.gt(now.plus_seconds(-LOST_SECONDS).as_micros()))
        .one(tx.conn())
        .await?;
    let Some(row) = found else { return Ok(None) };
    let Some(record) = record_of(tx, &row).await? else { return Ok(None) };
    if !is_same(&row, request)? {
        return Ok(Some(Begin::Mismatch));
    }
    Ok(Some(Begin::CarriedOut { action: record.action, subject: record.subject }))
}

/// The record of what the request of a row changed, if it changed anything.
async fn record_of(tx: &Tx, row: &key::Model) -> Result<Option<audit_entry::Model>, StoreError> {
    let Some(request_id) = row.response.as_deref() else { return Ok(None) };
    // The log has no index of requests; those of its ids begin with the time.
    let first = AuditEntryId::from_parts(time(row.created_at).plus_seconds(-SKEW_SECONDS), 0);
    let record = audit_entry::Entity::find()
        .filter(audit_entry::Column::Id.gte(first.as_str()))
        .filter(audit_entry::Column::RequestId.eq(request_id))
        .order_by_asc(audit_entry::Column::Seq)
        .one(tx.conn())
        .await?;
    Ok(record)
}

/// Whether a key was used for this very request.
fn is_same(row: &key::Model, request: &Request) -> Result<bool, StoreError> {
    Ok(row.method == request.method
        && row.path == request.path
        && TABLE.parse::<Digest>("body_hash", &row.body_hash)? == request.body_hash)
}

async fn existing(tx: &Tx, request: &Request) -> Result<Begin, StoreError> {
    let found = key::Entity::find_by_id((request.principal.clone(), request.key.clone())).one(tx.conn()).await?;
    // Abandoned between the two statements; the client will try again.
    let Some(row) = found else { return Ok(Begin::InFlight) };
    if !is_same(&row, request)? {
        return Ok(Begin::Mismatch);
    }
    match TABLE.parse("state", &row.state)? {
        State::InFlight => Ok(Begin::InFlight),
        State::Done => Ok(Begin::Replay {
            status: TABLE.number("status", row.status.unwrap_or(-1))?,
            body: row.response.unwrap_or_default(),
        }),
    }
}

/// Keeps the answer until `keep_until`. In the transaction that carries the request out, it is kept exactly when the
/// request was carried out.
pub async fn finish(
    tx: &Tx,
    principal: &str,
    key: &str,
    status: u16,
    body: &str,
    keep_until: Timestamp,
) -> Result<(), StoreError> {
    key::Entity::update_many()
        .col_expr(key::Column::State, Expr::value(State::Done.as_str()))
        .col_expr(key::Column::Status, Expr::value(i32::from(status)))
        .col_expr(key::Column::Response, Expr::value(body))
        .col_expr(key::Column::ExpiresAt, Expr::value(keep_until.as_micros()))
        .filter(key::Column::Principal.eq(principal))
        .filter(key::Column::Key.eq(key))
        .exec(tx.conn())
        .await?;
    Ok(())
}

/// Frees the key of a request that failed. Where something was changed by it all the same, whoever sends it again is told so.
pub async fn abandon(tx: &Tx, request: &Request) -> Result<(), StoreError> {
    let found = key::Entity::find_by_id((request.principal.clone(), request.key.clone()))
        .filter(key::Column::State.eq(State::InFlight.as_str()))
        .filter(key::Column::Response.eq(request.request_id.as_str()))
        .one(tx.conn())
        .await?;
    // Somebody else's by now.
    let Some(row) = found else { return Ok(()) };
    let changed = record_of(tx, &row).await?.is_some();
    let (principal, name) = (key::Column::Principal.eq(row.principal), key::Column::Key.eq(row.key));
    if changed {
        let over = key::Entity::update_many().col_expr(key::Column::ExpiresAt, Expr::value(row.created_at));
        over.filter(principal).filter(name).exec(tx.conn()).await?;
    } else {
        key::Entity::delete_many().filter(principal).filter(name).exec(tx.conn()).await?;
    }
    Ok(())
}

/// Forgets keys that are over at `now`, of requests that were never finished a day after they began; says how many.
pub async fn purge(tx: &Tx, now: Timestamp) -> Result<u64, StoreError> {
    let is_finished = key::Column::State.eq(State::Done.as_str());
    let is_old = key::Column::CreatedAt.lte(now.plus_seconds(-LOST_SECONDS).as_micros());
    let over =
        key::Entity::delete_many().filter(key::Column::ExpiresAt.lte(now.as_micros())).filter(is_finished.or(is_old));
    Ok(over.exec(tx.conn()).await?.rows_affected)
}
