//! For tests only: real peers to test against, and clocks and ids under the test's control.
//!
//! Invariants: a missing peer fails the test with the command that installs it, and is never skipped; nothing uses a
//! fixed port or sleeps for a fixed time; every process started here ends with the test process, however that ends.
//!
//! To add a peer: one file here that starts it on a free loopback port, with a `shared()` for the whole test process
//! when starting takes longer than a test.

#[cfg(feature = "browser")]
pub mod browser;
pub mod clock;
#[cfg(feature = "faults")]
pub mod faults;
#[cfg(feature = "providers")]
pub mod github;
#[cfg(feature = "browser")]
pub mod http;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
#[cfg(feature = "kubernetes")]
pub mod network;
#[cfg(feature = "platform")]
pub mod node_client;
#[cfg(any(feature = "platform", feature = "providers"))]
mod npm;
#[cfg(feature = "providers")]
pub mod oidc_provider;
#[cfg(feature = "platform")]
pub mod platform;
#[cfg(any(feature = "platform", feature = "store"))]
mod ports;
#[cfg(feature = "store")]
pub mod postgres;
#[cfg(feature = "smtp")]
pub mod smtp;
#[cfg(feature = "store")]
pub mod store;
#[cfg(feature = "tenant")]
pub mod tenant;
#[cfg(feature = "tokens")]
pub mod tokens;
