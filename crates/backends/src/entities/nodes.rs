//! Nodes of the host that are kept for workspaces.

/// A node, and the workspace that has it.
pub(crate) mod host_node {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "host_nodes")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        pub workspace_id: Option<String>,
        pub state: String,
        pub message: Option<String>,
        pub claimed_at: Option<i64>,
        pub changed_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
