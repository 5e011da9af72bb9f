//! The lock under which migrations run: SeaORM takes none, and two migrators at once make one of them fail.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use sea_orm::{ConnectionTrait, DatabaseConnection};

use super::StoreError;
use super::connect::connect_postgres;
use super::url::{Place, StoreUrl};

/// The number of the advisory lock, the same in every version: "hexabase" in ASCII.
const ADVISORY_LOCK: i64 = i64::from_be_bytes(*b"hexabase");

pub(super) enum MigrationLock {
    /// Held by a connection of its own: the lock belongs to the database session.
    Postgres(DatabaseConnection),
    Sqlite(File),
}

impl MigrationLock {
    pub(super) async fn take(url: &StoreUrl) -> Result<Self, StoreError> {
        match &url.0 {
            Place::Postgres(address) => {
                let connection = connect_postgres(address, 1).await?;
                connection.execute_unprepared(&format!("SELECT pg_advisory_lock({ADVISORY_LOCK})")).await?;
                Ok(Self::Postgres(connection))
            }
            Place::Sqlite(path) => {
                let mut name = path.clone().into_os_string();
                name.push(".migrate-lock");
                let path = PathBuf::from(name);
                let locked = tokio::task::spawn_blocking(move || {
                    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
                    file.lock()?;
                    Ok::<_, std::io::Error>(file)
                });
                let locked = locked.await.map_err(|error| StoreError::Other(Box::new(error)))?;
                locked.map(Self::Sqlite).map_err(|error| StoreError::Unavailable(Box::new(error)))
            }
        }
    }

    /// Closing is releasing, on both engines; an error here means that the session is gone, and the lock with it.
    pub(super) async fn release(self) {
        match self {
            Self::Postgres(connection) => {
                if let Err(error) = connection.close().await {
                    tracing::warn!(error = %error, "closing the connection of the migration lock failed");
                }
            }
            Self::Sqlite(file) => drop(file),
        }
    }
}
