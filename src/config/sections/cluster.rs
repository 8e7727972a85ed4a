//! Other gateway nodes.

use crate::config::values::{ListenAddress, PeerAddress, TimeSpan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The other nodes of this gateway, which hold what belongs to one process: requests of backends that wait for a client's
/// answer, streams, calls. They know each other by `tickets.keys`, which must be the same everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// The IP address and port on which the other nodes find this one. Default: they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<ListenAddress>,
    /// Where the other nodes are found. A name stands for all its addresses, and this node itself may be among them. At
    /// most 64.
    pub peers: Vec<PeerAddress>,
    /// Requests from other nodes at a time, each on a connection of its own; those beyond are told that there are too many.
    pub connections: u32,
    /// Requests that other nodes are asked to carry out at a time, streams included.
    pub exchanges: u32,
    /// How long another node may take until it has said whether it takes a request.
    pub connect_time: TimeSpan,
    /// How often names among `peers` are looked up.
    pub resolve_interval: TimeSpan,
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster {
            listen: None,
            peers: Vec::new(),
            connections: 1_000,
            exchanges: 1_000,
            connect_time: TimeSpan::seconds(1),
            resolve_interval: TimeSpan::seconds(15),
        }
    }
}
