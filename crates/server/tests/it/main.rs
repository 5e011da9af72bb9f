//! The server over real HTTPS, on a database of its own, without a host cluster: one file per noun, names are sentences.
//!
//! Every test starts a platform (`support::Platform`), so that no test can see another one's people. Where time matters the
//! platform's clock stands and the test moves it.

mod support;

mod bad_tokens;
mod events;
mod gateway;
mod idempotency;
mod members;
mod oidc;
mod oidcc;
mod openapi;
mod organizations;
mod problems;
mod processes;
mod projects;
mod sign_in;
mod strangers;
mod workspaces;
