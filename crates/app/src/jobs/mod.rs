//! Jobs: what follows from a change, carried out by whichever worker holds the lease.
//!
//! A job is a row (kind, subject); it is given nothing but that and reads the rest. It never waits: it returns when it
//! wants to run again. Every result is written in a transaction that first checks that the lease is still ours.

mod behind;
mod custom_roles;
mod desired;
mod expiry;
pub(crate) mod follow;
mod keep_nodes;
mod keep_spares;
mod lease;
mod nodes;
mod plan_wish;
mod reconcile_workspace;
mod refresh_tenant_keys;
mod rest;
mod send_invitation_mail;
mod spare;
#[cfg(test)]
mod stage;
mod sweep_host;
mod sweep_store;
mod worker;

pub(crate) use keep_spares::version as version_of_spares;
pub use reconcile_workspace::KIND as RECONCILE_WORKSPACE;
pub use refresh_tenant_keys::KIND as REFRESH_TENANT_KEYS;
pub use send_invitation_mail::KIND as SEND_INVITATION_MAIL;
pub use worker::{Worker, WorkerSettings};
