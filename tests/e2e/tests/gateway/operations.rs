//! What operators rely on: a stop that keeps its word, starts under odd circumstances, and numbers that say what is so.

use lockgate_e2e::gateway::{Circumstances, config, config_with};
use lockgate_e2e::mcp::MODERN;
use lockgate_e2e::raw::{Raw, RawAnswer};
use lockgate_e2e::{Fixture, Gateway, Mcp, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// An answer that is given after the signal says that its connection ends, however long before its request came.
#[tokio::test]
async fn an_answer_during_a_stop_says_that_the_connection_ends() {
    let fixture = Fixture::start("conformant");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::modern(&gateway.mcp());
    let body = client.body("tools/call", json!({"name": "test_wait", "arguments": {"milliseconds": 2000}}));
    let request = Raw::new("POST", "/mcp")
        .with("host", &gateway.address())
        .with("content-type", "application/json")
        .with("accept", "application/json, text/event-stream")
        .with("mcp-protocol-version", MODERN)
        .with("mcp-method", "tools/call")
        .with("mcp-name", "test_wait")
        .body(body.to_string());
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(&request.bytes()).await.unwrap();
    let in_flight = r#"lockgate_in_flight{virtual_server="default"}"#;
    until("the call", async || (gateway.metric(in_flight).await? > 0.0).then_some(())).await;
    gateway.signal(Signal::SIGTERM);
    let answer = RawAnswer::read(&mut stream).await.expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{answer:?}");
}

/// A stream's header went out before the stop: its client may well send the next request on that connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_kept_behind_a_stream_that_outlives_the_idle_time() {
    let fixture = Fixture::start("stateful");
    let gateway = Gateway::start(&config_with(fixture.url(), "", "drain: { time: 25s, idle: 2s }\n")).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    let params = json!({"name": "slow", "arguments": {"milliseconds": 3500}, "_meta": {"progressToken": 1}});
    let mut call = client.stream("tools/call", params).await;
    call.notification("notifications/progress").await;
    gateway.signal(Signal::SIGTERM);
    let (_, answer) = call.answer().await;
    assert_eq!(answer["result"]["content"][0]["text"], "took 3500 ms");
    while call.next().await.is_some() {}
    // A client takes its time, though less than an idle connection has.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(client.tool("count", json!({})).await.text(), "1");
}

/// SIGHUP before the gateway is ready neither kills it nor is lost.
#[tokio::test]
async fn a_reload_may_be_asked_for_while_the_gateway_starts() {
    let fixture = Fixture::start("lax");
    let template = config_with(fixture.url(), "", "log: { level: debug }\n");
    let hasty = Circumstances { signal: Some(Signal::SIGHUP), ..Circumstances::default() };
    let gateway = Gateway::start_under(&template, hasty).await;
    let reloads = r#"lockgate_config_reloads_total{outcome="unchanged"}"#;
    until("the reload", async || (gateway.metric(reloads).await? > 0.0).then_some(())).await;
}

#[tokio::test]
async fn the_soft_limit_on_open_files_is_raised() {
    let fixture = Fixture::start("lax");
    let poor = Circumstances { shell: Some("ulimit -Sn 256"), ..Circumstances::default() };
    let gateway = Gateway::start_under(&config(fixture.url()), poor).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = [3, 4].map(|column| line.split_whitespace().nth(column).unwrap());
    assert!(soft == hard && soft != "256", "{line}");
    assert_eq!(gateway.metric("lockgate_process_max_fds").await, soft.parse().ok());
}

#[tokio::test]
async fn whether_a_backend_answers_is_told_and_taken_back() {
    let mut fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let up = r#"lockgate_backend_up{backend="backend"}"#;
    let legacy = r#"lockgate_backend_era{backend="backend",era="legacy"}"#;
    until("the first probe", async || gateway.metric(legacy).await.map(drop)).await;
    assert_eq!(gateway.metric(up).await, Some(1.0));
    assert_eq!(gateway.detail().await["backends"][0]["up"], true);
    fixture.kill();
    let answer = Mcp::modern(&gateway.mcp()).tool("echo", json!({})).await;
    assert_eq!(answer.status, 502, "{answer:?}");
    assert_eq!(gateway.metric(up).await, Some(0.0));
    let told = &gateway.detail().await["backends"][0];
    assert_eq!(
        (&told["up"], &told["eras"]),
        (&json!(false), &json!(["legacy", "modern"])),
        "what it speaks is still known"
    );

    let gateway = Gateway::start(&config_with(fixture.url(), "    protocol: legacy\n", "")).await;
    assert_eq!(gateway.metric(up).await, None, "nobody has asked it");
    assert_eq!(gateway.detail().await["backends"][0]["up"], Value::Null);
}

#[tokio::test]
async fn silent_and_slow_clients_are_told_apart() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config_with(fixture.url(), "", "limits: { header_time: 1s }\n")).await;
    let _silent = TcpStream::connect(gateway.address()).await.unwrap();
    let mut slow = TcpStream::connect(gateway.address()).await.unwrap();
    slow.write_all(b"POST /mcp HTTP/1.1\r\n").await.unwrap();
    for reason in ["silent", "header_slow"] {
        let series = format!("lockgate_connections_refused_total{{listener=\"main\",reason=\"{reason}\"}}");
        until(reason, async || (gateway.metric(&series).await? == 1.0).then_some(())).await;
    }
    tokio::time::timeout(Duration::from_secs(5), RawAnswer::read(&mut slow)).await.expect("an end");
}
