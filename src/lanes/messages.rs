//! A backend's answer as JSON-RPC messages, whichever form it comes in.

use crate::upstream::{AttemptFault, FaultKind, Form, UpstreamResponse};
use bytes::{Bytes, BytesMut};
use lockgate_filters::rpc::answer::may_ask;
use lockgate_filters::rpc::scan::{self, Kind, Limits};
use lockgate_filters::rpc::{id, reply};
use lockgate_filters::sse::EventReader;

/// Messages of an answer, one after the other.
pub(super) struct Messages {
    response: UpstreamResponse,
    events: Option<EventReader>,
    /// What has come of a JSON body.
    json: BytesMut,
    answer_bytes: usize,
    done: bool,
}

/// One message.
pub(super) struct Received {
    /// Its JSON.
    pub bytes: Bytes,
}

/// What a message means to whoever has sent one request and nothing else.
pub(super) enum Meaning {
    /// The response.
    Response(Bytes),
    /// A request or a notification of the backend.
    Speech,
    /// No JSON-RPC, or an answer to somebody else.
    Noise,
}

impl Received {
    /// What this means to the sender of the request with this raw id.
    ///
    /// An error without an id can only be about that request: it gets the id.
    pub fn meaning(&self, id: &[u8]) -> Meaning {
        let Ok(found) = scan::scan_envelope(&self.bytes, &Limits { depth: scan::MAX_DEPTH, batch: 1 }) else {
            return Meaning::Noise;
        };
        match (found.kind, found.id, found.error) {
            (Kind::Request | Kind::Notification, ..) => Meaning::Speech,
            (Kind::Response, Some(own), _) if id::same(own.span.of(&self.bytes), id) => {
                Meaning::Response(self.bytes.clone())
            }
            (Kind::Response, None, Some(error)) => {
                Meaning::Response(reply::error_again(id, error.span.of(&self.bytes)))
            }
            (Kind::Response, ..) => Meaning::Noise,
        }
    }
}

/// Whether a message asks something of whoever gets it.
///
/// Most messages of a stream are answers, which can be told without parsing them.
pub(super) fn is_request(message: &[u8]) -> bool {
    may_ask(message)
        && scan::scan_envelope(message, &Limits { depth: scan::MAX_DEPTH, batch: 1 })
            .is_ok_and(|found| found.kind == Kind::Request)
}

impl Messages {
    /// The messages of `response`: at most `answer_bytes` of JSON, events of at most `event_bytes`.
    pub fn of(response: UpstreamResponse, answer_bytes: usize, event_bytes: usize) -> Messages {
        let events = (response.form() == Form::EventStream).then(|| EventReader::new(event_bytes));
        Messages { response, events, json: BytesMut::new(), answer_bytes, done: false }
    }

    /// What is left of the answer.
    pub fn into_response(self) -> UpstreamResponse {
        self.response
    }

    /// The response to the request with this raw id, the only one that was sent; `None` where the answer ends without it.
    /// Cancel-safe.
    pub async fn response(&mut self, id: &[u8]) -> Result<Option<Bytes>, AttemptFault> {
        while let Some(said) = self.next().await? {
            if let Meaning::Response(response) = said.meaning(id) {
                return Ok(Some(response));
            }
        }
        Ok(None)
    }

    /// The next message; `None` at the end. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Received>, AttemptFault> {
        while !self.done {
            if let Some(event) = self.events.as_mut().and_then(EventReader::next_event) {
                if event.data.is_empty() {
                    continue;
                }
                return Ok(Some(Received { bytes: event.data }));
            }
            match (self.response.chunk().await?, &mut self.events) {
                (Some(chunk), Some(events)) => {
                    events.feed(&chunk).map_err(|_| AttemptFault::protocol("it sent an event that is too long"))?;
                }
                (Some(chunk), None) if self.json.len() + chunk.len() > self.answer_bytes => {
                    self.done = true;
                    let fault = AttemptFault::protocol("its answer is too long");
                    return Err(AttemptFault { kind: FaultKind::TooLong, ..fault });
                }
                (Some(chunk), None) => self.json.extend_from_slice(&chunk),
                (None, _) => self.done = true,
            }
        }
        let json = std::mem::take(&mut self.json);
        Ok((!json.is_empty()).then(|| Received { bytes: json.freeze() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(message: &str, id: &str) -> Option<String> {
        match (Received { bytes: Bytes::copy_from_slice(message.as_bytes()) }).meaning(id.as_bytes()) {
            Meaning::Response(response) => Some(String::from_utf8(response.to_vec()).unwrap()),
            Meaning::Speech => Some("speech".to_owned()),
            Meaning::Noise => None,
        }
    }

    #[test]
    fn the_response_is_told_by_what_its_id_means() {
        for (own, asked) in [("1", "1.0"), ("100", "1e2"), (r#""a/b""#, r#""a\/b""#), (r#""é""#, r#""\u00e9""#)] {
            let message = format!(r#"{{"jsonrpc":"2.0","id":{own},"result":{{}}}}"#);
            assert_eq!(meaning(&message, asked).as_deref(), Some(&*message));
        }
        assert_eq!(meaning(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#, "1"), None);
    }

    #[test]
    fn an_error_without_an_id_is_about_the_request() {
        let message = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}"#;
        let expected = r#"{"jsonrpc":"2.0","id":"a","error":{"code":-32600,"message":"no"}}"#;
        assert_eq!(meaning(message, "\"a\"").as_deref(), Some(expected));
    }

    #[test]
    fn what_is_no_json_rpc_is_noise() {
        for noise in ["<html>", "{}", r#"{"message":"Forbidden"}"#, "[1]", r#"{"jsonrpc":"2.0","id":null,"result":{}}"#]
        {
            assert_eq!(meaning(noise, "1"), None, "{noise}");
        }
        assert_eq!(meaning(r#"{"jsonrpc":"2.0","method":"notifications/message"}"#, "1").as_deref(), Some("speech"));
        assert_eq!(meaning(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, "1").as_deref(), Some("speech"));
    }

    #[test]
    fn depth_is_what_the_scanner_can_do() {
        let deep = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"a":{}{}}}}}"#, "[".repeat(300), "]".repeat(300));
        assert!(meaning(&deep, "1").is_some());
    }

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
