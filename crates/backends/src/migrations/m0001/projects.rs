//! Projects of workspaces.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::{create, references, unique};

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            create("projects")
                .col(text("id").primary_key())
                .col(text("workspace_id"))
                .col(text("name"))
                .col(text_null("living_name"))
                .col(text("phase"))
                .col(text("limits"))
                .col(text("created_by"))
                .col(big_integer("created_at"))
                .col(big_integer_null("deleted_at"))
                .foreign_key(&mut references("projects", &["workspace_id"], "workspaces", &["id"]))
                .foreign_key(&mut references("projects", &["created_by"], "users", &["id"]))
                .to_owned(),
        )
        .await?;
    unique(manager, "projects_living_name", "projects", &["workspace_id", "living_name"]).await?;
    unique(manager, "projects_in_workspace", "projects", &["workspace_id", "id"]).await?;
    Ok(())
}
