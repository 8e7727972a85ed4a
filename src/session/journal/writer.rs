//! The thread that writes the journal: the only one that ever does.
//!
//! It takes what has gathered in the queue, writes it in one go, then tells everyone who waits. The page cache is enough:
//! it survives this process, however it dies. Only a power cut can take more, and then no more than the file's end.
//!
//! When a write fails (a full disk), sessions go on in memory and the journal is *behind*: from then on only a complete
//! rewrite makes it true again, which is tried at every later change and every [`Entry::Nudge`], at most once a second.

use super::Durability;
use super::file::Disk;
use super::record::{self, Change};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// A journal shorter than this is never rewritten to save room.
const COMPACT_BYTES_MIN: u64 = 1024 * 1024;
/// What is written in one go.
const BATCH_BYTES: usize = 256 * 1024;
/// Between two attempts to rewrite a journal that is behind.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// What comes through the queue.
pub(super) enum Entry {
    /// A framed record, what it does to the room that live state takes, and who waits until it is written.
    Record(Vec<u8>, Effect, oneshot::Sender<Durability>),
    /// If the journal is behind, try again.
    Nudge,
    /// Write what is queued, make it durable, give the journal up, then say so.
    Close(oneshot::Sender<()>),
}

/// What a record does to the room that live state takes in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// A session more.
    Adds,
    /// A session less.
    Removes,
    /// Another value for something, as far as room goes.
    Changes,
}

impl Effect {
    pub fn of(change: &Change) -> Effect {
        match change {
            Change::Opened(_) => Effect::Adds,
            Change::Forgotten { .. } | Change::Ended { .. } => Effect::Removes,
            Change::Bound { .. }
            | Change::Unbound { .. }
            | Change::Left { .. }
            | Change::Losses { .. }
            | Change::LogLevel { .. }
            | Change::Subscribed { .. }
            | Change::Unsubscribed { .. } => Effect::Changes,
        }
    }
}

/// An estimate of the room that live state takes, so that a journal which only grows is not rewritten in vain. Every
/// rewrite makes it exact.
#[derive(Debug, Default)]
pub(super) struct LiveBytes {
    pub now: u64,
    begun: u64,
    begun_bytes: u64,
}

impl LiveBytes {
    pub fn exactly(bytes: u64) -> LiveBytes {
        LiveBytes { now: bytes, ..LiveBytes::default() }
    }

    fn count(&mut self, effect: Effect, bytes: usize) {
        match effect {
            Effect::Adds => {
                self.now += bytes as u64;
                self.begun += 1;
                self.begun_bytes += bytes as u64;
            }
            Effect::Removes => self.now = self.now.saturating_sub(self.begun_bytes / self.begun.max(1)),
            Effect::Changes => {}
        }
    }
}

/// What the journal counts. Plain atomics, read by whoever exports metrics.
#[derive(Debug, Default)]
pub struct JournalGauges {
    /// The file's length in bytes.
    pub bytes: AtomicU64,
    /// Changes that were written.
    pub written: AtomicU64,
    /// Changes that could not be written; sessions went on in memory.
    pub lost: AtomicU64,
    /// Failed attempts to write, rewrite or sync.
    pub failures: AtomicU64,
    /// Rewrites that saved room or made the journal whole again.
    pub rewrites: AtomicU64,
    /// Whether the file lacks changes that sessions in memory have.
    pub behind: AtomicBool,
}

/// Gives every change that a fresh journal must hold.
pub(super) type Snapshot = Box<dyn Fn(&mut dyn FnMut(&Change)) + Send>;

pub(super) struct Writer<D> {
    pub disk: D,
    pub snapshot: Snapshot,
    pub gauges: std::sync::Arc<JournalGauges>,
    pub live: LiveBytes,
    pub last_attempt: Option<Instant>,
    pub retry: Duration,
}

impl<D: Disk> Writer<D> {
    /// Works until the queue is closed or says so.
    pub fn run(mut self, mut queue: mpsc::Receiver<Entry>) {
        let mut closing = None;
        while closing.is_none()
            && let Some(first) = queue.blocking_recv()
        {
            let mut batch = Vec::new();
            let mut waiting = Vec::new();
            let mut next = Some(first);
            while let Some(entry) = next.take() {
                match entry {
                    Entry::Record(bytes, effect, ack) => {
                        self.live.count(effect, bytes.len());
                        batch.extend_from_slice(&bytes);
                        waiting.push(ack);
                    }
                    Entry::Nudge => {}
                    Entry::Close(done) => {
                        closing = Some(done);
                        break;
                    }
                }
                if batch.len() < BATCH_BYTES {
                    next = queue.try_recv().ok();
                }
            }
            self.write(&batch, waiting);
            self.compact_if_due();
        }
        self.finish();
        drop(self);
        if let Some(done) = closing {
            // Whoever wanted to know may be gone.
            let _ = done.send(());
        }
    }

    fn finish(&mut self) {
        if self.gauges.behind.load(Relaxed) {
            self.last_attempt = None;
            self.catch_up();
        }
        if let Err(error) = self.disk.sync() {
            tracing::warn!(%error, "the session journal could not be made durable");
            self.gauges.failures.fetch_add(1, Relaxed);
        }
    }

    fn write(&mut self, batch: &[u8], waiting: Vec<oneshot::Sender<Durability>>) {
        let durability = if self.gauges.behind.load(Relaxed) {
            self.catch_up()
        } else if batch.is_empty() {
            Durability::Journaled
        } else {
            self.append(batch)
        };
        let counter = if durability == Durability::Journaled { &self.gauges.written } else { &self.gauges.lost };
        counter.fetch_add(waiting.len() as u64, Relaxed);
        for ack in waiting {
            // Whoever waited may be gone; the change is written all the same.
            let _ = ack.send(durability);
        }
    }

    fn append(&mut self, batch: &[u8]) -> Durability {
        match self.disk.append(batch) {
            Ok(()) => {
                self.gauges.bytes.store(self.disk.len(), Relaxed);
                Durability::Journaled
            }
            Err(error) => {
                tracing::warn!(%error, "the session journal cannot be written; sessions go on in memory only");
                self.gauges.failures.fetch_add(1, Relaxed);
                self.gauges.behind.store(true, Relaxed);
                Durability::InMemory
            }
        }
    }

    /// Tries to make a journal whole that is behind: everything in memory, the batch at hand included, is written anew.
    fn catch_up(&mut self) -> Durability {
        if self.last_attempt.is_some_and(|at| at.elapsed() < self.retry) {
            return Durability::InMemory;
        }
        if !self.rewrite() {
            return Durability::InMemory;
        }
        tracing::info!("the session journal is whole again");
        self.gauges.behind.store(false, Relaxed);
        Durability::Journaled
    }

    fn compact_if_due(&mut self) {
        let garbage = self.disk.len().saturating_sub(self.live.now);
        let due = garbage > self.live.now && garbage > COMPACT_BYTES_MIN && !self.gauges.behind.load(Relaxed);
        if due && !self.rewrite() {
            // The old file is still whole. Try again when it has grown as much again.
            self.live = LiveBytes::exactly(self.disk.len());
        }
    }

    fn rewrite(&mut self) -> bool {
        self.last_attempt = Some(Instant::now());
        let snapshot = &self.snapshot;
        let outcome = self.disk.replace(&mut |write| {
            let mut result = Ok(());
            let mut buffer = Vec::new();
            snapshot(&mut |change| {
                record::append(&mut buffer, change);
                if buffer.len() >= BATCH_BYTES && result.is_ok() {
                    result = write(&buffer);
                    buffer.clear();
                }
            });
            result.and_then(|()| write(&buffer))
        });
        match outcome {
            Ok(()) => {
                self.live = LiveBytes::exactly(self.disk.len());
                self.gauges.bytes.store(self.live.now, Relaxed);
                self.gauges.rewrites.fetch_add(1, Relaxed);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the session journal cannot be rewritten");
                self.gauges.failures.fetch_add(1, Relaxed);
                false
            }
        }
    }
}
