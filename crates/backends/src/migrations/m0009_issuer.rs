//! When people signed in, what ID tokens say about it, and the programs that a browser's person has let in. Who made and
//! revoked signing keys, and what others may still hold of them.

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
            ("sessions", big_integer_null("authenticated_at")),
            ("signing_keys", text("purpose").default("sign").to_owned()),
            ("signing_keys", binary_null("public_sealed")),
            ("signing_keys", text_null("made_by")),
            ("signing_keys", big_integer_null("revoked_at")),
            ("signing_keys", text_null("revoked_by")),
            ("signing_keys", text_null("revoked_because")),
            ("signing_keys", big_integer_null("told_at")),
        ] {
            manager.alter_table(Table::alter().table(table).add_column(column).to_owned()).await?;
        }
        manager
            .create_table(
                create("key_set_ages")
                    .col(big_integer("max_age").primary_key())
                    .col(big_integer("held_until"))
                    .to_owned(),
            )
            .await?;
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
