//! What a cluster is told.

use std::net::SocketAddr;
use std::time::Duration;

/// How this node finds the others, and within which bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The other nodes.
    pub peers: Vec<Peer>,
    /// Connections from them at a time.
    pub connections: usize,
    /// Requests to them at a time.
    pub exchanges: usize,
    /// How long one of them may take until it has said whether it takes a request.
    pub connect_time: Duration,
    /// How often names are looked up.
    pub resolve_interval: Duration,
    /// How long one of them may take nothing of what is sent to it: longer than the slowest client that it may have.
    pub write_time: Duration,
}

/// Where another node is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// At this address.
    At(SocketAddr),
    /// At each address of this name.
    Named(String, u16),
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            peers: Vec::new(),
            connections: 1_000,
            exchanges: 1_000,
            connect_time: Duration::from_secs(1),
            resolve_interval: Duration::from_secs(15),
            write_time: Duration::from_secs(94),
        }
    }
}
