//! Who people are at identity providers. A person has one or more; (issuer, subject) belongs to one person.

use hexabase_core::ids::{IdentityId, UserId};
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::column::{Table, micros_opt, time, time_opt};
use super::db::{self, Connection, Db};
use super::{MAX_PAGE, StoreError, Tx};
use crate::entities::users::identity;

const TABLE: Table = Table("identities");

/// Who a person is at an identity provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its id. The lowest of a person is the oldest.
    pub id: IdentityId,
    /// Whose it is.
    pub user_id: UserId,
    /// The provider.
    pub issuer: String,
    /// The person there; with the issuer, the key.
    pub subject: String,
    /// What the provider said last.
    pub said: Said,
    /// When it was linked.
    pub created_at: Timestamp,
    /// When the person last signed in with it.
    pub last_used_at: Option<Timestamp>,
}

/// What an identity provider says of a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Name for people.
    pub display_name: Option<String>,
    /// Address.
    pub email: Option<String>,
    /// Whether it says that the address belongs to the person.
    pub email_verified: bool,
}

fn read(model: identity::Model) -> Result<Identity, StoreError> {
    Ok(Identity {
        id: TABLE.parse("id", &model.id)?,
        user_id: TABLE.parse("user_id", &model.user_id)?,
        issuer: model.issuer,
        subject: model.subject,
        said: Said { display_name: model.display_name, email: model.email, email_verified: model.email_verified },
        created_at: time(model.created_at),
        last_used_at: time_opt(model.last_used_at),
    })
}

/// The identity whom `issuer` calls `subject`.
pub async fn find(db: &impl Db, issuer: &str, subject: &str) -> Result<Option<Identity>, StoreError> {
    let key = (issuer.to_owned(), subject.to_owned());
    identity::Entity::find_by_id(key).one(db.conn()).await?.map(read).transpose()
}

/// All identities of a person, the oldest first.
pub async fn list_for_user(db: &impl Db, user: &UserId) -> Result<Vec<Identity>, StoreError> {
    let found = identity::Entity::find()
        .filter(identity::Column::UserId.eq(user.as_str()))
        .order_by_asc(identity::Column::Id)
        .limit(MAX_PAGE);
    found.all(db.conn()).await?.into_iter().map(read).collect()
}

/// Adds one; [`Unique::Identity`](super::Unique::Identity) when somebody has it already, as when two first sign-ins race:
/// read again in a new transaction.
pub async fn insert(tx: &Tx, identity: &Identity) -> Result<(), StoreError> {
    let Identity { id, user_id, issuer, subject, said, created_at, last_used_at } = identity.clone();
    let model = identity::Model {
        issuer,
        subject,
        user_id: user_id.to_string(),
        created_at: created_at.as_micros(),
        id: id.to_string(),
        display_name: said.display_name,
        email: said.email,
        email_verified: said.email_verified,
        last_used_at: micros_opt(last_used_at),
    };
    db::insert(tx.conn(), model).await
}

/// Notes that the person signed in with it, and what the provider said of them.
pub async fn note_use(tx: &Tx, id: &IdentityId, said: &Said, now: Timestamp) -> Result<(), StoreError> {
    identity::Entity::update_many()
        .col_expr(identity::Column::DisplayName, Expr::value(said.display_name.clone()))
        .col_expr(identity::Column::Email, Expr::value(said.email.clone()))
        .col_expr(identity::Column::EmailVerified, Expr::value(said.email_verified))
        .col_expr(identity::Column::LastUsedAt, Expr::value(now.as_micros()))
        .filter(identity::Column::Id.eq(id.as_str()))
        .exec(tx.conn())
        .await?;
    Ok(())
}

/// Takes one of a person's identities away; `false` when the person has no such.
pub async fn remove(tx: &Tx, user: &UserId, id: &IdentityId) -> Result<bool, StoreError> {
    let removed = identity::Entity::delete_many()
        .filter(identity::Column::Id.eq(id.as_str()))
        .filter(identity::Column::UserId.eq(user.as_str()))
        .exec(tx.conn())
        .await?;
    Ok(removed.rows_affected > 0)
}
