//! The recorded events of one session: bounded, oldest out first, with the time passed in.
//!
//! Each stream numbers its recorded events. What is evicted leaves its id behind as a *position*, so that a client which
//! comes back very late still finds its stream and is told of the gap, rather than losing the stream's end as well.

use super::budget::ReplayBudget;
use super::positions::Positions;
use super::stream::{Event, Reader, Stream};
use super::{End, StreamKind};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What a follower finds when it looks.
pub(super) enum Look {
    /// An event, and its id.
    Event(Bytes, Option<Bytes>),
    /// Nothing yet.
    Wait,
    /// The stream is over.
    End(End),
    /// A newer follower has it, or the stream is gone.
    Lost,
}

/// Where a stream is taken up.
pub(super) struct TakenUp {
    pub stream: u32,
    pub generation: u64,
    pub missed: u64,
}

pub(super) struct Ring {
    budget: Arc<ReplayBudget>,
    streams: BTreeMap<u32, Stream>,
    /// The stream of each recorded event, oldest first.
    order: VecDeque<u32>,
    positions: Positions,
    bytes: usize,
    started: u32,
    pub closed: bool,
}

impl Ring {
    pub fn new(budget: Arc<ReplayBudget>) -> Ring {
        Ring {
            budget,
            streams: BTreeMap::new(),
            order: VecDeque::new(),
            positions: Positions::default(),
            bytes: 0,
            started: 0,
            closed: false,
        }
    }

    pub fn stream(&mut self, stream: u32) -> Option<&mut Stream> {
        self.streams.get_mut(&stream)
    }

    pub fn start(&mut self, kind: StreamKind, asked: Option<Bytes>, source: Arc<str>) -> (u32, Arc<Notify>) {
        self.started = self.started.wrapping_add(1);
        let stream = Stream::new(kind, asked, source);
        let changed = stream.changed.clone();
        self.streams.insert(self.started, stream);
        (self.started, changed)
    }

    /// Records an event if somebody may yet ask for it; whether the lane should pass it to its own client.
    pub fn push(&mut self, stream: u32, id: Option<Bytes>, frame: Bytes, now: Instant) -> bool {
        let Some(known) = self.streams.get_mut(&stream) else { return true };
        let id = id.filter(|id| !id.is_empty());
        known.named |= id.is_some();
        let attached = known.reader == Reader::Client;
        let reachable = known.named || known.kind == StreamKind::Get;
        if !self.closed && (id.is_some() || (!attached && reachable)) {
            let event = Event::new(id, frame, now);
            let cost = event.cost();
            known.events.push_back(event);
            known.changed.notify_waiters();
            self.order.push_back(stream);
            self.grow(cost);
            self.make_room(now);
        }
        attached
    }

    /// The stream's end. What was recorded stays for a while.
    pub fn finish(&mut self, stream: u32, end: End) {
        let Some(known) = self.streams.get_mut(&stream) else { return };
        if known.goes_on_alone() {
            self.budget.detached.fetch_sub(1, Relaxed);
        }
        if *known.end.get_or_insert(end) == End::Complete
            && let Some(underway) = known.underway.take()
        {
            // Streams before, that brought the beginning of the same answer, hold it as well.
            underway.is_over();
        }
        known.changed.notify_waiters();
        self.drop_if_done(stream);
    }

    /// The stream goes on without a client.
    pub fn detach(&mut self, stream: u32, from: u64, now: Instant) {
        let Some(known) = self.streams.get_mut(&stream) else { return };
        if !matches!(known.reader, Reader::Nobody { .. }) {
            known.reader = Reader::Nobody { since: now, from };
            known.changed.notify_waiters();
            if known.goes_on_alone() {
                self.budget.detached.fetch_add(1, Relaxed);
                self.limit_detached(stream);
            }
        }
        self.drop_if_done(stream);
    }

    /// Nobody will come back for this stream: its upstream may be let go.
    pub fn abandon(&mut self, stream: u32) {
        let Some(known) = self.streams.get_mut(&stream) else { return };
        if known.goes_on_alone() {
            known.abandoned = true;
            known.changed.notify_waiters();
            self.budget.detached.fetch_sub(1, Relaxed);
            self.budget.abandoned.fetch_add(1, Relaxed);
        }
    }

    /// The session at this source is another one from now on; at every source where none is named. What was recorded of the
    /// old one can still be asked for here, but not there; what the server says of its own accord comes on new streams, so
    /// the old ones end.
    pub fn renew(&mut self, source: Option<&str>) {
        for known in self.streams.values_mut().filter(|known| source.is_none_or(|source| *known.source == *source)) {
            known.lost = true;
            if known.kind == StreamKind::Get && known.end.is_none() && !known.abandoned {
                if known.goes_on_alone() {
                    self.budget.detached.fetch_sub(1, Relaxed);
                }
                known.abandoned = true;
                known.changed.notify_waiters();
            }
        }
    }

    /// Whether a stream belongs to a session that the backend no longer has.
    pub fn is_lost(&self, stream: u32) -> bool {
        self.streams.get(&stream).is_none_or(|known| known.lost)
    }

    /// How a stream ended, where nothing of it is left for a follower to take.
    pub fn spent(&self, stream: u32) -> Option<End> {
        self.streams.get(&stream)?.spent()
    }

    /// Finds the stream that an event id belongs to, and takes it up behind that event.
    pub fn take_up(&mut self, id: &[u8]) -> Option<TakenUp> {
        let (stream, number) = self.find(id)?;
        Some(self.follow(stream, number + 1))
    }

    /// Takes up the newest GET stream that goes on without a client, where its last reader left off.
    pub fn rejoin(&mut self) -> Option<TakenUp> {
        let alone = |(stream, known): (&u32, &Stream)| match known.reader {
            Reader::Nobody { from, .. } if known.kind == StreamKind::Get && known.goes_on_alone() => {
                Some((*stream, from))
            }
            _ => None,
        };
        let (stream, from) = self.streams.iter().rev().find_map(alone)?;
        Some(self.follow(stream, from))
    }

    /// The next event of a follower, if it still is the newest one.
    pub fn look(&mut self, stream: u32, generation: u64, missed: &mut u64) -> Look {
        let Some(known) = self.streams.get_mut(&stream) else { return Look::Lost };
        let first = known.first;
        let Reader::Follower { generation: newest, next } = &mut known.reader else { return Look::Lost };
        if *newest != generation {
            return Look::Lost;
        }
        if *next < first {
            *missed += first - *next;
            *next = first;
        }
        let mut found = None;
        while found.is_none()
            && let Some(event) = known.events.get_mut((*next - first) as usize)
        {
            *next += 1;
            // Without an id it cannot be asked for again: it is handed out once.
            let taken = if event.id.is_some() { event.frame.clone() } else { event.frame.take() };
            found = taken.map(|frame| (frame, event.id.clone()));
        }
        let Some((frame, id)) = found else { return known.end.map_or(Look::Wait, Look::End) };
        // The writer may be waiting for this follower to keep up.
        known.changed.notify_waiters();
        if id.is_none() {
            self.shrink(frame.len());
        }
        Look::Event(frame, id)
    }

    /// Drops what is older than `replay_time`.
    pub fn expire(&mut self, now: Instant) {
        let time = self.budget.limits().time;
        while let Some(oldest) = self.order.front()
            && let Some(event) = self.streams.get(oldest).and_then(|known| known.events.front())
            && now.duration_since(event.at) >= time
        {
            self.evict();
        }
    }

    /// Ends every stream at once.
    pub fn close(&mut self) {
        self.closed = true;
        for (_, known) in std::mem::take(&mut self.streams) {
            if known.goes_on_alone() {
                self.budget.detached.fetch_sub(1, Relaxed);
            }
            known.changed.notify_waiters();
        }
        self.order.clear();
        self.positions.clear();
        self.shrink(self.bytes);
    }

    fn follow(&mut self, stream: u32, next: u64) -> TakenUp {
        let mut taken = TakenUp { stream, generation: 0, missed: 0 };
        let Some(known) = self.streams.get_mut(&stream) else { return taken };
        if known.goes_on_alone() {
            self.budget.detached.fetch_sub(1, Relaxed);
        }
        known.generations += 1;
        taken.generation = known.generations;
        taken.missed = known.first.saturating_sub(next);
        known.reader = Reader::Follower { generation: known.generations, next: next.max(known.first) };
        known.changed.notify_waiters();
        self.budget.resumed.fetch_add(1, Relaxed);
        self.budget.gaps.fetch_add(u64::from(taken.missed > 0), Relaxed);
        taken
    }

    /// Ids are unique in a session; where a backend repeats one, the newest stream and event are meant.
    fn find(&self, id: &[u8]) -> Option<(u32, u64)> {
        let recorded = self.streams.iter().rev().find_map(|(stream, known)| {
            let at = known.events.iter().rposition(|event| event.id.as_deref() == Some(id))?;
            Some((*stream, known.first + at as u64))
        });
        recorded.or_else(|| self.positions.find(id))
    }

    fn make_room(&mut self, now: Instant) {
        self.expire(now);
        // The newest event stays even if it alone is too long for the ring: it may be the answer.
        let bytes = self.budget.limits().bytes;
        while self.bytes > bytes && self.order.len() > 1 {
            self.evict();
        }
        while self.budget.is_full() && !self.order.is_empty() {
            self.evict();
        }
    }

    fn evict(&mut self) {
        let Some(stream) = self.order.pop_front() else { return };
        let Some(known) = self.streams.get_mut(&stream) else { return };
        let Some(event) = known.events.pop_front() else { return };
        let number = known.first;
        known.first += 1;
        self.shrink(event.cost());
        if let Some(id) = event.id {
            self.positions.remember(stream, number, id);
        }
        self.positions.keep_within(self.budget.limits().bytes / 8);
        self.drop_if_done(stream);
    }

    /// Forgets a stream that is over, of which nothing is left and which nobody reads.
    fn drop_if_done(&mut self, stream: u32) {
        let done = |known: &Stream| {
            known.end.is_some() && known.events.is_empty() && !matches!(known.reader, Reader::Follower { .. })
        };
        if self.streams.get(&stream).is_some_and(done) {
            self.streams.remove(&stream);
            self.positions.forget(stream);
        }
    }

    fn limit_detached(&mut self, newest: u32) {
        let since = |known: &Stream| match known.reader {
            Reader::Nobody { since, .. } if known.goes_on_alone() => Some(since),
            _ => None,
        };
        let alone = self.streams.iter().filter_map(|(stream, known)| Some((since(known)?, *stream)));
        let alone: Vec<_> = alone.collect();
        if alone.len() > self.budget.limits().streams
            && let Some((_, oldest)) = alone.into_iter().min()
        {
            self.abandon(oldest);
        }
        if self.budget.detached.load(Relaxed) > self.budget.limits().streams_total {
            self.abandon(newest);
        }
    }

    fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.budget.bytes.fetch_add(bytes, Relaxed);
    }

    fn shrink(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.budget.bytes.fetch_sub(bytes, Relaxed);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.close();
    }
}
