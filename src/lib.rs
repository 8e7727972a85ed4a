//! Lockgate: an MCP gateway on Pingora.
//!
//! `ARCHITECTURE.md` shows the house; [`gateway`] is where a request enters it.

#![forbid(unsafe_code)]

pub mod admin;
pub mod ask;
pub mod bodies;
pub mod bridge;
pub mod catalog;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod control;
pub mod demo;
pub mod downstream;
pub mod drain;
pub mod egress;
pub mod gateway;
pub mod greeting;
pub mod identity;
pub mod lanes;
mod lease;
pub mod listen;
pub mod reload;
pub mod request;
pub mod sample;
pub mod seats;
pub mod serve;
pub mod server;
pub mod session;
pub mod settings;
pub mod small_http;
pub mod snapshot;
pub mod sse;
pub mod stdio;
pub mod telemetry;
pub mod trip;
pub mod unheard;
pub mod upstream;
pub mod watch;
