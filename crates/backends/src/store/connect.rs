//! Connecting, migrating, beginning transactions.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hexabase_core::plans;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use sea_orm_migration::MigratorTrait;
use tokio::sync::Semaphore;

use super::db::{Connection, Db};
use super::lock::MigrationLock;
use super::url::{Place, StoreUrl};
use super::{StoreError, Tx, plans as plan_rows};
use crate::migrations::Migrator;

const POSTGRES_CONNECTIONS: u32 = 16;
const SQLITE_CONNECTIONS: u32 = 8;
/// Statements that each connection keeps prepared: those that are asked again and again. A list makes a statement for each length.
const STATEMENTS: usize = 256;
const WAIT: Duration = Duration::from_secs(10);
const SQLITE_BUSY: Duration = Duration::from_secs(5);

/// The database; clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    connection: DatabaseConnection,
    url: StoreUrl,
    /// SQLite has one writer. Waiting here is fair and wakes at once; SQLite's own wait polls.
    writer: Option<Arc<Semaphore>>,
    changes: Arc<AtomicU64>,
}

impl Connection for Store {
    type Conn = DatabaseConnection;

    fn conn(&self) -> &DatabaseConnection {
        &self.connection
    }
}

impl Db for Store {}

impl Store {
    /// Connects; makes the SQLite file when there is none.
    pub async fn connect(url: &StoreUrl) -> Result<Self, StoreError> {
        let (connection, writer) = match &url.0 {
            Place::Sqlite(path) => (connect_sqlite(path).await?, Some(Arc::new(Semaphore::new(1)))),
            Place::Postgres(address) => (connect_postgres(address, POSTGRES_CONNECTIONS).await?, None),
        };
        Ok(Self { connection, url: url.clone(), writer, changes: Arc::default() })
    }

    /// Where the store is.
    pub fn url(&self) -> &StoreUrl {
        &self.url
    }

    /// Brings the schema to this version and adds the plans that are missing. Any number of processes may do this at
    /// once: one does the work, the others wait for it.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let lock = MigrationLock::take(&self.url).await?;
        let result = self.migrate_locked().await;
        lock.release().await;
        result
    }

    async fn migrate_locked(&self) -> Result<(), StoreError> {
        Migrator::up(&self.connection, None).await?;
        let tx = self.begin().await?;
        for plan in plans::seed() {
            plan_rows::insert_if_absent(&tx, &plan, None).await?;
        }
        tx.commit().await
    }

    /// Whether the database is a file of this process's own rather than a server that other processes use too.
    pub fn is_embedded(&self) -> bool {
        self.writer.is_some()
    }

    /// How many transactions were committed here, by this store and its clones: while it stays the same, no other answer has come
    /// to be by what this process does. What other processes change is not counted.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.connection.ping().await?)
    }

    /// Begins a transaction. It is rolled back when it is dropped without [`Tx::commit`].
    ///
    /// On SQLite it holds the only right to write until then: do not begin a second one inside.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let permit = match &self.writer {
            None => None,
            Some(writer) => {
                let waited = tokio::time::timeout(WAIT, Arc::clone(writer).acquire_owned()).await;
                let permit = waited.map_err(|elapsed| StoreError::Unavailable(Box::new(elapsed)))?;
                Some(permit.map_err(|closed| StoreError::Unavailable(Box::new(closed)))?)
            }
        };
        let options = TransactionOptions {
            sqlite_transaction_mode: self.writer.as_ref().map(|_| SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let inner = self.connection.begin_with_options(options).await?;
        Ok(Tx::new(inner, Arc::clone(&self.changes), permit))
    }

    /// A store in memory that counts the statements it sends.
    #[cfg(test)]
    pub(super) async fn counted() -> Result<(Self, Arc<std::sync::atomic::AtomicUsize>), StoreError> {
        // A second connection would have a database of its own.
        let mut connection = Database::connect(options("sqlite::memory:", 1)).await?;
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        connection.set_metric_callback(move |_| {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        });
        let url = StoreUrl(Place::Sqlite(PathBuf::from("memory")));
        let writer = Some(Arc::new(Semaphore::new(1)));
        let store = Self { connection, url, writer, changes: Arc::default() };
        store.migrate_locked().await?;
        Ok((store, count))
    }

    /// Closes every connection; clones can no longer be used.
    pub async fn close(&self) -> Result<(), StoreError> {
        Ok(self.connection.close_by_ref().await?)
    }
}

fn options(url: &str, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options.max_connections(connections).acquire_timeout(WAIT).connect_timeout(WAIT).sqlx_logging(false);
    options
}

pub(super) async fn connect_postgres(address: &::url::Url, connections: u32) -> Result<DatabaseConnection, StoreError> {
    let mut options = options(address.as_str(), connections);
    options.map_sqlx_postgres_opts(|options| options.application_name("hexabase").statement_cache_capacity(STATEMENTS));
    Ok(Database::connect(options).await?)
}

async fn connect_sqlite(path: &Path) -> Result<DatabaseConnection, StoreError> {
    create_private(path.to_owned()).await?;
    let mut options = options("sqlite://file", SQLITE_CONNECTIONS);
    let path = path.to_owned();
    options.map_sqlx_sqlite_opts(move |options| {
        options
            .filename(&path)
            .foreign_keys(true)
            .busy_timeout(SQLITE_BUSY)
            .statement_cache_capacity(STATEMENTS)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
    });
    Ok(Database::connect(options).await?)
}

/// Makes the file readable by its owner only; SQLite gives its journals the same mode.
async fn create_private(path: PathBuf) -> Result<(), StoreError> {
    let made = tokio::task::spawn_blocking(move || {
        std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
    });
    let made = made.await.map_err(|error| StoreError::Other(Box::new(error)))?;
    made.map_err(|error| StoreError::Unavailable(Box::new(error)))
}
