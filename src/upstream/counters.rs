//! What adapters count: children, and messages that found nobody to go to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counted for one backend since the process started.
#[derive(Debug, Default)]
pub struct Counters {
    running: AtomicU64,
    starts: AtomicU64,
    failures: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
}

impl Counters {
    /// Child processes that run now.
    pub fn running(&self) -> u64 {
        self.running.load(Relaxed)
    }

    /// Child processes that were started.
    pub fn starts(&self) -> u64 {
        self.starts.load(Relaxed)
    }

    /// Starts that failed, and child processes that ended though nobody had asked them to.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Requests of the server that could not be tied to one client, and were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Messages of the server that were no JSON-RPC, too long, or for nobody who is there.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn drop_message(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    /// Counts a child as running until the guard is dropped.
    pub(super) fn started(self: &Arc<Self>) -> Running {
        self.starts.fetch_add(1, Relaxed);
        self.running.fetch_add(1, Relaxed);
        Running(Arc::clone(self))
    }
}

/// One running child.
#[derive(Debug)]
pub(super) struct Running(Arc<Counters>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
    }
}
