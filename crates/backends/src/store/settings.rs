//! Named values of the installation, such as the check value of the master key.

use sea_orm::sea_query::{Expr, LockType};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::db::{self, Connection, Db};
use super::{StoreError, Tx};
use crate::entities::installation::setting;

/// The value named `key`.
pub async fn get(db: &impl Db, key: &str) -> Result<Option<String>, StoreError> {
    Ok(setting::Entity::find_by_id(key).one(db.conn()).await?.map(|setting| setting.value))
}

/// Writes the value named `key` unless there is one; says whether it did. Of two that race, one waits for the other.
pub async fn insert_if_none(tx: &Tx, key: &str, value: &str) -> Result<bool, StoreError> {
    db::insert_if_absent(tx.conn(), setting::Model { key: key.to_owned(), value: value.to_owned() }).await
}

/// Writes the value named `key`, whatever it was.
pub async fn set(tx: &Tx, key: &str, value: &str) -> Result<(), StoreError> {
    if !insert_if_none(tx, key, value).await? {
        let update = setting::Entity::update_many()
            .col_expr(setting::Column::Value, Expr::value(value.to_owned()))
            .filter(setting::Column::Key.eq(key));
        update.exec(tx.conn()).await?;
    }
    Ok(())
}

/// Waits for others that hold the value named `key`, and keeps them waiting until the transaction ends.
pub(super) async fn lock(tx: &Tx, key: &str) -> Result<(), StoreError> {
    setting::Entity::find_by_id(key).lock(LockType::Update).one(tx.conn()).await?;
    Ok(())
}
