//! What the benches measure with: request bodies of known sizes, the parser that the scan is compared with,
//! a gateway's chains without the gateway, backends without sockets, and a policy without a gateway.

pub mod authorization;
pub mod bodies;
pub mod federation;
pub mod rival;
pub mod way;
