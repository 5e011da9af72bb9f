//! A transaction.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::DatabaseTransaction;
use tokio::sync::OwnedSemaphorePermit;

use super::StoreError;
use super::audit::{self, NewAuditEntry};
use super::db::{Connection, Db};
use super::events::{self, NewEvent};
use super::jobs::{self, Claim};

/// A transaction: all of its writes happen at [`commit`](Self::commit), or none do.
#[derive(Debug)]
pub struct Tx {
    // Dropped before the permit, so that the next writer starts after the rollback was asked for.
    inner: DatabaseTransaction,
    at_commit: Mutex<AtCommit>,
    changes: Arc<AtomicU64>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Counts a change once it is made: when this is dropped, however the commit ended, because one whose answer is lost may have
/// been carried out.
struct Counted(Arc<AtomicU64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What is done last, because it locks what every other transaction also wants.
#[derive(Debug, Default)]
struct AtCommit {
    held: Vec<Claim>,
    audited: Vec<NewAuditEntry>,
    events: Vec<NewEvent>,
}

impl Connection for Tx {
    type Conn = DatabaseTransaction;

    fn conn(&self) -> &DatabaseTransaction {
        &self.inner
    }
}

impl Db for Tx {}

impl Tx {
    pub(super) fn new(
        inner: DatabaseTransaction,
        changes: Arc<AtomicU64>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { inner, at_commit: Mutex::default(), changes, _permit: permit }
    }

    /// Writes everything.
    ///
    /// [`StoreError::Stale`] and nothing written when a claim held by [`jobs::hold`] is no longer ours.
    pub async fn commit(self) -> Result<(), StoreError> {
        let AtCommit { held, audited, events } = std::mem::take(&mut *self.at_commit());
        for claim in &held {
            jobs::lock_held(&self, claim).await?;
        }
        audit::write(&self, audited).await?;
        events::write(&self, events).await?;
        let _counted = Counted(self.changes);
        Ok(self.inner.commit().await?)
    }

    /// Undoes everything and waits for it; dropping the transaction does the same without waiting.
    pub async fn rollback(self) -> Result<(), StoreError> {
        Ok(self.inner.rollback().await?)
    }

    pub(super) fn hold_at_commit(&self, claim: Claim) {
        self.at_commit().held.push(claim);
    }

    pub(super) fn audit_at_commit(&self, entry: NewAuditEntry) {
        self.at_commit().audited.push(entry);
    }

    pub(super) fn write_at_commit(&self, event: NewEvent) {
        self.at_commit().events.push(event);
    }

    fn at_commit(&self) -> std::sync::MutexGuard<'_, AtCommit> {
        // Nothing can panic while it is held, and the lists would still be whole.
        self.at_commit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
