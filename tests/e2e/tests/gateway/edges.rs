//! What a client sees at the edges of HTTP: heads that are none, requests that come early, and what the operator sees of
//! them.

use lockgate_e2e::gateway::{config, config_with};
use lockgate_e2e::raw::{Raw, RawAnswer};
use lockgate_e2e::{Fixture, Gateway, Mcp, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DEBUG: &str = "log: { level: debug }\n";

async fn say(gateway: &Gateway, bytes: &[u8]) -> RawAnswer {
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let answer = RawAnswer::read_one(&mut stream).await.expect("an answer");
    assert_eq!(stream.read(&mut [0]).await.unwrap_or_default(), 0, "the connection ends");
    answer
}

/// One form for every refusal: JSON-RPC, an id that the log knows, counted.
#[tokio::test]
async fn heads_that_are_no_requests_are_refused_in_form() {
    let fixture = Fixture::start("lax");
    let limits = "limits: { header_time: 1s, header_bytes: 4KiB }\n";
    let gateway = Gateway::start(&config_with(fixture.url(), "", &format!("{limits}{DEBUG}"))).await;
    let get = |rest: &str| format!("GET /mcp HTTP/1.1\r\n{rest}\r\n").into_bytes();
    let cases = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 400, "malformed_head"),
        (b"{\"jsonrpc\":\"2.0\"}\r\n\r\n".to_vec(), 400, "malformed_head"),
        (get("Host: localhost\r\nHost: localhost\r\n"), 400, "malformed_head"),
        (get("Host: localhost\r\nNot a field\r\n"), 400, "malformed_head"),
        (b"GET http://evil.example/mcp HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), 403, "host_refused"),
        (get(&format!("Host: localhost\r\n{}", "a: b\r\n".repeat(300))), 431, "headers_too_large"),
        (format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(9000)).into_bytes(), 431, "headers_too_large"),
        (b"GET /mcp HTTP/1.1\r\nHost: loc".to_vec(), 408, "headers_too_slow"),
    ];
    let mut ids = Vec::new();
    for (bytes, status, fault) in &cases {
        let answer = say(&gateway, bytes).await;
        assert_eq!(answer.code(), (*status, -32600), "{fault}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("connection"), Some("close"));
        let id = answer.json()["error"]["data"]["correlationId"].as_str().expect("an id").to_owned();
        assert_eq!(answer.header("x-request-id"), Some(id.as_str()));
        ids.push((id, fault));
    }
    let log = until("all refusals in the log", async || {
        let log = gateway.log();
        ids.iter().all(|(id, _)| log.contains(id)).then_some(log)
    })
    .await;
    for (id, fault) in ids {
        let line = log.lines().find(|line| line.contains(&id)).expect("a line");
        assert!(line.contains(fault) && line.contains("head"), "{line}");
    }
    for (fault, count) in
        [("malformed_head", 4.0), ("host_refused", 1.0), ("headers_too_large", 2.0), ("headers_too_slow", 1.0)]
    {
        let series = format!("lockgate_refusals_total{{reason=\"{fault}\",virtual_server=\"-\"}}");
        gateway.counts(&series, count).await;
    }
}

fn call(client: &Mcp, gateway: &Gateway, mark: &str) -> Vec<u8> {
    let body = client.body("tools/call", json!({"name": "echo", "arguments": {"mark": mark}}));
    Raw::new("POST", "/mcp")
        .with("host", &gateway.address())
        .with("content-type", "application/json")
        .with("accept", "application/json, text/event-stream")
        .with("mcp-protocol-version", &client.revision)
        .with("mcp-method", "tools/call")
        .with("mcp-name", "echo")
        .body(body.to_string())
        .bytes()
}

/// RFC 9112 section 9.3.2: in order, each once, on the same connection.
#[tokio::test]
async fn requests_sent_early_are_served_in_order() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::modern(&gateway.mcp());
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let refused = Raw::new("GET", "/nowhere").with("host", &gateway.address()).bytes();
    let mut all = Vec::new();
    for index in 0..20 {
        all.extend(call(&client, &gateway, &format!("early-{index}")));
        all.extend(&refused);
    }
    stream.write_all(&all).await.unwrap();
    for index in 0..20 {
        let answer = RawAnswer::read_one(&mut stream).await.expect("an answer");
        let text = answer.json()["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["mark"], format!("early-{index}"), "{answer:?}");
        assert_eq!(answer.header("connection"), Some("keep-alive"));
        assert_eq!(RawAnswer::read_one(&mut stream).await.expect("an answer").status, 404);
    }
    let journal = fixture.journal().await;
    for index in 0..20 {
        let mark = format!("\"early-{index}\"");
        assert_eq!(journal.iter().filter(|request| request.contains(&mark)).count(), 1, "{mark}");
    }
    // A client that asks for the end gets it behind the answer that it asked on, and knows what was not done.
    let closing = Raw::new("GET", "/nowhere").with("host", &gateway.address()).with("connection", "close").bytes();
    stream.write_all(&[closing, call(&client, &gateway, "too-late")].concat()).await.unwrap();
    let last = RawAnswer::read_one(&mut stream).await.expect("an answer");
    assert_eq!((last.status, last.header("connection")), (404, Some("close")));
    assert_eq!(stream.read(&mut [0]).await.unwrap_or_default(), 0);
    assert!(fixture.journal().await.iter().all(|request| !request.contains("too-late")));
}

/// The body of a request that is refused unread is not taken for the next request.
#[tokio::test]
async fn a_body_that_is_not_read_is_no_request() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::modern(&gateway.mcp());
    let smuggled = call(&client, &gateway, "smuggled");
    let chunked =
        [format!("{:x}\r\n", smuggled.len()).into_bytes(), smuggled.clone(), b"\r\n0\r\n\r\n".to_vec()].concat();
    let outer = Raw::new("POST", "/nowhere").with("host", &gateway.address());
    let with_length = outer.clone().body(smuggled.clone()).bytes();
    let with_chunks = [outer.with("transfer-encoding", "chunked").bytes(), chunked].concat();
    for request in [with_length, with_chunks] {
        assert_eq!(say(&gateway, &request).await.status, 404);
    }
    assert!(fixture.journal().await.iter().all(|request| !request.contains("smuggled")));
}

/// Metrics tell the eras apart from the first request on.
#[tokio::test]
async fn a_handshake_counts_as_legacy_and_an_early_refusal_as_what_it_says() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config_with(fixture.url(), "", DEBUG)).await;
    let legacy = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    legacy.tool("echo", json!({})).await;
    let modern = Mcp::modern(&gateway.mcp());
    let body = modern.body("tools/list", json!({}));
    let refused = modern.post(&body).header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(refused.status(), 403);
    let once = async |parts: &[&str]| {
        let is_it = |line: &str| {
            line.starts_with("lockgate_requests_total{")
                && line.ends_with(" 1")
                && parts.iter().all(|it| line.contains(it))
        };
        gateway.counted(&parts.concat(), is_it).await;
    };
    once(&["method=\"initialize\"", "era=\"legacy\"", "outcome=\"ok\""]).await;
    once(&["method=\"none\"", "era=\"modern\"", "outcome=\"refused\""]).await;
    let metrics = gateway.metrics().await;
    assert!(!metrics.contains("era=\"unknown\""), "{metrics}");
    let log = until("the log", async || Some(gateway.log()).filter(|log| log.contains("origin_refused"))).await;
    let line = |what: &str| log.lines().find(|line| line.contains(what)).unwrap_or_default().to_owned();
    assert!(line("initialize").contains("open"), "the lane is logged: {log}");
    assert!(line("tools/call").contains("forward"), "{log}");
}
