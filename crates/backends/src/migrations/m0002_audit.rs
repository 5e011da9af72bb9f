//! The audit log: one chain per organisation and per person.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::{create, index, unique};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0002_audit"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                create("audit_chains")
                    .col(text("chain").primary_key())
                    .col(big_integer("last_seq"))
                    .col(text("last_hash"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                create("audit_entries")
                    .col(text("chain"))
                    .col(big_integer("seq"))
                    .col(text("id"))
                    .col(big_integer("at"))
                    .col(text("actor"))
                    .col(text_null("on_behalf_of"))
                    .col(text("credential"))
                    .col(text_null("source"))
                    .col(text("request_id"))
                    .col(text("action"))
                    .col(text("subject"))
                    .col(text_null("workspace_id"))
                    .col(text_null("before"))
                    .col(text_null("after"))
                    .col(text("previous"))
                    .col(text("hash"))
                    .primary_key(Index::create().col("chain").col("seq"))
                    .to_owned(),
            )
            .await?;
        unique(manager, "audit_entries_id", "audit_entries", &["id"]).await?;
        index(manager, "audit_entries_by_workspace", "audit_entries", &["workspace_id", "seq"]).await
    }
}
