//! Break-glass: access of the platform's staff to an organisation they do not belong to, for a short time and with a reason.

use hexabase_core::ids::{BreakGlassId, OrganizationId, UserId};
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::{Expr, Query, SelectStatement};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, Select};

use super::column::{Table, micros_opt, time, time_opt};
use super::db::{self, Connection, Db};
use super::{StoreError, Tx};
use crate::entities::break_glass::grant;

const TABLE: Table = Table("break_glass");

/// Access that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakGlass {
    /// Its id.
    pub id: BreakGlassId,
    /// Where.
    pub organization_id: OrganizationId,
    /// To whom.
    pub user_id: UserId,
    /// Why.
    pub reason: String,
    /// The operator who gave it, as the operating system calls them.
    pub granted_by: String,
    /// Since when.
    pub started_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// When it was ended before that.
    pub ended_at: Option<Timestamp>,
}

fn read(model: grant::Model) -> Result<BreakGlass, StoreError> {
    Ok(BreakGlass {
        id: TABLE.parse("id", &model.id)?,
        organization_id: TABLE.parse("organization_id", &model.organization_id)?,
        user_id: TABLE.parse("user_id", &model.user_id)?,
        reason: model.reason,
        granted_by: model.granted_by,
        started_at: time(model.started_at),
        expires_at: time(model.expires_at),
        ended_at: time_opt(model.ended_at),
    })
}

/// Gives access.
pub async fn insert(tx: &Tx, given: &BreakGlass) -> Result<(), StoreError> {
    let model = grant::Model {
        id: given.id.to_string(),
        organization_id: given.organization_id.to_string(),
        user_id: given.user_id.to_string(),
        reason: given.reason.clone(),
        granted_by: given.granted_by.clone(),
        started_at: given.started_at.as_micros(),
        expires_at: given.expires_at.as_micros(),
        ended_at: micros_opt(given.ended_at),
    };
    db::insert(tx.conn(), model).await
}

fn begun(organization: &str, user: &str, now: Timestamp) -> Select<grant::Entity> {
    grant::Entity::find()
        .filter(grant::Column::OrganizationId.eq(organization))
        .filter(grant::Column::UserId.eq(user))
        .filter(grant::Column::StartedAt.lte(now.as_micros()))
        .filter(grant::Column::ExpiresAt.gt(now.as_micros()))
        .order_by_desc(grant::Column::Id)
}

/// The access that `user` has to `organization` at `now`. One that was ended is over, whatever the clock of whoever ended it
/// said.
pub async fn find(
    db: &impl Db,
    organization: &OrganizationId,
    user: &UserId,
    now: Timestamp,
) -> Result<Option<BreakGlass>, StoreError> {
    let found = begun(organization.as_str(), user.as_str(), now).filter(grant::Column::EndedAt.is_null());
    found.one(db.conn()).await?.map(read).transpose()
}

/// Ids of the organisations to which `user` has access at `now`, for a condition.
pub(super) fn open_to(user: &UserId, now: Timestamp) -> SelectStatement {
    Query::select()
        .column(grant::Column::OrganizationId)
        .from(grant::Entity)
        .and_where(grant::Column::UserId.eq(user.as_str()))
        .and_where(grant::Column::StartedAt.lte(now.as_micros()))
        .and_where(grant::Column::ExpiresAt.gt(now.as_micros()))
        .and_where(grant::Column::EndedAt.is_null())
        .to_owned()
}

/// The access that somebody had at a moment, for the audit log, which knows its actors by text: what was begun before the end
/// was done under it.
pub(super) async fn at(
    db: &impl Db,
    organization: &str,
    user: &str,
    now: Timestamp,
) -> Result<Option<BreakGlass>, StoreError> {
    let not_ended =
        Condition::any().add(grant::Column::EndedAt.is_null()).add(grant::Column::EndedAt.gt(now.as_micros()));
    begun(organization, user, now).filter(not_ended).one(db.conn()).await?.map(read).transpose()
}

/// Ends access before its time; `false` when it was ended already.
pub async fn end(tx: &Tx, id: &BreakGlassId, now: Timestamp) -> Result<bool, StoreError> {
    let updated = grant::Entity::update_many()
        .col_expr(grant::Column::EndedAt, Expr::value(now.as_micros()))
        .filter(grant::Column::Id.eq(id.as_str()))
        .filter(grant::Column::EndedAt.is_null())
        .exec(tx.conn())
        .await?;
    Ok(updated.rows_affected > 0)
}
