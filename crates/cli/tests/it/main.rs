//! `hxb` as users run it: the real binary against a stub of the server's endpoints on a loopback port.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which clippy does not see as tests")]

mod access;
mod audit;
mod exit_codes;
mod harness;
mod identities;
mod inside;
mod invitations;
mod kubectl;
mod login;
mod organizations;
mod output;
mod service_account_tokens;
mod session;
mod sessions;
mod stub;
mod stub_oauth;
mod tls;
mod tokens;
mod workspaces;
