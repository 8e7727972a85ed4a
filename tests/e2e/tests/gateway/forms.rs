//! What backends answer in other words than expected, and clients that take one form only.

use lockgate_e2e::gateway::{config, config_with};
use lockgate_e2e::raw::Raw;
use lockgate_e2e::{Answer, Fixture, Gateway, Mcp};
use serde_json::{Value, json};

const FAULTS: &str = "    forward_headers: [x-fault]\n";

async fn taking(client: &Mcp, body: &Value, form: &str) -> Answer {
    let mut request = client.post(body).build().expect("a request");
    request.headers_mut().insert("accept", form.parse().expect("a form"));
    Answer::read(client.http.execute(request).await.expect("an answer")).await
}

/// Some answer a notification with 200 and a body, some with 204: it was taken.
#[tokio::test]
async fn a_notification_is_taken_with_any_success() {
    let fixture = Fixture::start("fault");
    let gateway = Gateway::start(&config_with(fixture.url(), FAULTS, "")).await;
    for revision in ["2026-07-28", "2025-11-25"] {
        let client = match revision {
            "2026-07-28" => Mcp::modern(&gateway.mcp()),
            legacy => Mcp::legacy(&gateway.mcp(), legacy).await,
        };
        let progress = json!({"progressToken": 1, "progress": 1});
        let mut params = client.body("notifications/progress", progress)["params"].take();
        params["extra"] = json!(revision);
        let body = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
        for fault in ["empty", "html", "not-json", "no-content", "accepted", "no-answer"] {
            let answer = client.post(&body).header("x-fault", fault).send().await.expect("an answer");
            let answer = Answer::read(answer).await;
            assert_eq!((answer.status, answer.body.len()), (202, 0), "{revision} {fault}: {answer:?}");
        }
        let answer = client.post(&body).header("x-fault", "status-503").send().await.expect("an answer");
        assert_eq!(answer.status(), 503, "{revision}");
    }
}

#[tokio::test]
async fn a_legacy_client_may_take_json_only() {
    let fixture = Fixture::start("stateful");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    for (tool, text) in [("count", "1"), ("log", "logged")] {
        let body = client.body("tools/call", json!({"name": tool, "arguments": {}}));
        let answer = taking(&client, &body, "application/json").await;
        assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
        assert_eq!(answer.text(), text);
        assert_eq!(answer.json()["id"], body["id"]);
    }
}

#[tokio::test]
async fn a_legacy_client_may_take_events_only() {
    let fixture = Fixture::start("stateful");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    for (method, params) in [
        ("tools/call", json!({"name": "count", "arguments": {}})),
        ("tools/call", json!({"name": "log", "arguments": {}})),
        ("logging/setLevel", json!({"level": "info"})),
    ] {
        let body = client.body(method, params);
        let answer = taking(&client, &body, "text/event-stream").await;
        assert_eq!(answer.header("content-type"), Some("text/event-stream"), "{answer:?}");
        assert_eq!(answer.json()["id"], body["id"], "{answer:?}");
        assert!(answer.json()["result"].is_object(), "{answer:?}");
    }
}

/// An answer that must change its form is held whole, so it is bounded.
#[tokio::test]
async fn an_answer_that_must_be_held_is_bounded() {
    let fixture = Fixture::start("fault");
    let gateway = Gateway::start(&config_with(fixture.url(), FAULTS, "limits:\n  answer_bytes: 1MiB\n")).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    for fault in ["giant", "giant-chunked"] {
        let body = client.body("tools/call", json!({"name": format!("fault-{fault}")}));
        let answer = taking(&client, &body, "text/event-stream").await;
        assert_eq!(answer.code(), (502, -31001), "{fault}: {}", answer.status);
        let params =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "e", "version": "1"}});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
        let fresh = Mcp { session: None, ..client.clone() };
        let answer = Answer::read(fresh.post(&body).header("x-fault", fault).send().await.expect("an answer")).await;
        assert_eq!(answer.code(), (502, -31001), "{fault}: {}", answer.status);
    }
    let events = client.body("tools/call", json!({"name": "fault-endless-event"}));
    assert_eq!(taking(&client, &events, "application/json").await.code(), (502, -31001));
}

/// Backends write an id as their language does.
#[tokio::test]
async fn initialize_is_answered_whatever_its_id_looks_like() {
    let fixture = Fixture::start("stateful");
    let gateway = Gateway::start(&config(fixture.url())).await;
    for (id, read) in
        [("1.0", json!(1.0)), ("1e2", json!(100.0)), (r#""a\/b""#, json!("a/b")), (r#""\u00e9""#, json!("é"))]
    {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"initialize","params":{{"protocolVersion":"2025-11-25","capabilities":{{}},"clientInfo":{{"name":"e","version":"1"}}}}}}"#
        );
        let raw = Raw::new("POST", "/mcp")
            .with("host", "localhost")
            .with("content-type", "application/json")
            .with("accept", "application/json, text/event-stream")
            .with("connection", "close")
            .body(body);
        let answer = raw.send(&gateway.address()).await.expect("an answer");
        assert_eq!(answer.status, 200, "{id}: {answer:?}");
        assert!(answer.header("mcp-session-id").is_some(), "{id}: {answer:?}");
        assert_eq!(answer.json()["id"], read, "{id}: {answer:?}");
    }
}

/// A refused subscription is not one.
#[tokio::test]
async fn what_the_backend_refuses_is_not_remembered() {
    let fixture = Fixture::start("stateful");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    let answer = client.send("resources/subscribe", json!({"uri": "state:refused"})).await;
    assert_eq!(answer.code(), (200, -32602), "{answer:?}");
    assert_eq!(client.send("resources/subscribe", json!({"uri": "state:watched"})).await.status, 200);
    fixture.forget().await;
    assert_eq!(client.tool("count", json!({})).await.text(), "1");
    let state = fixture.state().await;
    assert_eq!(state["sessions"][0]["subscriptions"], json!(["state:watched"]), "{state}");
    let asked = fixture.journal().await.iter().filter(|request| request.contains("state:refused")).count();
    assert_eq!(asked, 1, "it was asked for again");
}

/// The backend has lost the session in which it asked. The client's own session must not look as if it were gone.
#[tokio::test]
async fn an_answer_that_nobody_waits_for_any_more() {
    let fixture = Fixture::start("stateful");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    fixture.forget().await;
    let reply = json!({"jsonrpc": "2.0", "id": "ask-1", "result": {"action": "decline"}});
    let answer = Answer::read(client.post(&reply).send().await.expect("an answer")).await;
    assert_eq!(answer.code(), (502, -31001), "{answer:?}");
    assert_eq!(client.tool("count", json!({})).await.text(), "1");
}
