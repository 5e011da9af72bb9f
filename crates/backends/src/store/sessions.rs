//! Signed-in browsers and devices. One session may be revoked without touching the others.

use hexabase_core::ids::{SessionId, UserId};
use hexabase_core::time::Timestamp;
use hexabase_core::words;
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::column::{Table, micros_opt, time, time_opt};
use super::db::{self, Connection, Db};
use super::{Digest, StoreError, Tx, capped};
use crate::entities::oauth::{authorization_code, device_code, refresh_token};
use crate::entities::sessions::session;

const TABLE: Table = Table("sessions");

words! {
    /// What is signed in.
    SessionKind, "session kind" {
        /// A browser, by its cookie.
        Browser = "browser",
        /// A device or program, by its refresh tokens.
        Device = "device",
    }
}

/// A signed-in browser or device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Who is signed in.
    pub user_id: UserId,
    /// What is signed in.
    pub kind: SessionKind,
    /// The digest of a browser's cookie; a device has none.
    pub token_hash: Option<Digest>,
    /// What the person recognises it by.
    pub label: String,
    /// When it signed in.
    pub created_at: Timestamp,
    /// When it was last used, roughly.
    pub last_seen_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// When it was ended.
    pub revoked_at: Option<Timestamp>,
    /// The address from which it signed in.
    pub created_from: Option<String>,
    /// The address from which it was last used, roughly.
    pub last_seen_from: Option<String>,
    /// When the person of a browser proved to their identity provider who they are, as far as it is known.
    pub authenticated_at: Option<Timestamp>,
}

fn read(model: session::Model) -> Result<Session, StoreError> {
    Ok(Session {
        id: TABLE.parse("id", &model.id)?,
        user_id: TABLE.parse("user_id", &model.user_id)?,
        kind: TABLE.parse("kind", &model.kind)?,
        token_hash: TABLE.parse_opt("token_hash", model.token_hash.as_deref())?,
        label: model.label,
        created_at: time(model.created_at),
        last_seen_at: time(model.last_seen_at),
        expires_at: time(model.expires_at),
        revoked_at: time_opt(model.revoked_at),
        created_from: model.created_from,
        last_seen_from: model.last_seen_from,
        authenticated_at: time_opt(model.authenticated_at),
    })
}

fn live(now: Timestamp) -> Select<session::Entity> {
    session::Entity::find()
        .filter(session::Column::RevokedAt.is_null())
        .filter(session::Column::ExpiresAt.gt(now.as_micros()))
}

/// The session with this cookie, neither revoked nor over at `now`.
pub async fn find_live_by_token_hash(
    db: &impl Db,
    token_hash: &Digest,
    now: Timestamp,
) -> Result<Option<Session>, StoreError> {
    let found = live(now).filter(session::Column::TokenHash.eq(token_hash.to_string()));
    found.one(db.conn()).await?.map(read).transpose()
}

/// The session with this id, neither revoked nor over at `now`.
pub async fn find_live(db: &impl Db, id: &SessionId, now: Timestamp) -> Result<Option<Session>, StoreError> {
    live(now).filter(session::Column::Id.eq(id.as_str())).one(db.conn()).await?.map(read).transpose()
}

/// The person's live sessions, oldest first.
pub async fn list_for_user(
    db: &impl Db,
    user: &UserId,
    now: Timestamp,
    after: Option<&SessionId>,
    limit: u64,
) -> Result<Vec<Session>, StoreError> {
    let mut query = live(now).filter(session::Column::UserId.eq(user.as_str()));
    if let Some(after) = after {
        query = query.filter(session::Column::Id.gt(after.as_str()));
    }
    let query = query.order_by_asc(session::Column::Id).limit(capped(limit));
    query.all(db.conn()).await?.into_iter().map(read).collect()
}

/// Adds a session.
pub async fn insert(tx: &Tx, session: &Session) -> Result<(), StoreError> {
    let model = session::Model {
        id: session.id.to_string(),
        user_id: session.user_id.to_string(),
        kind: session.kind.to_string(),
        token_hash: session.token_hash.map(|hash| hash.to_string()),
        label: session.label.clone(),
        created_at: session.created_at.as_micros(),
        last_seen_at: session.last_seen_at.as_micros(),
        expires_at: session.expires_at.as_micros(),
        revoked_at: micros_opt(session.revoked_at),
        created_from: session.created_from.clone(),
        last_seen_from: session.last_seen_from.clone(),
        authenticated_at: micros_opt(session.authenticated_at),
    };
    db::insert(tx.conn(), model).await
}

/// Notes that the session was used, from where if that is known, and may move its end.
pub async fn touch(
    tx: &Tx,
    id: &SessionId,
    now: Timestamp,
    expires_at: Timestamp,
    source: Option<&str>,
) -> Result<(), StoreError> {
    let mut update = session::Entity::update_many()
        .col_expr(session::Column::LastSeenAt, Expr::value(now.as_micros()))
        .col_expr(session::Column::ExpiresAt, Expr::value(expires_at.as_micros()));
    if let Some(source) = source {
        update = update.col_expr(session::Column::LastSeenFrom, Expr::value(source));
    }
    update
        .filter(session::Column::Id.eq(id.as_str()))
        .filter(session::Column::RevokedAt.is_null())
        .exec(tx.conn())
        .await?;
    Ok(())
}

/// Ends a session of `user`; `false` when there is none to end.
pub async fn revoke(tx: &Tx, user: &UserId, id: &SessionId, now: Timestamp) -> Result<bool, StoreError> {
    let updated = session::Entity::update_many()
        .col_expr(session::Column::RevokedAt, Expr::value(now.as_micros()))
        .filter(session::Column::Id.eq(id.as_str()))
        .filter(session::Column::UserId.eq(user.as_str()))
        .filter(session::Column::RevokedAt.is_null())
        .exec(tx.conn())
        .await?;
    Ok(updated.rows_affected > 0)
}

/// Forgets sessions that were over before `before` and that no code or token refers to any more; says how many. Every table
/// that refers to sessions has its place here, but what a browser's person has confirmed: that goes with its session, by the
/// foreign key.
pub async fn purge(tx: &Tx, before: Timestamp) -> Result<u64, StoreError> {
    let codes =
        Query::select().column(authorization_code::Column::SessionId).from(authorization_code::Entity).to_owned();
    let device_codes = Query::select()
        .column(device_code::Column::SessionId)
        .from(device_code::Entity)
        // A null among the values would make every answer to NOT IN unknown.
        .and_where(device_code::Column::SessionId.is_not_null())
        .to_owned();
    let tokens = Query::select().column(refresh_token::Column::SessionId).from(refresh_token::Entity).to_owned();
    let over = Condition::any()
        .add(session::Column::ExpiresAt.lt(before.as_micros()))
        .add(session::Column::RevokedAt.lt(before.as_micros()));
    let mut over = session::Entity::delete_many().filter(over);
    for referring in [codes, device_codes, tokens] {
        over = over.filter(session::Column::Id.not_in_subquery(referring));
    }
    Ok(over.exec(tx.conn()).await?.rows_affected)
}
