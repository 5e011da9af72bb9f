//! The first schema.

mod groups;
mod installation;
mod oauth;
mod operations;
mod organizations;
mod projects;
mod sessions;
mod users;
mod workspaces;

use sea_orm_migration::prelude::*;

use super::{create, index, references, unique};

pub(super) struct M0001;

impl MigrationName for M0001 {
    fn name(&self) -> &str {
        "m0001_main"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for M0001 {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        users::up(manager).await?;
        organizations::up(manager).await?;
        sessions::up(manager).await?;
        oauth::up(manager).await?;
        installation::up(manager).await?;
        workspaces::up(manager).await?;
        projects::up(manager).await?;
        groups::up(manager).await?;
        operations::up(manager).await?;
        Ok(())
    }
}
