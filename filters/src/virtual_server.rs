//! One MCP endpoint as its clients see it.

use crate::backend::Backend;
use crate::chain::Chain;
use std::fmt;
use std::sync::Arc;

/// A virtual server of one snapshot: its backends and the chain that guards it.
pub struct VirtualServer {
    /// Its name in the configuration: a metric label, and part of what tickets are bound to.
    pub name: Arc<str>,
    /// The backends whose items it exposes, in the order of the configuration.
    pub backends: Box<[Arc<Backend>]>,
    /// The filters of this virtual server, in order.
    pub chain: Chain,
}

impl fmt::Debug for VirtualServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualServer").field("name", &self.name).finish_non_exhaustive()
    }
}
