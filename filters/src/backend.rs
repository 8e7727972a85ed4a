//! What is known about a backend: which eras it speaks, what it says of itself, how its tools mirror arguments.
//!
//! The gateway finds these facts out and publishes them; filters read them. They live outside the snapshot, keyed by the
//! backend's name, so a reload does not forget them.

use crate::exchange::UnixMillis;
use crate::federate::Inventory;
use crate::rpc::params::ToolParams;
use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// How exactly it is known when a backend's items were last shown, in milliseconds.
const SHOWN_PRECISION: u64 = 1000;

/// How often any backend has turned out to speak other eras than was known.
static ERAS_CHANGED: AtomicU64 = AtomicU64::new(0);

/// How often any backend has turned out to speak other eras than was known: whoever has looked at all of them need not look
/// again before this changes.
pub fn eras_changed() -> u64 {
    ERAS_CHANGED.load(Ordering::Acquire)
}

/// Whether a backend speaks an era.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Speaks {
    /// Nobody could ask yet.
    #[default]
    Unknown,
    /// It answered in that era.
    Yes,
    /// It refused that era, or the configuration rules it out.
    No,
}

/// A `server/discover` result of a backend, as it was given.
#[derive(Clone, Debug)]
pub struct Discover {
    /// The JSON of the `result` member.
    pub result: Bytes,
    /// When `ttlMs` runs out.
    pub fresh_until: UnixMillis,
}

/// That a backend's lists cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Since when.
    pub since: UnixMillis,
    /// Why, in words for the operator: no address, no secret.
    pub why: Arc<str>,
}

/// What is known of a backend at one moment.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Whether it speaks the modern era.
    pub modern: Speaks,
    /// Whether it speaks the legacy era.
    pub legacy: Speaks,
    /// Its own description (modern era).
    pub discover: Option<Arc<Discover>>,
    /// Which arguments its tools mirror into headers (modern era).
    pub tools: Option<Arc<ToolParams>>,
    /// What it offers, where a federated virtual server wants to know.
    pub inventory: Option<Arc<Inventory>>,
    /// Since when, and why, its lists cannot be read; `None` while they can.
    pub lost: Option<Lost>,
}

/// A backend as filters know it.
pub struct Backend {
    /// Its name in the configuration.
    pub name: Arc<str>,
    facts: ArcSwap<Facts>,
    /// Which eras it speaks, as the facts say: looked at for every backend of a virtual server when they change.
    eras: AtomicU8,
    /// When clients were last shown what it offers, or waited to be told of changes; in milliseconds.
    shown: AtomicU64,
    /// How often it has said that its lists changed.
    changes: AtomicU64,
}

impl Backend {
    /// A backend of which only this is known so far.
    pub fn new(name: impl Into<Arc<str>>, facts: Facts) -> Backend {
        Backend {
            name: name.into(),
            eras: AtomicU8::new(packed(facts.modern, facts.legacy)),
            facts: ArcSwap::from_pointee(facts),
            shown: AtomicU64::new(0),
            changes: AtomicU64::new(0),
        }
    }

    /// What is known now. The guard is cheap and must not be held across an await.
    pub fn facts(&self) -> Guard<Arc<Facts>> {
        self.facts.load()
    }

    /// Whether it speaks the modern era, and whether the legacy one.
    pub fn eras(&self) -> (Speaks, Speaks) {
        let eras = self.eras.load(Ordering::Acquire);
        (Speaks::unpacked(eras >> 2), Speaks::unpacked(eras & 3))
    }

    /// Whether nobody has found out yet what it offers, or that it cannot be asked.
    pub fn is_unasked(&self) -> bool {
        let facts = self.facts();
        facts.inventory.is_none() && facts.lost.is_none()
    }

    /// Whether its lists could not be read when that was last tried.
    pub fn is_lost(&self) -> bool {
        self.facts().lost.is_some()
    }

    /// Notes that clients are shown what it offers, or wait to be told of changes.
    pub fn show(&self, now: UnixMillis) {
        // Mostly a read: requests of the same second do not fight for the cache line.
        if self.shown.load(Ordering::Relaxed).saturating_add(SHOWN_PRECISION) < now.0 {
            self.shown.store(now.0, Ordering::Relaxed);
        }
    }

    /// When clients were last shown what it offers, about a second more or less.
    pub fn last_shown(&self) -> UnixMillis {
        UnixMillis(self.shown.load(Ordering::Relaxed))
    }

    /// Notes that it has said that its lists changed.
    pub fn change(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has said that its lists changed.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Publishes new facts; the closure may run more than once.
    pub fn learn(&self, mut change: impl FnMut(&mut Facts)) {
        self.facts.rcu(|known| {
            let mut facts = Facts::clone(known);
            change(&mut facts);
            facts
        });
        // Whoever learns at the same time may publish first and come here last: who finds other facts behind says theirs.
        let mut known = self.facts.load_full();
        loop {
            let eras = packed(known.modern, known.legacy);
            if self.eras.swap(eras, Ordering::AcqRel) != eras {
                // Behind it: who has seen this has seen that.
                ERAS_CHANGED.fetch_add(1, Ordering::AcqRel);
            }
            let now = self.facts.load_full();
            if Arc::ptr_eq(&known, &now) {
                return;
            }
            known = now;
        }
    }
}

impl Speaks {
    pub(crate) fn unpacked(bits: u8) -> Speaks {
        [Speaks::Unknown, Speaks::Yes].get(bits as usize).copied().unwrap_or(Speaks::No)
    }
}

/// Both in two bits each; [`Speaks::unpacked`] reads either.
pub(crate) fn packed(modern: Speaks, legacy: Speaks) -> u8 {
    (modern as u8) << 2 | legacy as u8
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("name", &self.name).finish_non_exhaustive()
    }
}
