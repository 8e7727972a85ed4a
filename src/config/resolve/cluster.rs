//! Other gateway nodes.

use super::Resolver;
use super::limits::{HOUR, MILLISECOND, SECOND};
use crate::config::diagnostic::Finding;
use crate::config::path::KeyPath;
use crate::config::sections::Cluster;
use crate::config::values::TimeSpan;

/// The most peers.
const PEERS_MAX: usize = 64;

impl Resolver<'_> {
    /// Checks the settings of a cluster; `keys` is how many ticket keys are configured.
    pub(super) fn check_cluster(&mut self, cluster: &Cluster, keys: usize) {
        let path = KeyPath::from(["cluster"]);
        self.check_count(&path.key("peers"), cluster.peers.len(), PEERS_MAX);
        self.check_range(path.key("connections"), cluster.connections, 1, 100_000);
        self.check_range(path.key("exchanges"), cluster.exchanges, 1, 100_000);
        self.check_range(path.key("connect_time"), cluster.connect_time, MILLISECOND, TimeSpan::seconds(60));
        self.check_range(path.key("resolve_interval"), cluster.resolve_interval, SECOND, HOUR);
        let used = cluster.listen.is_some() || !cluster.peers.is_empty();
        if used && keys == 0 && !self.is_pruned(&KeyPath::from(["tickets"])) {
            self.note(
                Finding::warning(path, "the nodes know each other by `tickets.keys`, and none is configured")
                    .help("give all nodes the same `tickets.keys`; make one with `openssl rand -base64 32`"),
            );
        }
    }
}
