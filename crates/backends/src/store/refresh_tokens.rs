//! Refresh tokens: using one makes the next one, and using one twice is noticed (RFC 9700 section 4.14.2).

use hexabase_core::ids::{SessionId, UserId};
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::column::{Table, micros_opt, time, time_opt};
use super::db::{self, Connection, Db};
use super::{Digest, StoreError, Tx};
use crate::entities::oauth::refresh_token as token;

const TABLE: Table = Table("refresh_tokens");

/// A refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// The digest of the token.
    pub token_hash: Digest,
    /// The session it belongs to; when that is revoked, so is the token.
    pub session_id: SessionId,
    /// The person.
    pub user_id: UserId,
    /// The issuer it belongs to: a workspace's id, or the platform's own.
    pub realm: String,
    /// The client it was given to.
    pub client_id: String,
    /// Scopes, separated by spaces.
    pub scope: String,
    /// When it was given out.
    pub created_at: Timestamp,
    /// When it is no longer good.
    pub expires_at: Timestamp,
    /// When it was used.
    pub rotated_at: Option<Timestamp>,
    /// The token that took its place.
    pub replaced_by: Option<Digest>,
    /// When the person had signed in, for the ID token.
    pub auth_time: Option<Timestamp>,
    /// Single claims that were asked for, as whoever writes them reads them.
    pub claims: Option<String>,
}

/// What became of an attempt to use a token.
#[expect(clippy::large_enum_variant, reason = "made once for each request and taken apart at once")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// First use, in time: the new token stands in its place. Nobody else gets this for the same token.
    Rotated,
    /// Used before, at the row's `rotated_at`: within the grace window a client that lost an answer, later a thief.
    /// The new token was not written.
    Reused(RefreshToken),
    /// No such token, or too late. The new token was not written.
    Unknown,
}

fn read(model: token::Model) -> Result<RefreshToken, StoreError> {
    Ok(RefreshToken {
        token_hash: TABLE.parse("token_hash", &model.token_hash)?,
        session_id: TABLE.parse("session_id", &model.session_id)?,
        user_id: TABLE.parse("user_id", &model.user_id)?,
        realm: model.realm,
        client_id: model.client_id,
        scope: model.scope,
        created_at: time(model.created_at),
        expires_at: time(model.expires_at),
        rotated_at: time_opt(model.rotated_at),
        replaced_by: TABLE.parse_opt("replaced_by", model.replaced_by.as_deref())?,
        auth_time: time_opt(model.auth_time),
        claims: model.claims,
    })
}

/// The token with this digest, whether used or over or not.
pub async fn find(db: &impl Db, token_hash: &Digest) -> Result<Option<RefreshToken>, StoreError> {
    token::Entity::find_by_id(token_hash.to_string()).one(db.conn()).await?.map(read).transpose()
}

/// Adds a token.
pub async fn insert(tx: &Tx, row: &RefreshToken) -> Result<(), StoreError> {
    let model = token::Model {
        token_hash: row.token_hash.to_string(),
        session_id: row.session_id.to_string(),
        user_id: row.user_id.to_string(),
        realm: row.realm.clone(),
        client_id: row.client_id.clone(),
        scope: row.scope.clone(),
        created_at: row.created_at.as_micros(),
        expires_at: row.expires_at.as_micros(),
        rotated_at: micros_opt(row.rotated_at),
        replaced_by: row.replaced_by.map(|hash| hash.to_string()),
        auth_time: micros_opt(row.auth_time),
        claims: row.claims.clone(),
    };
    db::insert(tx.conn(), model).await
}

/// Puts `next` in the place of the token `old`.
pub async fn rotate(tx: &Tx, old: &Digest, next: &RefreshToken, now: Timestamp) -> Result<Rotation, StoreError> {
    let updated = token::Entity::update_many()
        .col_expr(token::Column::RotatedAt, Expr::value(now.as_micros()))
        .col_expr(token::Column::ReplacedBy, Expr::value(next.token_hash.to_string()))
        .filter(token::Column::TokenHash.eq(old.to_string()))
        .filter(token::Column::RotatedAt.is_null())
        .filter(token::Column::ExpiresAt.gt(now.as_micros()))
        .exec(tx.conn())
        .await?;
    if updated.rows_affected > 0 {
        insert(tx, next).await?;
        return Ok(Rotation::Rotated);
    }
    Ok(match find(tx, old).await? {
        Some(row) if row.rotated_at.is_some() => Rotation::Reused(row),
        _ => Rotation::Unknown,
    })
}

/// Forgets tokens that were over before `before`; says how many.
pub async fn purge(tx: &Tx, before: Timestamp) -> Result<u64, StoreError> {
    let over = token::Entity::delete_many().filter(token::Column::ExpiresAt.lt(before.as_micros()));
    Ok(over.exec(tx.conn()).await?.rows_affected)
}
