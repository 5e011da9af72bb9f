//! The store: rows of core types on PostgreSQL or SQLite, read and written by free functions, one module per noun.
//!
//! Reads take `&impl Db`, which is the [`Store`] itself or a transaction; writes take a [`Tx`]. Lists are ordered by
//! id, hold at most [`MAX_PAGE`] rows, and go on after the last id seen.

pub mod api_tokens;
pub mod audit;
pub mod authorization_codes;
pub mod break_glass;
pub mod client_confirmations;
mod column;
mod connect;
mod db;
pub mod device_codes;
mod digest;
mod error;
pub mod events;
pub mod groups;
pub mod host_nodes;
pub mod idempotency;
pub mod identities;
pub mod invitations;
pub mod jobs;
pub mod leftovers;
mod lock;
pub mod organizations;
pub mod plans;
pub mod projects;
pub mod refresh_tokens;
pub mod role_assignments;
pub mod roles;
pub mod service_account_tokens;
pub mod service_accounts;
pub mod sessions;
pub mod settings;
pub mod signing_keys;
pub mod spare_workspaces;
mod tx;
mod url;
pub mod users;
pub mod workspace_members;
pub mod workspace_steps;
pub mod workspaces;

pub use connect::Store;
pub use db::Db;
pub use digest::{Digest, InvalidDigest};
pub use error::{StoreError, Unique};
pub use tx::Tx;
pub use url::{InvalidStoreUrl, StoreUrl};

/// Most rows that one list returns.
pub const MAX_PAGE: u64 = 500;

fn capped(limit: u64) -> u64 {
    limit.min(MAX_PAGE)
}
