//! Programs that a person has let in from a browser, each on one host: asked once for each sign-in of the browser.

use hexabase_core::ids::SessionId;
use hexabase_core::time::Timestamp;
use sea_orm::EntityTrait;

use super::db::{self, Connection, Db};
use super::{StoreError, Tx};
use crate::entities::oauth::client_confirmation as confirmation;

/// A program that was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfirmation {
    /// The browser's session.
    pub session_id: SessionId,
    /// The issuer: a workspace's id, or the platform's own.
    pub realm: String,
    /// The program.
    pub client_id: String,
    /// The host that the browser is sent back to, whatever the port.
    pub redirect_host: String,
}

/// Whether this was confirmed in this session.
pub async fn exists(db: &impl Db, wanted: &ClientConfirmation) -> Result<bool, StoreError> {
    let ClientConfirmation { session_id, realm, client_id, redirect_host } = wanted.clone();
    let key = (session_id.to_string(), realm, client_id, redirect_host);
    Ok(confirmation::Entity::find_by_id(key).one(db.conn()).await?.is_some())
}

/// Remembers it; `false` when it was remembered before.
pub async fn insert(tx: &Tx, row: &ClientConfirmation, now: Timestamp) -> Result<bool, StoreError> {
    let ClientConfirmation { session_id, realm, client_id, redirect_host } = row.clone();
    let model = confirmation::Model {
        session_id: session_id.to_string(),
        realm,
        client_id,
        redirect_host,
        created_at: now.as_micros(),
    };
    db::insert_if_absent(tx.conn(), model).await
}
