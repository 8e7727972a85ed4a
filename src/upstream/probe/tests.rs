//! Against scripted backends on real sockets.

use super::*;
use crate::upstream::testing::{Received, answer, error, fetcher, json, result, serve_mcp};
use std::sync::{Arc, Mutex};

const MODERN_RESULT: &str = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}},"ttlMs":60000,"cacheScope":"public"}"#;
const LEGACY_RESULT: &str =
    r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}"#;

/// What a probe finds out about a server that answers each method like this.
async fn found(script: impl Fn(&Received) -> Vec<u8> + Clone + Send + Sync + 'static) -> Findings {
    probe(&fetcher(serve_mcp(script).await), Protocol::Auto).await
}

async fn eras(discover: fn() -> Vec<u8>, initialize: fn() -> Vec<u8>) -> (Speaks, Speaks) {
    let findings = found(move |request| match request.method().as_str() {
        "server/discover" => discover(),
        "initialize" => initialize(),
        _ => answer("405 Method Not Allowed", "", ""),
    })
    .await;
    (findings.modern, findings.legacy)
}

fn legacy() -> Vec<u8> {
    result(LEGACY_RESULT)
}

#[tokio::test]
async fn a_modern_backend_describes_itself() {
    let findings = found(|request| match request.method().as_str() {
        "server/discover" => {
            assert_eq!(request.field("mcp-protocol-version"), Some("2026-07-28"));
            assert_eq!(request.field("mcp-method"), Some("server/discover"));
            let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
            let meta = &body["params"]["_meta"];
            assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
            assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "lockgate");
            assert!(meta["io.modelcontextprotocol/clientCapabilities"].is_object());
            result(MODERN_RESULT)
        }
        _ => error("400 Bad Request", -32020),
    })
    .await;
    assert_eq!((findings.modern, findings.legacy), (Speaks::Yes, Speaks::No));
    let description = findings.description.expect("a description");
    assert_eq!(description.result, MODERN_RESULT);
    assert_eq!(description.ttl_millis, 60_000);
    assert!(description.declared.tools && description.declared.tools_changed);
}

#[tokio::test]
async fn the_answer_may_come_as_an_event() {
    let event = || {
        let body = format!(
            "id: 0\ndata:\n\nevent: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"x\"}}\n\n\
             data: {{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{MODERN_RESULT}}}\n\n"
        );
        answer("200 OK", "content-type: text/event-stream\r\n", &body)
    };
    assert_eq!(eras(event, legacy).await, (Speaks::Yes, Speaks::Yes));
}

#[tokio::test]
async fn modern_errors_are_recognised() {
    assert_eq!(eras(|| error("400 Bad Request", -32021), legacy).await, (Speaks::Yes, Speaks::Yes));
    assert_eq!(eras(|| error("400 Bad Request", -32020), legacy).await, (Speaks::Yes, Speaks::Yes));
    // Modern, but without the one modern revision that we speak.
    assert_eq!(eras(|| error("400 Bad Request", -32022), legacy).await, (Speaks::No, Speaks::Yes));
    let newer = || result(r#"{"supportedVersions":["2031-01-01"],"capabilities":{}}"#);
    assert_eq!(eras(newer, legacy).await, (Speaks::No, Speaks::Yes));
}

#[tokio::test]
async fn other_refusals_mean_that_the_era_is_not_spoken() {
    let refusals: [fn() -> Vec<u8>; 8] = [
        || error("200 OK", -32601),
        || error("400 Bad Request", -32000),
        || error("404 Not Found", -32601),
        || answer("400 Bad Request", "", "Bad Request: No session"),
        || answer("404 Not Found", "content-type: text/html\r\n", "<html>"),
        || answer("405 Method Not Allowed", "", ""),
        || answer("422 Unprocessable Content", "", ""),
        // A legacy server that answers whatever it is asked.
        || result("{}"),
    ];
    for refusal in refusals {
        assert_eq!(eras(refusal, legacy).await, (Speaks::No, Speaks::Yes), "{}", refusal().escape_ascii());
    }
}

#[tokio::test]
async fn an_outage_is_never_a_downgrade() {
    let outages: [fn() -> Vec<u8>; 7] = [
        || answer("401 Unauthorized", "", ""),
        || answer("403 Forbidden", "", ""),
        || answer("429 Too Many Requests", "", ""),
        || answer("500 Internal Server Error", "", ""),
        || error("503 Service Unavailable", -32603),
        || answer("302 Found", "location: /login\r\n", ""),
        || b"not HTTP\r\n\r\n".to_vec(),
    ];
    for outage in outages {
        assert_eq!(eras(outage, legacy).await, (Speaks::Unknown, Speaks::Unknown), "{}", outage().escape_ascii());
        let modern = eras(|| result(MODERN_RESULT), outage).await;
        assert_eq!(modern, (Speaks::Yes, Speaks::Unknown), "{}", outage().escape_ascii());
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let findings = probe(&fetcher(address), Protocol::Auto).await;
    assert_eq!((findings.modern, findings.legacy), (Speaks::Unknown, Speaks::Unknown));
    assert!(findings.fault.is_some());
}

#[tokio::test]
async fn a_probing_session_is_ended() {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let noted = ended.clone();
    let findings = found(move |request| match request.method().as_str() {
        "server/discover" => error("400 Bad Request", -32000),
        "initialize" => {
            assert_eq!(request.field("mcp-protocol-version"), None);
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{LEGACY_RESULT}}}"#);
            answer("200 OK", "content-type: application/json\r\nMcp-Session-Id: s-1\r\n", &body)
        }
        _ => {
            let session = request.field("mcp-session-id").unwrap_or_default();
            let version = request.field("mcp-protocol-version").unwrap_or_default();
            noted.lock().expect("unpoisoned").push(format!("{} {session} {version}", request.line()));
            answer("204 No Content", "", "")
        }
    })
    .await;
    assert_eq!(findings.legacy, Speaks::Yes);
    assert_eq!(*ended.lock().expect("unpoisoned"), ["DELETE /mcp HTTP/1.1 s-1 2025-11-25"]);
}

#[tokio::test]
async fn only_a_known_legacy_revision_counts() {
    let no = || error("404 Not Found", -32601);
    assert_eq!(eras(no, || with_version("2024-11-05")).await.1, Speaks::Yes);
    assert_eq!(eras(no, || with_version("2026-07-28")).await.1, Speaks::No);
    assert_eq!(eras(no, || with_version("1999-01-01")).await.1, Speaks::No);
    assert_eq!(eras(no, || json("[]")).await.1, Speaks::No);
}

fn with_version(version: &str) -> Vec<u8> {
    result(&format!(r#"{{"protocolVersion":"{version}","capabilities":{{}}}}"#))
}

#[tokio::test]
async fn what_the_configuration_says_is_not_asked_for() {
    let forbidden = |request: &Received| panic!("asked {}", request.method());
    let findings = probe(&fetcher(serve_mcp(forbidden).await), Protocol::Legacy).await;
    assert_eq!((findings.modern, findings.legacy), (Speaks::No, Speaks::Yes));

    let modern_only = |request: &Received| match request.method().as_str() {
        "server/discover" => result(MODERN_RESULT),
        other => panic!("asked {other}"),
    };
    let findings = probe(&fetcher(serve_mcp(modern_only).await), Protocol::Modern).await;
    assert_eq!((findings.modern, findings.legacy), (Speaks::Yes, Speaks::No));
    assert!(findings.description.is_some());
}
