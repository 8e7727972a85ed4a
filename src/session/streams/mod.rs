//! Recording event streams, so that a client that lost one can take it up again with `Last-Event-ID`.
//!
//! In the legacy era a lost connection cancels nothing: the upstream stream is read on and recorded until its client
//! comes back or `replay_time` is over. What is recorded follows the specification (2025-11-25, "Resumability and
//! Redelivery"; WHATWG HTML section 9.2 for what an id means):
//!
//! - An event **with an id** is recorded always, since its client may lose it on the way; it may be sent again to a client
//!   that names an earlier event of the same stream. An event with an id and empty data (a priming event) is a position
//!   like any other, and is sent again as it is.
//! - An event **without an id** cannot be named, so a client cannot say whether it has it. It is sent once at most: while
//!   a client is attached the lane passes it on and it is not recorded; while nobody is, it is kept if the stream can be
//!   named at all (an earlier event had an id, or it is the session's GET stream) and forgotten when it is handed out.
//! - Comments and `retry:` alone are no events; the lane does not record them.
//! - When the backend's session is replaced by another ([`Recorder::renew`]), ids of the old one mean nothing to it any
//!   more: what was recorded is still replayed, but nobody asks the backend to go on behind it. Where both sessions used
//!   an id, the newer one is meant.
//! - A message goes to one stream and one client only: only the stream that the id names is replayed, and when a second
//!   client takes it up, the first one's following ends.
//!
//! Everything is bounded ([`ReplayLimits`](super::limits::ReplayLimits)): bytes and time of a session's events, bytes of
//! all sessions, streams without a client. The newest event of a session is kept even if it is longer than
//! `replay_bytes`, for it may be the answer. While a client follows, the recorder holds the writer back rather than lose
//! what the client has not taken yet.

mod budget;
mod follow;
mod positions;
mod record;
mod ring;
mod stream;
#[cfg(test)]
mod tests;

pub use budget::ReplayBudget;
pub use follow::Resume;
pub use record::{StreamRecord, Told};

use bytes::Bytes;
use parking_lot::Mutex;
use ring::{Ring, TakenUp};
use std::sync::Arc;
use tokio::time::Instant;

/// What opened a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// A GET: what the backend sends of its own accord.
    Get,
    /// A POST: the answer to a request, and what belongs to it.
    Post,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The backend had said everything.
    Complete,
    /// The backend closed or lost the stream before (2025-11-25 lets it do so), or it was let go.
    Cut,
}

/// The recorder of one session's streams.
pub struct Recorder {
    budget: Arc<ReplayBudget>,
    ring: Mutex<Ring>,
}

impl Recorder {
    /// A recorder within the budget that all sessions share.
    pub fn new(budget: Arc<ReplayBudget>) -> Recorder {
        let ring = Mutex::new(Ring::new(budget.clone()));
        Recorder { budget, ring }
    }

    /// Starts recording a stream whose client is attached. `asked` is the raw id of the request that it answers, `source`
    /// whose events it brings.
    pub fn start(self: &Arc<Recorder>, kind: StreamKind, asked: Option<Bytes>, source: &Arc<str>) -> StreamRecord {
        let (stream, changed) = self.ring.lock().start(kind, asked, Arc::clone(source));
        StreamRecord::new(self.clone(), stream, changed)
    }

    /// The session at this source (at every source where none is named) is another one from now on: GET streams of the old
    /// one end, and its event ids are no longer for that backend to hear.
    pub(in crate::session) fn renew(&self, source: Option<&str>) {
        self.ring.lock().renew(source);
    }

    /// Takes up the stream that an event belongs to, behind that event. `None` when the id is unknown: never sent here,
    /// or its stream is over and its time too. A backend may still know it.
    pub fn resume(self: &Arc<Recorder>, last_event_id: &[u8]) -> Option<Resume> {
        let mut ring = self.ring.lock();
        ring.expire(Instant::now());
        let taken = ring.take_up(last_event_id)?;
        self.following(&mut ring, taken)
    }

    /// Takes up the GET stream that goes on without a client, if there is one, where its client left it: for a GET that
    /// names no event. (Some backends refuse a second GET stream, and the first one holds what was not delivered.)
    pub fn rejoin(self: &Arc<Recorder>) -> Option<Resume> {
        let mut ring = self.ring.lock();
        ring.expire(Instant::now());
        let taken = ring.rejoin()?;
        self.following(&mut ring, taken)
    }

    /// Drops what is older than `replay_time`. To be called now and then.
    pub fn expire(&self) {
        self.ring.lock().expire(Instant::now());
    }

    /// Ends every stream, followed or recorded, and forgets all events: the session is over.
    pub fn close(&self) {
        self.ring.lock().close();
    }

    fn following(self: &Arc<Recorder>, ring: &mut Ring, taken: TakenUp) -> Option<Resume> {
        let stream = ring.stream(taken.stream)?;
        Some(Resume::new(self.clone(), &taken, stream.kind, stream.changed.clone()))
    }
}
