//! What the gateway refuses never reaches a backend that would accept anything: each request of this table carries a
//! marker, gets the right refusal, and its marker is not in the lax backend's journal.

mod body;
mod headers;
mod session;
mod transport;

use lockgate_e2e::gateway::config;
use lockgate_e2e::mcp::MODERN;
use lockgate_e2e::raw::{Raw, RawAnswer};
use lockgate_e2e::{Fixture, Gateway, Mcp};
use serde_json::{Value, json};

/// The server may also close the connection without a word.
const CLOSED: u16 = 0;

struct Case {
    name: &'static str,
    request: Raw,
    statuses: &'static [u16],
    /// The JSON-RPC code; 0 where none is prescribed.
    code: i64,
}

fn case(name: &'static str, request: Raw, status: &'static [u16], code: i64) -> Case {
    Case { name, request, statuses: status, code }
}

fn meta() -> Value {
    json!({"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}})
}

fn call(tool: &str, arguments: Value) -> Value {
    let params = json!({"name": tool, "arguments": arguments, "_meta": meta()});
    json!({"jsonrpc": "2.0", "id": "MARKER", "method": "tools/call", "params": params})
}

/// A correct modern request; every case bends one thing of it.
fn modern(body: &Value) -> Raw {
    let raw = plain(body.to_string())
        .with("mcp-protocol-version", MODERN)
        .with("mcp-method", body["method"].as_str().unwrap_or_default());
    match body["params"]["name"].as_str().or(body["params"]["taskId"].as_str()) {
        Some(name) => raw.with("mcp-name", name),
        None => raw,
    }
}

fn plain(body: impl Into<Vec<u8>>) -> Raw {
    Raw::new("POST", "/mcp")
        .with("host", "HOST")
        .with("content-type", "application/json")
        .with("accept", "application/json, text/event-stream")
        .with("connection", "close")
        .body(body)
}

fn echo() -> Raw {
    modern(&call("echo", json!({})))
}

/// A modern `tools/call` of `echo` whose body is this text.
fn text(body: &str) -> Raw {
    echo().body(body)
}

/// Sends one case and returns what is wrong with the refusal, if anything.
async fn refused(gateway: &Gateway, case: &Case, marker: &str) -> Option<String> {
    let mut request = case.request.clone();
    let host = gateway.address();
    for (_, value) in &mut request.headers {
        *value = value.replace("HOST", &host).replace("MARKER", marker);
    }
    if let Ok(body) = String::from_utf8(request.body.clone()) {
        let declared =
            request.headers.iter().any(|(name, value)| name == "content-length" && *value == body.len().to_string());
        let body = body.replace("MARKER", marker);
        request = match declared {
            true => {
                let others: Vec<_> =
                    request.headers.iter().filter(|(name, _)| name == "content-length").skip(1).cloned().collect();
                let request = request.body(body);
                others.into_iter().fold(request, |raw, (name, value)| raw.with(&name, &value))
            }
            false => Raw { body: body.into_bytes(), ..request },
        };
    }
    let answer = request.send(&host).await;
    let (status, code) = answer.as_ref().map_or((CLOSED, 0), RawAnswer::code);
    if !case.statuses.contains(&status) {
        return Some(format!("{}: status {status}, not {:?}: {answer:?}", case.name, case.statuses));
    }
    if case.code != 0 && code != case.code {
        return Some(format!("{}: code {code}, not {}: {answer:?}", case.name, case.code));
    }
    let body = answer.map(|answer| String::from_utf8_lossy(&answer.body).into_owned()).unwrap_or_default();
    if case.code != 0 && !body.contains("correlationId") {
        return Some(format!("{}: no correlation id in {body}", case.name));
    }
    None
}

async fn none_passes(gateway: &Gateway, fixture: &Fixture, cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let marker = format!("marker-{index}-here");
        wrong.extend(refused(gateway, case, &marker).await);
    }
    for request in fixture.journal().await {
        if request.contains("marker-") {
            wrong.push(format!("reached the backend: {request:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

async fn lax() -> (Fixture, Gateway) {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    // The unbent request passes, so each refusal is for the one thing that is bent; and the tools are known afterwards.
    let client = Mcp::modern(&gateway.mcp());
    assert_eq!(client.send("tools/list", json!({})).await.status, 200);
    assert_eq!(client.tool("echo", json!({})).await.status, 200);
    (fixture, gateway)
}

#[tokio::test]
async fn by_transport() {
    let (fixture, gateway) = lax().await;
    none_passes(&gateway, &fixture, transport::cases()).await;
}

#[tokio::test]
async fn by_body() {
    let (fixture, gateway) = lax().await;
    none_passes(&gateway, &fixture, body::cases()).await;
}

#[tokio::test]
async fn by_modern_headers() {
    let (fixture, gateway) = lax().await;
    none_passes(&gateway, &fixture, headers::cases()).await;
}

#[tokio::test]
async fn by_session() {
    let (fixture, gateway) = lax().await;
    let open = Mcp::legacy(&gateway.mcp(), "2025-06-18").await.session.expect("a session");
    let over = Mcp::legacy(&gateway.mcp(), "2025-06-18").await;
    assert!(matches!(over.delete().await.status, 200 | 204));
    let ended = over.session.expect("a session");
    none_passes(&gateway, &fixture, session::cases(&open, &ended)).await;
}

#[tokio::test]
async fn by_batch() {
    let (fixture, gateway) = lax().await;
    let open = Mcp::legacy(&gateway.mcp(), "2025-03-26").await.session.expect("a session");
    none_passes(&gateway, &fixture, session::batch_cases(&open)).await;
}

/// A session belongs to the virtual server that it was opened at.
#[tokio::test]
async fn by_another_virtual_server() {
    let fixture = Fixture::start("lax");
    let two = config(fixture.url()) + "  other:\n    path: /other\n    backends: [backend]\n";
    let gateway = Gateway::start(&two).await;
    let session = Mcp::legacy(&gateway.mcp(), "2025-06-18").await;
    let mut stolen = session.clone();
    stolen.url = gateway.url("/other");
    assert_eq!(stolen.tool("echo", json!({"m": "marker-stolen"})).await.status, 404);
    assert!(fixture.journal().await.iter().all(|request| !request.contains("marker-stolen")));
    assert_eq!(session.tool("echo", json!({})).await.status, 200);
}
