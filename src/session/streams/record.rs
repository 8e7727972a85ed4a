//! The writing end of a recorded stream, held by the lane that reads the upstream.

use super::super::underway::Underway;
use super::stream::Reader;
use super::{End, Recorder};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// What the lane that reads the upstream is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The client came back on another connection: end the response to the first one, read the upstream on.
    TakenOver,
    /// Nobody will come for this stream any more: let the upstream go.
    Stop,
}

/// A stream being recorded. Dropping it without [`StreamRecord::finish`] is an [`End::Cut`].
pub struct StreamRecord {
    recorder: Arc<Recorder>,
    stream: u32,
    changed: Arc<Notify>,
    attached: bool,
}

impl StreamRecord {
    pub(super) fn new(recorder: Arc<Recorder>, stream: u32, changed: Arc<Notify>) -> StreamRecord {
        StreamRecord { recorder, stream, changed, attached: true }
    }

    /// Keeps the request that is answered to be found by who cancels it, until its answer is there or its stream forgotten.
    pub fn keep(&self, underway: Arc<Underway>) {
        if let Some(stream) = self.recorder.ring.lock().stream(self.stream) {
            stream.underway = Some(underway);
        }
    }

    /// Records an event: its id if it has one, and its whole frame as it came. Returns whether the lane must pass it to
    /// the client it was opened by; if not, whoever follows the stream gets it from the recorder.
    ///
    /// Waits only while a follower lags, as writing to a slow client would. Nothing is recorded when it is dropped
    /// while waiting.
    pub async fn push(&self, id: Option<Bytes>, frame: Bytes) -> bool {
        loop {
            let changed = self.changed.notified();
            {
                let mut ring = self.recorder.ring.lock();
                let bytes = self.recorder.budget.limits().bytes;
                if !ring.stream(self.stream).is_some_and(|stream| stream.is_ahead(bytes)) {
                    return ring.push(self.stream, id, frame, Instant::now());
                }
            }
            changed.await;
        }
    }

    /// The client is gone: from now on everything that can be asked for is recorded.
    pub fn detach(&mut self) {
        self.attached = false;
        let mut ring = self.recorder.ring.lock();
        // A follower may have taken the stream over already: then the first client's end means nothing.
        if let Some(stream) = ring.stream(self.stream)
            && stream.reader == Reader::Client
        {
            let from = stream.next_number();
            ring.detach(self.stream, from, Instant::now());
        }
    }

    /// The stream's end. What was recorded can be asked for until `replay_time` is over.
    pub fn finish(self, end: End) {
        self.recorder.ring.lock().finish(self.stream, end);
    }

    /// Waits until the lane must change what it does. Dropping the future loses nothing.
    pub async fn told(&mut self) -> Told {
        let stream_changed = self.changed.clone();
        loop {
            let changed = stream_changed.notified();
            let deadline = match self.look() {
                Ok(deadline) => deadline,
                Err(told) => return told,
            };
            match deadline {
                Some(deadline) => {
                    if timeout_at(deadline, changed).await.is_err() {
                        self.recorder.ring.lock().abandon(self.stream);
                    }
                }
                None => changed.await,
            }
        }
    }

    /// What there is to tell, or until when to wait at most.
    fn look(&mut self) -> Result<Option<Instant>, Told> {
        let mut ring = self.recorder.ring.lock();
        let closed = ring.closed;
        let Some(stream) = ring.stream(self.stream).filter(|stream| !closed && !stream.abandoned) else {
            return Err(Told::Stop);
        };
        match stream.reader {
            Reader::Client => Ok(None),
            Reader::Follower { .. } if self.attached => {
                self.attached = false;
                Err(Told::TakenOver)
            }
            Reader::Follower { .. } => Ok(None),
            Reader::Nobody { since, .. } => Ok(Some(since + self.recorder.budget.limits().time)),
        }
    }
}

impl Drop for StreamRecord {
    fn drop(&mut self) {
        self.recorder.ring.lock().finish(self.stream, End::Cut);
    }
}
