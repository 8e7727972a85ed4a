//! Batches of 2025-03-26: members are judged like messages that come alone, and answered together.

use lockgate_e2e::events::Events;
use lockgate_e2e::gateway::{config, config_with};
use lockgate_e2e::{Answer, Fixture, Gateway, Mcp};
use serde_json::{Value, json};

const REVISION: &str = "2025-03-26";

async fn stateful(top: &str) -> (Fixture, Gateway, Mcp) {
    let fixture = Fixture::start("stateful");
    let gateway = Gateway::start(&config_with(fixture.url(), "", top)).await;
    let client = Mcp::legacy(&gateway.mcp(), REVISION).await;
    (fixture, gateway, client)
}

fn call(id: Value, tool: &str, arguments: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

async fn send(client: &Mcp, batch: Value) -> Answer {
    Answer::read(client.post(&batch).send().await.expect("an answer")).await
}

/// As [`send`], admitting one form only.
async fn send_for(client: &Mcp, batch: Value, form: &str) -> Answer {
    let mut request = client.post(&batch).build().expect("a request");
    request.headers_mut().insert("accept", form.parse().expect("a form"));
    Answer::read(client.http.execute(request).await.expect("an answer")).await
}

/// The answer to the request with this id.
fn answer(answers: &[Value], id: Value) -> &Value {
    answers.iter().find(|answer| answer["id"] == id).unwrap_or_else(|| panic!("no answer to {id}: {answers:?}"))
}

fn array(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json().as_array().unwrap_or_else(|| panic!("{answer:?}")).clone()
}

#[tokio::test]
async fn a_member_that_fails_has_an_error_of_its_own() {
    let fixture = Fixture::start("fault");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::legacy(&gateway.mcp(), REVISION).await;
    let faults = ["html", "status-401", "status-404", "status-503", "not-json", "wrong-id", "close", "accepted"];
    let mut batch: Vec<Value> =
        faults.iter().map(|fault| call(json!(fault), &format!("fault-{fault}"), json!({}))).collect();
    batch.push(call(json!("good"), "echo", json!({"x": 1})));
    let answered = send(&client, Value::Array(batch)).await;
    assert_eq!(answered.header("content-type"), Some("application/json"), "{answered:?}");
    let text = String::from_utf8_lossy(&answered.body).into_owned();
    assert!(!text.contains("<html>") && !text.contains("someone else") && !text.contains("this is not"), "{text}");
    let answers = array(&answered);
    assert_eq!(answers.len(), faults.len() + 1);
    for fault in faults {
        let code = if fault == "status-503" { -31003 } else { -31001 };
        let error = &answer(&answers, json!(fault))["error"];
        assert_eq!(error["code"], code, "{fault}: {error}");
        assert!(error["data"]["correlationId"].is_string(), "{fault}: {error}");
    }
    assert_eq!(answer(&answers, json!("good"))["result"]["content"][0]["text"], "{\"x\":1}");
    let failed =
        |line: &str| line.contains("upstream_requests_total") && line.contains("server_error") && line.ends_with(" 1");
    gateway.counted("the count", failed).await;
}

#[tokio::test]
async fn a_session_that_the_backend_lost_is_opened_again_for_a_batch() {
    let (fixture, _gateway, client) = stateful("").await;
    let remembered = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": "error"}},
        {"jsonrpc": "2.0", "id": 2, "method": "resources/subscribe", "params": {"uri": "state:watched"}},
    ]);
    assert_eq!(array(&send(&client, remembered).await).len(), 2);
    fixture.forget().await;
    let batch = (0..12).map(|index| call(json!(index), "count", json!({"token": index.to_string()}))).collect();
    let answers = array(&send(&client, Value::Array(batch)).await);
    assert_eq!(answers.len(), 12);
    assert!(answers.iter().all(|answer| answer["result"].is_object()), "{answers:?}");
    let state = fixture.state().await;
    assert_eq!(state["sessions"].as_array().map(Vec::len), Some(1), "{state}");
    assert_eq!(state["sessions"][0]["counter"], 12, "each ran once: {state}");
    assert_eq!(state["sessions"][0]["level"], "error", "{state}");
    assert_eq!(state["sessions"][0]["subscriptions"], json!(["state:watched"]), "{state}");
}

#[tokio::test]
async fn what_is_only_told_must_arrive() {
    let mut fixture = Fixture::start("fault");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::legacy(&gateway.mcp(), REVISION).await;
    let told = json!([
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}},
        {"jsonrpc": "2.0", "id": "asked", "result": {}},
    ]);
    let answer = send(&client, told.clone()).await;
    assert_eq!((answer.status, answer.body.len()), (202, 0), "{answer:?}");
    fixture.kill();
    let answer = send(&client, told).await;
    assert_eq!(answer.code(), (502, -31001), "{answer:?}");
}

#[tokio::test]
async fn members_that_say_more_make_a_stream() {
    let (_fixture, gateway, client) = stateful("streams:\n  keep_alive: 100ms\n").await;
    let batch = json!([
        call(json!("quick"), "count", json!({})),
        call(json!("log"), "log", json!({})),
        call(json!("slow"), "slow", json!({"milliseconds": 1000})),
    ]);
    let mut response = client.post(&batch).send().await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    gateway.counts("lockgate_streams{kind=\"answer\",virtual_server=\"default\"}", 1.0).await;
    let mut text = String::new();
    while let Some(chunk) = response.chunk().await.expect("a whole stream") {
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(text.contains(": keep-alive\n"), "{text}");
    let messages = lockgate_e2e::events::messages(&text);
    let lines = messages.iter().filter(|message| message["method"] == "notifications/message").count();
    assert_eq!(lines, 8, "{messages:?}");
    for id in ["quick", "log", "slow"] {
        assert!(answer(&messages, json!(id))["result"].is_object());
    }
    assert_eq!(messages.len(), 11, "{messages:?}");
}

#[tokio::test]
async fn the_client_says_which_form_it_takes() {
    let (_fixture, _gateway, client) = stateful("").await;
    let batch = || json!([call(json!(1), "count", json!({})), call(json!(2), "log", json!({}))]);
    let as_json = array(&send_for(&client, batch(), "application/json").await);
    assert_eq!(as_json.len(), 2, "{as_json:?}");
    let mut request = client.post(&json!([call(json!(1), "count", json!({}))])).build().expect("a request");
    request.headers_mut().insert("accept", "text/event-stream".parse().expect("a form"));
    let mut events = Events::new(client.http.execute(request).await.expect("an answer"));
    assert_eq!(events.answer().await.1["result"]["content"][0]["text"], "2");
    assert!(events.next().await.is_none() && !events.broken);
}

/// What must be held is bounded; a client that takes events gets the rest as it comes.
#[tokio::test]
async fn answers_that_are_too_long_together_are_not_held() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config_with(fixture.url(), "", "limits:\n  answer_bytes: 64KiB\n")).await;
    let client = Mcp::legacy(&gateway.mcp(), REVISION).await;
    let text = "x".repeat(20_000);
    let batch = || json!([call(json!(1), "echo", json!({"t": text})), call(json!(2), "echo", json!({"t": text}))]);
    let answer = send_for(&client, batch(), "application/json").await;
    assert_eq!(answer.code(), (502, -31001), "{}", answer.status);
    let answer = send(&client, batch()).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let messages = lockgate_e2e::events::messages(&String::from_utf8_lossy(&answer.body));
    assert_eq!(messages.iter().filter(|message| message["result"].is_object()).count(), 2);
}
