//! Who administered an organisation when it was deleted, and what a device that signs in by code calls itself.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::{create, references};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0008_former_admins"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                create("former_admins")
                    .col(text("organization_id"))
                    .col(text("user_id"))
                    .primary_key(Index::create().col("organization_id").col("user_id"))
                    .foreign_key(&mut references("former_admins", &["organization_id"], "organizations", &["id"]))
                    .foreign_key(&mut references("former_admins", &["user_id"], "users", &["id"]))
                    .to_owned(),
            )
            .await?;
        let label = text("label").default("").to_owned();
        manager.alter_table(Table::alter().table("device_codes").add_column(label).to_owned()).await
    }
}
