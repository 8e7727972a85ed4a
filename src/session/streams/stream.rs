//! One recorded stream: its events, who reads them, and how it ended.

use super::super::underway::Underway;
use super::{End, StreamKind};
use bytes::Bytes;
use std::collections::{VecDeque, vec_deque};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What an event costs beside its bytes: its places in the queues, and a share of its stream.
const EVENT_BYTES: usize = 256;
/// Up to here a frame is copied: a slice of it might keep a whole read buffer alive.
const COPIED_BYTES_MAX: usize = 4096;
/// A follower that lags by this many events holds its stream's writer back.
const LAG_EVENTS_MAX: usize = 32;

/// Who gets a stream's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// The client that opened the stream; the lane passes events on itself.
    Client,
    /// Nobody since then. The next reader begins at `from`.
    Nobody { since: Instant, from: u64 },
    /// A client that came back. Only the newest counts.
    Follower { generation: u64, next: u64 },
}

/// One stream of a session, and what was recorded of it.
pub(super) struct Stream {
    pub kind: StreamKind,
    /// The raw id of the request that the stream answers, where it answers one.
    pub asked: Option<Bytes>,
    /// Keeps that request to be found by who cancels it: also where the backend has closed the stream before its answer, to
    /// be asked for it again (2025-11-25).
    pub underway: Option<Arc<Underway>>,
    /// Whose events it brings, as its lane calls them.
    pub source: Arc<str>,
    /// Whether the session that it comes from is no more.
    pub lost: bool,
    pub reader: Reader,
    pub end: Option<End>,
    pub abandoned: bool,
    pub changed: Arc<Notify>,
    pub events: VecDeque<Event>,
    /// The number of `events[0]`.
    pub first: u64,
    /// Some event had an id, so a client can name this stream.
    pub named: bool,
    pub generations: u64,
}

/// A recorded event.
pub(super) struct Event {
    pub id: Option<Bytes>,
    /// `None` once an event without id was handed out.
    pub frame: Option<Bytes>,
    /// When it was recorded.
    pub at: Instant,
}

impl Event {
    pub fn new(id: Option<Bytes>, frame: Bytes, at: Instant) -> Event {
        Event { id: id.map(unpinned), frame: Some(unpinned(frame)), at }
    }

    /// What it counts for, in bytes.
    pub fn cost(&self) -> usize {
        EVENT_BYTES + self.id.as_ref().map_or(0, Bytes::len) + self.frame.as_ref().map_or(0, Bytes::len)
    }
}

impl Stream {
    /// One that its client reads, and of which nothing has been recorded.
    pub fn new(kind: StreamKind, asked: Option<Bytes>, source: Arc<str>) -> Stream {
        Stream {
            kind,
            asked,
            underway: None,
            source,
            lost: false,
            reader: Reader::Client,
            end: None,
            abandoned: false,
            changed: Arc::new(Notify::new()),
            events: VecDeque::new(),
            first: 0,
            named: false,
            generations: 0,
        }
    }

    /// The number that the next event will have.
    pub fn next_number(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// Whether a follower has so much left to take that the writer should wait.
    pub fn is_ahead(&self, bytes_max: usize) -> bool {
        let Some(waiting) = self.waiting() else { return false };
        waiting.len() >= LAG_EVENTS_MAX || waiting.map(Event::cost).sum::<usize>() > bytes_max / 2
    }

    /// How it ended, where nothing of it is left for a follower to take.
    pub fn spent(&self) -> Option<End> {
        if self.waiting()?.any(|event| event.frame.is_some()) { None } else { self.end }
    }

    /// What its follower, if it has one, has not come to yet.
    fn waiting(&self) -> Option<vec_deque::Iter<'_, Event>> {
        let Reader::Follower { next, .. } = self.reader else { return None };
        let from = usize::try_from(next.saturating_sub(self.first)).unwrap_or(usize::MAX);
        Some(self.events.range(from.min(self.events.len())..))
    }

    /// Whether it goes on though nobody reads it.
    pub fn goes_on_alone(&self) -> bool {
        matches!(self.reader, Reader::Nobody { .. }) && self.end.is_none() && !self.abandoned
    }
}

/// Bytes that keep alive no more than (a small multiple of) what they hold.
fn unpinned(bytes: Bytes) -> Bytes {
    if bytes.len() <= COPIED_BYTES_MAX { Bytes::copy_from_slice(&bytes) } else { bytes }
}
