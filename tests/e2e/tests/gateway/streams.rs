//! The modern era's streams: nothing is held back, a disconnect cancels, listen streams keep going.

use lockgate_e2e::gateway::{config, config_with};
use lockgate_e2e::{Fixture, Gateway, Mcp, until};
use serde_json::{Value, json};

/// A number that the conformant fixture keeps about `test_wait` calls.
async fn count(client: &Mcp, tool: &str) -> u64 {
    client.tool(tool, json!({})).await.text().parse().expect("a count")
}

#[tokio::test]
async fn events_are_not_held_back() {
    let fixture = Fixture::start("stateful");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    // Four reports, one each 2 s.
    let params = json!({"name": "slow", "arguments": {"milliseconds": 8000}, "_meta": {"progressToken": 1}});
    let mut stream = client.stream("tools/call", params).await;
    stream.notification("notifications/progress").await;
    let executions = fixture.state().await["executions"].clone();
    assert_eq!(executions, json!([]), "the first report came when the call was over");
}

#[tokio::test]
async fn a_disconnect_cancels_while_the_answer_is_pending() {
    let fixture = Fixture::start("conformant");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::modern(&gateway.mcp());
    let body = client.body("tools/call", json!({"name": "test_wait", "arguments": {"milliseconds": 60_000}}));
    tokio::select! {
        answer = client.post(&body).send() => panic!("answered early: {answer:?}"),
        () = until("the call", async || (count(&client, "test_waiting_count").await == 1).then_some(())) => {}
    }
    until("the cancellation", async || (count(&client, "test_cancelled_count").await == 1).then_some(())).await;
}

#[tokio::test]
async fn a_listen_stream_delivers_what_was_asked_for() {
    let fixture = Fixture::start("conformant");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::modern(&gateway.mcp());
    let wanted = json!({"toolsListChanged": true, "resourceSubscriptions": ["test://watched-resource"]});
    let body = client.body("subscriptions/listen", json!({"notifications": wanted}));
    let mut stream = lockgate_e2e::events::Events::new(client.post(&body).send().await.unwrap());
    let first = stream.next().await.expect("an acknowledgement").json();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
    let subscription = |message: &Value| message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"].clone();
    assert_eq!(subscription(&first), body["id"]);
    client.tool("test_trigger_prompt_change", json!({})).await;
    client.tool("test_trigger_tool_change", json!({})).await;
    client.tool("test_trigger_resource_change", json!({})).await;
    let changed = stream.next().await.expect("a change").json();
    assert_eq!(changed["method"], "notifications/tools/list_changed", "prompts were not asked for: {changed}");
    assert_eq!(subscription(&changed), body["id"]);
    stream.notification("notifications/resources/updated").await;
}

/// An idle stream gets comments from the gateway, and is not cut by the idle timeout of the backend's silence before
/// that timeout.
#[tokio::test]
async fn idle_streams_are_kept_alive() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config_with(fixture.url(), "", "streams:\n  keep_alive: 200ms\n")).await;
    let client = Mcp::modern(&gateway.mcp());
    let body = client.body("tools/call", json!({"name": "held", "arguments": {}}));
    let mut response = client.post(&body).send().await.unwrap();
    let mut text = String::new();
    until("two comments", async || {
        let chunk = response.chunk().await.ok()??;
        text.push_str(&String::from_utf8_lossy(&chunk));
        (text.lines().filter(|line| line.starts_with(':')).count() >= 3).then_some(())
    })
    .await;
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with(':')), "{text:?}");
}

/// Many calls and streams at once on one connection, none of them mixed up.
#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_not_mixed_up() {
    let fixture = Fixture::start("conformant");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::modern(&gateway.mcp());
    let mut calls = tokio::task::JoinSet::new();
    for index in 0..400 {
        let client = client.clone();
        calls.spawn(async move {
            let text = format!("call {index} {}", "x".repeat(index * 37));
            let answer = client.tool("test_echo", json!({"text": text})).await;
            assert_eq!(answer.text(), text);
        });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("an answer");
    }
}

/// A 2026-07-28 task lives across requests.
#[tokio::test]
async fn tasks_are_polled_through_the_gateway() {
    let fixture = Fixture::start("conformant");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::modern(&gateway.mcp());
    let with_tasks = |method: &str, params: Value| {
        let mut body = client.body(method, params);
        let extensions = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
        body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = extensions;
        client.post(&body)
    };
    let start = with_tasks("tools/call", json!({"name": "slow_compute", "arguments": {"seconds": 0.5}}));
    let created = lockgate_e2e::Answer::read(start.send().await.unwrap()).await.json();
    assert_eq!(created["result"]["resultType"], "task", "{created}");
    let id = created["result"]["taskId"].clone();
    let done = until("the task's end", async || {
        let get = with_tasks("tasks/get", json!({"taskId": id}));
        let state = lockgate_e2e::Answer::read(get.send().await.unwrap()).await.json();
        (state["result"]["status"] == "completed").then_some(state)
    })
    .await;
    assert_eq!(done["result"]["result"]["content"][0]["text"], "It took 0.5 s");
}
