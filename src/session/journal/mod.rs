//! The journal: changes of legacy sessions, written through, so that a killed process loses nothing that was answered.
//!
//! A change takes a place in the writer's bounded queue ([`Journal::reserve`]), is applied to the session in memory and
//! put into that place under the session's lock (so the file has the order that memory had), and its answer waits for
//! [`Ack::written`]. One process at a time may use a journal: a lock file sees to it, also after `kill -9`.

mod file;
mod record;
mod replay;
#[cfg(test)]
mod tests;
mod writer;

pub use record::{Change, SessionRecord};
pub use replay::ReplayReport;
pub use writer::JournalGauges;

use super::state_dir::{StateDir, StateFault};
use file::JournalFile;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::{mpsc, oneshot};
use writer::{Effect, Entry, LiveBytes, Writer};

/// How many changes may wait to be written; whoever makes more waits.
const QUEUE: usize = 1024;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalFault {
    /// Another process uses it.
    #[error("{path} is in use by process {pid}: give each gateway a state_dir of its own", path = path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
        /// The process, as far as the lock file says.
        pid: String,
    },
    /// It is no journal, or one of a format that this version does not know.
    #[error("{path}: {source}; move it away to start without the sessions in it", path = path.display())]
    Unreadable {
        /// The journal.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// The state directory failed.
    #[error(transparent)]
    State(#[from] StateFault),
}

/// Whether a change survives this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is in the journal.
    Journaled,
    /// It is in memory only: there is no journal, or it cannot be written now.
    InMemory,
}

/// A journal that was read back and waits to be written to.
pub struct ReadJournal {
    file: JournalFile,
    report: ReplayReport,
}

/// A journal that is being written.
pub struct Journal {
    queue: mpsc::Sender<Entry>,
    gauges: Arc<JournalGauges>,
}

/// Reads the journal of a state directory, creating it when there is none, and applies its changes in order.
///
/// A torn end is cut; damage is reported and what may be trusted is kept ([`ReplayReport`]).
///
/// # Errors
/// [`JournalFault`], among others when another process uses it.
pub fn read(dir: &StateDir, apply: impl FnMut(Change)) -> Result<ReadJournal, JournalFault> {
    let mut file = JournalFile::open(dir)?;
    let path = JournalFile::path(dir);
    let report = replay::replay(BufReader::with_capacity(64 * 1024, file.reader()), apply);
    let report = report.map_err(|source| JournalFault::Unreadable { path: path.clone(), source })?;
    if report.damaged_bytes == 0 {
        file.settle(report.intact_bytes).map_err(StateFault::io("write", &path))?;
    }
    Ok(ReadJournal { file, report })
}

impl ReadJournal {
    /// What reading found.
    pub fn report(&self) -> &ReplayReport {
        &self.report
    }

    /// Starts the writer. `snapshot` gives every change that a journal written anew must hold; it is called on the
    /// writer's thread, at once when the journal was damaged, and must see every change that was put into a [`Slot`].
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(self, snapshot: impl Fn(&mut dyn FnMut(&Change)) + Send + 'static) -> Result<Journal, JournalFault> {
        let gauges = Arc::new(JournalGauges::default());
        // A damaged journal counts as behind: nothing may be appended behind the damage, only a rewrite mends it.
        gauges.behind.store(self.report.damaged_bytes > 0, Relaxed);
        gauges.bytes.store(self.report.intact_bytes, Relaxed);
        let writer = Writer {
            live: LiveBytes::exactly(live_bytes(&snapshot)),
            disk: self.file,
            snapshot: Box::new(snapshot),
            gauges: gauges.clone(),
            last_attempt: None,
            retry: writer::RETRY,
        };
        let (queue, entries) = mpsc::channel(QUEUE);
        // The queue is empty, so there is room: a damaged or bloated journal is rewritten before the first change.
        let _ = queue.try_send(Entry::Nudge);
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || writer.run(entries));
        thread.map_err(StateFault::io("start the writer of", Path::new("the session journal")))?;
        Ok(Journal { queue, gauges })
    }
}

impl Journal {
    /// A place in the writer's queue; waits while the queue is full. Taken before anything is changed.
    pub async fn reserve(&self) -> Slot<'_> {
        Slot(self.queue.reserve().await.ok())
    }

    /// The same, only where the queue has room: for what may be said twice.
    pub fn try_reserve(&self) -> Slot<'_> {
        Slot(self.queue.try_reserve().ok())
    }

    /// What the journal counts.
    pub fn gauges(&self) -> &JournalGauges {
        &self.gauges
    }

    /// If the journal is behind, has the writer try again soon. Never waits.
    pub fn nudge(&self) {
        if self.gauges.behind.load(Relaxed) {
            // A full queue will make the writer try anyway.
            let _ = self.queue.try_send(Entry::Nudge);
        }
    }

    /// Has what is queued written, made durable against a power cut, and the journal given up: another process may open
    /// it, later changes here stay in memory.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Entry::Close(done)).await.is_ok() {
            // An error means that the writer is gone, which is what is waited for.
            let _ = closed.await;
        }
    }
}

/// A place in the writer's queue for one change.
pub struct Slot<'a>(Option<mpsc::Permit<'a, Entry>>);

impl Slot<'_> {
    /// No place at all: the change stays in memory.
    pub const fn none() -> Slot<'static> {
        Slot(None)
    }

    /// Queues a change. Does not block, so that it can be called under the lock that orders changes.
    pub fn put(self, change: &Change) -> Ack {
        let Some(place) = self.0 else { return Ack(None) };
        let mut bytes = Vec::with_capacity(256);
        if !record::append(&mut bytes, change) {
            return Ack(None);
        }
        let (ack, written) = oneshot::channel();
        place.send(Entry::Record(bytes, Effect::of(change), ack));
        Ack(Some(written))
    }
}

/// The promise that a change is being written.
#[must_use = "an answer must not be sent before the change is written"]
pub struct Ack(Option<oneshot::Receiver<Durability>>);

impl Ack {
    /// Nothing had to be written.
    pub(super) const fn nothing() -> Ack {
        Ack(None)
    }

    /// Waits until the change is in the journal, or until it is known that it cannot be.
    pub async fn written(self) -> Durability {
        match self.0 {
            Some(ack) => ack.await.unwrap_or(Durability::InMemory),
            None => Durability::InMemory,
        }
    }
}

fn live_bytes(snapshot: &impl Fn(&mut dyn FnMut(&Change))) -> u64 {
    let mut live = replay::HEADER.len() as u64;
    let mut buffer = Vec::new();
    snapshot(&mut |change| {
        buffer.clear();
        record::append(&mut buffer, change);
        live += buffer.len() as u64;
    });
    live
}
