//! The server over real HTTPS, on a database of its own, without a host cluster: one file per noun, names are sentences.
//!
//! Every test starts a platform (`support::Platform`), so that no test can see another one's people. Where time matters the
//! platform's clock stands and the test moves it.

mod support;

mod audit;
mod bad_tokens;
mod bodies;
mod break_glass;
mod canaries;
mod events;
mod gateway;
mod groups;
mod idempotency;
mod inside;
mod invitation_mail;
mod invitation_pages;
mod invitations;
mod matrix;
mod members;
mod nodes;
mod oidc;
mod oidcc;
mod one_record;
mod openapi;
mod organization_members;
mod organizations;
mod plans;
mod problems;
mod processes;
mod projects;
mod providers;
mod quota;
mod role_assignments;
mod roles;
mod service_account_tokens;
mod service_accounts;
mod sessions;
mod sign_in;
mod sleep;
mod strangers;
mod tokens;
mod workspaces;
