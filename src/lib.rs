//! Lockgate: an MCP gateway on Pingora.
//!
//! `ARCHITECTURE.md` shows the house; the gateway is where a request enters it.

#![forbid(unsafe_code)]

pub mod admin;
pub mod cli;
pub mod config;
pub mod demo;
pub mod drain;
pub mod listen;
pub mod session;
pub mod small_http;
pub mod telemetry;
pub mod upstream;
