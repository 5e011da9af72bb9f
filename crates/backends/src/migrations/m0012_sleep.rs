//! Sleep and waking, deletions that can be undone, smaller plans that were asked for, and workspaces that are made ahead.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::{create, index};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0012_sleep"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// Half of it could not be begun again.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let add = |column: ColumnDef| Table::alter().table("workspaces").add_column(column).to_owned();
        manager.alter_table(add(big_integer_null("desired_since").to_owned())).await?;
        manager.alter_table(add(big_integer_null("last_used_at").to_owned())).await?;
        manager.alter_table(add(text_null("sleep_rule").to_owned())).await?;
        manager.alter_table(add(big_integer_null("sleep_rule_at").to_owned())).await?;
        manager.alter_table(add(big_integer_null("removal_at").to_owned())).await?;
        manager.alter_table(add(text_null("plan_wish").to_owned())).await?;
        manager
            .create_table(
                create("spare_workspaces")
                    .col(text("id").primary_key())
                    .col(text("version"))
                    .col(text("state"))
                    .col(text_null("message"))
                    .col(big_integer("created_at"))
                    .col(big_integer("changed_at"))
                    .to_owned(),
            )
            .await?;
        index(manager, "spare_workspaces_by_state", "spare_workspaces", &["state", "id"]).await
    }
}
