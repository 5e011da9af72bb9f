//! For which ServiceAccounts inside workspaces people were given tokens.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::{create, references};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0010_service_account_tokens"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                create("service_account_tokens")
                    .col(text("workspace_id"))
                    .col(text("user_id"))
                    .col(text("namespace"))
                    .col(text("service_account"))
                    .col(big_integer("first_at"))
                    .col(big_integer("last_at"))
                    .primary_key(
                        Index::create().col("workspace_id").col("user_id").col("namespace").col("service_account"),
                    )
                    .foreign_key(&mut references("service_account_tokens", &["workspace_id"], "workspaces", &["id"]))
                    .foreign_key(&mut references("service_account_tokens", &["user_id"], "users", &["id"]))
                    .to_owned(),
            )
            .await
    }
}
