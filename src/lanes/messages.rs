//! A backend's answer as JSON-RPC messages, whichever form it comes in.

use crate::upstream::{AttemptFault, Form, UpstreamResponse};
use bytes::Bytes;
use lockgate_filters::rpc::scan::{self, Kind, Limits};
use lockgate_filters::sse::EventReader;
use memchr::memmem;

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

/// Whether a message asks something of whoever gets it.
///
/// Most messages of a stream are answers, which can be told without parsing them: no member is named `method`, however it
/// is written.
pub(super) fn is_request(message: &[u8]) -> bool {
    let may_have_method = || memmem::find(message, b"\"method\"").is_some() || memmem::find(message, b"\\u").is_some();
    may_have_method()
        && scan::scan_envelope(message, &Limits { depth: DEPTH, batch: 1 })
            .is_ok_and(|found| found.kind == Kind::Request)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_from_answers_and_notifications() {
        assert!(is_request(br#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#));
        assert!(is_request(br#"{"params":{"x":{}},"m\u0065thod":"roots/list","id":7,"jsonrpc":"2.0"}"#));
        for other in [
            &br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"id":1}}"#[..],
            br#"{"jsonrpc":"2.0","id":1,"result":{"method":"ping","id":2}}"#,
            br#"{"jsonrpc":"2.0","id":1,"result":{"text":"\"method\" \u00e9"}}"#,
            br#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"method"}}"#,
            b"",
            b"no JSON, but a \"method\"",
        ] {
            assert!(!is_request(other), "{}", String::from_utf8_lossy(other));
        }
    }
}
