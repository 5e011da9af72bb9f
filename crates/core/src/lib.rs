//! What Hexabase means: ids, names, plans and limits, roles, groups, phases, nodes, sleep. Pure data and functions.
//!
//! Invariant: nothing here reads a clock, draws a random number, or does IO; time and randomness are arguments.
//! A value of one of these types has been checked: code that receives a [`WorkspaceName`](names::WorkspaceName) or a
//! [`WorkspaceId`](ids::WorkspaceId) may put it into a Kubernetes object without looking at it again.
//!
//! To add a noun: one file here with its type, its rules and its tests; then follow "To add a REST resource" in
//! CONTRIBUTING.md.

pub mod audit;
pub mod groups;
pub mod ids;
pub mod invitations;
pub mod names;
pub mod nodes;
pub mod phases;
pub mod plans;
pub mod projects;
pub mod quantity;
pub mod quota;
pub mod roles;
pub mod sleep;
mod text;
pub mod time;
pub mod tokens;
pub mod users;
