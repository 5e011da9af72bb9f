//! Projects of workspaces.

/// A project.
pub(crate) mod project {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "projects")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub workspace_id: String,
        pub name: String,
        pub living_name: Option<String>,
        pub phase: String,
        pub limits: String,
        pub created_by: String,
        pub created_at: i64,
        pub deleted_at: Option<i64>,
        pub parent_id: Option<String>,
        pub labels: String,
        pub pod_security: String,
        pub network: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
