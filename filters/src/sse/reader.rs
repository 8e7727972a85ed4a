//! Events of a stream that is read here rather than passed on.

use super::{Frame, Framer, TooLong};
use bytes::Bytes;

/// Takes whole events out of a stream that is read here.
#[derive(Debug)]
pub struct EventReader(Framer);

impl EventReader {
    /// A reader of events of at most `limit` bytes.
    pub fn new(limit: usize) -> EventReader {
        EventReader(Framer::keeping(limit))
    }

    /// Takes the next chunk of the stream.
    ///
    /// # Errors
    ///
    /// [`TooLong`], as [`Framer::feed`].
    pub fn feed(&mut self, chunk: &Bytes) -> Result<(), TooLong> {
        self.0.feed(chunk)
    }

    /// The next event with data, an empty one included. An event that the stream's end cuts is never given out.
    pub fn next_event(&mut self) -> Option<Frame> {
        loop {
            let frame = self.0.next_frame()?;
            if frame.has_data {
                return Some(frame);
            }
        }
    }

    /// The id to come back with after what was fed so far. Empty means none.
    pub fn last_id(&self) -> &[u8] {
        self.0.last_id()
    }
}
