//! Idempotency keys: a request that was carried out is answered again, not carried out again.

use hexabase_core::time::Timestamp;
use hexabase_core::words;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::column::Table;
use super::db::{self, Connection};
use super::{Digest, Store, StoreError, Tx};
use crate::entities::operations::idempotency_key as key;

const TABLE: Table = Table("idempotency_keys");

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
    /// The key was used for a different request.
    Mismatch,
}

/// Begins a request. When it is neither finished nor abandoned by `in_flight_until`, its key is free again.
pub async fn begin(
    store: &Store,
    request: &Request,
    now: Timestamp,
    in_flight_until: Timestamp,
) -> Result<Begin, StoreError> {
    let tx = store.begin().await?;
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
        response: None,
        created_at: now.as_micros(),
        expires_at: in_flight_until.as_micros(),
    };
    // PostgreSQL waits here for one who inserts the same key at the same time.
    let begin = if db::insert_if_absent(tx.conn(), model).await? { Begin::New } else { existing(&tx, request).await? };
    tx.commit().await?;
    Ok(begin)
}

async fn existing(tx: &Tx, request: &Request) -> Result<Begin, StoreError> {
    let found = key::Entity::find_by_id((request.principal.clone(), request.key.clone())).one(tx.conn()).await?;
    // Abandoned between the two statements; the client will try again.
    let Some(row) = found else { return Ok(Begin::InFlight) };
    let same = row.method == request.method
        && row.path == request.path
        && TABLE.parse::<Digest>("body_hash", &row.body_hash)? == request.body_hash;
    if !same {
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

/// Frees the key of a request that was not carried out.
pub async fn abandon(tx: &Tx, principal: &str, key: &str) -> Result<(), StoreError> {
    key::Entity::delete_many()
        .filter(key::Column::Principal.eq(principal))
        .filter(key::Column::Key.eq(key))
        .filter(key::Column::State.eq(State::InFlight.as_str()))
        .exec(tx.conn())
        .await?;
    Ok(())
}

/// Forgets keys that are over at `now`; says how many.
pub async fn purge(tx: &Tx, now: Timestamp) -> Result<u64, StoreError> {
    let over = key::Entity::delete_many().filter(key::Column::ExpiresAt.lte(now.as_micros()));
    Ok(over.exec(tx.conn()).await?.rows_affected)
}
