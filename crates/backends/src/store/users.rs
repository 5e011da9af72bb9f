//! People.

use hexabase_core::ids::UserId;
use hexabase_core::names::DisplayName;
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::{Expr, LockType};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::column::{Table, time};
use super::db::{self, Connection, Db};
use super::{MAX_PAGE, StoreError, Tx};
use crate::entities::users::user;

const TABLE: Table = Table("users");

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id, the subject of every token.
    pub id: UserId,
    /// What others see.
    pub display_name: DisplayName,
    /// Address, as the identity provider told it.
    pub email: Option<String>,
    /// Whether the identity provider says that it has verified the address.
    pub email_verified: bool,
    /// When the person first signed in.
    pub created_at: Timestamp,
}

fn read(model: user::Model) -> Result<User, StoreError> {
    Ok(User {
        id: TABLE.parse("id", &model.id)?,
        display_name: TABLE.parse("display_name", &model.display_name)?,
        email: model.email,
        email_verified: model.email_verified,
        created_at: time(model.created_at),
    })
}

/// The person with this id.
pub async fn get(db: &impl Db, id: &UserId) -> Result<Option<User>, StoreError> {
    user::Entity::find_by_id(id.as_str()).one(db.conn()).await?.map(read).transpose()
}

/// People with this verified address, whatever its capitals, oldest first; more than one when several identity
/// providers vouch for it.
pub async fn find_by_verified_email(db: &impl Db, email: &str) -> Result<Vec<User>, StoreError> {
    let found = user::Entity::find()
        .filter(user::Column::EmailKey.eq(email.to_lowercase()))
        .order_by_asc(user::Column::Id)
        .limit(MAX_PAGE);
    found.all(db.conn()).await?.into_iter().map(read).collect()
}

/// Holds the person until the transaction ends: take it before counting what the person has made against a limit.
pub async fn lock(tx: &Tx, id: &UserId) -> Result<(), StoreError> {
    user::Entity::find_by_id(id.as_str()).lock(LockType::NoKeyUpdate).one(tx.conn()).await?;
    Ok(())
}

/// The people with these ids, by id.
pub(super) async fn load(db: &impl Db, ids: impl IntoIterator<Item = String>) -> Result<Vec<User>, StoreError> {
    let found = user::Entity::find().filter(user::Column::Id.is_in(ids)).order_by_asc(user::Column::Id);
    found.all(db.conn()).await?.into_iter().map(read).collect()
}

fn email_key(email: Option<&str>, verified: bool) -> Option<String> {
    email.filter(|_| verified).map(str::to_lowercase)
}

/// Adds a person.
pub async fn insert(tx: &Tx, user: &User) -> Result<(), StoreError> {
    let model = user::Model {
        id: user.id.to_string(),
        display_name: user.display_name.to_string(),
        email: user.email.clone(),
        email_verified: user.email_verified,
        email_key: email_key(user.email.as_deref(), user.email_verified),
        created_at: user.created_at.as_micros(),
    };
    db::insert(tx.conn(), model).await
}

/// Takes over what the identity provider says today; `false` when there is no such person.
pub async fn update_profile(
    tx: &Tx,
    id: &UserId,
    display_name: &DisplayName,
    email: Option<&str>,
    email_verified: bool,
) -> Result<bool, StoreError> {
    let updated = user::Entity::update_many()
        .col_expr(user::Column::DisplayName, Expr::value(display_name.as_str()))
        .col_expr(user::Column::Email, Expr::value(email.map(str::to_owned)))
        .col_expr(user::Column::EmailVerified, Expr::value(email_verified))
        .col_expr(user::Column::EmailKey, Expr::value(email_key(email, email_verified)))
        .filter(user::Column::Id.eq(id.as_str()))
        .exec(tx.conn())
        .await?;
    Ok(updated.rows_affected > 0)
}
