//! JSON-RPC 2.0 as MCP uses it: one strict scan, borrowed spans, header mirrors.

pub mod answer;
mod envelope;
pub mod id;
mod levels;
pub mod members;
pub mod mirror;
mod names;
pub mod params;
pub mod reply;
pub mod scan;
mod text;
mod token;
mod walk;
