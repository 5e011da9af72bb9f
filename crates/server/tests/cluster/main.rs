//! The product on a real Kubernetes: what the demonstration shows, as assertions, and what must hold when things break.
//!
//! `cargo xtask check` names the host cluster and the programs in the environment (`surroundings.rs`) and switches the feature
//! `cluster-tests` on. Most tests share one platform with one workspace, and each works in a project of its own.

mod access;
mod clients;
mod drift;
mod faults;
mod hold;
mod isolation;
mod nodes;
mod offboarding;
mod removal;
mod roles;
mod sleep;
mod spares;
mod support;
mod surroundings;
mod tokens;
mod verbs;
mod work;
