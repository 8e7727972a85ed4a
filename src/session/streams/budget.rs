//! What the recorders of all sessions together may hold.

use crate::session::limits::ReplayLimits;
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The bounds of recorders, and what they hold and lose. Plain atomics, read by whoever exports metrics.
#[derive(Debug)]
pub struct ReplayBudget {
    limits: ArcSwap<ReplayLimits>,
    /// Recorded bytes of all sessions, overhead included.
    pub bytes: AtomicUsize,
    /// Streams that go on without a client.
    pub detached: AtomicUsize,
    /// Streams taken up again by a client that came back.
    pub resumed: AtomicU64,
    /// Gaps: clients came back too late, or a backend was not heard for a while that says nothing twice.
    pub gaps: AtomicU64,
    /// Streams given up because nobody came back in time, or because there were too many.
    pub abandoned: AtomicU64,
}

impl ReplayBudget {
    /// Nothing held yet.
    pub fn new(limits: ReplayLimits) -> ReplayBudget {
        ReplayBudget {
            limits: ArcSwap::from_pointee(limits),
            bytes: AtomicUsize::new(0),
            detached: AtomicUsize::new(0),
            resumed: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
        }
    }

    /// Counts a gap.
    pub fn gap(&self) {
        self.gaps.fetch_add(1, Relaxed);
    }

    pub(super) fn limits(&self) -> Guard<Arc<ReplayLimits>> {
        self.limits.load()
    }

    pub(in crate::session) fn set_limits(&self, limits: ReplayLimits) {
        self.limits.store(Arc::new(limits));
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.load(Relaxed) > self.limits().bytes_total
    }
}
