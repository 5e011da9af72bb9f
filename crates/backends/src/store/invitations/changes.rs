//! What happens to an invitation.

use hexabase_core::ids::{InvitationId, UserId};
use hexabase_core::invitations::{InvitedAddress, MailState};
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, UpdateMany};

use super::Invitation;
use crate::entities::invitations::invitation;
use crate::store::column::micros_opt;
use crate::store::db::{self, Connection};
use crate::store::organizations::OrganizationScope;
use crate::store::{Digest, StoreError, Tx};

fn invited_to(row: &Invitation) -> Result<String, StoreError> {
    serde_json::to_string(&row.invited_to).map_err(|error| StoreError::Other(Box::new(error)))
}

fn mail_state(row: &Invitation) -> Option<String> {
    row.mail_state.map(|state| state.to_string())
}

/// Adds a pending invitation of the organisation.
///
/// [`Unique::PendingInvitation`](crate::store::Unique::PendingInvitation) when one waits for the address;
/// [`release_expired`] makes room where it waits in vain.
pub async fn insert(tx: &Tx, scope: &OrganizationScope, row: &Invitation) -> Result<(), StoreError> {
    let model = invitation::Model {
        id: row.id.to_string(),
        organization_id: scope.id().to_string(),
        address: row.address.to_string(),
        address_key: row.address.key(),
        pending_key: Some(row.address.key()),
        role: row.role.to_string(),
        invited_to: invited_to(row)?,
        language: row.language.to_string(),
        token_hash: row.token_hash.to_string(),
        token_sealed: row.token_sealed.clone(),
        invited_by: row.invited_by.to_string(),
        created_at: row.created_at.as_micros(),
        expires_at: row.expires_at.as_micros(),
        accepted_by: row.accepted_by.as_ref().map(ToString::to_string),
        accepted_at: micros_opt(row.accepted_at),
        revoked_at: micros_opt(row.revoked_at),
        mail_state: mail_state(row),
        mail_message: row.mail_message.clone(),
        resent: row.resent.into(),
        resent_since: row.resent_since.as_micros(),
        resent_lately: row.resent_lately.into(),
    };
    db::insert(tx.conn(), model).await
}

/// Lets an address be invited anew where the invitation that waits for it has expired.
pub async fn release_expired(
    tx: &Tx,
    scope: &OrganizationScope,
    address: &InvitedAddress,
    now: Timestamp,
) -> Result<(), StoreError> {
    settle(unsettled())
        .filter(invitation::Column::OrganizationId.eq(scope.id().as_str()))
        .filter(invitation::Column::PendingKey.eq(address.key()))
        .filter(invitation::Column::ExpiresAt.lte(now.as_micros()))
        .exec(tx.conn())
        .await?;
    Ok(())
}

/// Neither accepted nor taken back.
fn unsettled() -> UpdateMany<invitation::Entity> {
    invitation::Entity::update_many()
        .filter(invitation::Column::AcceptedAt.is_null())
        .filter(invitation::Column::RevokedAt.is_null())
}

/// Waits for nobody, and is mailed to nobody, any more.
fn settle(update: UpdateMany<invitation::Entity>) -> UpdateMany<invitation::Entity> {
    update
        .col_expr(invitation::Column::PendingKey, Expr::value(None::<String>))
        .col_expr(invitation::Column::TokenSealed, Expr::value(None::<Vec<u8>>))
}

async fn changed(tx: &Tx, update: UpdateMany<invitation::Entity>) -> Result<(), StoreError> {
    let updated = update.exec(tx.conn()).await?;
    if updated.rows_affected > 0 { Ok(()) } else { Err(StoreError::Stale) }
}

/// Makes the invitation pending again, with the token, end, inviter, mail and counts that `row` has now; the token it had is
/// good for nothing any more. [`StoreError::Stale`] when it was accepted or taken back.
///
/// [`Unique::PendingInvitation`](crate::store::Unique::PendingInvitation) when another one waits for the address.
pub async fn renew(tx: &Tx, scope: &OrganizationScope, row: &Invitation) -> Result<(), StoreError> {
    let update = unsettled()
        .col_expr(invitation::Column::PendingKey, Expr::value(row.address.key()))
        .col_expr(invitation::Column::TokenHash, Expr::value(row.token_hash.to_string()))
        .col_expr(invitation::Column::TokenSealed, Expr::value(row.token_sealed.clone()))
        .col_expr(invitation::Column::InvitedBy, Expr::value(row.invited_by.as_str()))
        .col_expr(invitation::Column::ExpiresAt, Expr::value(row.expires_at.as_micros()))
        .col_expr(invitation::Column::MailState, Expr::value(mail_state(row)))
        .col_expr(invitation::Column::MailMessage, Expr::value(row.mail_message.clone()))
        .col_expr(invitation::Column::Resent, Expr::value(i64::from(row.resent)))
        .col_expr(invitation::Column::ResentSince, Expr::value(row.resent_since.as_micros()))
        .col_expr(invitation::Column::ResentLately, Expr::value(i64::from(row.resent_lately)))
        .filter(invitation::Column::OrganizationId.eq(scope.id().as_str()))
        .filter(invitation::Column::Id.eq(row.id.as_str()));
    changed(tx, update).await
}

/// Takes the invitation back; [`StoreError::Stale`] when it was accepted or taken back before.
pub async fn revoke(tx: &Tx, scope: &OrganizationScope, id: &InvitationId, now: Timestamp) -> Result<(), StoreError> {
    let update = settle(unsettled())
        .col_expr(invitation::Column::RevokedAt, Expr::value(now.as_micros()))
        .filter(invitation::Column::OrganizationId.eq(scope.id().as_str()))
        .filter(invitation::Column::Id.eq(id.as_str()));
    changed(tx, update).await
}

/// Takes back every invitation of the organisation that was not accepted; says how many.
pub async fn revoke_all(tx: &Tx, scope: &OrganizationScope, now: Timestamp) -> Result<u64, StoreError> {
    let update = settle(unsettled())
        .col_expr(invitation::Column::RevokedAt, Expr::value(now.as_micros()))
        .filter(invitation::Column::OrganizationId.eq(scope.id().as_str()));
    Ok(update.exec(tx.conn()).await?.rows_affected)
}

/// Notes that `user` accepted the invitation; [`StoreError::Stale`] when it was accepted or taken back before.
pub async fn accept(tx: &Tx, id: &InvitationId, user: &UserId, now: Timestamp) -> Result<(), StoreError> {
    let update = settle(unsettled())
        .col_expr(invitation::Column::AcceptedBy, Expr::value(user.as_str()))
        .col_expr(invitation::Column::AcceptedAt, Expr::value(now.as_micros()))
        .filter(invitation::Column::Id.eq(id.as_str()));
    changed(tx, update).await
}

/// Notes what has become of the mail with this token. Once the mail waits no more, the sealed token is forgotten.
/// [`StoreError::Stale`] when the invitation has another token by now.
pub async fn set_mail_for_job(
    tx: &Tx,
    id: &InvitationId,
    token_hash: &Digest,
    state: MailState,
    message: Option<&str>,
) -> Result<(), StoreError> {
    let mut update = invitation::Entity::update_many()
        .col_expr(invitation::Column::MailState, Expr::value(state.as_str()))
        .col_expr(invitation::Column::MailMessage, Expr::value(message.map(str::to_owned)))
        .filter(invitation::Column::Id.eq(id.as_str()))
        .filter(invitation::Column::TokenHash.eq(token_hash.to_string()));
    if state != MailState::Queued {
        update = update.col_expr(invitation::Column::TokenSealed, Expr::value(None::<Vec<u8>>));
    }
    changed(tx, update).await
}
