//! A store of its own for each test, on either engine.

use std::ops::Deref;

use anyhow::Context;
use hexabase_backends::store::Store;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::postgres::PostgresServer;

/// The two kinds of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// SQLite, in a file, as in production.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// A store that no other test uses; gone when dropped.
#[derive(Debug)]
pub struct TestStore {
    store: Store,
    engine: Engine,
    address: String,
    _dir: Option<TempDir>,
}

impl Deref for TestStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl TestStore {
    /// A store with the schema of this version.
    pub async fn new(engine: Engine) -> anyhow::Result<Self> {
        match engine {
            Engine::Sqlite => {
                let store = Self::empty(engine).await?;
                store.migrate().await?;
                Ok(store)
            }
            Engine::Postgres => Self::postgres(Some(migrated_template().await?)).await,
        }
    }

    /// A store without a schema.
    pub async fn empty(engine: Engine) -> anyhow::Result<Self> {
        match engine {
            Engine::Sqlite => {
                let dir = tempfile::Builder::new().prefix("hexabase-store-").tempdir()?;
                let path = dir.path().join("hexabase.db");
                let address = format!("sqlite://{}", path.display());
                Ok(Self { store: Store::connect(&address.parse()?).await?, engine, address, _dir: Some(dir) })
            }
            Engine::Postgres => Self::postgres(None).await,
        }
    }

    async fn postgres(template: Option<&'static str>) -> anyhow::Result<Self> {
        let url = tokio::task::spawn_blocking(move || {
            let server = PostgresServer::shared()?;
            anyhow::Ok(server.url(&server.create_database(template)?))
        });
        let address = url.await.context("making a database")??;
        let store = Store::connect(&address.parse()?).await?;
        Ok(Self { store, engine: Engine::Postgres, address, _dir: None })
    }

    /// The kind of database it is on.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Where it is, with everything that is needed to connect by other means.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Another store on the same database, with connections of its own, as another process would have.
    pub async fn reconnect(&self) -> anyhow::Result<Store> {
        Ok(Store::connect(self.store.url()).await?)
    }
}

/// The name of a database with the schema of this version, which is copied faster than it is made.
async fn migrated_template() -> anyhow::Result<&'static str> {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let name = TEMPLATE.get_or_try_init(|| async {
        let made = tokio::task::spawn_blocking(|| {
            let server = PostgresServer::shared()?;
            let name = server.create_database(None)?;
            anyhow::Ok((server.url(&name), name))
        });
        let (url, name) = made.await.context("making the template database")??;
        let store = Store::connect(&url.parse()?).await?;
        store.migrate().await?;
        // A database with connections cannot be copied.
        store.close().await?;
        anyhow::Ok(name)
    });
    Ok(name.await?)
}

/// Makes two tests of each function: one on SQLite, one on PostgreSQL.
///
/// ```text
/// on_both_engines! {
///     async fn nobody_is_there_at_first(store: TestStore) { assert_eq!(..); }
/// }
/// ```
#[macro_export]
macro_rules! on_both_engines {
    ($($(#[$attribute:meta])* async fn $name:ident($store:ident: TestStore) $body:block)*) => {$(
        mod $name {
            use super::*;

            $(#[$attribute])*
            async fn case($store: $crate::store::TestStore) -> anyhow::Result<()> {
                $body
                Ok(())
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn sqlite() -> anyhow::Result<()> {
                case($crate::store::TestStore::new($crate::store::Engine::Sqlite).await?).await
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn postgres() -> anyhow::Result<()> {
                case($crate::store::TestStore::new($crate::store::Engine::Postgres).await?).await
            }
        }
    )*};
}
