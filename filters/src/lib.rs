//! Lockgate's MCP-aware filters: policy over data.
//!
//! Nothing in this crate opens a socket, reads a file or asks for the time: bytes, header maps and the current time are
//! passed in, verdicts come out. That is why every rule can be tested and fuzzed without a gateway around it.
//!
//! Start at [`filter`] (the contract), then [`chain`] (the one visible order), then [`exchange`] (what filters share).

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod authenticate;
pub mod authorize;
pub mod backend;
pub mod chain;
pub mod door;
pub mod envelope;
pub mod era;
pub mod exchange;
pub mod fault;
pub mod federate;
pub mod filter;
pub mod forwarded;
pub mod guard;
pub mod headers;
pub mod lane;
pub mod metadata;
pub mod negotiate;
pub mod params;
pub mod principal;
pub mod random;
pub mod revision;
pub mod route;
pub mod rpc;
pub mod session;
pub mod splice;
pub mod sse;
#[cfg(test)]
mod testing;
pub mod ticket;
pub mod virtual_server;
