//! What adapters count: children, and messages that found nobody to go to.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counted for one backend since the process started.
#[derive(Debug, Default)]
pub struct Counters {
    running: AtomicU64,
    questions: AtomicU64,
    starts: AtomicU64,
    failures: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
    taken: Mutex<Taken>,
}

/// What has been counted since it was taken last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// See [`Counters::starts`].
    pub starts: u64,
    /// See [`Counters::failures`].
    pub failures: u64,
    /// See [`Counters::refused`].
    pub refused: u64,
    /// See [`Counters::dropped`].
    pub dropped: u64,
}

impl Counters {
    /// Child processes that run now.
    pub fn running(&self) -> u64 {
        self.running.load(Relaxed)
    }

    /// Requests of the server that wait for a client's answer now.
    pub fn questions(&self) -> u64 {
        self.questions.load(Relaxed)
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

    /// What has been counted since this was called last: each event is given out once, however many callers there are.
    pub fn take(&self) -> Taken {
        let mut taken = self.taken.lock();
        let now = Taken {
            starts: self.starts(),
            failures: self.failures(),
            refused: self.refused(),
            dropped: self.dropped(),
        };
        let before = std::mem::replace(&mut *taken, now);
        Taken {
            starts: now.starts - before.starts,
            failures: now.failures - before.failures,
            refused: now.refused - before.refused,
            dropped: now.dropped - before.dropped,
        }
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

    /// Counts a question as open until the guard is dropped.
    pub(super) fn asked(self: &Arc<Self>) -> Open {
        self.questions.fetch_add(1, Relaxed);
        Open(Arc::clone(self))
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

/// One question that waits for its answer.
#[derive(Debug)]
pub(super) struct Open(Arc<Counters>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.questions.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_given_out_once() {
        let counters = Arc::new(Counters::default());
        let running = counters.started();
        counters.drop_message();
        assert_eq!(counters.take(), Taken { starts: 1, dropped: 1, ..Taken::default() });
        assert_eq!((counters.take(), counters.starts(), counters.running()), (Taken::default(), 1, 1));
        drop(running);
        counters.failed();
        assert_eq!((counters.take().failures, counters.running()), (1, 0));
    }
}
