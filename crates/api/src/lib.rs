//! The REST contract: wire types, paging and the error envelope. One file per noun, one noun one name.
//!
//! Types named `XCreate` and `XUpdate` come in, and refuse unknown fields; types named `X` go out, and may gain fields.
//! To add a resource: a file here, its handlers in `server/src/http`, then `cargo xtask gen` for `docs/openapi.json`.

pub mod access;
pub mod audit;
pub mod events;
pub mod groups;
pub mod identities;
pub mod inside;
pub mod invitations;
pub mod members;
pub mod nodes;
mod nullable;
pub mod organizations;
pub mod page;
pub mod plans;
pub mod problem;
pub mod projects;
pub mod quota;
pub mod roles;
pub mod service_account_tokens;
pub mod service_accounts;
pub mod sessions;
pub mod tokens;
pub mod users;
pub mod workspaces;
