//! What queries run on.

use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ConnectionTrait, DbBackend, EntityTrait, IntoActiveModel, Statement, Value,
};
use serde::de::DeserializeOwned;

use super::StoreError;

pub(super) mod sealed {
    /// Gives the query layer its connection.
    pub trait Connection {
        type Conn: sea_orm::ConnectionTrait + Send + Sync;

        fn conn(&self) -> &Self::Conn;
    }
}

pub(super) use sealed::Connection;

/// What reads run on: the [`Store`](super::Store), or a [`Tx`](super::Tx) that also sees its own writes.
pub trait Db: sealed::Connection + Send + Sync {}

/// What a query gives, each row as a tuple of `columns`; `rest` is everything behind `SELECT columns`, order and limit included.
/// No column is a boolean, which the databases write differently.
///
/// The database makes one text of all rows. For hundreds of them: SQLite's driver hands each from one thread to another.
pub(super) async fn tuples<T: DeserializeOwned>(
    conn: &impl ConnectionTrait,
    columns: &[&str],
    rest: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<T>, StoreError> {
    let backend = conn.get_database_backend();
    let (all, one, text) = match backend {
        DbBackend::Postgres => ("json_agg", "json_build_array", "::text"),
        _ => ("json_group_array", "json_array", ""),
    };
    let numbered: Vec<String> =
        columns.iter().enumerate().map(|(number, column)| format!("{column} AS c{number}")).collect();
    let numbers: Vec<String> = (0..columns.len()).map(|number| format!("c{number}")).collect();
    let (numbered, numbers) = (numbered.join(", "), numbers.join(", "));
    let sql = format!("SELECT {all}({one}({numbers})){text} FROM (SELECT {numbered} {rest}) AS page");
    let row = conn.query_one_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    // PostgreSQL makes nothing of no rows.
    let rows: Option<String> = row.map(|row| row.try_get_by_index(0)).transpose()?.flatten();
    serde_json::from_str(rows.as_deref().unwrap_or("[]")).map_err(|error| StoreError::Other(Box::new(error)))
}

/// Inserts one row.
pub(super) async fn insert<M>(conn: &impl ConnectionTrait, row: M) -> Result<(), StoreError>
where
    M: IntoActiveModel<<M::Entity as EntityTrait>::ActiveModel> + sea_orm::ModelTrait,
    <M::Entity as EntityTrait>::ActiveModel: ActiveModelTrait<Entity = M::Entity> + ActiveModelBehavior + Send,
{
    M::Entity::insert(row.into_active_model()).exec_without_returning(conn).await?;
    Ok(())
}

/// Inserts one row unless its primary key is taken; says whether it did.
pub(super) async fn insert_if_absent<M>(conn: &impl ConnectionTrait, row: M) -> Result<bool, StoreError>
where
    M: IntoActiveModel<<M::Entity as EntityTrait>::ActiveModel> + sea_orm::ModelTrait,
    <M::Entity as EntityTrait>::ActiveModel: ActiveModelTrait<Entity = M::Entity> + ActiveModelBehavior + Send,
{
    use sea_orm::{Iterable, PrimaryKeyToColumn};
    let keys = <M::Entity as EntityTrait>::PrimaryKey::iter().map(PrimaryKeyToColumn::into_column);
    let inserted = M::Entity::insert(row.into_active_model())
        .on_conflict(OnConflict::columns(keys).do_nothing().to_owned())
        .exec_without_returning(conn)
        .await?;
    Ok(inserted > 0)
}
