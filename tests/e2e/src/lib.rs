//! What the end-to-end tests are made of: processes that die with the test, the fixtures and the gateway, the official
//! conformance suite and SDK clients, an MCP client that can deviate at will, and adapters to h2c and TLS.
//!
//! Nothing here waits blindly: every wait polls a condition against a deadline. Everything listens on loopback.

#![forbid(unsafe_code)]

pub mod adapter;
pub mod clients;
pub mod conformance;
pub mod events;
pub mod everything;
pub mod fixture;
pub mod gateway;
pub mod issuer;
pub mod mcp;
pub mod paths;
pub mod process;
pub mod raw;
pub mod scripted;
pub mod sdk;
pub mod tls;
pub mod wait;

pub use clients::Client;
pub use conformance::{conformant, conformant_at, conformant_but_tasks};
pub use everything::Everything;
pub use fixture::Fixture;
pub use gateway::Gateway;
pub use mcp::{Answer, Mcp};
pub use scripted::{Scripted, Transport};
pub use wait::until;
