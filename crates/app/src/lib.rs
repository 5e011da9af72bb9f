//! Use cases and jobs: who may do what, what it changes, and what has to follow.
//!
//! Every use case takes the [`App`] and an [`OpContext`] first, authorises, checks limits inside the transaction that uses
//! them up, writes rows and the job that carries them out in one commit, and only then rings the bell. Jobs run later, in
//! the worker, from the row alone. The transport is not known here: texts are sentences, statuses are made in `server`.
//!
//! ```text
//! server ──► use case ──► Tx { rows + job } ──► bell ──► worker ──► jobs::run ──► reconcile ──► Tx { status + event }
//! ```

pub mod access;
pub mod audit;
pub mod authz;
pub mod break_glass;
pub mod clock;
pub mod context;
pub mod error;
pub mod events;
pub mod gateway;
pub mod groups;
pub mod housekeeping;
pub mod identities;
pub mod inside;
pub mod invitations;
pub mod issuer;
pub mod jobs;
pub mod keys;
mod leaving;
pub mod leftovers;
mod looks;
pub mod members;
pub mod nodes;
pub mod oauth;
mod operator;
pub mod organization_members;
pub mod organization_quota;
pub mod organizations;
mod plan_change;
pub mod plan_terms;
pub mod plans;
pub mod projects;
pub mod quota;
pub mod role_assignments;
pub mod roles;
pub mod service_account_tokens;
pub mod service_accounts;
pub mod sessions;
pub mod sleep;
mod standing;
mod tenant;
pub mod tokens;
mod user_agent;
pub mod users;
mod waiting;
pub mod workspaces;

pub use context::{App, Credential, OpContext, Origin, Settings};
pub use error::{Error, Result};
