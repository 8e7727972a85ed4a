//! Listeners: TLS with certificates that change, several at once, browsers, proxies in front, the admin listener, and a
//! stop that loses nothing.

use crate::conformance::tls_config;
use lockgate_e2e::adapter::{Adapter, Speak, trusting};
use lockgate_e2e::gateway::{TOKEN, config, config_with};
use lockgate_e2e::raw::{Raw, RawAnswer};
use lockgate_e2e::tls::Certificates;
use lockgate_e2e::wait::free_port;
use lockgate_e2e::{Answer, Fixture, Gateway, Mcp, until};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn certificates_are_renewed_without_a_restart() {
    let fixture = Fixture::start("lax");
    let (first, second) = (Certificates::new(), Certificates::new());
    let gateway = Gateway::start(&tls_config(fixture.url(), &first)).await;
    let address = gateway.address();
    let ask = async |authority: &Certificates| {
        let adapter = Adapter::start(&address, Speak::H2(trusting(&authority.authority, b"h2"))).await;
        Mcp::modern(&adapter.url("/mcp")).tool("echo", json!({})).await.status
    };
    assert_eq!(ask(&first).await, 200);
    assert_eq!(ask(&second).await, 502, "a certificate of another authority is not trusted");
    std::fs::copy(&second.key, &first.key).unwrap();
    std::fs::copy(&second.certificate, &first.certificate).unwrap();
    until("the new certificate", async || (ask(&second).await == 200).then_some(())).await;
}

#[tokio::test]
async fn several_listeners_serve_what_they_are_given() {
    let fixture = Fixture::start("lax");
    let port = free_port();
    let two = config(fixture.url()).replacen(
        "listeners:\n",
        &format!("listeners:\n  side:\n    address: 127.0.0.1:{port}\n"),
        1,
    ) + "  side-only:\n    path: /side\n    listeners: [side]\n    backends: [backend]\n";
    let gateway = Gateway::start(&two).await;
    let side = format!("http://127.0.0.1:{port}");
    for (url, status) in
        [(gateway.mcp(), 200), (format!("{side}/mcp"), 200), (format!("{side}/side"), 200), (gateway.url("/side"), 404)]
    {
        assert_eq!(Mcp::modern(&url).tool("echo", json!({})).await.status, status, "{url}");
    }
}

#[tokio::test]
async fn browsers_are_let_in_by_origin() {
    let mut fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let http = lockgate_e2e::mcp::client();
    let origin = "http://localhost:6274";
    let preflight = |origin: &str| {
        http.request(http::Method::OPTIONS, gateway.mcp())
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "content-type,mcp-protocol-version,mcp-param-region,mcp-session-id",
            )
    };
    let allowed = Answer::read(preflight(origin).send().await.unwrap()).await;
    assert!(matches!(allowed.status, 200 | 204), "{allowed:?}");
    assert_eq!(allowed.header("access-control-allow-origin"), Some(origin));
    let methods = allowed.header("access-control-allow-methods").unwrap_or_default();
    assert!(["POST", "GET", "DELETE"].iter().all(|method| methods.contains(method)), "{methods}");
    let headers = allowed.header("access-control-allow-headers").unwrap_or_default().to_ascii_lowercase();
    for name in ["authorization", "content-type", "accept", "last-event-id", "mcp-session-id", "mcp-param-region"] {
        assert!(headers.contains(name), "{name} is not in {headers}");
    }
    let foreign = Answer::read(preflight("https://evil.example").send().await.unwrap()).await;
    assert_eq!(foreign.status, 403, "{foreign:?}");
    assert_eq!(foreign.header("access-control-allow-origin"), None);

    let client = Mcp::modern(&gateway.mcp());
    let bad = client.http.post(&client.url).header("origin", origin).header("content-type", "text/plain").body("x");
    let mut crowded = client.http.post(&client.url).header("origin", origin);
    for index in 0..101 {
        crowded = crowded.header(format!("x-{index}"), "x");
    }
    let foreign_host = client.http.post(&client.url).header("origin", origin).header("host", "evil.example");
    let call = || {
        let body = client.body("tools/call", json!({"name": "echo", "arguments": {}}));
        client.post(&body).header("origin", origin)
    };
    let (good, failing) = (call(), call());
    for (request, status) in [(good, 200), (bad, 415), (crowded, 431), (foreign_host, 403), (failing, 502)] {
        if status == 502 {
            fixture.kill();
        }
        let answer = Answer::read(request.send().await.unwrap()).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{answer:?}");
        let exposed = answer.header("access-control-expose-headers").unwrap_or_default().to_ascii_lowercase();
        for name in ["mcp-session-id", "mcp-protocol-version", "www-authenticate", "retry-after", "x-request-id"] {
            assert!(exposed.contains(name), "{name} is not in {exposed}");
        }
        assert!(answer.header("vary").is_some_and(|vary| vary.to_ascii_lowercase().contains("origin")), "{answer:?}");
    }
}

#[tokio::test]
async fn only_trusted_proxies_are_believed() {
    let fixture = Fixture::start("lax");
    for (trusted, kept) in [("", false), ("    trusted_proxies: [127.0.0.0/8]\n", true)] {
        let with = config(fixture.url()).replacen("@PORT@\n", &format!("@PORT@\n{trusted}"), 1);
        let gateway = Gateway::start(&with).await;
        let client = Mcp::modern(&gateway.mcp());
        let body = client.body("tools/call", json!({"name": "echo", "arguments": {}}));
        let ask =
            async |id: &str| Answer::read(client.post(&body).header("x-request-id", id).send().await.unwrap()).await;
        let answer = ask("given-by-a-proxy").await;
        let id = answer.header("x-request-id").expect("a correlation id").to_owned();
        assert_eq!(id == "given-by-a-proxy", kept, "{id}");
        let long = "x".repeat(200);
        assert_ne!(ask(&long).await.header("x-request-id"), Some(long.as_str()));
    }
}

#[tokio::test]
async fn proxy_protocol_is_read_where_it_is_asked_for() {
    let fixture = Fixture::start("lax");
    let lines = "@PORT@\n    trusted_proxies: [127.0.0.0/8]\n    proxy_protocol: any\n";
    let gateway = Gateway::start(&config(fixture.url()).replacen("@PORT@\n", lines, 1)).await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let request = Raw::new("POST", "/mcp")
        .with("host", &gateway.address())
        .with("content-type", "application/json")
        .with("mcp-protocol-version", "2026-07-28")
        .with("mcp-method", "tools/call")
        .with("mcp-name", "echo")
        .with("connection", "close")
        .body(body);
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend([203, 0, 113, 9, 127, 0, 0, 1, 0x30, 0x39, 0, 80]);
    for header in [b"PROXY TCP4 203.0.113.9 127.0.0.1 12345 80\r\n".to_vec(), v2] {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(&header).await.unwrap();
        stream.write_all(&request.bytes()).await.unwrap();
        let answer = RawAnswer::read(&mut stream).await.expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // A listener that did not ask for it takes the line for a broken request.
    let plain = Gateway::start(&config(fixture.url())).await;
    let mut stream = TcpStream::connect(plain.address()).await.unwrap();
    stream.write_all(b"PROXY TCP4 203.0.113.9 127.0.0.1 12345 80\r\n").await.unwrap();
    stream.write_all(&request.bytes()).await.unwrap();
    let answer = RawAnswer::read(&mut stream).await;
    assert!(answer.as_ref().is_none_or(|answer| answer.status == 400), "{answer:?}");
}

#[tokio::test]
async fn the_admin_listener_keeps_to_itself() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let http = lockgate_e2e::mcp::client();
    let get = |path: &str| http.get(gateway.admin(path));
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    for open in ["/healthz", "/livez", "/readyz", "/metrics"] {
        assert_eq!(status(get(open)).await, 200, "{open}");
    }
    assert_eq!(status(get("/config")).await, 401);
    assert_eq!(status(get("/config").bearer_auth("wrong")).await, 401);
    assert_eq!(status(get("/config").bearer_auth(TOKEN)).await, 200);
    assert_eq!(status(http.post(gateway.admin("/reload"))).await, 401);
    assert_eq!(status(get("/config").bearer_auth(TOKEN).header("host", "evil.example")).await, 403);
    assert_eq!(status(get("/config").bearer_auth(TOKEN).header("origin", "http://localhost")).await, 403);
    assert_eq!(status(http.get(gateway.url("/metrics"))).await, 404, "metrics are not for clients");
    let shown = get("/config").bearer_auth(TOKEN).send().await.unwrap().text().await.unwrap();
    assert!(!shown.contains(TOKEN), "the token is shown");
    let client = Mcp::modern(&gateway.mcp());
    client.tool("echo", json!({})).await;
    let metrics = gateway.metrics().await;
    let foreign =
        metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty() && !line.starts_with("lockgate_"));
    assert_eq!(foreign.collect::<Vec<_>>(), Vec::<&str>::new());
}

/// SIGTERM: what is in flight is finished, streams end in protocol form, and the process ends well.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_is_in_flight() {
    let fixture = Fixture::start("stateful");
    let gateway = Gateway::start(&config_with(fixture.url(), "", "drain: { time: 10s }\n")).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    let mut idle = client.listen(None).await;
    let params = json!({"name": "slow", "arguments": {"milliseconds": 2000}, "_meta": {"progressToken": 1}});
    let mut call = client.stream("tools/call", params).await;
    call.notification("notifications/progress").await;
    gateway.signal(Signal::SIGTERM);
    let (_, answer) = call.answer().await;
    assert_eq!(answer["result"]["content"][0]["text"], "took 2000 ms");
    while idle.next().await.is_some() {}
    assert!(!idle.broken, "the idle stream was cut");
    let mut gateway = gateway;
    assert!(gateway.stop().success());
}

/// Requests on kept-alive connections during a stop are either answered or refused before they are sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_loses_no_request() {
    /// Requests of each worker before the stop.
    const ROUNDS_BEFORE: u64 = 20;
    let fixture = Fixture::start("lax");
    let mut gateway = Gateway::start(&config_with(fixture.url(), "", "drain: { time: 5s }\n")).await;
    let mut workers = tokio::task::JoinSet::new();
    let (warm, mut warmed) = tokio::sync::mpsc::unbounded_channel();
    for worker in 0..8 {
        let (client, warm) = (Mcp::modern(&gateway.mcp()), warm.clone());
        workers.spawn(async move {
            let mut answered = 0_u64;
            loop {
                let body = client.body("tools/call", json!({"name": "echo", "arguments": {"worker": worker}}));
                match client.post(&body).send().await {
                    Ok(answer) if answer.status() == 200 => {
                        answered += 1;
                        if answered == ROUNDS_BEFORE {
                            let _ = warm.send(());
                        }
                    }
                    Ok(answer) if answer.status() == 503 => return (answered, None),
                    Ok(answer) => return (answered, Some(format!("status {}", answer.status()))),
                    Err(error) if error.is_connect() => return (answered, None),
                    Err(error) => return (answered, Some(format!("{error:?}"))),
                }
            }
        });
    }
    drop(warm);
    // Every worker is at full speed on a connection that is kept alive, or has ended and says why below.
    for _ in 0..8 {
        warmed.recv().await;
    }
    let status = tokio::task::spawn_blocking(move || gateway.stop()).await.unwrap();
    assert!(status.success());
    let (mut total, mut lost) = (0, Vec::new());
    while let Some(worker) = workers.join_next().await {
        let (answered, failure) = worker.unwrap();
        total += answered;
        lost.extend(failure);
    }
    println!("{total} requests answered until the stop, {} lost", lost.len());
    assert!(total > 0 && lost.is_empty(), "{lost:?}");
}
