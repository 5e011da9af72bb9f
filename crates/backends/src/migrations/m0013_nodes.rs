//! Nodes of the host that are kept for workspaces, and which workspace has which.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::{create, index, references};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0013_nodes"
    }
}

/// Plans that promised nodes of its own to a workspace said not how many.
const FILL: &str = "UPDATE plan_versions SET max_nodes = 3 WHERE dedicated_nodes";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// Half of it could not be begun again.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in [
            ("plan_versions", big_integer("max_nodes").default(0).to_owned()),
            ("workspaces", big_integer("nodes_wanted").default(0).to_owned()),
            ("workspaces", big_integer_null("nodes_since").to_owned()),
            ("workspaces", text("placed").default("shared").to_owned()),
            ("workspaces", text_null("nodes_message").to_owned()),
        ] {
            manager.alter_table(Table::alter().table(table).add_column(column).to_owned()).await?;
        }
        manager.get_connection().execute_unprepared(FILL).await?;
        manager.alter_table(Table::alter().table("plan_versions").drop_column("dedicated_nodes").to_owned()).await?;
        // The name is the key: a node is nobody's or one workspace's.
        manager
            .create_table(
                create("host_nodes")
                    .col(text("name").primary_key())
                    .col(text_null("workspace_id"))
                    .col(text("state"))
                    .col(text_null("message"))
                    .col(big_integer_null("claimed_at"))
                    .col(big_integer("changed_at"))
                    .foreign_key(&mut references("host_nodes", &["workspace_id"], "workspaces", &["id"]))
                    .to_owned(),
            )
            .await?;
        index(manager, "host_nodes_by_workspace", "host_nodes", &["workspace_id"]).await?;
        index(manager, "host_nodes_by_state", "host_nodes", &["state", "name"]).await
    }
}

#[cfg(test)]
mod tests {
    use hexabase_testkit::store::{Engine, TestStore};
    use sea_orm::{ConnectionTrait, Database, Statement};
    use sea_orm_migration::MigratorTrait as _;

    use crate::migrations::Migrator;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_plan_that_promised_nodes_gives_some_and_the_others_none() -> anyhow::Result<()> {
        for engine in [Engine::Sqlite, Engine::Postgres] {
            let store = TestStore::empty(engine).await?;
            let db = Database::connect(store.address()).await?;
            Migrator::up(&db, Some(9)).await?;
            for (id, dedicated) in [("large", true), ("small", false)] {
                let values = format!("'{id}', 'Plan', 500, 1024, 2048, 3, 2, 4, 5, 700, 'JPY', {dedicated}, true, 9");
                db.execute_unprepared(&format!("INSERT INTO plans VALUES ({values})")).await?;
            }
            Migrator::up(&db, None).await?;
            let query = "SELECT plan_id || max_nodes AS it FROM plan_versions ORDER BY plan_id";
            let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), query)).await?;
            let found: Vec<String> = rows.iter().map(|row| row.try_get("", "it")).collect::<Result<_, _>>()?;
            assert_eq!(found, ["large3", "small0"]);
        }
        Ok(())
    }
}
