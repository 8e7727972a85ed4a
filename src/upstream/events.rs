//! The events of a stream that the gateway reads for itself.

use super::fault::{AttemptFault, FaultKind};
use super::response::UpstreamResponse;
use bytes::Bytes;
use lockgate_filters::sse::EventReader;

/// Reads the data of one event after the other, within bounds.
pub(super) struct Events {
    pub(super) response: UpstreamResponse,
    reader: EventReader,
    left: usize,
}

impl Events {
    /// The events of a response of at most `limit` bytes, each of at most `event_bytes`.
    pub(super) fn new(response: UpstreamResponse, limit: usize, event_bytes: usize) -> Events {
        Events { response, reader: EventReader::new(event_bytes), left: limit }
    }

    /// The data of the next event that has any; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, AttemptFault> {
        let too_long = || AttemptFault::new(FaultKind::TooLong);
        loop {
            while let Some(event) = self.reader.next_event() {
                if !event.data.is_empty() {
                    return Ok(Some(event.data));
                }
            }
            let Some(chunk) = self.response.chunk().await? else { return Ok(None) };
            self.left = self.left.checked_sub(chunk.len()).ok_or_else(too_long)?;
            self.reader.feed(&chunk).map_err(|_| too_long())?;
        }
    }
}
