//! People and the outside identities they sign in with.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::{create, index, references};

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            create("users")
                .col(text("id").primary_key())
                .col(text("display_name"))
                .col(text_null("email"))
                .col(boolean("email_verified"))
                .col(text_null("email_key"))
                .col(big_integer("created_at"))
                .to_owned(),
        )
        .await?;
    index(manager, "users_by_email", "users", &["email_key"]).await?;
    manager
        .create_table(
            create("identities")
                .col(text("issuer"))
                .col(text("subject"))
                .col(text("user_id"))
                .col(big_integer("created_at"))
                .primary_key(Index::create().col("issuer").col("subject"))
                .foreign_key(&mut references("identities", &["user_id"], "users", &["id"]))
                .to_owned(),
        )
        .await?;
    index(manager, "identities_by_user", "identities", &["user_id"]).await?;
    Ok(())
}
