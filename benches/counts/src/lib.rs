//! What the benches measure with: request bodies of known sizes, the parser that the scan is compared with,
//! and a gateway's chains without the gateway.

pub mod bodies;
pub mod rival;
pub mod way;
