//! Custom roles of workspaces and projects.

/// A custom role.
pub(crate) mod role {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "roles")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub workspace_id: String,
        pub project_id: Option<String>,
        pub target: String,
        pub name: String,
        pub rules: String,
        pub accepted: Option<String>,
        pub phase: String,
        pub message: Option<String>,
        pub created_by: String,
        pub changed_by: String,
        pub created_at: i64,
        pub changed_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
