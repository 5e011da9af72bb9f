use std::os::unix::fs::PermissionsExt;

use hexabase_backends::store::{Store, StoreError, StoreUrl, plans, settings};
use hexabase_testkit::on_both_engines;
use hexabase_testkit::store::{Engine, TestStore};

async fn eight_migrators(engine: Engine) -> anyhow::Result<()> {
    let store = TestStore::empty(engine).await?;
    let mut migrators = Vec::new();
    for _ in 0..8 {
        let store = store.reconnect().await?;
        migrators.push(tokio::spawn(async move { store.migrate().await }));
    }
    for migrator in migrators {
        migrator.await??;
    }
    assert_eq!(plans::list_active(&*store).await?.len(), 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_migrators_at_once_both_succeed_on_sqlite() -> anyhow::Result<()> {
    eight_migrators(Engine::Sqlite).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_migrators_at_once_both_succeed_on_postgres() -> anyhow::Result<()> {
    eight_migrators(Engine::Postgres).await
}

on_both_engines! {
    async fn a_new_store_offers_the_plans_of_core(store: TestStore) {
        assert_eq!(plans::list_active(&*store).await?, hexabase_core::plans::seed());
        assert_eq!(plans::get(&*store, "free").await?.as_ref(), hexabase_core::plans::seed().first());
        assert_eq!(plans::get(&*store, "none").await?, None);
    }

    async fn migrating_again_changes_no_plan(store: TestStore) {
        store.migrate().await?;
        let tx = store.begin().await?;
        let mut changed = hexabase_core::plans::seed().remove(0);
        changed.price.amount_minor = 1;
        assert!(!plans::insert_if_absent(&tx, &changed, None).await?);
        tx.commit().await?;
        assert_eq!(plans::list_active(&*store).await?, hexabase_core::plans::seed());
    }

    async fn a_dropped_transaction_writes_nothing_and_blocks_nobody(store: TestStore) {
        for number in 0..50 {
            let tx = store.begin().await?;
            assert!(settings::insert_if_none(&tx, "check", &number.to_string()).await?);
            assert_eq!(settings::get(&tx, "check").await?, Some(number.to_string()));
            drop(tx);
        }
        assert_eq!(settings::get(&*store, "check").await?, None);
    }

    async fn two_hundred_writers_at_once_all_succeed(store: TestStore) {
        let mut writers = Vec::new();
        for number in 0..200 {
            let store = (*store).clone();
            writers.push(tokio::spawn(async move {
                let tx = store.begin().await?;
                // Read, then write: with a deferred transaction most of these fail on SQLite.
                settings::get(&tx, "first").await?;
                settings::insert_if_none(&tx, &number.to_string(), "value").await?;
                tx.commit().await
            }));
        }
        for writer in writers {
            writer.await??;
        }
    }

    async fn of_two_who_write_a_setting_first_one_wins(store: TestStore) {
        let other = store.reconnect().await?;
        let tx = store.begin().await?;
        assert!(settings::insert_if_none(&tx, "check", "first").await?);
        let second = tokio::spawn(async move {
            let tx = other.begin().await?;
            let inserted = settings::insert_if_none(&tx, "check", "second").await?;
            tx.commit().await?;
            Ok::<_, StoreError>(inserted)
        });
        tx.commit().await?;
        assert!(!second.await??);
        assert_eq!(settings::get(&*store, "check").await?.as_deref(), Some("first"));
    }
}

#[tokio::test]
async fn the_sqlite_file_is_readable_by_its_owner_only() -> anyhow::Result<()> {
    let store = TestStore::new(Engine::Sqlite).await?;
    let path = store.address().trim_start_matches("sqlite://").to_owned();
    for suffix in ["", "-wal", "-shm", ".migrate-lock"] {
        let mode = std::fs::metadata(format!("{path}{suffix}"))?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{suffix}");
    }
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_not_there_is_unavailable() -> anyhow::Result<()> {
    let url: StoreUrl = "sqlite:///no/such/folder/hexabase.db".parse()?;
    assert!(matches!(Store::connect(&url).await, Err(StoreError::Unavailable(_))));
    Ok(())
}

#[test]
fn an_address_is_shown_without_its_password() {
    let url: StoreUrl = "postgres://hexabase:hunter2@db.example.com:5432/hexabase?sslpassword=hunter2".parse().unwrap();
    for shown in [format!("{url}"), format!("{url:?}")] {
        assert!(shown.contains("db.example.com/hexabase") && !shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn an_address_of_something_else_is_refused() {
    for bad in
        ["", "sqlite://", "sqlite::memory:", "sqlite://file::memory:", "mysql://host/db", "postgres://host", "/x.db"]
    {
        assert!(bad.parse::<StoreUrl>().is_err(), "{bad}");
    }
}
