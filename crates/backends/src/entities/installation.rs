//! What belongs to the installation itself: signing keys and how long others keep them, settings, plans and their versions.

/// A key that signs tokens.
pub(crate) mod signing_key {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "signing_keys")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub kid: String,
        pub algorithm: String,
        pub private_sealed: Vec<u8>,
        pub public_jwk: String,
        pub publish_from: i64,
        pub sign_from: i64,
        pub sign_until: Option<i64>,
        pub publish_until: Option<i64>,
        pub purpose: String,
        pub public_sealed: Option<Vec<u8>>,
        pub made_by: Option<String>,
        pub revoked_at: Option<i64>,
        pub revoked_by: Option<String>,
        pub revoked_because: Option<String>,
        pub told_at: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A max-age under which the key set was served.
pub(crate) mod key_set_age {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "key_set_ages")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub max_age: i64,
        pub held_until: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// One named value.
pub(crate) mod setting {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "settings")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub key: String,
        pub value: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A plan.
pub(crate) mod plan {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "plans")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub active: bool,
        pub display_order: i32,
        pub version: i64,
        pub retired_by: Option<String>,
        pub retired_at: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What a plan says in one of its versions.
pub(crate) mod plan_version {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "plan_versions")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub plan_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub version: i64,
        pub display_name: String,
        pub cpu_millis: i64,
        pub memory_bytes: i64,
        pub storage_bytes: i64,
        pub pods: i64,
        pub services: i64,
        pub load_balancers: i64,
        pub persistent_volume_claims: i64,
        pub objects: i64,
        pub projects: i64,
        pub members: i64,
        pub workspaces: i64,
        pub price_minor: i64,
        pub currency: String,
        pub max_nodes: i64,
        pub kubernetes: Option<String>,
        pub sleep_after_minutes: Option<i64>,
        pub store: String,
        pub made_by: Option<String>,
        pub made_at: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
