//! The few bytes of a message that differ on the two sides of a channel: ids, and what refers to them.
//!
//! On a channel that many use no client's id can stand for itself, so each request gets a number of the channel's own,
//! which also takes the place of its progress token. Everything else stays as it is, byte for byte, but for line breaks
//! between tokens, which a message on a pipe must not have.

use bytes::Bytes;
use lockgate_filters::rpc::members::member;
use lockgate_filters::rpc::scan::{Message, Span, Value};

/// What notifications of a subscription name the request by that opened it (2026-07-28).
const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// A request as it goes to the peer, and what the peer must not see of it.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) line: Bytes,
    /// The client's own id, as it wrote it.
    pub(super) id: Bytes,
    /// The client's own progress token, as it wrote it.
    pub(super) token: Option<Bytes>,
}

/// Gives a request this number. `None` where it has no id to give one for.
pub(super) fn request(body: &Bytes, message: &Message, number: u64) -> Option<Outgoing> {
    let id = message.id?.span;
    let token = message.params.as_ref().and_then(|params| params.meta.as_ref()).and_then(|meta| meta.progress_token);
    let number = number.to_string();
    let mut edits = vec![(id, number.as_bytes())];
    edits.extend(token.map(|token| (token.span, number.as_bytes())));
    let copy = |span: Span| Bytes::copy_from_slice(span.of(body));
    Some(Outgoing {
        line: on_one_line(&spliced(body, edits)),
        id: copy(id),
        token: token.map(|token| copy(token.span)),
    })
}

/// A message with this value in place of another.
pub(super) fn replaced(body: &[u8], value: Value, with: &[u8]) -> Bytes {
    spliced(body, vec![(value.span, with)]).into()
}

/// A response with the client's own id; that of a subscription also names it in its result.
pub(super) fn response(body: &[u8], message: &Message, number: u64, own: &[u8]) -> Bytes {
    let mut edits: Vec<(Span, &[u8])> = message.id.iter().map(|id| (id.span, own)).collect();
    let subscription = message.result.and_then(|result| {
        let meta = member(result.span.of(body), "_meta")?.span.within(result.span);
        let id = member(meta.of(body), SUBSCRIPTION_ID)?.span.within(meta);
        (self::number(id.of(body)) == Some(number)).then_some(id)
    });
    edits.extend(subscription.map(|id| (id, own)));
    spliced(body, edits).into()
}

/// The number that this raw JSON id is, however it is written; `None` for anything that the channel never sends.
pub(super) fn number(raw: &[u8]) -> Option<u64> {
    /// Up to here a double is exact.
    const MOST: f64 = 9_007_199_254_740_992.0;
    let text = std::str::from_utf8(raw).ok()?;
    text.parse().ok().or_else(|| {
        let number: f64 = text.parse().ok()?;
        ((0.0..=MOST).contains(&number) && number.fract() == 0.0).then_some(number as u64)
    })
}

/// A message without line breaks. They can stand between tokens only: a string has none (RFC 8259 section 7).
pub(super) fn on_one_line(message: &[u8]) -> Bytes {
    let mut line = message.to_vec();
    for byte in &mut line {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    line.into()
}

fn spliced(body: &[u8], mut edits: Vec<(Span, &[u8])>) -> Vec<u8> {
    edits.sort_unstable_by_key(|(span, _)| span.start);
    let mut out = Vec::with_capacity(body.len() + 32);
    let mut read = 0;
    for (span, with) in edits {
        out.extend_from_slice(body.get(read..span.start as usize).unwrap_or_default());
        out.extend_from_slice(with);
        read = span.end as usize;
    }
    out.extend_from_slice(body.get(read..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_filters::rpc::scan::{Limits, scan_envelope};

    fn scanned(body: &str) -> (Bytes, Message) {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let message = scan_envelope(&body, &Limits { depth: 64, batch: 1 }).expect("a message");
        (body, message)
    }

    #[test]
    fn a_request_gets_a_number_and_keeps_everything_else() {
        for (id, token) in [("0", "\"t\""), ("-7", "0"), ("\"a\\u0062\"", "-1"), ("1.50", "\"\"")] {
            let (body, message) = scanned(&format!(
                "{{\"params\":{{\"_meta\":{{\"progressToken\":{token},\"x\":[1, 2]}}}},\r\n \"id\": {id} ,\"method\":\"m\\n\",\"jsonrpc\":\"2.0\"}}"
            ));
            let outgoing = request(&body, &message, 42).expect("a request");
            assert_eq!(
                outgoing.line,
                "{\"params\":{\"_meta\":{\"progressToken\":42,\"x\":[1, 2]}},   \"id\": 42 ,\"method\":\"m\\n\",\"jsonrpc\":\"2.0\"}"
            );
            assert_eq!((outgoing.id, outgoing.token), (id.into(), Some(token.into())));
        }
        let (body, message) = scanned(r#"{"jsonrpc":"2.0","method":"m"}"#);
        assert!(request(&body, &message, 1).is_none());
    }

    #[test]
    fn a_response_gets_its_own_id_back() {
        let (body, message) = scanned(
            r#"{"jsonrpc":"2.0","id":4,"result":{"_meta":{"io.modelcontextprotocol/subscriptionId":4},"id":4}}"#,
        );
        assert_eq!(
            response(&body, &message, 4, b"\"x\""),
            r#"{"jsonrpc":"2.0","id":"x","result":{"_meta":{"io.modelcontextprotocol/subscriptionId":"x"},"id":4}}"#
        );
        let (body, message) = scanned(r#"{"jsonrpc":"2.0","id":4,"error":{"code":1,"message":"4"}}"#);
        assert_eq!(response(&body, &message, 4, b"0"), r#"{"jsonrpc":"2.0","id":0,"error":{"code":1,"message":"4"}}"#);
    }

    #[test]
    fn numbers_are_read_however_they_are_written() {
        for (raw, expected) in [("7", Some(7)), ("7.0", Some(7)), ("7e1", Some(70)), ("0", Some(0))] {
            assert_eq!(number(raw.as_bytes()), expected, "{raw}");
        }
        for raw in ["-1", "1.5", "\"7\"", "1e99", "null", "", "nan"] {
            assert_eq!(number(raw.as_bytes()), None, "{raw}");
        }
    }
}
