//! The host side of a workspace: one file per step, each with a pure `build`, and the removal.

pub(crate) mod admission;
pub(crate) mod api_server;
pub(crate) mod authentication;
pub(crate) mod excess;
pub(crate) mod inventory;
pub(crate) mod limits;
pub(crate) mod namespace;
pub(crate) mod network;
pub(crate) mod nodes;
pub(crate) mod places;
pub(crate) mod policies;
pub(crate) mod removal;
pub(crate) mod resize;
pub(crate) mod rest;
pub(crate) mod storage;
pub(crate) mod values;
pub(crate) mod virtual_cluster;
pub(crate) mod volumes;
pub(crate) mod workload;
