//! The schema's history. It only goes forward; every migration runs in the tests on both engines.
//!
//! To add one: a file `m<number>_<what>.rs` with the tables or columns, one ALTER option per statement (SQLite takes
//! no more), and a line in [`Migrator`].

mod m0001;
mod m0002_audit;
mod m0003_access;
mod m0004_identities;
mod m0005_tokens;
mod m0006_invitations;
mod m0008_former_admins;
mod m0009_issuer;
mod m0010_service_account_tokens;
mod m0011_plan_versions;
mod m0012_sleep;
mod m0013_nodes;

use sea_orm_migration::prelude::*;

pub(crate) struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001::M0001),
            Box::new(m0002_audit::Migration),
            Box::new(m0003_access::Migration),
            Box::new(m0004_identities::Migration),
            Box::new(m0005_tokens::Migration),
            Box::new(m0006_invitations::Migration),
            Box::new(m0008_former_admins::Migration),
            Box::new(m0009_issuer::Migration),
            Box::new(m0010_service_account_tokens::Migration),
            Box::new(m0011_plan_versions::Migration),
            Box::new(m0012_sleep::Migration),
            Box::new(m0013_nodes::Migration),
        ]
    }
}

fn create(table: &'static str) -> TableCreateStatement {
    Table::create().table(table).if_not_exists().to_owned()
}

fn references(
    table: &'static str,
    columns: &[&'static str],
    to_table: &'static str,
    to_columns: &[&'static str],
) -> ForeignKeyCreateStatement {
    let mut key = ForeignKey::create();
    key.from_tbl(table).to_tbl(to_table);
    for column in columns {
        key.from_col(*column);
    }
    for column in to_columns {
        key.to_col(*column);
    }
    key
}

async fn unique(
    manager: &SchemaManager<'_>,
    name: &'static str,
    table: &'static str,
    columns: &[&'static str],
) -> Result<(), DbErr> {
    let mut index = Index::create();
    index.name(name).table(table).unique().if_not_exists();
    for column in columns {
        index.col(*column);
    }
    manager.create_index(index).await
}

async fn index(
    manager: &SchemaManager<'_>,
    name: &'static str,
    table: &'static str,
    columns: &[&'static str],
) -> Result<(), DbErr> {
    let mut index = Index::create();
    index.name(name).table(table).if_not_exists();
    for column in columns {
        index.col(*column);
    }
    manager.create_index(index).await
}
