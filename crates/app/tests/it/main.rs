//! The worker on a host cluster in memory: what it stores, shows and removes.

mod support;
mod sweep;
