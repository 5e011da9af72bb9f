//! What queries run on.

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveModelBehavior, ActiveModelTrait, ConnectionTrait, EntityTrait, IntoActiveModel};

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
