//! Custom roles, roles given for a time, and projects below projects.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::{create, index, references, unique};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0003_access"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                create("roles")
                    .col(text("id").primary_key())
                    .col(text("workspace_id"))
                    .col(text_null("project_id"))
                    .col(text("target"))
                    .col(text("name"))
                    .col(text("rules"))
                    .col(text_null("accepted"))
                    .col(text("phase"))
                    .col(text_null("message"))
                    .col(text("created_by"))
                    .col(text("changed_by"))
                    .col(big_integer("created_at"))
                    .col(big_integer("changed_at"))
                    .foreign_key(&mut references("roles", &["workspace_id"], "workspaces", &["id"]))
                    .foreign_key(&mut references(
                        "roles",
                        &["workspace_id", "project_id"],
                        "projects",
                        &["workspace_id", "id"],
                    ))
                    .foreign_key(&mut references("roles", &["created_by"], "users", &["id"]))
                    .foreign_key(&mut references("roles", &["changed_by"], "users", &["id"]))
                    .to_owned(),
            )
            .await?;
        unique(manager, "roles_name", "roles", &["workspace_id", "target", "name"]).await?;
        let add = |table: &'static str, column: ColumnDef| Table::alter().table(table).add_column(column).to_owned();
        manager.alter_table(add("role_assignments", big_integer_null("expires_at").to_owned())).await?;
        // SQLite adds no constraint of several columns to a table; that both are of one workspace is held by the store.
        let parent = text_null("parent_id").extra("REFERENCES projects (id)").to_owned();
        manager.alter_table(add("projects", parent)).await?;
        index(manager, "projects_by_parent", "projects", &["parent_id"]).await
    }
}
