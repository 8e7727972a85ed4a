//! Slow, silent, endless and many: each is bounded, and everybody else is served meanwhile.

use lockgate_e2e::events::Events;
use lockgate_e2e::gateway::{config_with, federation};
use lockgate_e2e::raw::{Raw, RawAnswer};
use lockgate_e2e::wait::PATIENCE;
use lockgate_e2e::{Fixture, Gateway, Mcp, until};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Times that a slow client passes soon, and a good one keeps even on a busy machine.
const SHORT: &str =
    "limits: { header_time: 3s, body_time: 3s, keep_alive_idle: 3s, connections: 30, body_bytes: 1MiB }\n";

async fn short() -> (Fixture, Gateway, Mcp) {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config_with(fixture.url(), "", SHORT)).await;
    let client = Mcp::modern(&gateway.mcp());
    served(&client).await;
    (fixture, gateway, client)
}

/// Asks on a connection of its own: one that was kept alive may be closed by the short limits just then.
async fn served(client: &Mcp) {
    let fresh = Mcp::modern(&client.url);
    let answer = fresh.tool("echo", json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Writes `piece` again and again, `pause` apart (that is what a slow client is), until the gateway ends the connection. Returns how many bytes went out
/// and the answer, if there was one.
async fn drip(stream: &mut TcpStream, piece: &[u8], pause: Duration, bytes_max: usize) -> (usize, Option<u16>) {
    let start = Instant::now();
    let mut sent = 0;
    let mut heard = Vec::new();
    loop {
        tokio::select! {
            read = stream.read_buf(&mut heard) => {
                if !matches!(read, Ok(1..)) {
                    break;
                }
            }
            () = tokio::time::sleep(pause) => {
                if stream.write_all(piece).await.is_err() {
                    break;
                }
                sent += piece.len();
            }
        }
        assert!(start.elapsed() < PATIENCE, "the connection is still open after {PATIENCE:?}");
        assert!(sent < bytes_max, "the gateway took {sent} bytes");
    }
    let text = String::from_utf8_lossy(&heard).into_owned();
    (sent, text.split(' ').nth(1).and_then(|status| status.parse().ok()))
}

fn request(gateway: &Gateway) -> Raw {
    Raw::new("POST", "/mcp")
        .with("host", &gateway.address())
        .with("content-type", "application/json")
        .with("accept", "application/json, text/event-stream")
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let (_fixture, gateway, client) = short().await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let mut heard = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut heard)).await;
    assert!(end.is_ok(), "open after {PATIENCE:?}");
    served(&client).await;
}

#[tokio::test]
async fn slow_headers_are_cut_off() {
    let (_fixture, gateway, client) = short().await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(b"POST /mcp HTTP/1.1\r\nhost: localhost\r\n").await.unwrap();
    let (_, status) = drip(&mut stream, b"x-slow: 1\r\n", Duration::from_millis(100), 1 << 20).await;
    assert!(matches!(status, None | Some(408)), "{status:?}");
    served(&client).await;
}

#[tokio::test]
async fn slow_bodies_are_cut_off() {
    let (fixture, gateway, client) = short().await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let head = request(&gateway).with("content-length", "100000");
    stream.write_all(&head.bytes()).await.unwrap();
    let (_, status) = drip(&mut stream, b"slow-body-marker ", Duration::from_millis(100), 1 << 20).await;
    assert!(matches!(status, None | Some(408)), "{status:?}");
    assert!(fixture.journal().await.iter().all(|request| !request.contains("slow-body-marker")));
    served(&client).await;
}

#[tokio::test]
async fn an_endless_header_is_cut_off() {
    let (_fixture, gateway, client) = short().await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(b"POST /mcp HTTP/1.1\r\nhost: localhost\r\nx-endless: ").await.unwrap();
    // What lies in socket buffers counts as sent, so the bound is far above 64 KiB.
    let (_, status) = drip(&mut stream, &[b'a'; 4096], Duration::from_micros(100), 16 << 20).await;
    assert!(matches!(status, None | Some(431 | 400 | 408)), "{status:?}");
    served(&client).await;
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let (_fixture, gateway, client) = short().await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(&request(&gateway).with("transfer-encoding", "chunked").bytes()).await.unwrap();
    let mut chunk = b"1000\r\n".to_vec();
    chunk.extend([b' '; 4096]);
    chunk.extend(b"\r\n");
    let (_, status) = drip(&mut stream, &chunk, Duration::from_micros(100), 16 << 20).await;
    assert!(matches!(status, None | Some(413)), "{status:?}");
    served(&client).await;
}

#[tokio::test]
async fn an_idle_kept_alive_connection_is_closed() {
    let (_fixture, gateway, client) = short().await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let body = client.body("ping", json!({})).to_string();
    stream.write_all(&request(&gateway).body(body).bytes()).await.unwrap();
    assert!(RawAnswer::read(&mut stream).await.is_some());
    let mut heard = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut heard)).await;
    assert!(end.is_ok(), "open after {PATIENCE:?}");
}

#[tokio::test]
async fn a_flood_of_connections_is_bounded_and_passes() {
    // A silent connection within the limit stays open for longer than the test has patience.
    let fixture = Fixture::start("lax");
    let limits = "limits: { header_time: 5m, keep_alive_idle: 5m, connections: 30 }\n";
    let gateway = Gateway::start(&config_with(fixture.url(), "", limits)).await;
    let client = Mcp::modern(&gateway.mcp());
    let mut flood = JoinSet::new();
    for _ in 0..200 {
        let stream = TcpStream::connect(gateway.address()).await;
        flood.spawn(async move {
            if let Ok(mut stream) = stream {
                let _ = stream.read(&mut [0]).await;
            }
        });
    }
    let mut closed = 0;
    let over = async {
        while closed < 170 && flood.join_next().await.is_some() {
            closed += 1;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, over).await;
    assert!(in_time.is_ok(), "of 200 connections only {closed} were closed: the limit of 30 does not hold");
    assert_eq!(flood.len(), 30, "a connection within the limit was closed");
    flood.shutdown().await;
    let http = client.http.clone();
    until("service after the flood", async || {
        let body = client.body("tools/call", json!({"name": "echo", "arguments": {}}));
        let answer = http.execute(client.post(&body).build().ok()?).await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
}

/// Streams that are opened and reset at once (CVE-2023-44487) must not starve others.
#[tokio::test(flavor = "multi_thread")]
async fn rapid_resets_by_http_2_are_survived() {
    use http_body_util::Full;
    use hyper::client::conn::http2;
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let (_fixture, gateway, client) = short().await;
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let start = Instant::now();
    let mut opened = 0;
    for _ in 0..5000 {
        if sender.ready().await.is_err() {
            break;
        }
        let request = http::Request::post(gateway.mcp()).body(Full::new(bytes::Bytes::from_static(b"{}"))).unwrap();
        let answer = sender.send_request(request);
        // Polled once, so that the stream is opened; then dropped, so that it is reset.
        let _ = tokio::time::timeout(Duration::ZERO, answer).await;
        opened += 1;
    }
    println!("{opened} streams opened and reset in {:?}", start.elapsed());
    served(&client).await;
    connection.abort();
}

/// Clients that listen are bounded together, whatever the virtual server is that they listen to: one more is told so, what is
/// asked meanwhile is answered, and places come back.
#[tokio::test]
async fn only_so_many_listen() {
    let fixture = Fixture::start("conformant");
    let url = fixture.url();
    let backends = ["one", "two"].map(|name| (name, format!("  {name}:\n    endpoints:\n      - url: {url}\n")));
    let also = "  alone:\n    path: /alone\n    backends: [one]\n";
    let gateway = Gateway::start(&federation(&backends, "", &format!("{also}limits: {{ listen_streams: 2 }}\n"))).await;
    let (several, alone) = (Mcp::modern(&gateway.mcp()), Mcp::modern(&gateway.url("/alone")));
    let listen = async |client: &Mcp| {
        let body = client.body("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}));
        (body["id"].clone(), client.post(&body).send().await.unwrap())
    };
    let acknowledged = async |client: &Mcp| {
        let (_, answer) = listen(client).await;
        let mut events = Events::new(answer);
        let first = events.next().await.expect("an acknowledgement").json();
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
        events
    };
    let listening = async |expected: f64| {
        until("the streams", async || {
            (gateway.metric("lockgate_listen_streams").await == Some(expected)).then_some(())
        })
        .await;
    };
    let held = (acknowledged(&several).await, acknowledged(&alone).await);
    listening(2.0).await;
    for (client, name) in [(&several, "default"), (&alone, "alone")] {
        let (id, refused) = listen(client).await;
        assert_eq!(refused.status(), 503);
        let refused: serde_json::Value = refused.json().await.unwrap();
        assert_eq!((&refused["id"], refused["error"]["code"].as_i64()), (&id, Some(-31003)), "{refused}");
        let counted = format!(r#"lockgate_refusals_total{{reason="too_many_streams",virtual_server="{name}"}}"#);
        until("the refusal", async || (gateway.metric(&counted).await == Some(1.0)).then_some(())).await;
        assert_eq!(client.send("tools/list", json!({})).await.status, 200);
    }
    // Whoever leaves makes room, whichever server it listened to.
    drop(held.0);
    listening(1.0).await;
    let third = acknowledged(&alone).await;
    drop((held.1, third));
    listening(0.0).await;
}

/// All bodies together are bounded: what is too much now is refused, small requests pass, and room comes back.
#[tokio::test]
async fn bodies_have_one_bound_together() {
    let fixture = Fixture::start("lax");
    let limits = "limits: { body_bytes: 1MiB, body_bytes_total: 1MiB }\n";
    let gateway = Gateway::start(&config_with(fixture.url(), "", limits)).await;
    let client = Mcp::modern(&gateway.mcp());
    served(&client).await;
    let held = async || gateway.metric("lockgate_request_body_bytes").await;
    let mut first = TcpStream::connect(gateway.address()).await.unwrap();
    let head = request(&gateway).with("content-length", "700000");
    first.write_all(&[head.bytes(), vec![b' '; 600_000]].concat()).await.unwrap();
    until("the first body is held", async || held().await.filter(|bytes| *bytes >= 600_000.0)).await;

    let large = || json!({"text": "x".repeat(700_000)});
    let refused = client.tool("echo", large()).await;
    assert_eq!((refused.status, refused.json()["error"]["code"].as_i64()), (503, Some(-31003)), "{refused:?}");
    served(&client).await;
    drop(first);
    until("the first body is let go", async || held().await.filter(|bytes| *bytes == 0.0)).await;
    assert_eq!(client.tool("echo", large()).await.status, 200);
}
