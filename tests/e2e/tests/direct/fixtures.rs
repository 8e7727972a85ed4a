//! The careless, the stateful and the broken fixture do what the gateway tests rely on.

use lockgate_e2e::raw::Raw;
use lockgate_e2e::{Fixture, Mcp, until};
use serde_json::json;

#[tokio::test]
async fn the_lax_server_accepts_and_journals_anything() {
    let fixture = Fixture::start("lax");
    let modern = Mcp::modern(fixture.url());
    assert_eq!(modern.tool("annotated", json!({"region": "eu"})).await.status, 200);
    let legacy = Mcp::legacy(fixture.url(), "2025-03-26").await;
    assert_eq!(legacy.tool("echo", json!({"a": 1})).await.text(), "{\"a\":1}");
    let nonsense = Raw::new("POST", "/anywhere").with("host", "evil.example").with("connection", "close");
    let answer = nonsense.body("marker-nonsense").send(fixture.address()).await.expect("an answer");
    assert_eq!(answer.status, 200);
    let journal = fixture.journal().await;
    assert_eq!(journal.iter().filter(|request| request.contains("marker-nonsense")).count(), 1);
    assert_eq!(journal.iter().filter(|request| request.header("host") == Some("evil.example")).count(), 1);
}

#[tokio::test]
async fn the_stateful_server_keeps_a_session_and_its_streams() {
    let fixture = Fixture::start("stateful");
    let client = Mcp::legacy(fixture.url(), "2025-11-25").await;
    let mut stream = client.listen(None).await;
    client.send("resources/subscribe", json!({"uri": "state:watched"})).await;
    client.send("logging/setLevel", json!({"level": "error"})).await;
    assert_eq!(client.tool("count", json!({})).await.text(), "1");
    assert_eq!(fixture.poke("state:watched").await, 1);
    stream.notification("notifications/resources/updated").await;
    let last = stream.last_id.clone();
    drop(stream);
    until("the stream's end", async || (fixture.state().await["sessions"][0]["listening"] == false).then_some(()))
        .await;
    fixture.poke("state:watched").await;
    let mut stream = client.listen(last.as_deref()).await;
    stream.notification("notifications/resources/updated").await;

    let mut call = client.stream("tools/call", json!({"name": "log", "arguments": {}})).await;
    assert_eq!(call.answer().await.0.len(), 4);
    let mut call = client.stream("tools/call", json!({"name": "ask", "arguments": {}})).await;
    let question = call.notification("elicitation/create").await;
    let answer =
        json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"name": "Ada"}}});
    client.post(&answer).send().await.expect("an answer");
    assert_eq!(call.answer().await.1["result"]["content"][0]["text"], "Ada");
}

#[tokio::test]
async fn a_modern_request_to_a_legacy_server_is_refused_without_a_modern_error() {
    for mode in ["legacy", "stateful"] {
        let fixture = Fixture::start(mode);
        let answer = Mcp::modern(fixture.url()).send("server/discover", json!({})).await;
        assert_eq!(answer.code(), (400, -32000), "{mode}");
    }
}

#[tokio::test]
async fn a_modern_server_names_its_revision_to_an_old_client() {
    let fixture = Fixture::start("modern");
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}});
    let mut client = Mcp::modern(fixture.url());
    client.revision = "2025-11-25".to_owned();
    let answer = lockgate_e2e::Answer::read(client.post(&body).send().await.unwrap()).await;
    assert_eq!(answer.code(), (400, -32020));
    assert!(String::from_utf8_lossy(&answer.body).contains("2026-07-28"));
}

#[tokio::test]
async fn every_fault_is_played_and_the_server_goes_on() {
    let fixture = Fixture::start("fault");
    let client = Mcp::modern(fixture.url());
    let known = fixture.faults();
    for fault in ["close", "cut-json", "gzip", "status-503", "redirect-302"] {
        // A name that is not known is answered well, which would prove nothing.
        assert!(known.iter().any(|name| name == fault), "{fault} is not among {known:?}");
        let body = client.body("tools/call", json!({"name": format!("fault-{fault}")}));
        let _ = client.post(&body).send().await;
        assert_eq!(client.tool("echo", json!({})).await.status, 200, "after {fault}");
    }
}
