//! The gateway between real clients and real, careless, stateful and broken servers.

mod clients;
mod config;
mod conformance;
mod demo;
mod edges;
mod faults;
mod forbidden;
mod limits;
mod listeners;
mod operations;
mod reload;
mod restart;
mod sessions;
mod streams;
mod wire;
