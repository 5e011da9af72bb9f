//! Sign-ins that begin on a device without a browser (RFC 8628).

use hexabase_core::ids::{SessionId, UserId};
use hexabase_core::time::Timestamp;
use hexabase_core::words;
use sea_orm::sea_query::{Expr, LockType};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::column::{Table, micros_opt, time, time_opt};
use super::db::{self, Connection, Db};
use super::{Digest, StoreError, Tx};
use crate::entities::oauth::device_code as device;

const TABLE: Table = Table("device_codes");
/// What `slow_down` adds to the interval (RFC 8628 section 3.5).
const SLOW_DOWN_SECONDS: i64 = 5;

words! {
    /// Where such a sign-in stands.
    DeviceState, "device sign-in state" {
        /// Nobody has decided.
        Pending = "pending",
        /// The person agreed; the device has not fetched its tokens.
        Approved = "approved",
        /// The person refused.
        Denied = "denied",
        /// The device has its tokens.
        Redeemed = "redeemed",
    }
}

/// A sign-in that began on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCode {
    /// The digest of the secret that the device polls with.
    pub device_code_hash: Digest,
    /// What the person types, as the store compares it.
    pub user_code: String,
    /// The issuer it belongs to: a workspace's id, or the platform's own.
    pub realm: String,
    /// The client that began.
    pub client_id: String,
    /// Scopes, separated by spaces.
    pub scope: String,
    /// Where it stands.
    pub state: DeviceState,
    /// Who decided.
    pub user_id: Option<UserId>,
    /// The session of the device, once approved.
    pub session_id: Option<SessionId>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it is over.
    pub expires_at: Timestamp,
    /// Seconds that the device must wait between two polls.
    pub interval_s: i64,
    /// When it last polled.
    pub last_polled_at: Option<Timestamp>,
    /// When the person who agreed had signed in, for the ID token.
    pub auth_time: Option<Timestamp>,
    /// What the device calls itself, as the session is called that comes of it.
    pub label: String,
}

/// What a poll finds.
#[expect(clippy::large_enum_variant, reason = "made once for each request and taken apart at once")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Poll {
    /// Nobody has decided.
    Pending,
    /// Nobody has decided, and the device asks too often: its interval has grown.
    SlowDown,
    /// The person agreed. Nobody else gets this for the same code.
    Approved(DeviceCode),
    /// The person refused.
    Denied,
    /// Too late.
    Expired,
    /// No such code, or its tokens were fetched already.
    Unknown,
}

fn read(model: device::Model) -> Result<DeviceCode, StoreError> {
    Ok(DeviceCode {
        device_code_hash: TABLE.parse("device_code_hash", &model.device_code_hash)?,
        user_code: model.user_code,
        realm: model.realm,
        client_id: model.client_id,
        scope: model.scope,
        state: TABLE.parse("state", &model.state)?,
        user_id: TABLE.parse_opt("user_id", model.user_id.as_deref())?,
        session_id: TABLE.parse_opt("session_id", model.session_id.as_deref())?,
        created_at: time(model.created_at),
        expires_at: time(model.expires_at),
        interval_s: model.interval_s,
        last_polled_at: time_opt(model.last_polled_at),
        auth_time: time_opt(model.auth_time),
        label: model.label,
    })
}

/// Adds a sign-in; [`Unique::UserCode`](super::Unique::UserCode) when the user code is taken.
pub async fn insert(tx: &Tx, row: &DeviceCode) -> Result<(), StoreError> {
    let model = device::Model {
        device_code_hash: row.device_code_hash.to_string(),
        user_code: row.user_code.clone(),
        realm: row.realm.clone(),
        client_id: row.client_id.clone(),
        scope: row.scope.clone(),
        state: row.state.to_string(),
        user_id: row.user_id.as_ref().map(ToString::to_string),
        session_id: row.session_id.as_ref().map(ToString::to_string),
        created_at: row.created_at.as_micros(),
        expires_at: row.expires_at.as_micros(),
        interval_s: row.interval_s,
        last_polled_at: micros_opt(row.last_polled_at),
        auth_time: micros_opt(row.auth_time),
        label: row.label.clone(),
    };
    db::insert(tx.conn(), model).await
}

/// The undecided sign-in with this user code, unless it is over.
pub async fn find_pending(db: &impl Db, user_code: &str, now: Timestamp) -> Result<Option<DeviceCode>, StoreError> {
    let found = device::Entity::find()
        .filter(device::Column::UserCode.eq(user_code))
        .filter(device::Column::State.eq(DeviceState::Pending.as_str()))
        .filter(device::Column::ExpiresAt.gt(now.as_micros()));
    found.one(db.conn()).await?.map(read).transpose()
}

/// The person, signed in since `auth_time`, agrees, and the device will act in `session`; `false` when there is nothing to
/// decide.
pub async fn approve(
    tx: &Tx,
    user_code: &str,
    user: &UserId,
    session: &SessionId,
    auth_time: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    decide(tx, user_code, DeviceState::Approved, user, Some((session, auth_time)), now).await
}

/// The person refuses; `false` when there is nothing to decide.
pub async fn deny(tx: &Tx, user_code: &str, user: &UserId, now: Timestamp) -> Result<bool, StoreError> {
    decide(tx, user_code, DeviceState::Denied, user, None, now).await
}

async fn decide(
    tx: &Tx,
    user_code: &str,
    state: DeviceState,
    user: &UserId,
    session: Option<(&SessionId, Timestamp)>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let updated = device::Entity::update_many()
        .col_expr(device::Column::State, Expr::value(state.as_str()))
        .col_expr(device::Column::UserId, Expr::value(user.as_str()))
        .col_expr(device::Column::SessionId, Expr::value(session.map(|(id, _)| id.to_string())))
        .col_expr(device::Column::AuthTime, Expr::value(session.map(|(_, at)| at.as_micros())))
        .filter(device::Column::UserCode.eq(user_code))
        .filter(device::Column::State.eq(DeviceState::Pending.as_str()))
        .filter(device::Column::ExpiresAt.gt(now.as_micros()))
        .exec(tx.conn())
        .await?;
    Ok(updated.rows_affected > 0)
}

/// The device asks how far it is. Commit whatever comes out: the poll itself is remembered.
pub async fn poll(tx: &Tx, device_code_hash: &Digest, now: Timestamp) -> Result<Poll, StoreError> {
    let query = device::Entity::find_by_id(device_code_hash.to_string()).lock(LockType::Update);
    let Some(mut row) = query.one(tx.conn()).await?.map(read).transpose()? else { return Ok(Poll::Unknown) };
    if row.expires_at <= now {
        return Ok(Poll::Expired);
    }
    let too_soon = row.last_polled_at.is_some_and(|last| now < last.plus_seconds(row.interval_s));
    let answer = match row.state {
        DeviceState::Denied => return Ok(Poll::Denied),
        DeviceState::Redeemed => return Ok(Poll::Unknown),
        DeviceState::Pending if too_soon => {
            row.interval_s += SLOW_DOWN_SECONDS;
            Poll::SlowDown
        }
        DeviceState::Pending => Poll::Pending,
        DeviceState::Approved => {
            row.state = DeviceState::Redeemed;
            Poll::Approved(row.clone())
        }
    };
    device::Entity::update_many()
        .col_expr(device::Column::State, Expr::value(row.state.as_str()))
        .col_expr(device::Column::IntervalS, Expr::value(row.interval_s))
        .col_expr(device::Column::LastPolledAt, Expr::value(now.as_micros()))
        .filter(device::Column::DeviceCodeHash.eq(device_code_hash.to_string()))
        .exec(tx.conn())
        .await?;
    Ok(answer)
}

/// Forgets sign-ins that were over before `before`; says how many.
pub async fn purge(tx: &Tx, before: Timestamp) -> Result<u64, StoreError> {
    let over = device::Entity::delete_many().filter(device::Column::ExpiresAt.lt(before.as_micros()));
    Ok(over.exec(tx.conn()).await?.rows_affected)
}
