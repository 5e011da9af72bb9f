//! What ID tokens say about a sign-in, and the programs that a browser's person has let in.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::{create, references};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0009_issuer"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in [
            ("authorization_codes", big_integer_null("auth_time")),
            ("authorization_codes", text_null("claims")),
            ("device_codes", big_integer_null("auth_time")),
            ("refresh_tokens", big_integer_null("auth_time")),
            ("refresh_tokens", text_null("claims")),
        ] {
            manager.alter_table(Table::alter().table(table).add_column(column).to_owned()).await?;
        }
        manager
            .create_table(
                create("client_confirmations")
                    .col(text("session_id"))
                    .col(text("realm"))
                    .col(text("client_id"))
                    .col(text("redirect_host"))
                    .col(big_integer("created_at"))
                    .primary_key(Index::create().col("session_id").col("realm").col("client_id").col("redirect_host"))
                    .foreign_key(
                        references("client_confirmations", &["session_id"], "sessions", &["id"])
                            .on_delete(ForeignKeyAction::Cascade),
                    )
                    .to_owned(),
            )
            .await
    }
}
