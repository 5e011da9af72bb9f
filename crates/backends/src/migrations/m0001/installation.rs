//! What belongs to the installation itself: signing keys, settings, plans.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::create;

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            create("signing_keys")
                .col(text("kid").primary_key())
                .col(text("algorithm"))
                .col(binary("private_sealed"))
                .col(text("public_jwk"))
                .col(big_integer("publish_from"))
                .col(big_integer("sign_from"))
                .col(big_integer_null("sign_until"))
                .col(big_integer_null("publish_until"))
                .to_owned(),
        )
        .await?;
    manager.create_table(create("settings").col(text("key").primary_key()).col(text("value")).to_owned()).await?;
    manager
        .create_table(
            create("plans")
                .col(text("id").primary_key())
                .col(text("display_name"))
                .col(big_integer("cpu_millis"))
                .col(big_integer("memory_bytes"))
                .col(big_integer("storage_bytes"))
                .col(big_integer("pods"))
                .col(big_integer("projects"))
                .col(big_integer("members"))
                .col(big_integer("workspaces"))
                .col(big_integer("price_minor"))
                .col(text("currency"))
                .col(boolean("dedicated_nodes"))
                .col(boolean("active"))
                .col(integer("display_order"))
                .to_owned(),
        )
        .await?;
    Ok(())
}
