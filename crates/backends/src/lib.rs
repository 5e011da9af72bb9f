//! What comes in two kinds: the [`Store`](store::Store) on PostgreSQL or SQLite, and with it sealing of secrets at rest
//! and the [`Bell`](bell::Bell) that wakes workers; the [`Mailer`](mail::Mailer) by SMTP or none. The only crate that sees
//! SQL and SMTP.
//!
//! Invariants: one query layer serves both engines; nothing of the database libraries appears in a signature; every
//! word and id read from the database is parsed strictly; what belongs to a tenant is read through a scope
//! ([`OrganizationScope`](store::organizations::OrganizationScope),
//! [`WorkspaceScope`](store::workspaces::WorkspaceScope)), and the functions that jobs and token issuers use without
//! one end in `_for_job` and `_for_issuer`.
//!
//! ```text
//! use case ──► store::<noun>::…(&tx, …) ──► entities ──► PostgreSQL | SQLite      Tx::commit ──► Bell::ring ──► worker
//! ```
//!
//! To add a table: an entity in `entities/`, a migration in `migrations/`, one file in `store/` with a plain row of
//! core types and free functions (reads take `&impl Db`, writes take `&Tx`), and a suite in `tests/it/` that runs on
//! both engines.

pub mod bell;
mod entities;
pub mod mail;
mod migrations;
pub mod seal;
pub mod store;
