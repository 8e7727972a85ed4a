//! A backend's answer as JSON-RPC messages, whichever form it comes in.

use crate::upstream::{AttemptFault, Form, UpstreamResponse};
use bytes::Bytes;
use lockgate_filters::rpc::scan::{self, Kind, Limits};
use lockgate_filters::sse::EventReader;

/// How deep a backend's message may nest where it is looked into.
const DEPTH: usize = 128;

/// Messages of an answer, one after the other.
pub(super) struct Messages {
    response: UpstreamResponse,
    events: Option<EventReader>,
    answer_bytes: usize,
    done: bool,
}

/// One message.
pub(super) struct Received {
    /// Its JSON.
    pub bytes: Bytes,
}

impl Received {
    /// Whether this is the response to the request with this raw id.
    pub fn answers(&self, id: &[u8]) -> bool {
        scan::scan_envelope(&self.bytes, &Limits { depth: DEPTH, batch: 1 }).is_ok_and(|found| {
            found.kind == Kind::Response && found.id.is_some_and(|own| own.span.of(&self.bytes) == id)
        })
    }
}

impl Messages {
    /// The messages of `response`: at most `answer_bytes` of JSON, events of at most `event_bytes`.
    pub fn of(response: UpstreamResponse, answer_bytes: usize, event_bytes: usize) -> Messages {
        let events = (response.form() == Form::EventStream).then(|| EventReader::new(event_bytes));
        Messages { response, events, answer_bytes, done: false }
    }

    /// What is left of the answer.
    pub fn into_response(self) -> UpstreamResponse {
        self.response
    }

    /// The next message; `None` at the end. Cancel-safe for event streams only: half of a JSON body is lost.
    pub async fn next(&mut self) -> Result<Option<Received>, AttemptFault> {
        if self.done {
            return Ok(None);
        }
        let Some(events) = &mut self.events else {
            self.done = true;
            let bytes = self.response.collect(self.answer_bytes).await?;
            return Ok((!bytes.is_empty()).then_some(Received { bytes }));
        };
        loop {
            while let Some(event) = events.next_event() {
                if !event.data.is_empty() {
                    return Ok(Some(Received { bytes: event.data }));
                }
            }
            match self.response.chunk().await? {
                Some(chunk) => {
                    events.feed(&chunk).map_err(|_| AttemptFault::protocol("it sent an event that is too long"))?
                }
                None => {
                    self.done = true;
                    return Ok(None);
                }
            }
        }
    }
}
