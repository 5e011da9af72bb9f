//! Workspaces, their steps and their people.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::{create, index, references, unique};

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            create("workspaces")
                .col(text("id").primary_key())
                .col(text("organization_id"))
                .col(text("name"))
                .col(text_null("living_name"))
                .col(text("plan_id"))
                .col(text("phase"))
                .col(text_null("step"))
                .col(text_null("message"))
                .col(text("desired"))
                .col(text("created_by"))
                .col(big_integer("created_at"))
                .col(big_integer("updated_at"))
                .col(big_integer_null("ready_at"))
                .col(big_integer_null("deleting_at"))
                .col(big_integer_null("deleted_at"))
                .col(text_null("endpoint"))
                .col(text_null("ca_pem"))
                .col(text_null("receipt"))
                .col(big_integer("version"))
                .foreign_key(&mut references("workspaces", &["organization_id"], "organizations", &["id"]))
                .foreign_key(&mut references("workspaces", &["plan_id"], "plans", &["id"]))
                .foreign_key(&mut references("workspaces", &["created_by"], "users", &["id"]))
                .to_owned(),
        )
        .await?;
    unique(manager, "workspaces_living_name", "workspaces", &["organization_id", "living_name"]).await?;
    index(manager, "workspaces_by_organization", "workspaces", &["organization_id", "id"]).await?;
    manager
        .create_table(
            create("workspace_steps")
                .col(text("workspace_id"))
                .col(text("step"))
                .col(text("state"))
                .col(text_null("message"))
                .col(big_integer("started_at"))
                .col(big_integer_null("finished_at"))
                .primary_key(Index::create().col("workspace_id").col("step"))
                .foreign_key(&mut references("workspace_steps", &["workspace_id"], "workspaces", &["id"]))
                .to_owned(),
        )
        .await?;
    manager
        .create_table(
            create("workspace_members")
                .col(text("workspace_id"))
                .col(text("user_id"))
                .col(text("added_by"))
                .col(big_integer("created_at"))
                .primary_key(Index::create().col("workspace_id").col("user_id"))
                .foreign_key(&mut references("workspace_members", &["workspace_id"], "workspaces", &["id"]))
                .foreign_key(&mut references("workspace_members", &["user_id"], "users", &["id"]))
                .foreign_key(&mut references("workspace_members", &["added_by"], "users", &["id"]))
                .to_owned(),
        )
        .await?;
    index(manager, "workspace_members_by_user", "workspace_members", &["user_id"]).await?;
    Ok(())
}
