//! Jobs, events, idempotency keys.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::{create, index, unique};

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            create("jobs")
                .col(text("kind"))
                .col(text("subject"))
                .col(big_integer_null("run_at"))
                .col(big_integer("generation"))
                .col(big_integer("attempts"))
                .col(text_null("lease_owner"))
                .col(big_integer("lease_epoch"))
                .col(big_integer_null("lease_expires_at"))
                .col(text_null("last_error"))
                .col(big_integer("created_at"))
                .primary_key(Index::create().col("kind").col("subject"))
                .to_owned(),
        )
        .await?;
    index(manager, "jobs_by_run_at", "jobs", &["run_at"]).await?;
    manager
        .create_table(
            create("events")
                .col(big_integer("seq").primary_key())
                .col(text("id"))
                .col(text("organization_id"))
                .col(text_null("workspace_id"))
                .col(text("kind"))
                .col(text("subject"))
                .col(text("data"))
                .col(big_integer("created_at"))
                .to_owned(),
        )
        .await?;
    unique(manager, "events_id", "events", &["id"]).await?;
    index(manager, "events_by_organization", "events", &["organization_id", "seq"]).await?;
    index(manager, "events_by_workspace", "events", &["workspace_id", "seq"]).await?;
    manager
        .create_table(
            create("event_counter").col(big_integer("id").primary_key()).col(big_integer("last_seq")).to_owned(),
        )
        .await?;
    manager
        .exec_stmt(
            Query::insert()
                .into_table("event_counter")
                .columns(["id", "last_seq"])
                .values_panic([1i64.into(), 0i64.into()])
                .on_conflict(OnConflict::column("id").do_nothing().to_owned())
                .to_owned(),
        )
        .await?;
    manager
        .create_table(
            create("idempotency_keys")
                .col(text("principal"))
                .col(text("key"))
                .col(text("method"))
                .col(text("path"))
                .col(text("body_hash"))
                .col(text("state"))
                .col(integer_null("status"))
                .col(text_null("response"))
                .col(big_integer("created_at"))
                .col(big_integer("expires_at"))
                .primary_key(Index::create().col("principal").col("key"))
                .to_owned(),
        )
        .await?;
    index(manager, "idempotency_keys_by_expiry", "idempotency_keys", &["expires_at"]).await?;
    Ok(())
}
