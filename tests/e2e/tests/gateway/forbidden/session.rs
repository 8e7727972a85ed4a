//! Refused for its session or revision, or for a batch that may not be.

use super::{CLOSED, Case, call, case, plain};
use lockgate_e2e::raw::Raw;
use serde_json::{Value, json};

pub fn cases(session: &str, ended: &str) -> Vec<Case> {
    let body =
        json!({"jsonrpc": "2.0", "id": "MARKER", "method": "tools/call", "params": {"name": "echo", "arguments": {}}});
    let bare = move || plain(body.to_string()).with("mcp-protocol-version", "2025-06-18");
    let own = |raw: Raw| raw.with("mcp-session-id", session);
    let one = json!({"jsonrpc": "2.0", "id": "MARKER", "method": "ping"});
    let mut tampered = session.to_owned();
    let middle = tampered.len() / 2;
    let other = if tampered.as_bytes()[middle] == b'A' { "B" } else { "A" };
    tampered.replace_range(middle..=middle, other);
    vec![
        case("no session", bare(), &[400], 0),
        case(
            "initialize without an id",
            plain(
                json!({"jsonrpc": "2.0", "method": "initialize", "params": {"protocolVersion": "2025-06-18",
                    "capabilities": {}, "clientInfo": {"name": "MARKER", "version": "1"}}})
                .to_string(),
            ),
            &[400],
            -32600,
        ),
        case(
            "part of the modern _meta",
            own(plain(
                json!({"jsonrpc": "2.0", "id": "MARKER", "method": "tools/list",
                    "params": {"_meta": {"io.modelcontextprotocol/clientCapabilities": {}}}})
                .to_string(),
            )),
            &[400],
            -32020,
        ),
        case(
            "_meta that is no object",
            own(plain(
                json!({"jsonrpc": "2.0", "id": "MARKER", "method": "tools/list", "params": {"_meta": "x"}}).to_string(),
            )),
            &[400],
            -32602,
        ),
        case("unknown session", bare().with("mcp-session-id", "unknown"), &[404], 0),
        case("the backend's own session id", bare().with("mcp-session-id", "lax-1"), &[404], 0),
        case("changed session id", bare().with("mcp-session-id", &tampered), &[404], 0),
        case("cut session id", bare().with("mcp-session-id", &session[..session.len() - 1]), &[404], 0),
        case("overlong session id", bare().with("mcp-session-id", &"A".repeat(8 << 10)), &[400, 404, 431], 0),
        case("ended session", bare().with("mcp-session-id", ended), &[404], 0),
        case("two session ids", own(bare()).with("mcp-session-id", "unknown"), &[400, 404], 0),
        case("another revision than the session's", own(bare()).set("mcp-protocol-version", "2025-11-25"), &[400], 0),
        case("a revision that nobody knows", own(bare()).set("mcp-protocol-version", "2024-01-01"), &[400], 0),
        case("modern _meta without the modern header", own(plain(call("echo", json!({})).to_string())), &[400], -32020),
        case("batch after its time", own(bare().body(json!([one]).to_string())), &[400], -32600),
        case(
            "GET of an unknown session",
            Raw::new("GET", "/mcp")
                .with("host", "HOST")
                .with("accept", "text/event-stream")
                .with("mcp-session-id", "unknown")
                .with("last-event-id", "MARKER")
                .with("connection", "close"),
            &[404],
            0,
        ),
        case(
            "GET without a session",
            Raw::new("GET", "/mcp")
                .with("host", "HOST")
                .with("accept", "text/event-stream")
                .with("last-event-id", "MARKER")
                .with("connection", "close"),
            &[400, 405],
            0,
        ),
        case(
            "GET that accepts no events",
            own(Raw::new("GET", "/mcp")
                .with("host", "HOST")
                .with("accept", "application/json")
                .with("last-event-id", "MARKER")
                .with("connection", "close")),
            &[406],
            0,
        ),
        case(
            "GET with an event id that the gateway did not give",
            own(Raw::new("GET", "/mcp")
                .with("host", "HOST")
                .with("accept", "text/event-stream")
                .with("last-event-id", "MARKER\u{1}")
                .with("connection", "close")),
            &[400, 404, CLOSED],
            0,
        ),
        case(
            "DELETE of an unknown session",
            Raw::new("DELETE", "/mcp")
                .with("host", "HOST")
                .with("mcp-session-id", "MARKER")
                .with("connection", "close"),
            &[404],
            0,
        ),
    ]
}

pub fn batch_cases(session: &str) -> Vec<Case> {
    let own = |body: Value| plain(body.to_string()).with("mcp-session-id", session);
    let one = |id: &str| json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
    let many: Vec<_> = (0..33).map(|index| one(&format!("MARKER-{index}"))).collect();
    let handshake =
        json!({"jsonrpc": "2.0", "id": "MARKER", "method": "initialize", "params": {"protocolVersion": "2025-03-26"}});
    vec![
        case("batch over the limit", own(json!(many)), &[400, 413], -32600),
        case("initialize in a batch", own(json!([handshake, one("a")])), &[400], -32600),
        case("empty batch of the right revision", own(json!([])), &[400], -32600),
    ]
}
