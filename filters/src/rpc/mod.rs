//! JSON-RPC 2.0 as MCP uses it: one strict scan, borrowed spans, header mirrors.

pub mod mirror;
pub mod params;
pub mod reply;
pub mod scan;
