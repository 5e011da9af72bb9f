//! The crate as its users see it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail like tests")]

mod authorize;
mod claims;
mod discovery;
mod github;
mod hostile_provider;
mod id_token;
mod interop;
mod jwt_refusals;
mod keys;
mod pkce_and_codes;
mod provider_double;
mod relying_party;
mod rotation;
mod support;
mod token;
