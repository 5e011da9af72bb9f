//! The store's suites, each case on SQLite and on PostgreSQL, and those of the sealer and the bell.

mod api_tokens;
mod audit;
mod bell;
mod break_glass;
mod connect;
mod corrupt;
mod events;
mod groups;
mod idempotency;
mod invitations;
mod jobs;
mod ledger;
mod oauth;
mod people;
mod plans;
mod projects;
mod roles;
mod scenery;
mod seal;
mod service_account_tokens;
mod service_accounts;
mod sessions;
mod signing_keys;
mod sleep;
mod spare_workspaces;
mod workspaces;
