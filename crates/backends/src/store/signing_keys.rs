//! The keys that sign tokens: published before their first use, kept after their last.

use hexabase_core::time::Timestamp;
use hexabase_core::words;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;

use super::column::{Table, micros_opt, time, time_opt};
use super::db::{self, Connection, Db};
use super::{MAX_PAGE, StoreError, Tx, settings};
use crate::entities::installation::signing_key;

const TABLE: Table = Table("signing_keys");
const FIRST_KEYS: &str = "signing-keys";

words! {
    /// A signature algorithm (RFC 7518 section 3.1).
    SigningAlgorithm, "signature algorithm" {
        /// ECDSA on P-256.
        Es256 = "ES256",
        /// RSA PKCS #1 v1.5.
        Rs256 = "RS256",
    }
}

/// A key that signs tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Its id in tokens.
    pub kid: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// The private key, sealed; empty once it is of no use to anybody but a thief.
    pub private_sealed: Vec<u8>,
    /// The public key as JWK.
    pub public_jwk: Value,
    /// From when it is published.
    pub publish_from: Timestamp,
    /// From when it signs.
    pub sign_from: Timestamp,
    /// Until when it signs; open when not known yet.
    pub sign_until: Option<Timestamp>,
    /// Until when it is published; open when not known yet.
    pub publish_until: Option<Timestamp>,
}

/// Every key, by id.
pub async fn list(db: &impl Db) -> Result<Vec<SigningKey>, StoreError> {
    let query = signing_key::Entity::find().order_by_asc(signing_key::Column::Kid).limit(MAX_PAGE);
    let read = |model: signing_key::Model| {
        Ok(SigningKey {
            algorithm: TABLE.parse("algorithm", &model.algorithm)?,
            private_sealed: model.private_sealed,
            public_jwk: TABLE.json("public_jwk", &model.public_jwk)?,
            publish_from: time(model.publish_from),
            sign_from: time(model.sign_from),
            sign_until: time_opt(model.sign_until),
            publish_until: time_opt(model.publish_until),
            kid: model.kid,
        })
    };
    query.all(db.conn()).await?.into_iter().map(read).collect()
}

/// Adds a key.
pub async fn insert(tx: &Tx, key: &SigningKey) -> Result<(), StoreError> {
    let model = signing_key::Model {
        kid: key.kid.clone(),
        algorithm: key.algorithm.to_string(),
        private_sealed: key.private_sealed.clone(),
        public_jwk: key.public_jwk.to_string(),
        publish_from: key.publish_from.as_micros(),
        sign_from: key.sign_from.as_micros(),
        sign_until: micros_opt(key.sign_until),
        publish_until: micros_opt(key.publish_until),
    };
    db::insert(tx.conn(), model).await
}

/// Adds the first keys of an installation; says whether it did. Of several processes that start at once one adds its
/// keys, the others wait for it and then find them by [`list`].
pub async fn insert_if_none(tx: &Tx, keys: &[SigningKey]) -> Result<bool, StoreError> {
    if !settings::insert_if_none(tx, FIRST_KEYS, "made").await? {
        return Ok(false);
    }
    for key in keys {
        insert(tx, key).await?;
    }
    Ok(true)
}

/// Waits until nobody else changes keys, and keeps others waiting until the transaction ends.
pub async fn lock(tx: &Tx) -> Result<(), StoreError> {
    settings::lock(tx, FIRST_KEYS).await
}

/// Sets the four instants of a key; `false` when there is no such key.
pub async fn set_life(tx: &Tx, key: &SigningKey) -> Result<bool, StoreError> {
    let updated = signing_key::Entity::update_many()
        .col_expr(signing_key::Column::PublishFrom, Expr::value(key.publish_from.as_micros()))
        .col_expr(signing_key::Column::SignFrom, Expr::value(key.sign_from.as_micros()))
        .col_expr(signing_key::Column::SignUntil, Expr::value(micros_opt(key.sign_until)))
        .col_expr(signing_key::Column::PublishUntil, Expr::value(micros_opt(key.publish_until)))
        .filter(signing_key::Column::Kid.eq(key.kid.as_str()))
        .exec(tx.conn())
        .await?;
    Ok(updated.rows_affected > 0)
}

/// Forgets the private halves of keys that stopped signing at `now` or before; says of how many.
pub async fn forget_private(tx: &Tx, now: Timestamp) -> Result<u64, StoreError> {
    let updated = signing_key::Entity::update_many()
        .col_expr(signing_key::Column::PrivateSealed, Expr::value(Vec::<u8>::new()))
        .filter(signing_key::Column::SignUntil.lte(now.as_micros()))
        .filter(signing_key::Column::PrivateSealed.ne(Vec::<u8>::new()))
        .exec(tx.conn())
        .await?;
    Ok(updated.rows_affected)
}

/// Forgets keys that were withdrawn before `before`; says how many.
pub async fn purge(tx: &Tx, before: Timestamp) -> Result<u64, StoreError> {
    let over = signing_key::Entity::delete_many().filter(signing_key::Column::PublishUntil.lt(before.as_micros()));
    Ok(over.exec(tx.conn()).await?.rows_affected)
}
