//! Clients that leave: a modern one cancels by it, at once; a legacy one cancels nothing, within what may go on without it.

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use lockgate_e2e::gateway::{config, config_with};
use lockgate_e2e::{Fixture, Gateway, Mcp, until};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a client stays that leaves.
const A_WHILE: Duration = Duration::from_millis(200);

/// Lets a client choose the fault with the header `x-fault`, whatever it asks.
const FAULTS: &str = "    forward_headers: [x-fault]\n";

async fn faulty() -> (Fixture, Gateway) {
    let fixture = Fixture::start("fault");
    let gateway = Gateway::start(&config_with(fixture.url(), FAULTS, "")).await;
    (fixture, gateway)
}

/// Waits until the backend holds so many requests.
async fn held(fixture: &Fixture, count: u64) {
    until("the held requests", async || (fixture.held().await == count).then_some(())).await;
}

/// Sends a request and leaves before its answer.
async fn leave(request: reqwest::RequestBuilder) {
    let answer = tokio::time::timeout(A_WHILE, request.send()).await;
    assert!(answer.is_err(), "it was answered: {answer:?}");
}

fn wait(client: &Mcp, token: &str, milliseconds: u64) -> reqwest::RequestBuilder {
    let arguments = json!({"milliseconds": milliseconds, "token": token});
    client.post(&client.body("tools/call", json!({"name": "wait", "arguments": arguments})))
}

/// The tokens of the calls that ran to their end.
async fn ran(fixture: &Fixture) -> Vec<String> {
    let state = fixture.state().await;
    let tokens = state["executions"].as_array().expect("a list").iter().map(|run| run["token"].as_str());
    tokens.map(|token| token.unwrap_or_default().to_owned()).collect()
}

async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let metrics = gateway.metrics().await;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name}:\n{metrics}")).parse().expect("a number")
}

#[tokio::test]
async fn a_legacy_call_runs_on_while_json_is_pending() {
    let fixture = Fixture::start("stateful");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    leave(wait(&client, "alone", 1000)).await;
    until("the gauge", async || (metric(&gateway, "lockgate_detached").await == 1).then_some(())).await;
    until("the call's end", async || ran(&fixture).await.contains(&"alone".to_owned()).then_some(())).await;
    until("the gauge", async || (metric(&gateway, "lockgate_detached").await == 0).then_some(())).await;
}

/// What was asked for is remembered although nobody heard that it was granted.
#[tokio::test]
async fn what_a_client_that_left_has_set_is_remembered() {
    let fixture = Fixture::start("stateful");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    let body = client.body("logging/setLevel", json!({"level": "alert", "milliseconds": 700}));
    leave(client.post(&body)).await;
    until("the level", async || (fixture.state().await["sessions"][0]["level"] == "alert").then_some(())).await;
    until("the answer", async || (metric(&gateway, "lockgate_detached").await == 0).then_some(())).await;
    fixture.forget().await;
    assert_eq!(client.tool("level", json!({})).await.text(), "alert");
}

#[tokio::test]
async fn a_session_that_leaves_too_much_behind_gives_its_oldest_up() {
    let fixture = Fixture::start("stateful");
    let gateway = Gateway::start(&config_with(fixture.url(), "", "limits:\n  detached: 2\n")).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    let other = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    for (client, token) in [(&other, "other"), (&client, "first"), (&client, "second"), (&client, "third")] {
        leave(wait(client, token, 6000)).await;
    }
    until("the loss", async || (metric(&gateway, "lockgate_detached_given_up_total").await == 1).then_some(())).await;
    until("the gauge", async || (metric(&gateway, "lockgate_detached").await == 3).then_some(())).await;
    until("the calls' end", async || (metric(&gateway, "lockgate_detached").await == 0).then_some(())).await;
    let mut ran = ran(&fixture).await;
    ran.sort();
    assert_eq!(ran, ["other", "second", "third"]);
}

#[tokio::test]
async fn all_sessions_together_leave_no_more_behind_than_may_be() {
    let fixture = Fixture::start("stateful");
    let limits = "limits:\n  detached_total: 1\n";
    let gateway = Gateway::start(&config_with(fixture.url(), "", limits)).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    let other = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    leave(wait(&client, "kept", 1500)).await;
    leave(wait(&other, "too many", 1500)).await;
    until("the loss", async || (metric(&gateway, "lockgate_detached_given_up_total").await == 1).then_some(())).await;
    until("the call's end", async || (metric(&gateway, "lockgate_detached").await == 0).then_some(())).await;
    assert_eq!(ran(&fixture).await, ["kept"]);
}

/// DELETE ends what goes on without the client as well.
#[tokio::test]
async fn the_end_of_a_session_cancels_what_was_left_behind() {
    let (fixture, gateway) = faulty().await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    leave(client.post(&client.body("tools/call", json!({"name": "fault-never"})))).await;
    until("the gauge", async || (metric(&gateway, "lockgate_detached").await == 1).then_some(())).await;
    held(&fixture, 1).await;
    assert!(matches!(client.delete().await.status, 200 | 204));
    held(&fixture, 0).await;
}

/// A backend that allows one stream a session must get the next GET without the last one in its way.
#[tokio::test]
async fn a_get_whose_client_leaves_is_dropped() {
    let (fixture, gateway) = faulty().await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    let get = client.http.get(&client.url).header("accept", "text/event-stream").header("x-fault", "never");
    let session = client.session.as_deref().expect("a session");
    let get = get.header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25");
    let waiting = tokio::spawn(get.send());
    held(&fixture, 1).await;
    waiting.abort();
    held(&fixture, 0).await;
}

#[tokio::test]
async fn a_modern_client_cancels_in_the_middle_of_a_stream() {
    let (fixture, gateway) = faulty().await;
    let client = Mcp::modern(&gateway.mcp());
    for (method, params) in
        [("tools/call", json!({"name": "echo"})), ("subscriptions/listen", json!({"notifications": {}}))]
    {
        let body = client.body(method, params);
        let answer = client.post(&body).header("x-fault", "silent-stream").send().await.expect("an answer");
        assert_eq!(answer.headers()["content-type"], "text/event-stream", "{method}");
        held(&fixture, 1).await;
        drop(answer);
        held(&fixture, 0).await;
    }
}

/// RST_STREAM is how a client of HTTP/2 cancels; its connection goes on.
#[tokio::test]
async fn a_modern_client_cancels_by_resetting_its_stream() {
    let (fixture, gateway) = faulty().await;
    let client = Mcp::modern(&gateway.mcp());
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = |fault: &str| {
        let body = client.body("tools/call", json!({"name": "echo"}));
        let mut request = http::Request::post(gateway.mcp());
        for (name, value) in client.post(&body).header("x-fault", fault).build().unwrap().headers() {
            request = request.header(name, value);
        }
        request.body(Full::new(Bytes::from(body.to_string()))).unwrap()
    };
    let pending = tokio::spawn(sender.send_request(request("never")));
    held(&fixture, 1).await;
    pending.abort();
    held(&fixture, 0).await;
    let begun = sender.send_request(request("silent-stream")).await.expect("an answer");
    assert_eq!(begun.status(), 200);
    held(&fixture, 1).await;
    drop(begun);
    held(&fixture, 0).await;
    let answered = sender.send_request(request("none")).await.expect("the connection goes on");
    assert_eq!(answered.status(), 200);
    connection.abort();
}

/// A batch is left behind as a whole.
#[tokio::test]
async fn a_batch_runs_on_without_its_client() {
    let fixture = Fixture::start("stateful");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-03-26").await;
    let call = |token: &str| {
        let arguments = json!({"milliseconds": 700, "token": token});
        client.body("tools/call", json!({"name": "wait", "arguments": arguments}))
    };
    leave(client.post(&Value::Array(vec![call("one"), call("two")]))).await;
    until("the gauge", async || (metric(&gateway, "lockgate_detached").await == 2).then_some(())).await;
    until("both ends", async || (ran(&fixture).await.len() == 2).then_some(())).await;
    until("the gauge", async || (metric(&gateway, "lockgate_detached").await == 0).then_some(())).await;
}
