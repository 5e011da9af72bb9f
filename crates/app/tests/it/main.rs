//! Use cases on both kinds of database, and the worker on a host cluster in memory: what it stores, shows and removes.

mod audit;
mod deliveries;
mod gateway;
mod nodes;
mod people;
mod removal;
mod shares;
mod sleep;
mod spares;
mod support;
mod sweep;
