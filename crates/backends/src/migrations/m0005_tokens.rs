//! Credentials: where sessions are used from, API tokens, service accounts, and break-glass.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::{create, index, references, unique};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0005_tokens"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        add(manager, "sessions", text_null("created_from")).await?;
        add(manager, "sessions", text_null("last_seen_from")).await?;
        add(manager, "users", text("kind").default("person").to_owned()).await?;
        add(manager, "users", text_null("service_of")).await?;
        add(manager, "users", big_integer_null("deleted_at")).await?;
        index(manager, "users_by_service_of", "users", &["service_of", "id"]).await?;
        manager
            .create_table(
                create("api_tokens")
                    .col(text("id").primary_key())
                    .col(text("user_id"))
                    .col(text("name"))
                    .col(text("token_hash"))
                    .col(text("prefix"))
                    .col(text("access"))
                    .col(text_null("workspace_id"))
                    .col(text("created_by"))
                    .col(big_integer("created_at"))
                    .col(big_integer("expires_at"))
                    .col(big_integer_null("last_used_at"))
                    .col(text_null("last_used_from"))
                    .col(big_integer_null("revoked_at"))
                    .foreign_key(&mut references("api_tokens", &["user_id"], "users", &["id"]))
                    .foreign_key(&mut references("api_tokens", &["created_by"], "users", &["id"]))
                    .foreign_key(&mut references("api_tokens", &["workspace_id"], "workspaces", &["id"]))
                    .to_owned(),
            )
            .await?;
        unique(manager, "api_tokens_token_hash", "api_tokens", &["token_hash"]).await?;
        index(manager, "api_tokens_by_user", "api_tokens", &["user_id", "id"]).await?;
        manager
            .create_table(
                create("break_glass")
                    .col(text("id").primary_key())
                    .col(text("organization_id"))
                    .col(text("user_id"))
                    .col(text("reason"))
                    .col(text("granted_by"))
                    .col(big_integer("started_at"))
                    .col(big_integer("expires_at"))
                    .col(big_integer_null("ended_at"))
                    .foreign_key(&mut references("break_glass", &["organization_id"], "organizations", &["id"]))
                    .foreign_key(&mut references("break_glass", &["user_id"], "users", &["id"]))
                    .to_owned(),
            )
            .await?;
        index(manager, "break_glass_by_user", "break_glass", &["user_id", "organization_id"]).await
    }
}

async fn add(manager: &SchemaManager<'_>, table: &'static str, column: ColumnDef) -> Result<(), DbErr> {
    manager.alter_table(Table::alter().table(table).add_column(column).to_owned()).await
}
