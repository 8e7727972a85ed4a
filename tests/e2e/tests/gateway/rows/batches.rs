//! Batches of 2025-03-26 over several backends: what concerns one member concerns no other.

use super::{Pair, pair};
use lockgate_e2e::events::Events;
use lockgate_e2e::gateway::federation;
use lockgate_e2e::scripted::{tool, tools};
use lockgate_e2e::{Answer, Gateway, Mcp, Scripted, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const REVISION: &str = "2025-03-26";
/// Within which a backend that is well must be asked, on a machine that does much else.
const QUICKLY: Duration = Duration::from_secs(3);

fn offer() -> Value {
    json!({
        "eras": "legacy",
        "tools": [tool("echo"), tool("wait"), tool("sample"), tool("count"), tool("linger")],
        "capabilities": {"logging": {}},
    })
}

fn call(id: &str, tool: &str, milliseconds: u64) -> Value {
    let params = json!({"name": tool, "arguments": {"milliseconds": milliseconds, "token": id}});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
}

async fn client(gateway: &Gateway) -> Mcp {
    Mcp::legacy(&gateway.mcp(), REVISION).await
}

/// Sends a batch whose answers are to come as they are there.
async fn stream(client: &Mcp, batch: &Value) -> Events {
    let mut request = client.post(batch).build().expect("a request");
    request.headers_mut().insert("accept", "text/event-stream".parse().expect("a form"));
    Events::new(client.http.execute(request).await.expect("an answer"))
}

async fn send(client: &Mcp, batch: &Value) -> Answer {
    Answer::read(client.post(batch).send().await.expect("an answer")).await
}

#[tokio::test]
async fn a_backend_that_opens_no_session_delays_only_its_own_members() {
    let (one, two) = (Scripted::http(offer()).await, Scripted::http(offer()).await);
    let hasty = "    timeouts: { connect: 2s, first_byte: 6s, idle_stream: 6s, total: 10s }\n";
    let backends = [("one", one.backend("one", "")), ("two", two.backend("two", hasty))];
    let gateway = Gateway::start(&federation(&backends, "", "")).await;
    gateway.settled().await;
    let mut pair = Pair { one, two, gateway };
    pair.two.fault("initialize", Some("hang"));
    let client = client(&pair.gateway).await;
    let begun = Instant::now();
    let batch = json!([call("slow", "two__echo", 0), call("slow too", "two__echo", 0), call("well", "one__echo", 0)]);
    let mut events = stream(&client, &batch).await;
    let (_, first) = events.answer().await;
    assert!(first["id"] == "well" && first["result"].is_object(), "{first}");
    assert!(begun.elapsed() < QUICKLY, "{:?}", begun.elapsed());
    for _ in 0..2 {
        let (_, late) = events.answer().await;
        assert_eq!(late["error"]["code"], -31002, "{late}");
    }
    assert!(events.next().await.is_none() && !events.broken);
}

#[tokio::test]
async fn a_log_level_holds_no_other_member_up() {
    let mut pair = pair(offer(), offer(), "").await;
    let client = client(&pair.gateway).await;
    for name in ["one__echo", "two__echo"] {
        assert_eq!(client.tool(name, json!({})).await.status, 200);
    }
    pair.two.fault("logging/setLevel", Some("hang"));
    let begun = Instant::now();
    let batch = json!([
        {"jsonrpc": "2.0", "id": "level", "method": "logging/setLevel", "params": {"level": "error"}},
        call("beside", "one__echo", 0),
    ]);
    let mut events = stream(&client, &batch).await;
    let (_, first) = events.answer().await;
    assert_eq!(first["id"], "beside");
    assert!(begun.elapsed() < QUICKLY, "{:?}", begun.elapsed());
    let (_, second) = events.answer().await;
    assert_eq!((&second["id"], &second["result"]), (&json!("level"), &json!({})));
}

/// In this era a disconnect cancels nothing, whatever has become of a member by then.
#[tokio::test]
async fn members_run_although_their_client_has_left() {
    let mut pair = pair(offer(), offer(), "").await;
    let client = client(&pair.gateway).await;
    let opened = pair.one.heard_of("initialize").len();
    pair.one.delay("initialize", 1500);
    let batch = json!([call("first", "one__echo", 0), call("second", "one__wait", 1), call("other", "two__echo", 0)]);
    let request = tokio::spawn(client.post(&batch).send());
    until("the new session", async || (pair.one.heard_of("initialize").len() > opened).then_some(())).await;
    request.abort();
    until("the calls", async || {
        let ended = |token: &str| pair.one.outcomes(token).contains(&"answered".to_owned());
        (ended("first") && ended("second")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_member_can_be_cancelled() {
    let mut pair = pair(offer(), offer(), "").await;
    let client = client(&pair.gateway).await;
    let cancelled =
        |id: &str| json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
    assert_eq!(client.tool("one__echo", json!({})).await.status, 200);
    // One that waits for a session, and one that is at its backend.
    let opened = pair.two.heard_of("initialize").len();
    pair.two.delay("initialize", 2000);
    let batch =
        json!([call("waits", "two__echo", 0), call("runs", "one__wait", 60_000), call("stays", "one__echo", 0)]);
    let answers = tokio::spawn({
        let client = client.clone();
        async move { send(&client, &batch).await }
    });
    until("both", async || {
        (pair.one.outcomes("runs") == ["begun"] && pair.two.heard_of("initialize").len() > opened).then_some(())
    })
    .await;
    for id in ["waits", "runs"] {
        assert_eq!(Answer::read(client.post(&cancelled(id)).send().await.unwrap()).await.status, 202);
    }
    let answer = answers.await.expect("an answer");
    let answers = match answer.json() {
        Value::Array(answers) => answers,
        _ => lockgate_e2e::events::messages(&String::from_utf8_lossy(&answer.body)),
    };
    let ids: Vec<_> = answers.iter().map(|answer| answer["id"].as_str().unwrap_or_default()).collect();
    assert!(ids.contains(&"stays") && !ids.contains(&"waits"), "{answers:?}");
    assert_eq!(pair.one.outcomes("runs"), ["begun", "cancelled"]);
    assert!(pair.two.heard_of("tools/call").is_empty() && pair.two.heard_of("notifications/cancelled").is_empty());
    // One that the same batch takes back: nothing is owed any more.
    let answer = send(&client, &json!([call("none", "one__echo", 0), cancelled("none")])).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");
    assert!(pair.one.outcomes("none").is_empty());
}

/// Answered in a batch or not: what was asked in a session that is gone is asked no more.
#[tokio::test]
async fn nobody_waits_for_an_answer_in_a_session_that_is_lost() {
    let (mut one, two) = (Scripted::http(offer()).await, Scripted::http(tools(&["other"])).await);
    let backends = [("one", one.backend("one", "    on_session_loss: fail\n")), ("two", two.backend("two", ""))];
    let gateway = Gateway::start(&federation(&backends, "", "")).await;
    gateway.settled().await;
    let client = client(&gateway).await;
    let mut asking = client.stream("tools/call", json!({"name": "one__sample", "arguments": {}})).await;
    let question = asking.notification("sampling/createMessage").await;
    one.forget();
    assert_eq!(client.tool("one__count", json!({})).await.code(), (502, -31006));
    let opened = one.heard_of("initialize").len();
    let reply = json!([{"jsonrpc": "2.0", "id": question["id"], "result": {"mark": "too-late"}}]);
    let answer = send(&client, &reply).await;
    assert_eq!(answer.code(), (502, -31001), "{answer:?}");
    assert!(one.heard().iter().all(|heard| !heard.raw.contains("too-late")));
    assert_eq!(one.heard_of("initialize").len(), opened, "no session is opened for it");
}

/// Behind its response nothing of a member is waited for.
#[tokio::test]
async fn a_stream_that_stays_open_behind_a_response_delays_nobody() {
    let pair = pair(offer(), offer(), "").await;
    let client = client(&pair.gateway).await;
    let batch = json!([call("lingers", "one__linger", 0), call("other", "two__echo", 0)]);
    let begun = Instant::now();
    let answers = send(&client, &batch).await.json();
    assert_eq!(answers.as_array().map(Vec::len), Some(2), "{answers}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}
