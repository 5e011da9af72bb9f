//! Invitations into organisations.

/// An invitation.
pub(crate) mod invitation {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "invitations")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub organization_id: String,
        pub address: String,
        pub address_key: String,
        pub pending_key: Option<String>,
        pub role: String,
        pub invited_to: String,
        pub language: String,
        pub token_hash: String,
        pub token_sealed: Option<Vec<u8>>,
        pub invited_by: String,
        pub created_at: i64,
        pub expires_at: i64,
        pub accepted_by: Option<String>,
        pub accepted_at: Option<i64>,
        pub revoked_at: Option<i64>,
        pub mail_state: Option<String>,
        pub mail_message: Option<String>,
        pub resent: i64,
        pub resent_since: i64,
        pub resent_lately: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
