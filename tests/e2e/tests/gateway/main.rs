//! The gateway between real clients and real, careless, stateful and broken servers.

mod batches;
mod clients;
mod config;
mod conformance;
mod demo;
mod edges;
mod faults;
mod federation;
mod forbidden;
mod forms;
mod last_words;
mod leaving;
mod limits;
mod listeners;
mod lost;
mod operations;
mod reload;
mod restart;
mod rows;
mod sessions;
mod sse_client;
mod stdio_client;
mod stopping;
mod streams;
mod wire;
