//! Refused for how it was sent: host, origin, path, method, types, framing, size.

use super::{CLOSED, Case, call, case, echo};
use lockgate_e2e::mcp::MODERN;
use lockgate_e2e::raw::Raw;
use serde_json::json;

pub fn cases() -> Vec<Case> {
    let body = call("echo", json!({})).to_string();
    vec![
        case("foreign Host", echo().set("host", "evil.example"), &[403], 0),
        case("Host of another port's name", echo().set("host", "localhost.evil.example"), &[403], 0),
        case("no Host", echo().without("host"), &[400, 403], 0),
        case("two Hosts", echo().with("host", "evil.example"), &[400], -32600),
        case(
            "absolute target of another host",
            Raw { line: "POST http://evil.example/mcp HTTP/1.1".into(), ..echo() },
            &[403],
            -32600,
        ),
        case(
            "absolute target of another host, named twice",
            Raw { line: "POST http://evil.example/mcp HTTP/1.1".into(), ..echo() }.set("host", "evil.example"),
            &[403],
            -32600,
        ),
        case(
            "CONNECT",
            Raw { line: "CONNECT localhost:80 HTTP/1.1".into(), ..echo() }.set("host", "localhost:80"),
            &[405],
            -32600,
        ),
        case("foreign Origin", echo().with("origin", "https://evil.example"), &[403], 0),
        case("Origin null", echo().with("origin", "null"), &[403], 0),
        case(
            "loopback name as a prefix of an Origin",
            echo().with("origin", "http://localhost.evil.example"),
            &[403],
            0,
        ),
        case(
            "two Origins",
            echo().with("origin", "http://localhost").with("origin", "https://evil.example"),
            &[400, 403],
            0,
        ),
        case("unknown path", Raw { line: "POST /other HTTP/1.1".into(), ..echo() }, &[404], 0),
        case("path in capitals", Raw { line: "POST /MCP HTTP/1.1".into(), ..echo() }, &[404], 0),
        case("path below", Raw { line: "POST /mcp/more HTTP/1.1".into(), ..echo() }, &[404], 0),
        case("path with dots", Raw { line: "POST /x/../mcp HTTP/1.1".into(), ..echo() }, &[400, 404], 0),
        case("PUT", Raw { line: "PUT /mcp HTTP/1.1".into(), ..echo() }, &[405], 0),
        case("TRACE", Raw { line: "TRACE /mcp HTTP/1.1".into(), ..echo() }, &[405, 501], 0),
        case(
            "modern GET",
            Raw::new("GET", "/mcp")
                .with("host", "HOST")
                .with("accept", "text/event-stream")
                .with("mcp-protocol-version", MODERN)
                .with("last-event-id", "MARKER")
                .with("connection", "close"),
            &[405],
            0,
        ),
        case(
            "modern DELETE",
            Raw::new("DELETE", "/mcp")
                .with("host", "HOST")
                .with("mcp-protocol-version", MODERN)
                .with("mcp-session-id", "MARKER")
                .with("connection", "close"),
            &[405],
            0,
        ),
        case("text/plain", echo().set("content-type", "text/plain"), &[415], 0),
        case("form", echo().set("content-type", "application/x-www-form-urlencoded"), &[415], 0),
        case("no content type", echo().without("content-type"), &[415], 0),
        case("coded body", echo().with("content-encoding", "gzip"), &[415], 0),
        case("Accept without either type", echo().set("accept", "text/html"), &[406], 0),
        case("Accept that rules both types out", echo().set("accept", "*/*;q=0"), &[406], 0),
        case("two lengths", echo().with("content-length", "3"), &[400], -32600),
        case("length and chunks", echo().with("transfer-encoding", "chunked"), &[400, CLOSED], 0),
        case("unknown transfer coding", plain_chunked(&body).set("transfer-encoding", "xchunked"), &[400], -32600),
        case("length with a sign", echo().set("content-length", &format!("+{}", body.len())), &[400], -32600),
        case("space before the colon", echo().with("x-odd ", "1"), &[400], -32600),
        case("folded header", echo().with("x-odd", "1\r\n folded"), &[400], -32600),
        case("control character in a header", echo().with("x-odd", "a\u{1}b"), &[400], -32600),
        case(
            "body over the limit",
            echo().body(call("echo", json!({"large": "x".repeat(5 << 20)})).to_string()),
            &[413],
            -32600,
        ),
        case("headers over the limit", echo().with("x-large", &"x".repeat(65 << 10)), &[431], -32600),
        case(
            "too many headers",
            (0..120).fold(echo(), |raw, index| raw.with(&format!("x-{index}"), "1")),
            &[431],
            -32600,
        ),
        case(
            "more headers than are parsed",
            (0..300).fold(echo(), |raw, index| raw.with(&format!("x-{index}"), "1")),
            &[431],
            -32600,
        ),
    ]
}

/// A chunked request with a broken chunk size.
fn plain_chunked(body: &str) -> Raw {
    let mut raw = echo().without("content-length").with("transfer-encoding", "chunked");
    raw.body = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into_bytes();
    raw
}
