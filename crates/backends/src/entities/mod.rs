//! The tables as SeaORM sees them: one type per column, no relations, no meaning.
//!
//! Only the noun files of [`store`](crate::store) use these, and turn them into rows of core types.
#![expect(unreachable_pub, reason = "the derives of SeaORM make their types `pub`")]

pub(crate) mod api_tokens;
pub(crate) mod audit;
pub(crate) mod break_glass;
pub(crate) mod groups;
pub(crate) mod installation;
pub(crate) mod invitations;
pub(crate) mod nodes;
pub(crate) mod oauth;
pub(crate) mod operations;
pub(crate) mod organizations;
pub(crate) mod projects;
pub(crate) mod roles;
pub(crate) mod service_account_tokens;
pub(crate) mod sessions;
pub(crate) mod users;
pub(crate) mod workspaces;
