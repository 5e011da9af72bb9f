//! Service accounts: programs of an organisation. Each is a user that cannot sign in and a member of the organisation, so that
//! groups, memberships and the audit log know it as they know people.

use hexabase_core::ids::{ApiTokenId, UserId};
use hexabase_core::roles::OrganizationRole;
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::column::Table;
use super::db::{Connection, Db};
use super::organizations::{OrganizationScope, member_role};
use super::users::{self, User};
use super::{MAX_PAGE, StoreError, Tx};
use crate::entities::api_tokens::api_token;
use crate::entities::groups::group_member;
use crate::entities::organizations::organization_member;
use crate::entities::users::user;
use crate::entities::workspaces::workspace_member;

const TOKENS: Table = Table("api_tokens");

/// A service account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// By what it is known.
    pub user: User,
    /// What it may do in the organisation; `None` when somebody took its membership away.
    pub role: Option<OrganizationRole>,
}

fn living(scope: &OrganizationScope) -> Select<user::Entity> {
    user::Entity::find()
        .filter(user::Column::ServiceOf.eq(scope.id().as_str()))
        .filter(user::Column::DeletedAt.is_null())
}

async fn with_role(db: &impl Db, scope: &OrganizationScope, model: user::Model) -> Result<ServiceAccount, StoreError> {
    let user = users::read(model)?;
    Ok(ServiceAccount { role: member_role(db, scope, &user.id).await?, user })
}

/// The organisation's service accounts, by id.
pub async fn list(db: &impl Db, scope: &OrganizationScope) -> Result<Vec<ServiceAccount>, StoreError> {
    let mut found = Vec::new();
    for model in living(scope).order_by_asc(user::Column::Id).limit(MAX_PAGE).all(db.conn()).await? {
        found.push(with_role(db, scope, model).await?);
    }
    Ok(found)
}

/// One service account of the organisation.
pub async fn get(db: &impl Db, scope: &OrganizationScope, id: &UserId) -> Result<Option<ServiceAccount>, StoreError> {
    match living(scope).filter(user::Column::Id.eq(id.as_str())).one(db.conn()).await? {
        Some(model) => with_role(db, scope, model).await.map(Some),
        None => Ok(None),
    }
}

/// How many service accounts the organisation has. To hold a limit, take
/// [`organizations::lock`](super::organizations::lock) first.
pub async fn count(db: &impl Db, scope: &OrganizationScope) -> Result<u64, StoreError> {
    Ok(living(scope).count(db.conn()).await?)
}

/// Takes everything away from a service account of the organisation: tokens, groups, workspaces, membership. What is left is
/// its id and name, for the audit log. `false` when there is none.
pub async fn remove(tx: &Tx, scope: &OrganizationScope, id: &UserId, now: Timestamp) -> Result<bool, StoreError> {
    let updated = user::Entity::update_many()
        .col_expr(user::Column::DeletedAt, Expr::value(now.as_micros()))
        .filter(user::Column::Id.eq(id.as_str()))
        .filter(user::Column::ServiceOf.eq(scope.id().as_str()))
        .filter(user::Column::DeletedAt.is_null())
        .exec(tx.conn())
        .await?;
    if updated.rows_affected == 0 {
        return Ok(false);
    }
    api_token::Entity::update_many()
        .col_expr(api_token::Column::RevokedAt, Expr::value(now.as_micros()))
        .filter(api_token::Column::UserId.eq(id.as_str()))
        .filter(api_token::Column::RevokedAt.is_null())
        .exec(tx.conn())
        .await?;
    group_member::Entity::delete_many().filter(group_member::Column::UserId.eq(id.as_str())).exec(tx.conn()).await?;
    let workspaces = workspace_member::Entity::delete_many().filter(workspace_member::Column::UserId.eq(id.as_str()));
    workspaces.exec(tx.conn()).await?;
    let member = organization_member::Entity::delete_many().filter(organization_member::Column::UserId.eq(id.as_str()));
    member.exec(tx.conn()).await?;
    Ok(true)
}

/// Revokes the living tokens of the organisation's service accounts that `maker` made, whoever has them; says which, by id.
/// Take [`organizations::lock`](super::organizations::lock) first, under which such tokens are made.
pub async fn revoke_tokens_made_by(
    tx: &Tx,
    scope: &OrganizationScope,
    maker: &UserId,
    now: Timestamp,
) -> Result<Vec<ApiTokenId>, StoreError> {
    let accounts = Query::select()
        .column(user::Column::Id)
        .from(user::Entity)
        .and_where(user::Column::ServiceOf.eq(scope.id().as_str()))
        .to_owned();
    let living = api_token::Entity::find()
        .filter(api_token::Column::CreatedBy.eq(maker.as_str()))
        .filter(api_token::Column::UserId.in_subquery(accounts))
        .filter(api_token::Column::RevokedAt.is_null())
        .filter(api_token::Column::ExpiresAt.gt(now.as_micros()))
        .order_by_asc(api_token::Column::Id);
    let ids: Vec<String> =
        living.select_only().column(api_token::Column::Id).into_tuple::<String>().all(tx.conn()).await?;
    api_token::Entity::update_many()
        .col_expr(api_token::Column::RevokedAt, Expr::value(now.as_micros()))
        .filter(api_token::Column::Id.is_in(ids.iter().map(String::as_str)))
        .filter(api_token::Column::RevokedAt.is_null())
        .exec(tx.conn())
        .await?;
    ids.iter().map(|id| TOKENS.parse("id", id)).collect()
}
