//! Invitations into organisations: read through the organisation's scope, or by their token, which is proof enough.

mod changes;

use hexabase_core::ids::{InvitationId, OrganizationId, UserId};
use hexabase_core::invitations::{InvitationState, InvitedAddress, InvitedTo, Language, MailState};
use hexabase_core::roles::OrganizationRole;
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::LockType;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select};

pub use self::changes::{accept, insert, release_expired, renew, revoke, revoke_all, set_mail_for_job};
use super::column::{Table, time, time_opt};
use super::db::{Connection, Db};
use super::organizations::OrganizationScope;
use super::{Digest, StoreError, Tx, capped};
use crate::entities::invitations::invitation;

const TABLE: Table = Table("invitations");

/// An invitation into an organisation.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Its id.
    pub id: InvitationId,
    /// Into which organisation.
    pub organization_id: OrganizationId,
    /// Whose.
    pub address: InvitedAddress,
    /// What the person will be able to do in the organisation.
    pub role: OrganizationRole,
    /// The workspaces and groups the person will be in.
    pub invited_to: Vec<InvitedTo>,
    /// The language of its mail.
    pub language: Language,
    /// The digest of its token.
    pub token_hash: Digest,
    /// The token, sealed, for as long as a mail with it has to be sent.
    pub token_sealed: Option<Vec<u8>>,
    /// Who vouches for it: who invited, or sent it again last.
    pub invited_by: UserId,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it can no longer be accepted.
    pub expires_at: Timestamp,
    /// Who accepted it.
    pub accepted_by: Option<UserId>,
    /// When it was accepted.
    pub accepted_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
    /// What has become of its mail; `None` where none is sent.
    pub mail_state: Option<MailState>,
    /// What the inviter should know about the mail.
    pub mail_message: Option<String>,
    /// How often it was sent again.
    pub resent: u32,
    /// Since when `resent_lately` counts.
    pub resent_since: Timestamp,
    /// How often it was sent again since then.
    pub resent_lately: u32,
}

/// Shows whose it is; not the token.
impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invitation").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Invitation {
    /// Where it stands at `now`.
    pub fn state(&self, now: Timestamp) -> InvitationState {
        InvitationState::at(now, self.expires_at, self.accepted_at.is_some(), self.revoked_at.is_some())
    }
}

fn read(model: invitation::Model) -> Result<Invitation, StoreError> {
    let invited_to = TABLE.json("invited_to", &model.invited_to)?;
    Ok(Invitation {
        id: TABLE.parse("id", &model.id)?,
        organization_id: TABLE.parse("organization_id", &model.organization_id)?,
        address: TABLE.parse("address", &model.address)?,
        role: TABLE.parse("role", &model.role)?,
        invited_to: serde_json::from_value(invited_to).map_err(|source| StoreError::Corrupt {
            table: "invitations",
            column: "invited_to",
            source: Box::new(source),
        })?,
        language: TABLE.parse("language", &model.language)?,
        token_hash: TABLE.parse("token_hash", &model.token_hash)?,
        token_sealed: model.token_sealed,
        invited_by: TABLE.parse("invited_by", &model.invited_by)?,
        created_at: time(model.created_at),
        expires_at: time(model.expires_at),
        accepted_by: TABLE.parse_opt("accepted_by", model.accepted_by.as_deref())?,
        accepted_at: time_opt(model.accepted_at),
        revoked_at: time_opt(model.revoked_at),
        mail_state: TABLE.parse_opt("mail_state", model.mail_state.as_deref())?,
        mail_message: model.mail_message,
        resent: TABLE.number("resent", model.resent)?,
        resent_since: time(model.resent_since),
        resent_lately: TABLE.number("resent_lately", model.resent_lately)?,
    })
}

fn of(scope: &OrganizationScope) -> Select<invitation::Entity> {
    invitation::Entity::find().filter(invitation::Column::OrganizationId.eq(scope.id().as_str()))
}

/// An invitation of the organisation, with nobody else changing it until the transaction ends. Take
/// [`organizations::lock`](super::organizations::lock) first, as [`lock_by_token`] has it.
pub async fn lock(tx: &Tx, scope: &OrganizationScope, id: &InvitationId) -> Result<Option<Invitation>, StoreError> {
    let query = of(scope).filter(invitation::Column::Id.eq(id.as_str())).lock(LockType::Update);
    query.one(tx.conn()).await?.map(read).transpose()
}

/// The organisation's invitations, whatever became of them, by id.
pub async fn list(
    db: &impl Db,
    scope: &OrganizationScope,
    after: Option<&InvitationId>,
    limit: u64,
) -> Result<Vec<Invitation>, StoreError> {
    let mut query = of(scope);
    if let Some(after) = after {
        query = query.filter(invitation::Column::Id.gt(after.as_str()));
    }
    let query = query.order_by_asc(invitation::Column::Id).limit(capped(limit));
    query.all(db.conn()).await?.into_iter().map(read).collect()
}

/// How many invitations of the organisation can be accepted at `now`. To hold a limit, take
/// [`organizations::lock`](super::organizations::lock) first.
pub async fn count_pending(db: &impl Db, scope: &OrganizationScope, now: Timestamp) -> Result<u64, StoreError> {
    let query = of(scope)
        .filter(invitation::Column::PendingKey.is_not_null())
        .filter(invitation::Column::ExpiresAt.gt(now.as_micros()));
    Ok(query.count(db.conn()).await?)
}

/// How many invitations for this address, whatever became of them, the organisation has made since `since`.
pub async fn count_for_address(
    db: &impl Db,
    scope: &OrganizationScope,
    address: &InvitedAddress,
    since: Timestamp,
) -> Result<u64, StoreError> {
    let query = of(scope)
        .filter(invitation::Column::AddressKey.eq(address.key()))
        .filter(invitation::Column::CreatedAt.gt(since.as_micros()));
    Ok(query.count(db.conn()).await?)
}

fn with_token(token_hash: &Digest) -> Select<invitation::Entity> {
    invitation::Entity::find().filter(invitation::Column::TokenHash.eq(token_hash.to_string()))
}

/// The invitation with this token, whatever became of it.
pub async fn find_by_token(db: &impl Db, token_hash: &Digest) -> Result<Option<Invitation>, StoreError> {
    with_token(token_hash).one(db.conn()).await?.map(read).transpose()
}

/// The same, with nobody else changing it until the transaction ends. Lock its organisation first: whoever changes
/// invitations from the side of the organisation does it in that order.
pub async fn lock_by_token(tx: &Tx, token_hash: &Digest) -> Result<Option<Invitation>, StoreError> {
    with_token(token_hash).lock(LockType::Update).one(tx.conn()).await?.map(read).transpose()
}

/// The invitation with this id, for the job that sends its mail.
pub async fn load_for_job(db: &impl Db, id: &InvitationId) -> Result<Option<Invitation>, StoreError> {
    invitation::Entity::find_by_id(id.as_str()).one(db.conn()).await?.map(read).transpose()
}
