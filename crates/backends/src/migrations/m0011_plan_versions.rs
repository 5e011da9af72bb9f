//! Plans get versions and more limits; projects get a share of those, labels and a Pod Security level; organisations can have a
//! quota.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;
use sea_orm_migration::sea_orm::DbBackend;

use super::{create, references};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0011_plan_versions"
    }
}

/// What a version says, and the plan itself no more.
const MOVED: [&str; 11] = [
    "display_name",
    "cpu_millis",
    "memory_bytes",
    "storage_bytes",
    "pods",
    "projects",
    "members",
    "workspaces",
    "price_minor",
    "currency",
    "dedicated_nodes",
];

/// So far each pod had a service and a claim, and ten Secrets and ConfigMaps.
const FILL: &str = "INSERT INTO plan_versions (plan_id, version, display_name, cpu_millis, memory_bytes, storage_bytes, pods, \
     services, load_balancers, persistent_volume_claims, objects, projects, members, workspaces, price_minor, currency, \
     dedicated_nodes, store) \
     SELECT id, 1, display_name, cpu_millis, memory_bytes, storage_bytes, pods, pods, 0, pods, pods * 10, projects, members, \
     workspaces, price_minor, currency, dedicated_nodes, 'sqlite' FROM plans";

/// The same for what projects may use.
const SHARES_ON_POSTGRES: &str = "UPDATE projects SET limits = (limits::jsonb || jsonb_build_object( \
     'services', limits::jsonb -> 'pods', 'load_balancers', 0, 'persistent_volume_claims', limits::jsonb -> 'pods', \
     'objects', (limits::jsonb ->> 'pods')::bigint * 10))::text";
const SHARES_ON_SQLITE: &str = "UPDATE projects SET limits = json_set(limits, \
     '$.services', json_extract(limits, '$.pods'), '$.load_balancers', 0, \
     '$.persistent_volume_claims', json_extract(limits, '$.pods'), '$.objects', json_extract(limits, '$.pods') * 10)";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        plan_versions(manager).await?;
        let connection = manager.get_connection();
        connection.execute_unprepared(FILL).await?;
        for column in MOVED {
            manager.alter_table(Table::alter().table("plans").drop_column(column).to_owned()).await?;
        }
        let shares = match manager.get_database_backend() {
            DbBackend::Postgres => SHARES_ON_POSTGRES,
            _ => SHARES_ON_SQLITE,
        };
        connection.execute_unprepared(shares).await?;
        for (table, column) in [
            ("plans", big_integer("version").default(1).to_owned()),
            ("organizations", text_null("quota")),
            ("plans", text_null("retired_by")),
            ("plans", big_integer_null("retired_at")),
            // SQLite adds no constraint of several columns to a table; that there is such a version is held by the store.
            ("workspaces", big_integer("plan_version").default(1).to_owned()),
            ("projects", text("labels").default("{}").to_owned()),
            // What pods there are in projects was let in at that level.
            ("projects", text("pod_security").default("baseline").to_owned()),
        ] {
            manager.alter_table(Table::alter().table(table).add_column(column).to_owned()).await?;
        }
        Ok(())
    }
}

async fn plan_versions(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            create("plan_versions")
                .col(text("plan_id"))
                .col(big_integer("version"))
                .col(text("display_name"))
                .col(big_integer("cpu_millis"))
                .col(big_integer("memory_bytes"))
                .col(big_integer("storage_bytes"))
                .col(big_integer("pods"))
                .col(big_integer("services"))
                .col(big_integer("load_balancers"))
                .col(big_integer("persistent_volume_claims"))
                .col(big_integer("objects"))
                .col(big_integer("projects"))
                .col(big_integer("members"))
                .col(big_integer("workspaces"))
                .col(big_integer("price_minor"))
                .col(text("currency"))
                .col(boolean("dedicated_nodes"))
                .col(text_null("kubernetes"))
                .col(big_integer_null("sleep_after_minutes"))
                .col(text("store"))
                .col(text_null("made_by"))
                .col(big_integer_null("made_at"))
                .primary_key(Index::create().col("plan_id").col("version"))
                .foreign_key(&mut references("plan_versions", &["plan_id"], "plans", &["id"]))
                .to_owned(),
        )
        .await
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};
    use sea_orm_migration::MigratorTrait as _;

    use crate::migrations::Migrator;

    async fn texts(db: &DatabaseConnection, sql: &str) -> Vec<String> {
        let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
        rows.iter().map(|row| row.try_get("", "it").unwrap()).collect()
    }

    #[tokio::test]
    async fn a_plan_becomes_its_first_version_and_a_project_keeps_what_it_had() {
        let db = Database::connect("sqlite::memory:").await.unwrap();
        Migrator::up(&db, Some(9)).await.unwrap();
        for sql in [
            "INSERT INTO plans VALUES ('tiny', 'Tiny', 500, 1024, 2048, 3, 2, 4, 5, 700, 'JPY', false, true, 9)",
            "INSERT INTO users (id, display_name, email_verified, created_at) VALUES ('usr-1', 'Ada', false, 7)",
            "INSERT INTO organizations (id, name, created_at) VALUES ('org-1', 'acme', 7)",
            "INSERT INTO workspaces (id, organization_id, name, plan_id, phase, desired, created_by, created_at, updated_at, \
             version) VALUES ('ws-1', 'org-1', 'shop', 'tiny', 'ready', 'present', 'usr-1', 7, 7, 1)",
            r#"INSERT INTO projects (id, workspace_id, name, phase, limits, created_by, created_at) VALUES ('prj-1', 'ws-1',
             'web', 'ready', '{"cpu":"1","memory":"1Gi","storage":"2Gi","pods":3}', 'usr-1', 7)"#,
        ] {
            db.execute_unprepared(sql).await.unwrap();
        }
        Migrator::up(&db, None).await.unwrap();
        let plan = "SELECT v.plan_id || v.version || v.display_name || v.services || v.load_balancers || v.objects || v.currency \
             || v.store || p.version AS it FROM plan_versions v JOIN plans p ON p.id = v.plan_id";
        assert_eq!(texts(&db, plan).await, ["tiny1Tiny3030JPYsqlite1"]);
        assert_eq!(texts(&db, "SELECT 'v' || plan_version AS it FROM workspaces").await, ["v1"]);
        let limits = texts(&db, "SELECT limits AS it FROM projects").await.remove(0);
        let limits: hexabase_core::quota::Amounts = serde_json::from_str(&limits).unwrap();
        assert_eq!((limits.services, limits.load_balancers, limits.objects), (3, 0, 30));
        assert_eq!(texts(&db, "SELECT labels || pod_security AS it FROM projects").await, ["{}baseline"]);
    }
}
