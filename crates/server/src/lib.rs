//! The server: routes, sign-in, issuers, gateway, worker loop, settings.
//!
//! Handlers decode, call one use case of `hexabase-app`, and encode. This crate alone knows HTTP, TLS and the environment.

pub mod break_glass;
pub mod config;
mod cookies;
pub mod dev_issuer;
pub mod gateway;
pub mod http;
mod k8s;
pub mod keys;
mod kubeconfig;
pub mod leftovers;
mod listen;
pub mod nodes;
mod pages;
pub mod plans;
mod providers;
pub mod quota;
pub mod run;
mod state;
mod tls;
