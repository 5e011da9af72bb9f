//! Workspaces, their steps and their people.

/// A workspace.
pub(crate) mod workspace {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "workspaces")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub organization_id: String,
        pub name: String,
        pub living_name: Option<String>,
        pub plan_id: String,
        pub phase: String,
        pub step: Option<String>,
        pub message: Option<String>,
        pub desired: String,
        pub created_by: String,
        pub created_at: i64,
        pub updated_at: i64,
        pub ready_at: Option<i64>,
        pub deleting_at: Option<i64>,
        pub deleted_at: Option<i64>,
        pub endpoint: Option<String>,
        pub ca_pem: Option<String>,
        pub receipt: Option<String>,
        pub version: i64,
        pub plan_version: i64,
        pub desired_since: Option<i64>,
        pub last_used_at: Option<i64>,
        pub sleep_rule: Option<String>,
        pub sleep_rule_at: Option<i64>,
        pub removal_at: Option<i64>,
        pub moved_at: Option<i64>,
        pub used: Option<String>,
        pub nodes_wanted: i64,
        pub nodes_since: Option<i64>,
        pub placed: String,
        pub nodes_message: Option<String>,
        pub plan_wish: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A workspace that was made ahead and is nobody's.
pub(crate) mod spare_workspace {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "spare_workspaces")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub version: String,
        pub state: String,
        pub message: Option<String>,
        pub created_at: i64,
        pub changed_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// How far one step of a workspace is.
pub(crate) mod workspace_step {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "workspace_steps")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub workspace_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub step: String,
        pub state: String,
        pub message: Option<String>,
        pub started_at: i64,
        pub finished_at: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A person with access to a workspace.
pub(crate) mod workspace_member {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "workspace_members")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub workspace_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_id: String,
        pub added_by: String,
        pub created_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
