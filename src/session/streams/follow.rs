//! The reading end of a recorded stream, held by the lane of a client that came back.

use super::super::underway::Underway;
use super::ring::{Look, TakenUp};
use super::stream::Reader;
use super::{End, Recorder, StreamKind};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A stream taken up again: first what was recorded, then what comes.
///
/// Dropping it leaves the stream to go on without a client, so that the next one can take it up.
pub struct Resume {
    recorder: Arc<Recorder>,
    stream: u32,
    generation: u64,
    kind: StreamKind,
    missed: u64,
    last_id: Option<Bytes>,
    end: Option<End>,
    changed: Arc<Notify>,
}

impl Resume {
    pub(super) fn new(recorder: Arc<Recorder>, taken: &TakenUp, kind: StreamKind, changed: Arc<Notify>) -> Resume {
        let TakenUp { stream, generation, missed } = *taken;
        Resume { recorder, stream, generation, kind, missed, last_id: None, end: None, changed }
    }

    /// The next event's frame, as the backend sent it. `None` when there will be no more: the stream is over
    /// ([`Resume::end`] says how), a newer client took it up, or the session ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            let changed = self.changed.notified();
            let before = self.missed;
            let look = self.recorder.ring.lock().look(self.stream, self.generation, &mut self.missed);
            if before == 0 && self.missed > 0 {
                self.recorder.budget.gaps.fetch_add(1, Relaxed);
            }
            match look {
                Look::Event(frame, id) => {
                    self.last_id = id.or_else(|| self.last_id.take());
                    return Some(frame);
                }
                Look::End(end) => {
                    self.end = Some(end);
                    return None;
                }
                Look::Lost => return None,
                Look::Wait => changed.await,
            }
        }
    }

    /// What opened the stream.
    pub fn kind(&self) -> StreamKind {
        self.kind
    }

    /// How many events this client has missed for good: they were evicted before it came or could take them. Above zero
    /// there is a gap, and lists and resources may have changed in it.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// How the stream ended, once [`Resume::next`] gave `None`. After [`End::Cut`] the backend may go on where
    /// [`Resume::last_id`] says; without an end, somebody else has the stream or the session is over.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// How the stream ended, where nothing of it is left to hand out: a client that comes for more gets it elsewhere.
    pub fn spent(&self) -> Option<End> {
        self.recorder.ring.lock().spent(self.stream)
    }

    /// Whether the stream comes from a session that the backend no longer has: its event ids mean nothing there.
    pub fn is_lost(&self) -> bool {
        self.recorder.ring.lock().is_lost(self.stream)
    }

    /// The raw id of the request that the stream answers, where it answers one.
    pub fn asked(&self) -> Option<Bytes> {
        self.recorder.ring.lock().stream(self.stream).and_then(|stream| stream.asked.clone())
    }

    /// The request that the stream answers, where it can still be cancelled.
    pub fn underway(&self) -> Option<Arc<Underway>> {
        self.recorder.ring.lock().stream(self.stream).and_then(|stream| stream.underway.clone())
    }

    /// The id of the last event handed out that had one.
    pub fn last_id(&self) -> Option<&Bytes> {
        self.last_id.as_ref()
    }
}

impl Drop for Resume {
    fn drop(&mut self) {
        let mut ring = self.recorder.ring.lock();
        let reader = ring.stream(self.stream).map(|stream| stream.reader);
        if let Some(Reader::Follower { generation, next }) = reader
            && generation == self.generation
        {
            ring.detach(self.stream, next, Instant::now());
        }
    }
}
