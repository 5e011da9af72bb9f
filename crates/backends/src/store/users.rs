//! People, and service accounts, which are known like people but cannot sign in.

use hexabase_core::ids::{OrganizationId, UserId};
use hexabase_core::names::DisplayName;
use hexabase_core::time::Timestamp;
use hexabase_core::users::UserKind;
use sea_orm::sea_query::{Expr, LockType, Query, SelectStatement};
use sea_orm::{ColumnTrait, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect, RelationDef, Select};

use super::column::{Table, time};
use super::db::{self, Connection, Db};
use super::{MAX_PAGE, StoreError, Tx};
use crate::entities::users::user;

const TABLE: Table = Table("users");

/// A person, or a service account.
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
    /// The organisation of a service account; none for a person.
    pub service_of: Option<OrganizationId>,
}

impl User {
    /// Whether it is a person or a service account.
    pub fn kind(&self) -> UserKind {
        if self.service_of.is_some() { UserKind::Service } else { UserKind::Person }
    }

    /// Whether it can be given access in `organization`: everybody can, but a service account only in its own.
    pub fn may_join(&self, organization: &OrganizationId) -> bool {
        self.service_of.as_ref().is_none_or(|own| own == organization)
    }
}

pub(super) fn read(model: user::Model) -> Result<User, StoreError> {
    Ok(User {
        id: TABLE.parse("id", &model.id)?,
        display_name: TABLE.parse("display_name", &model.display_name)?,
        email: model.email,
        email_verified: model.email_verified,
        created_at: time(model.created_at),
        service_of: match TABLE.parse("kind", &model.kind)? {
            UserKind::Person => None,
            UserKind::Service => Some(TABLE.parse("service_of", model.service_of.as_deref().unwrap_or_default())?),
        },
    })
}

/// The person or service account with this id, unless it was deleted.
pub async fn get(db: &impl Db, id: &UserId) -> Result<Option<User>, StoreError> {
    let found = user::Entity::find_by_id(id.as_str()).filter(user::Column::DeletedAt.is_null());
    found.one(db.conn()).await?.map(read).transpose()
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

/// The rows of `query` with the person whose id stands in `column`, which a foreign key holds to be there.
pub(super) async fn joined<E>(
    db: &impl Db,
    query: Select<E>,
    column: E::Column,
) -> Result<Vec<(E::Model, User)>, StoreError>
where
    E: EntityTrait<Model: Send + Sync>,
{
    let person: RelationDef = E::belongs_to(user::Entity).from(column).to(user::Column::Id).into();
    let rows = query.join(JoinType::InnerJoin, person).select_also(user::Entity).all(db.conn()).await?;
    rows.into_iter().filter_map(|(row, user)| user.map(|user| Ok((row, read(user)?)))).collect()
}

fn email_key(email: Option<&str>, verified: bool) -> Option<String> {
    email.filter(|_| verified).map(str::to_lowercase)
}

/// Adds a person or a service account.
pub async fn insert(tx: &Tx, user: &User) -> Result<(), StoreError> {
    let model = user::Model {
        id: user.id.to_string(),
        display_name: user.display_name.to_string(),
        email: user.email.clone(),
        email_verified: user.email_verified,
        email_key: email_key(user.email.as_deref(), user.email_verified),
        created_at: user.created_at.as_micros(),
        kind: user.kind().to_string(),
        service_of: user.service_of.as_ref().map(ToString::to_string),
        deleted_at: None,
    };
    db::insert(tx.conn(), model).await
}

/// The ids of all people, without service accounts, for a condition.
pub(super) fn people() -> SelectStatement {
    Query::select()
        .column(user::Column::Id)
        .from(user::Entity)
        .and_where(user::Column::Kind.eq(UserKind::Person.as_str()))
        .to_owned()
}

/// Which of these are people rather than service accounts.
pub async fn people_among(db: &impl Db, ids: &[UserId]) -> Result<Vec<UserId>, StoreError> {
    let found = user::Entity::find()
        .filter(user::Column::Id.is_in(ids.iter().map(UserId::as_str)))
        .filter(user::Column::Kind.eq(UserKind::Person.as_str()));
    let found = found.order_by_asc(user::Column::Id).all(db.conn()).await?;
    found.iter().map(|model| TABLE.parse("id", &model.id)).collect()
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
