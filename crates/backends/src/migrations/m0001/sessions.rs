//! Signed-in browsers and devices.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::{create, index, references, unique};

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            create("sessions")
                .col(text("id").primary_key())
                .col(text("user_id"))
                .col(text("kind"))
                .col(text_null("token_hash"))
                .col(text("label"))
                .col(big_integer("created_at"))
                .col(big_integer("last_seen_at"))
                .col(big_integer("expires_at"))
                .col(big_integer_null("revoked_at"))
                .foreign_key(&mut references("sessions", &["user_id"], "users", &["id"]))
                .to_owned(),
        )
        .await?;
    unique(manager, "sessions_token_hash", "sessions", &["token_hash"]).await?;
    index(manager, "sessions_by_user", "sessions", &["user_id", "id"]).await?;
    Ok(())
}
