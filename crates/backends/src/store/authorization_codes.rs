//! Authorisation codes: handed to a client, good for one use (RFC 6749 section 4.1.2).

use hexabase_core::ids::{SessionId, UserId};
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::column::{Table, micros_opt, time, time_opt};
use super::db::{self, Connection};
use super::{Digest, StoreError, Tx};
use crate::entities::oauth::authorization_code as code;

const TABLE: Table = Table("authorization_codes");

/// An authorisation code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationCode {
    /// The digest of the code.
    pub code_hash: Digest,
    /// The session in which it was given out.
    pub session_id: SessionId,
    /// The person who consented.
    pub user_id: UserId,
    /// The issuer it belongs to: a workspace's id, or the platform's own.
    pub realm: String,
    /// The client it was given to.
    pub client_id: String,
    /// Where it was sent; the redemption must name the same.
    pub redirect_uri: String,
    /// The PKCE challenge (RFC 7636, S256); empty for a client that may do without.
    pub code_challenge: String,
    /// The client's nonce, for the ID token.
    pub nonce: Option<String>,
    /// Scopes, separated by spaces.
    pub scope: String,
    /// When it was given out.
    pub created_at: Timestamp,
    /// When it is no longer good.
    pub expires_at: Timestamp,
    /// When it was used.
    pub redeemed_at: Option<Timestamp>,
    /// When the person had signed in, for the ID token.
    pub auth_time: Option<Timestamp>,
    /// Single claims that were asked for, as whoever writes them reads them.
    pub claims: Option<String>,
}

/// What became of an attempt to use a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redemption {
    /// First use, in time. Nobody else gets this for the same code.
    Redeemed(AuthorizationCode),
    /// Used before: whoever holds it may have stolen it, so revoke what came of the first use.
    Reused(AuthorizationCode),
    /// No such code, or too late.
    Unknown,
}

fn read(model: code::Model) -> Result<AuthorizationCode, StoreError> {
    Ok(AuthorizationCode {
        code_hash: TABLE.parse("code_hash", &model.code_hash)?,
        session_id: TABLE.parse("session_id", &model.session_id)?,
        user_id: TABLE.parse("user_id", &model.user_id)?,
        realm: model.realm,
        client_id: model.client_id,
        redirect_uri: model.redirect_uri,
        code_challenge: model.code_challenge,
        nonce: model.nonce,
        scope: model.scope,
        created_at: time(model.created_at),
        expires_at: time(model.expires_at),
        redeemed_at: time_opt(model.redeemed_at),
        auth_time: time_opt(model.auth_time),
        claims: model.claims,
    })
}

/// Adds a code.
pub async fn insert(tx: &Tx, row: &AuthorizationCode) -> Result<(), StoreError> {
    let model = code::Model {
        code_hash: row.code_hash.to_string(),
        session_id: row.session_id.to_string(),
        user_id: row.user_id.to_string(),
        realm: row.realm.clone(),
        client_id: row.client_id.clone(),
        redirect_uri: row.redirect_uri.clone(),
        code_challenge: row.code_challenge.clone(),
        nonce: row.nonce.clone(),
        scope: row.scope.clone(),
        created_at: row.created_at.as_micros(),
        expires_at: row.expires_at.as_micros(),
        redeemed_at: micros_opt(row.redeemed_at),
        auth_time: micros_opt(row.auth_time),
        claims: row.claims.clone(),
    };
    db::insert(tx.conn(), model).await
}

/// Uses a code up. The caller checks client, redirect URI and PKCE afterwards: a code presented with the wrong ones is
/// spent all the same, so commit in that case too.
pub async fn redeem(tx: &Tx, code_hash: &Digest, now: Timestamp) -> Result<Redemption, StoreError> {
    let updated = code::Entity::update_many()
        .col_expr(code::Column::RedeemedAt, Expr::value(now.as_micros()))
        .filter(code::Column::CodeHash.eq(code_hash.to_string()))
        .filter(code::Column::RedeemedAt.is_null())
        .filter(code::Column::ExpiresAt.gt(now.as_micros()))
        .exec(tx.conn())
        .await?;
    let found = code::Entity::find_by_id(code_hash.to_string()).one(tx.conn()).await?;
    Ok(match found.map(read).transpose()? {
        Some(row) if updated.rows_affected > 0 => Redemption::Redeemed(row),
        Some(row) if row.redeemed_at.is_some() => Redemption::Reused(row),
        _ => Redemption::Unknown,
    })
}

/// Forgets codes that were over before `before`; says how many.
pub async fn purge(tx: &Tx, before: Timestamp) -> Result<u64, StoreError> {
    let over = code::Entity::delete_many().filter(code::Column::ExpiresAt.lt(before.as_micros()));
    Ok(over.exec(tx.conn()).await?.rows_affected)
}
