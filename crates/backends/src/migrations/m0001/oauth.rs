//! What the OpenID provider remembers between requests.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::{create, index, references, unique};

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            create("authorization_codes")
                .col(text("code_hash").primary_key())
                .col(text("session_id"))
                .col(text("user_id"))
                .col(text("realm"))
                .col(text("client_id"))
                .col(text("redirect_uri"))
                .col(text("code_challenge"))
                .col(text_null("nonce"))
                .col(text("scope"))
                .col(big_integer("created_at"))
                .col(big_integer("expires_at"))
                .col(big_integer_null("redeemed_at"))
                .foreign_key(&mut references("authorization_codes", &["session_id"], "sessions", &["id"]))
                .foreign_key(&mut references("authorization_codes", &["user_id"], "users", &["id"]))
                .to_owned(),
        )
        .await?;
    index(manager, "authorization_codes_by_expiry", "authorization_codes", &["expires_at"]).await?;
    manager
        .create_table(
            create("device_codes")
                .col(text("device_code_hash").primary_key())
                .col(text("user_code"))
                .col(text("realm"))
                .col(text("client_id"))
                .col(text("scope"))
                .col(text("state"))
                .col(text_null("user_id"))
                .col(text_null("session_id"))
                .col(big_integer("created_at"))
                .col(big_integer("expires_at"))
                .col(big_integer("interval_s"))
                .col(big_integer_null("last_polled_at"))
                .foreign_key(&mut references("device_codes", &["user_id"], "users", &["id"]))
                .foreign_key(&mut references("device_codes", &["session_id"], "sessions", &["id"]))
                .to_owned(),
        )
        .await?;
    unique(manager, "device_codes_user_code", "device_codes", &["user_code"]).await?;
    index(manager, "device_codes_by_expiry", "device_codes", &["expires_at"]).await?;
    manager
        .create_table(
            create("refresh_tokens")
                .col(text("token_hash").primary_key())
                .col(text("session_id"))
                .col(text("user_id"))
                .col(text("realm"))
                .col(text("client_id"))
                .col(text("scope"))
                .col(big_integer("created_at"))
                .col(big_integer("expires_at"))
                .col(big_integer_null("rotated_at"))
                .col(text_null("replaced_by"))
                .foreign_key(&mut references("refresh_tokens", &["session_id"], "sessions", &["id"]))
                .foreign_key(&mut references("refresh_tokens", &["user_id"], "users", &["id"]))
                .to_owned(),
        )
        .await?;
    index(manager, "refresh_tokens_by_session", "refresh_tokens", &["session_id"]).await?;
    index(manager, "refresh_tokens_by_expiry", "refresh_tokens", &["expires_at"]).await?;
    Ok(())
}
