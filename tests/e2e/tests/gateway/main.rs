//! The gateway between real clients and real, careless, stateful and broken servers.

mod clients;
mod conformance;
mod demo;
mod faults;
mod forbidden;
mod limits;
mod listeners;
mod lost;
mod reload;
mod restart;
mod sessions;
mod stopping;
mod streams;
mod wire;
