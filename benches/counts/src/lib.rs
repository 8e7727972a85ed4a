//! What the benches measure with: request bodies of known sizes, the parser that the scan is compared with,
//! a gateway's chains without the gateway, and backends without sockets.

pub mod bodies;
pub mod federation;
pub mod rival;
pub mod way;
