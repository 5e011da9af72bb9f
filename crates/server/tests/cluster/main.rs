//! The product on a real Kubernetes: what the demonstration shows, as assertions, and what must hold when things break.
//!
//! `cargo xtask check` names the host cluster and the programs in the environment (`surroundings.rs`) and switches the feature
//! `cluster-tests` on. Most tests share one platform with one workspace, and each works in a project of its own. What is in `soak`
//! runs with `cargo xtask soak` only.

mod access;
mod belongings;
mod boundaries;
mod clients;
mod deliveries;
mod drift;
mod faults;
mod hold;
mod isolation;
mod lane;
mod nodes;
mod offboarding;
mod plans;
mod projects;
mod removal;
mod roles;
mod sleep;
mod soak;
mod spares;
mod support;
mod surroundings;
mod tokens;
mod verbs;
mod work;
