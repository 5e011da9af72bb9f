//! API tokens: long-lived credentials of people and service accounts, of which only digests are kept.

use hexabase_core::ids::{ApiTokenId, UserId};
use hexabase_core::names::DisplayName;
use hexabase_core::time::Timestamp;
use hexabase_core::tokens::TokenScope;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::column::{Table, micros_opt, time, time_opt};
use super::db::{self, Connection, Db};
use super::{Digest, StoreError, Tx, capped};
use crate::entities::api_tokens::api_token;

const TABLE: Table = Table("api_tokens");

/// An API token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Its id.
    pub id: ApiTokenId,
    /// Whose rights it carries.
    pub user_id: UserId,
    /// What its owner recognises it by.
    pub name: DisplayName,
    /// The digest of the token.
    pub token_hash: Digest,
    /// The first characters of the token, by which its owner finds the place where it is used.
    pub prefix: String,
    /// What it may be used for.
    pub scope: TokenScope,
    /// Who made it: the owner, or for a service account an admin.
    pub created_by: UserId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it is no longer good.
    pub expires_at: Timestamp,
    /// When it was last used, roughly.
    pub last_used_at: Option<Timestamp>,
    /// The address from which it was last used.
    pub last_used_from: Option<String>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl ApiToken {
    /// Whether it is neither revoked nor over at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at > now
    }
}

fn read(model: api_token::Model) -> Result<ApiToken, StoreError> {
    Ok(ApiToken {
        id: TABLE.parse("id", &model.id)?,
        user_id: TABLE.parse("user_id", &model.user_id)?,
        name: TABLE.parse("name", &model.name)?,
        token_hash: TABLE.parse("token_hash", &model.token_hash)?,
        prefix: model.prefix,
        scope: TokenScope {
            access: TABLE.parse("access", &model.access)?,
            workspace: TABLE.parse_opt("workspace_id", model.workspace_id.as_deref())?,
        },
        created_by: TABLE.parse("created_by", &model.created_by)?,
        created_at: time(model.created_at),
        expires_at: time(model.expires_at),
        last_used_at: time_opt(model.last_used_at),
        last_used_from: model.last_used_from,
        revoked_at: time_opt(model.revoked_at),
    })
}

/// Adds a token.
pub async fn insert(tx: &Tx, token: &ApiToken) -> Result<(), StoreError> {
    let model = api_token::Model {
        id: token.id.to_string(),
        user_id: token.user_id.to_string(),
        name: token.name.to_string(),
        token_hash: token.token_hash.to_string(),
        prefix: token.prefix.clone(),
        access: token.scope.access.to_string(),
        workspace_id: token.scope.workspace.as_ref().map(ToString::to_string),
        created_by: token.created_by.to_string(),
        created_at: token.created_at.as_micros(),
        expires_at: token.expires_at.as_micros(),
        last_used_at: micros_opt(token.last_used_at),
        last_used_from: token.last_used_from.clone(),
        revoked_at: micros_opt(token.revoked_at),
    };
    db::insert(tx.conn(), model).await
}

/// The token with this digest, good or not.
pub async fn find_by_hash(db: &impl Db, token_hash: &Digest) -> Result<Option<ApiToken>, StoreError> {
    let found = api_token::Entity::find().filter(api_token::Column::TokenHash.eq(token_hash.to_string()));
    found.one(db.conn()).await?.map(read).transpose()
}

/// The token with this id, good or not, for those who were given something in exchange for it.
pub async fn find_for_issuer(db: &impl Db, id: &ApiTokenId) -> Result<Option<ApiToken>, StoreError> {
    api_token::Entity::find_by_id(id.as_str()).one(db.conn()).await?.map(read).transpose()
}

fn living(user: &UserId, now: Timestamp) -> Select<api_token::Entity> {
    api_token::Entity::find()
        .filter(api_token::Column::UserId.eq(user.as_str()))
        .filter(api_token::Column::RevokedAt.is_null())
        .filter(api_token::Column::ExpiresAt.gt(now.as_micros()))
}

/// The owner's tokens that are neither revoked nor over at `now`, oldest first.
pub async fn list_for_user(
    db: &impl Db,
    user: &UserId,
    now: Timestamp,
    limit: u64,
) -> Result<Vec<ApiToken>, StoreError> {
    let query = living(user, now).order_by_asc(api_token::Column::Id).limit(capped(limit));
    query.all(db.conn()).await?.into_iter().map(read).collect()
}

/// How many living tokens the owner has. To hold a limit, take [`users::lock`](super::users::lock) first.
pub async fn count(db: &impl Db, user: &UserId, now: Timestamp) -> Result<u64, StoreError> {
    Ok(living(user, now).count(db.conn()).await?)
}

/// Notes that the token was used, and from where.
pub async fn touch(tx: &Tx, id: &ApiTokenId, now: Timestamp, source: Option<&str>) -> Result<(), StoreError> {
    api_token::Entity::update_many()
        .col_expr(api_token::Column::LastUsedAt, Expr::value(now.as_micros()))
        .col_expr(api_token::Column::LastUsedFrom, Expr::value(source.map(str::to_owned)))
        .filter(api_token::Column::Id.eq(id.as_str()))
        .exec(tx.conn())
        .await?;
    Ok(())
}

/// Revokes a living token of `user`; the token as it was, or `None` when there is none to revoke.
pub async fn revoke(tx: &Tx, user: &UserId, id: &ApiTokenId, now: Timestamp) -> Result<Option<ApiToken>, StoreError> {
    let found = living(user, now).filter(api_token::Column::Id.eq(id.as_str())).one(tx.conn()).await?;
    let updated = api_token::Entity::update_many()
        .col_expr(api_token::Column::RevokedAt, Expr::value(now.as_micros()))
        .filter(api_token::Column::Id.eq(id.as_str()))
        .filter(api_token::Column::UserId.eq(user.as_str()))
        .filter(api_token::Column::RevokedAt.is_null())
        .filter(api_token::Column::ExpiresAt.gt(now.as_micros()))
        .exec(tx.conn())
        .await?;
    if updated.rows_affected > 0 { found.map(read).transpose() } else { Ok(None) }
}

/// Forgets tokens that were over or revoked before `before`; says how many.
pub async fn purge(tx: &Tx, before: Timestamp) -> Result<u64, StoreError> {
    let over = api_token::Column::ExpiresAt.lt(before.as_micros());
    let revoked = api_token::Column::RevokedAt.lt(before.as_micros());
    let dead = api_token::Entity::delete_many().filter(over.or(revoked));
    Ok(dead.exec(tx.conn()).await?.rows_affected)
}
