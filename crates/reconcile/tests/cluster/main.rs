//! A real host cluster: Kubernetes, the vCluster chart, real pods. The environment names it (`support.rs`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod connections;
mod inside;
mod life;
mod nodes;
mod policies;
mod removal;
mod sleep;
mod support;
mod tenancy;
