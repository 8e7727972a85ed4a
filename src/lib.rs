//! Lockgate: an MCP gateway on Pingora.
//!
//! `ARCHITECTURE.md` shows the house; the gateway is where a request enters it.

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod drain;
pub mod listen;
pub mod session;
pub mod upstream;
