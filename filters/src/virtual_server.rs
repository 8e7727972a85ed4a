//! One MCP endpoint as its clients see it.

use crate::backend::{Backend, Speaks};
use crate::chain::Chain;
use crate::revision::{Era, Revision};
use std::fmt;
use std::sync::Arc;

/// A virtual server of one snapshot: its backends and the chain that guards it.
pub struct VirtualServer {
    /// Its place among the virtual servers of its snapshot.
    pub index: usize,
    /// Its name in the configuration: a metric label, and part of what tickets are bound to.
    pub name: Arc<str>,
    /// The backends whose items it exposes, in the order of the configuration.
    pub backends: Box<[Arc<Backend>]>,
    /// The filters of this virtual server, in order.
    pub chain: Chain,
}

impl VirtualServer {
    /// Whether clients of an era can be served: only if every backend speaks it.
    pub fn offers(&self, era: Era) -> Speaks {
        let mut offered = Speaks::Yes;
        for backend in &self.backends {
            let facts = backend.facts();
            match if era == Era::Modern { facts.modern } else { facts.legacy } {
                Speaks::No => return Speaks::No,
                Speaks::Unknown => offered = Speaks::Unknown,
                Speaks::Yes => {}
            }
        }
        offered
    }

    /// The revisions that can be served as far as is known, newest first.
    pub fn revisions(&self) -> impl Iterator<Item = Revision> {
        let modern = self.offers(Era::Modern) == Speaks::Yes;
        let legacy = self.offers(Era::Legacy) == Speaks::Yes;
        Revision::ALL.into_iter().rev().filter(move |revision| match revision.era() {
            Era::Modern => modern,
            Era::Legacy => legacy,
        })
    }
}

impl fmt::Debug for VirtualServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualServer").field("name", &self.name).finish_non_exhaustive()
    }
}
