//! JSON-RPC answers that are made here.

use crate::fault::Refusal;
use bytes::Bytes;

/// An error response for the request with this raw JSON id, byte for byte as the client wrote it.
///
/// Where no id is known the member is left out: MCP's `RequestId` has no `null`, and `JSONRPCErrorResponse.id` is optional
/// (schema of 2026-07-28). `error.data` holds the correlation id and whatever the refusal adds.
pub fn error_body(id: Option<&[u8]>, refusal: &Refusal, correlation: &str) -> Bytes {
    let mut body = begin(id);
    body.extend_from_slice(b",\"error\":{\"code\":");
    body.extend_from_slice(refusal.fault.code().to_string().as_bytes());
    body.extend_from_slice(b",\"message\":");
    body.extend_from_slice(quoted(&refusal.message).as_bytes());
    body.extend_from_slice(b",\"data\":{\"correlationId\":");
    body.extend_from_slice(quoted(correlation).as_bytes());
    if let Some(members) = refusal.data.as_deref().filter(|members| !members.is_empty()) {
        body.push(b',');
        body.extend_from_slice(members.as_bytes());
    }
    body.extend_from_slice(b"}}}");
    body.into()
}

/// A result response; `result` is written as it is.
pub fn result_body(id: Option<&[u8]>, result: &[u8]) -> Bytes {
    let mut body = begin(id);
    body.reserve(result.len() + 12);
    body.extend_from_slice(b",\"result\":");
    body.extend_from_slice(result);
    body.push(b'}');
    body.into()
}

/// An error response for the request with this raw JSON id; `error` is written as it is.
pub fn error_again(id: &[u8], error: &[u8]) -> Bytes {
    let mut body = begin(Some(id));
    body.reserve(error.len() + 11);
    body.extend_from_slice(b",\"error\":");
    body.extend_from_slice(error);
    body.push(b'}');
    body.into()
}

fn begin(id: Option<&[u8]>) -> Vec<u8> {
    let mut body = Vec::with_capacity(256);
    body.extend_from_slice(b"{\"jsonrpc\":\"2.0\"");
    if let Some(id) = id {
        body.extend_from_slice(b",\"id\":");
        body.extend_from_slice(id);
    }
    body
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::rpc::scan::{Kind, Limits, scan_envelope};

    #[test]
    fn errors_repeat_the_id_byte_for_byte() {
        let refusal =
            Refusal::new(Fault::UnsupportedRevision, "era").saying("no \"such\" thing").with_data("\"supported\":[]");
        let body = error_body(Some(b"1.0"), &refusal, "c\"1");
        assert!(body.starts_with(b"{\"jsonrpc\":\"2.0\",\"id\":1.0,"));
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(read["error"]["code"], -32022);
        assert_eq!(read["error"]["message"], "no \"such\" thing");
        assert_eq!(read["error"]["data"]["correlationId"], "c\"1");
        assert!(read["error"]["data"]["supported"].is_array());
        let without: serde_json::Value = serde_json::from_slice(&error_body(None, &refusal, "c")).unwrap();
        assert!(without.get("id").is_none());
        let empty = error_body(None, &Refusal::new(Fault::Internal, "test").with_data(""), "c\n\u{1}\u{2028}é");
        let read: serde_json::Value = serde_json::from_slice(&empty).unwrap();
        assert_eq!(read["error"]["data"]["correlationId"], "c\n\u{1}\u{2028}é");
    }

    #[test]
    fn every_fault_makes_a_message_that_scans() {
        let limits = Limits { depth: 8, batch: 1 };
        for fault in Fault::ALL {
            for id in [None, Some(&b"-1.0e5"[..]), Some(br#""a\u0062""#)] {
                let body = error_body(id, &Refusal::new(*fault, "test").with_data("\"a\":1"), "c");
                let message = scan_envelope(&body, &limits).unwrap();
                assert_eq!(message.kind, Kind::Response);
                assert_eq!(message.id.map(|own| own.span.of(&body)), id);
                assert!(message.error.is_some());
            }
        }
    }

    #[test]
    fn results_are_written_as_they_are() {
        assert_eq!(
            result_body(Some(b"\"a\""), b"{ \"x\": 1 }"),
            "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":{ \"x\": 1 }}"
        );
        assert_eq!(error_again(b"7", b"{ \"code\":-1 }"), "{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{ \"code\":-1 }}");
    }
}
