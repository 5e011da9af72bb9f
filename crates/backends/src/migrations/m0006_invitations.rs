//! Invitations into organisations.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::{create, index, references, unique};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0006_invitations"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = "invitations";
        manager
            .create_table(
                create(table)
                    .col(text("id").primary_key())
                    .col(text("organization_id"))
                    .col(text("address"))
                    .col(text("address_key"))
                    .col(text_null("pending_key"))
                    .col(text("role"))
                    .col(text("invited_to"))
                    .col(text("language"))
                    .col(text("token_hash"))
                    .col(binary_null("token_sealed"))
                    .col(text("invited_by"))
                    .col(big_integer("created_at"))
                    .col(big_integer("expires_at"))
                    .col(text_null("accepted_by"))
                    .col(big_integer_null("accepted_at"))
                    .col(big_integer_null("revoked_at"))
                    .col(text_null("mail_state"))
                    .col(text_null("mail_message"))
                    .col(big_integer("resent"))
                    .col(big_integer("resent_since"))
                    .col(big_integer("resent_lately"))
                    .foreign_key(&mut references(table, &["organization_id"], "organizations", &["id"]))
                    .foreign_key(&mut references(table, &["invited_by"], "users", &["id"]))
                    .foreign_key(&mut references(table, &["accepted_by"], "users", &["id"]))
                    .to_owned(),
            )
            .await?;
        unique(manager, "invitations_token_hash", table, &["token_hash"]).await?;
        unique(manager, "invitations_pending_key", table, &["organization_id", "pending_key"]).await?;
        index(manager, "invitations_by_organization", table, &["organization_id", "id"]).await?;
        index(manager, "invitations_by_address", table, &["organization_id", "address_key", "created_at"]).await
    }
}
