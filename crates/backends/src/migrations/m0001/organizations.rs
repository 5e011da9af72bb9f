//! Organisations and who belongs to them.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::{create, index, references, unique};

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            create("organizations")
                .col(text("id").primary_key())
                .col(text("name"))
                .col(text_null("display_name"))
                .col(text_null("personal_of"))
                .col(big_integer("created_at"))
                .col(big_integer_null("deleted_at"))
                .foreign_key(&mut references("organizations", &["personal_of"], "users", &["id"]))
                .to_owned(),
        )
        .await?;
    unique(manager, "organizations_personal_of", "organizations", &["personal_of"]).await?;
    manager
        .create_table(
            create("organization_members")
                .col(text("organization_id"))
                .col(text("user_id"))
                .col(text("role"))
                .col(boolean("through_workspace"))
                .col(big_integer("created_at"))
                .primary_key(Index::create().col("organization_id").col("user_id"))
                .foreign_key(&mut references("organization_members", &["organization_id"], "organizations", &["id"]))
                .foreign_key(&mut references("organization_members", &["user_id"], "users", &["id"]))
                .to_owned(),
        )
        .await?;
    index(manager, "organization_members_by_user", "organization_members", &["user_id"]).await?;
    Ok(())
}
