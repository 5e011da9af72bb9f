//! What the OpenID provider remembers between requests.

/// A code handed to a client, good for one use.
pub(crate) mod authorization_code {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "authorization_codes")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub code_hash: String,
        pub session_id: String,
        pub user_id: String,
        pub realm: String,
        pub client_id: String,
        pub redirect_uri: String,
        pub code_challenge: String,
        pub nonce: Option<String>,
        pub scope: String,
        pub created_at: i64,
        pub expires_at: i64,
        pub redeemed_at: Option<i64>,
        pub auth_time: Option<i64>,
        pub claims: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A sign-in that began on a device without a browser.
pub(crate) mod device_code {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "device_codes")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub device_code_hash: String,
        pub user_code: String,
        pub realm: String,
        pub client_id: String,
        pub scope: String,
        pub state: String,
        pub user_id: Option<String>,
        pub session_id: Option<String>,
        pub created_at: i64,
        pub expires_at: i64,
        pub interval_s: i64,
        pub last_polled_at: Option<i64>,
        pub auth_time: Option<i64>,
        pub label: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A refresh token; using it makes the next one.
pub(crate) mod refresh_token {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "refresh_tokens")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub token_hash: String,
        pub session_id: String,
        pub user_id: String,
        pub realm: String,
        pub client_id: String,
        pub scope: String,
        pub created_at: i64,
        pub expires_at: i64,
        pub rotated_at: Option<i64>,
        pub replaced_by: Option<String>,
        pub auth_time: Option<i64>,
        pub claims: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A program that a browser's person has let in.
pub(crate) mod client_confirmation {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "client_confirmations")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub session_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub realm: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub client_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub redirect_host: String,
        pub created_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
