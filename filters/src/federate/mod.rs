//! `federate`: many backends as one server. Whose a name is, what a backend's lists look like from outside, and what of a
//! message must be replaced on its way in and out.
//!
//! Start at [`policy`] (what an operator wants), [`inventory`] (what a backend offers) and [`catalog`] (both, merged);
//! [`inward`] decides where a client's message goes, [`outward`] makes a backend's words the gateway's.

pub mod audience;
pub mod catalog;
pub mod cursor;
pub mod describe;
pub mod event_id;
pub mod glob;
pub mod inventory;
pub mod inward;
pub mod kind;
pub mod listen;
pub mod naming;
pub mod outward;
pub mod policy;
pub mod question;
pub mod render;
pub mod target;
pub mod template;
#[cfg(test)]
pub(crate) mod testing;
pub mod uri;
pub mod uris;

pub use audience::{Audience, Callers, Identity};
pub use catalog::{Catalog, Offer, Owner, Standing};
pub use inventory::{Freshness, Inventory, InventoryBuilder, InventoryLimits};
pub use inward::Federate;
pub use kind::Kind;
pub use policy::{Member, Policy};
pub use target::{Local, Target};

use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What becomes of a member's items when it can no longer be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Failure {
    /// They go; the others stay.
    #[default]
    Partial,
    /// No list is given as long as a member is missing.
    Strict,
    /// They stay, marked as stale, until it can be asked again.
    Stale,
}

/// A virtual server whose items are those of several backends, or not those that its backend shows.
#[derive(Debug)]
pub struct Federation {
    /// What an operator wants.
    pub policy: Policy,
    /// What becomes of the items of a lost member.
    pub failure: Failure,
    /// For how long the items of a lost member stay where they go ([`Failure::Partial`]), in milliseconds.
    pub grace: u64,
    /// Whether what is shown depends on who calls: then nobody may share it (MCP 2026-07-28, `cacheScope`).
    pub private: bool,
    catalog: ArcSwap<Catalog>,
    waited: AtomicBool,
}

impl Federation {
    /// A federation of whose members nothing is known yet.
    pub fn new(policy: Policy, failure: Failure, grace: u64) -> Federation {
        let catalog = Catalog::merge(&policy, &[]);
        let catalog = ArcSwap::from_pointee(catalog);
        Federation { policy, failure, grace, private: false, catalog, waited: AtomicBool::new(false) }
    }

    /// The same, where what is shown depends on who calls, or may not be shown to everybody.
    #[must_use]
    pub fn for_callers(self, private: bool) -> Federation {
        Federation { private, ..self }
    }

    /// The catalog as it is now. The guard is cheap and must not be held across an await.
    pub fn catalog(&self) -> Guard<Arc<Catalog>> {
        self.catalog.load()
    }

    /// The catalog as it is now, to be kept.
    pub fn pinned(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// Publishes another catalog; gives the one before.
    pub fn publish(&self, catalog: Arc<Catalog>) -> Arc<Catalog> {
        self.catalog.swap(catalog)
    }
    /// Whether requests still wait for members of which nothing is known.
    pub fn may_wait(&self) -> bool {
        !self.waited.load(Ordering::Relaxed)
    }

    /// A request has waited for the members as long as it may: no further one does, so that a member that never answers
    /// delays nobody for long.
    pub fn has_waited(&self) {
        self.waited.store(true, Ordering::Relaxed);
    }
}
