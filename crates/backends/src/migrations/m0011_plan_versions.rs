//! Plans get versions and more limits; projects get a share of those, labels and a Pod Security level; organisations can have a
//! quota.

use std::collections::BTreeMap;

use hexabase_core::quota::Amounts;
use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;
use sea_orm_migration::sea_orm::{DbBackend, Statement};

use super::{create, references};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0011_plan_versions"
    }
}

/// What a version says, and the plan itself no more; with what a plan that is made later says there.
const MOVED: [(&str, &str); 11] = [
    ("display_name", "''"),
    ("cpu_millis", "0"),
    ("memory_bytes", "0"),
    ("storage_bytes", "0"),
    ("pods", "0"),
    ("projects", "0"),
    ("members", "0"),
    ("workspaces", "0"),
    ("price_minor", "0"),
    ("currency", "''"),
    ("dedicated_nodes", "false"),
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
    /// Half of it would be a schema on which nothing starts.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        plan_versions(manager).await?;
        let connection = manager.get_connection();
        connection.execute_unprepared(FILL).await?;
        leave_behind(manager).await?;
        let shares = match manager.get_database_backend() {
            DbBackend::Postgres => SHARES_ON_POSTGRES,
            _ => SHARES_ON_SQLITE,
        };
        connection.execute_unprepared(shares).await?;
        give_to_parents(manager).await?;
        for (table, column) in [
            ("plans", big_integer("version").default(1).to_owned()),
            ("organizations", text_null("quota")),
            ("plans", text_null("retired_by")),
            ("plans", big_integer_null("retired_at")),
            // SQLite adds no constraint of several columns to a table; that there is such a version is held by the store.
            ("workspaces", big_integer("plan_version").default(1).to_owned()),
            ("workspaces", big_integer_null("moved_at")),
            ("workspaces", text_null("used")),
            ("projects", text("labels").default("{}").to_owned()),
            // What pods there are in projects was let in at that level.
            ("projects", text("pod_security").default("baseline").to_owned()),
            // And reaches the pods of the others.
            ("projects", text("network").default("open").to_owned()),
        ] {
            manager.alter_table(Table::alter().table(table).add_column(column).to_owned()).await?;
        }
        Ok(())
    }
}

/// On PostgreSQL servers of the version before go on beside the new ones until they are replaced, and read these columns: they
/// stay until a later version drops them. A plan that is made meanwhile gives nothing there. A file of SQLite has one process.
async fn leave_behind(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    for (column, value) in MOVED {
        if manager.get_database_backend() == DbBackend::Postgres {
            let keep = format!("ALTER TABLE plans ALTER COLUMN {column} SET DEFAULT {value}");
            manager.get_connection().execute_unprepared(&keep).await?;
        } else {
            manager.alter_table(Table::alter().table("plans").drop_column(column).to_owned()).await?;
        }
    }
    Ok(())
}

/// So far the limits of a project were those of its own namespace. From now on they contain what is given to the projects below
/// it: each gets as much more as these have, so that for its own namespace the same is left.
async fn give_to_parents(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    const LIVING: &str = "SELECT id, parent_id, limits FROM projects WHERE living_name IS NOT NULL";
    /// Far more than projects stand below each other, should there be a circle.
    const DEEPEST: usize = 64;
    let rows = Statement::from_string(manager.get_database_backend(), LIVING);
    let mut own: BTreeMap<String, (Option<String>, Amounts)> = BTreeMap::new();
    for row in manager.get_connection().query_all_raw(rows).await? {
        let (id, parent, limits): (String, Option<String>, String) =
            (row.try_get("", "id")?, row.try_get("", "parent_id")?, row.try_get("", "limits")?);
        let limits = serde_json::from_str(&limits).map_err(|cause| unreadable(&id, &cause))?;
        own.insert(id, (parent, limits));
    }
    let above = |id: &String| own.get(id).and_then(|(parent, _)| parent.clone());
    let mut shares: BTreeMap<String, Amounts> = BTreeMap::new();
    for (id, (_, limits)) in &own {
        for parent in std::iter::successors(above(id), above).take(DEEPEST) {
            let Some((_, before)) = own.get(&parent) else { break };
            let share = shares.entry(parent).or_insert_with(|| before.clone());
            *share = share.plus(limits);
        }
    }
    for (id, share) in shares {
        let text = serde_json::to_string(&share).map_err(|cause| unreadable(&id, &cause))?;
        let update =
            Query::update().table("projects").value("limits", text).and_where(Expr::col("id").eq(id)).to_owned();
        manager.execute(update).await?;
    }
    Ok(())
}

fn unreadable(id: &str, cause: &serde_json::Error) -> DbErr {
    DbErr::Migration(format!("the limits of the project {id}: {cause}"))
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
    use hexabase_core::quantity::Cpu;
    use hexabase_core::quota::Amounts;
    use hexabase_testkit::store::{Engine, TestStore};
    use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};
    use sea_orm_migration::MigratorTrait as _;

    use crate::migrations::Migrator;

    /// A workspace with projects as they were before: `web`, `api` below it and `deep` below that, and `gone`, which was below
    /// `web` too.
    async fn before(address: &str) -> anyhow::Result<DatabaseConnection> {
        let db = Database::connect(address).await?;
        Migrator::up(&db, Some(9)).await?;
        for sql in [
            "INSERT INTO plans VALUES ('tiny', 'Tiny', 500, 1024, 2048, 3, 2, 4, 5, 700, 'JPY', false, true, 9)",
            "INSERT INTO users (id, display_name, email_verified, created_at) VALUES ('usr-1', 'Ada', false, 7)",
            "INSERT INTO organizations (id, name, created_at) VALUES ('org-1', 'acme', 7)",
            "INSERT INTO workspaces (id, organization_id, name, plan_id, phase, desired, created_by, created_at, updated_at, \
             version) VALUES ('ws-1', 'org-1', 'shop', 'tiny', 'ready', 'present', 'usr-1', 7, 7, 1)",
        ] {
            db.execute_unprepared(sql).await?;
        }
        for (id, parent, living, cpu) in [
            ("web", None, true, 4),
            ("api", Some("web"), true, 2),
            ("deep", Some("api"), true, 1),
            ("gone", Some("web"), false, 4),
        ] {
            let parent = parent.map_or("NULL".to_owned(), |parent| format!("'{parent}'"));
            let living = if living { format!("'{id}'") } else { "NULL".to_owned() };
            let limits = format!(r#"{{"cpu":"{cpu}","memory":"1Gi","storage":"2Gi","pods":3}}"#);
            let sql = format!(
                "INSERT INTO projects (id, workspace_id, name, living_name, parent_id, phase, limits, created_by, created_at) \
                 VALUES ('{id}', 'ws-1', '{id}', {living}, {parent}, 'ready', '{limits}', 'usr-1', 7)"
            );
            db.execute_unprepared(&sql).await?;
        }
        Ok(db)
    }

    async fn texts(db: &DatabaseConnection, sql: &str) -> anyhow::Result<Vec<String>> {
        let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
        rows.iter().map(|row| Ok(row.try_get("", "it")?)).collect()
    }

    async fn limits(db: &DatabaseConnection, id: &str) -> anyhow::Result<Amounts> {
        let text = texts(db, &format!("SELECT limits AS it FROM projects WHERE id = '{id}'")).await?.remove(0);
        Ok(serde_json::from_str(&text)?)
    }

    /// The same on each engine; gone with the store.
    async fn on_each_engine() -> anyhow::Result<Vec<(TestStore, DatabaseConnection)>> {
        let mut all = Vec::new();
        for engine in [Engine::Sqlite, Engine::Postgres] {
            let store = TestStore::empty(engine).await?;
            let db = before(store.address()).await?;
            all.push((store, db));
        }
        Ok(all)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_plan_becomes_its_first_version_and_a_project_keeps_what_it_had() -> anyhow::Result<()> {
        for (_store, db) in on_each_engine().await? {
            Migrator::up(&db, None).await?;
            let plan = "SELECT v.plan_id || v.version || v.display_name || v.services || v.load_balancers || v.objects || \
                 v.currency || v.store || p.version AS it FROM plan_versions v JOIN plans p ON p.id = v.plan_id";
            assert_eq!(texts(&db, plan).await?, ["tiny1Tiny3030JPYsqlite1"]);
            assert_eq!(texts(&db, "SELECT 'v' || plan_version AS it FROM workspaces").await?, ["v1"]);
            let deep = limits(&db, "deep").await?;
            assert_eq!(
                (deep.cpu, deep.services, deep.load_balancers, deep.objects),
                (Cpu::from_millis(1000), 3, 0, 30)
            );
            let marks = "SELECT labels || pod_security || network AS it FROM projects WHERE id = 'web'";
            assert_eq!(texts(&db, marks).await?, ["{}baselineopen"]);
        }
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_project_with_others_below_it_keeps_its_own_namespace_as_large_as_it_was() -> anyhow::Result<()> {
        for (_store, db) in on_each_engine().await? {
            Migrator::up(&db, None).await?;
            let (web, api, deep) = (limits(&db, "web").await?, limits(&db, "api").await?, limits(&db, "deep").await?);
            assert_eq!((web.less(&api).cpu, api.less(&deep).cpu), (Cpu::from_millis(4000), Cpu::from_millis(2000)));
            assert_eq!((web.less(&api).pods, web.less(&api).objects, web.less(&api).memory), (3, 30, deep.memory));
            assert_eq!(limits(&db, "gone").await?.cpu, Cpu::from_millis(4000));
        }
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn on_postgres_servers_of_before_still_read_plans_and_make_workspaces_and_projects() -> anyhow::Result<()> {
        let store = TestStore::empty(Engine::Postgres).await?;
        let db = before(store.address()).await?;
        Migrator::up(&db, None).await?;
        db.execute_unprepared("INSERT INTO plans (id, active, display_order) VALUES ('made-later', true, 8)").await?;
        let plans = "SELECT display_name || cpu_millis || memory_bytes || storage_bytes || pods || projects || members || \
             workspaces || price_minor || currency || dedicated_nodes AS it FROM plans ORDER BY display_order";
        assert_eq!(texts(&db, plans).await?, ["00000000false", "Tiny500102420483245700JPYfalse"]);
        for sql in [
            "INSERT INTO workspaces (id, organization_id, name, plan_id, phase, desired, created_by, created_at, updated_at, \
             version) VALUES ('ws-2', 'org-1', 'office', 'tiny', 'creating', 'present', 'usr-1', 8, 8, 1)",
            "INSERT INTO projects (id, workspace_id, name, phase, limits, created_by, created_at) \
             VALUES ('late', 'ws-2', 'late', 'creating', '{}', 'usr-1', 8)",
        ] {
            db.execute_unprepared(sql).await?;
        }
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn what_fails_halfway_leaves_the_schema_as_it_was() -> anyhow::Result<()> {
        for (_store, db) in on_each_engine().await? {
            db.execute_unprepared("ALTER TABLE projects ADD COLUMN pod_security text").await?;
            assert!(Migrator::up(&db, None).await.is_err());
            db.execute_unprepared("ALTER TABLE projects DROP COLUMN pod_security").await?;
            Migrator::up(&db, None).await?;
            assert_eq!(limits(&db, "web").await?.cpu, Cpu::from_millis(7000));
        }
        Ok(())
    }
}
