//! The keys that sign tokens: published before their first use, kept after their last.

use hexabase_core::time::Timestamp;
use hexabase_core::words;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;

use super::column::{Table, micros_opt, time, time_opt};
use super::db::{self, Connection, Db};
use super::{MAX_PAGE, StoreError, Tx, settings};
use crate::entities::installation::{key_set_age, signing_key};

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

words! {
    /// What a key is for.
    KeyPurpose, "purpose of a key" {
        /// It signs what people and programs are given.
        Sign = "sign",
        /// Whoever knows it has fetched the keys since a revocation. It signs the question and nothing else.
        Witness = "witness",
    }
}

/// A key that signs tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Its id in tokens.
    pub kid: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// What it is for.
    pub purpose: KeyPurpose,
    /// The private key, sealed; empty once it is of no use to anybody but a thief.
    pub private_sealed: Vec<u8>,
    /// The public key as JWK, sealed, once the private one is forgotten; never of a key that was revoked.
    pub public_sealed: Option<Vec<u8>>,
    /// The public key as JWK, to look at. Whoever can write to the database can write this: believe what is sealed.
    pub public_jwk: Value,
    /// From when it is published.
    pub publish_from: Timestamp,
    /// From when it signs; for a witness, when the revocation was.
    pub sign_from: Timestamp,
    /// Until when it signs; open when not known yet.
    pub sign_until: Option<Timestamp>,
    /// Until when it is published; open when not known yet.
    pub publish_until: Option<Timestamp>,
    /// The operator who had it made; none when the platform did by itself.
    pub made_by: Option<String>,
    /// That it was taken back.
    pub revoked: Option<Revoked>,
    /// When the workspaces were asked to show that they know this witness.
    pub told_at: Option<Timestamp>,
}

/// Who took a key back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// When.
    pub at: Timestamp,
    /// The operator.
    pub by: String,
    /// Why.
    pub because: String,
}

/// Every key, by id.
pub async fn list(db: &impl Db) -> Result<Vec<SigningKey>, StoreError> {
    let query = signing_key::Entity::find().order_by_asc(signing_key::Column::Kid).limit(MAX_PAGE);
    query.all(db.conn()).await?.into_iter().map(read).collect()
}

fn read(model: signing_key::Model) -> Result<SigningKey, StoreError> {
    let revoked = |at| Revoked {
        at,
        by: model.revoked_by.unwrap_or_default(),
        because: model.revoked_because.unwrap_or_default(),
    };
    Ok(SigningKey {
        algorithm: TABLE.parse("algorithm", &model.algorithm)?,
        purpose: TABLE.parse("purpose", &model.purpose)?,
        private_sealed: model.private_sealed,
        public_sealed: model.public_sealed,
        public_jwk: TABLE.json("public_jwk", &model.public_jwk)?,
        publish_from: time(model.publish_from),
        sign_from: time(model.sign_from),
        sign_until: time_opt(model.sign_until),
        publish_until: time_opt(model.publish_until),
        made_by: model.made_by,
        revoked: time_opt(model.revoked_at).map(revoked),
        told_at: time_opt(model.told_at),
        kid: model.kid,
    })
}

/// Adds a key, which nobody has revoked.
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
        purpose: key.purpose.to_string(),
        public_sealed: key.public_sealed.clone(),
        made_by: key.made_by.clone(),
        revoked_at: None,
        revoked_by: None,
        revoked_because: None,
        told_at: micros_opt(key.told_at),
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

/// Forgets the private half of a key, and keeps the public one as it is sealed here. Without, nothing is left that anybody
/// could believe: of a key that was revoked, and of a witness that has served.
pub async fn forget_private(tx: &Tx, kid: &str, public_sealed: Option<Vec<u8>>) -> Result<(), StoreError> {
    signing_key::Entity::update_many()
        .col_expr(signing_key::Column::PrivateSealed, Expr::value(Vec::<u8>::new()))
        .col_expr(signing_key::Column::PublicSealed, Expr::value(public_sealed))
        .filter(signing_key::Column::Kid.eq(kid))
        .exec(tx.conn())
        .await?;
    Ok(())
}

/// Notes who revoked a key; its instants are set by [`set_life`].
pub async fn note_revoked(tx: &Tx, kid: &str, revoked: &Revoked) -> Result<(), StoreError> {
    signing_key::Entity::update_many()
        .col_expr(signing_key::Column::RevokedAt, Expr::value(revoked.at.as_micros()))
        .col_expr(signing_key::Column::RevokedBy, Expr::value(revoked.by.as_str()))
        .col_expr(signing_key::Column::RevokedBecause, Expr::value(revoked.because.as_str()))
        .filter(signing_key::Column::Kid.eq(kid))
        .exec(tx.conn())
        .await?;
    Ok(())
}

/// Notes that the workspaces are asked for this witness.
pub async fn note_told(tx: &Tx, kid: &str, now: Timestamp) -> Result<(), StoreError> {
    signing_key::Entity::update_many()
        .col_expr(signing_key::Column::ToldAt, Expr::value(now.as_micros()))
        .filter(signing_key::Column::Kid.eq(kid))
        .exec(tx.conn())
        .await?;
    Ok(())
}

/// Forgets keys that were withdrawn before `before`; says how many. Who revoked which stays known.
pub async fn purge(tx: &Tx, before: Timestamp) -> Result<u64, StoreError> {
    let over = signing_key::Entity::delete_many()
        .filter(signing_key::Column::PublishUntil.lt(before.as_micros()))
        .filter(signing_key::Column::RevokedAt.is_null());
    Ok(over.exec(tx.conn()).await?.rows_affected)
}

/// Notes that somebody may keep the key set until then, because it was served with this max-age.
pub async fn note_served(tx: &Tx, max_age: i64, held_until: Timestamp) -> Result<(), StoreError> {
    let held_until = held_until.as_micros();
    db::insert_if_absent(tx.conn(), key_set_age::Model { max_age, held_until }).await?;
    key_set_age::Entity::update_many()
        .col_expr(key_set_age::Column::HeldUntil, Expr::value(held_until))
        .filter(key_set_age::Column::MaxAge.eq(max_age))
        .filter(key_set_age::Column::HeldUntil.lt(held_until))
        .exec(tx.conn())
        .await?;
    Ok(())
}

/// The longest max-age with which a set was served that somebody may still keep at `now`.
pub async fn longest_max_age(db: &impl Db, now: Timestamp) -> Result<Option<i64>, StoreError> {
    let query = key_set_age::Entity::find()
        .filter(key_set_age::Column::HeldUntil.gt(now.as_micros()))
        .order_by_desc(key_set_age::Column::MaxAge);
    Ok(query.one(db.conn()).await?.map(|row| row.max_age))
}
