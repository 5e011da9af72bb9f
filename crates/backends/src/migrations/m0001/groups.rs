//! Groups of workspaces, who is in them, and the roles they are given.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::{create, index, references, unique};

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            create("groups")
                .col(text("id").primary_key())
                .col(text("workspace_id"))
                .col(text("name"))
                .col(text("display_name"))
                .col(text_null("parent_id"))
                .col(boolean("is_default"))
                .index(Index::create().name("groups_in_workspace").unique().col("workspace_id").col("id"))
                .foreign_key(&mut references("groups", &["workspace_id"], "workspaces", &["id"]))
                .foreign_key(&mut references(
                    "groups",
                    &["workspace_id", "parent_id"],
                    "groups",
                    &["workspace_id", "id"],
                ))
                .to_owned(),
        )
        .await?;
    unique(manager, "groups_name", "groups", &["workspace_id", "name"]).await?;
    manager
        .create_table(
            create("group_members")
                .col(text("group_id"))
                .col(text("user_id"))
                .col(text("workspace_id"))
                .primary_key(Index::create().col("group_id").col("user_id"))
                .foreign_key(&mut references(
                    "group_members",
                    &["workspace_id", "group_id"],
                    "groups",
                    &["workspace_id", "id"],
                ))
                .foreign_key(&mut references(
                    "group_members",
                    &["workspace_id", "user_id"],
                    "workspace_members",
                    &["workspace_id", "user_id"],
                ))
                .to_owned(),
        )
        .await?;
    index(manager, "group_members_by_user", "group_members", &["workspace_id", "user_id"]).await?;
    manager
        .create_table(
            create("role_assignments")
                .col(text("id").primary_key())
                .col(text("workspace_id"))
                .col(text("group_id"))
                .col(text_null("project_id"))
                .col(text("target"))
                .col(text("role"))
                .col(big_integer("created_at"))
                .foreign_key(&mut references(
                    "role_assignments",
                    &["workspace_id", "group_id"],
                    "groups",
                    &["workspace_id", "id"],
                ))
                .foreign_key(&mut references(
                    "role_assignments",
                    &["workspace_id", "project_id"],
                    "projects",
                    &["workspace_id", "id"],
                ))
                .to_owned(),
        )
        .await?;
    unique(manager, "role_assignments_target", "role_assignments", &["group_id", "target", "role"]).await?;
    index(manager, "role_assignments_by_workspace", "role_assignments", &["workspace_id", "id"]).await?;
    Ok(())
}
