//! What a backend that has lost a session is told of it when it is opened again.

use super::{Pair, config, pair};
use lockgate_e2e::gateway::federation;
use lockgate_e2e::mcp::NEWEST_LEGACY;
use lockgate_e2e::scripted::{tool, tools};
use lockgate_e2e::{Gateway, Mcp, Scripted, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn remembering() -> Value {
    json!({
        "eras": "legacy",
        "tools": [tool("count"), tool("level"), tool("subscribed"), tool("wait")],
        "resources": [{"uri": "note:x", "name": "x"}, {"uri": "note:y", "name": "y"}, {"uri": "note:z", "name": "z"}],
        "capabilities": {"logging": {}, "resources": {"subscribe": true}},
    })
}

/// A client with a log level and subscriptions at `one`, and `one` as it is when it has lost that.
async fn set(pair: &Pair) -> Mcp {
    let client = pair.legacy().await;
    assert_eq!(client.tool("one__count", json!({})).await.text(), "1");
    assert_eq!(client.send("logging/setLevel", json!({"level": "error"})).await.code(), (200, 0));
    for uri in ["one+note:x", "one+note:y"] {
        assert_eq!(client.send("resources/subscribe", json!({"uri": uri})).await.code(), (200, 0));
    }
    client
}

async fn subscribed(client: &Mcp) -> Value {
    serde_json::from_str(&client.tool("one__subscribed", json!({})).await.text()).expect("a list")
}

#[tokio::test]
async fn every_subscription_is_made_again() {
    let mut pair = pair(remembering(), tools(&["echo"]), "").await;
    let client = set(&pair).await;
    pair.one.forget();
    let answer = client.tool("one__count", json!({})).await;
    assert!(answer.text() == "1" && answer.is_healed(), "{answer:?}");
    assert_eq!(subscribed(&client).await, json!(["note:x", "note:y"]));
    assert_eq!(client.tool("one__level", json!({})).await.text(), "error");
}

/// What the backend does not take costs that alone, and little time.
#[tokio::test]
async fn what_is_not_taken_keeps_no_session_from_healing() {
    let mut pair = pair(remembering(), tools(&["echo"]), "").await;
    let client = set(&pair).await;
    pair.one.fault("logging/setLevel", Some("hang"));
    pair.one.fault("resources/subscribe note:x", Some("run-and-cut"));
    pair.one.forget();
    let begun = Instant::now();
    let answer = client.tool("one__count", json!({})).await;
    assert_eq!(answer.text(), "1", "{answer:?}");
    assert!(answer.is_healed() && begun.elapsed() < Duration::from_secs(10), "{:?}: {answer:?}", begun.elapsed());
    assert_eq!(subscribed(&client).await, json!(["note:y"]));
    until("the log", async || Some(pair.gateway.log()).filter(|log| log.contains("2 of 3 settings"))).await;
}

#[tokio::test]
async fn log_levels_are_not_set_where_there_are_none() {
    let mut silent = tools(&["echo"]);
    silent["eras"] = json!("legacy");
    let pair = pair(remembering(), silent, "").await;
    let client = set(&pair).await;
    assert_eq!(client.tool("two__echo", json!({})).await.status, 200);
    assert!(pair.two.heard_of("logging/setLevel").is_empty());
}

/// What is set while the session is being opened is set there too.
#[tokio::test]
async fn what_is_set_meanwhile_is_not_lost() {
    let mut pair = pair(remembering(), tools(&["echo"]), "").await;
    let client = set(&pair).await;
    pair.one.delay("resources/subscribe note:x", 1500);
    pair.one.forget();
    let healing = {
        let client = client.clone();
        tokio::spawn(async move { client.tool("one__count", json!({})).await })
    };
    until("the subscription", async || {
        (pair.one.heard_of("resources/subscribe").len() == 4 && pair.one.heard_of("logging/setLevel").len() == 2)
            .then_some(())
    })
    .await;
    assert_eq!(client.send("logging/setLevel", json!({"level": "alert"})).await.code(), (200, 0));
    let answer = healing.await.expect("an answer");
    assert!(answer.text() == "1" && answer.is_healed(), "{answer:?}");
    assert_eq!(client.tool("one__level", json!({})).await.text(), "alert");
}

#[tokio::test]
async fn what_may_no_longer_be_seen_is_not_subscribed_again() {
    let mut pair = pair(remembering(), tools(&["echo"]), "").await;
    let client = set(&pair).await;
    let members = "    backends:\n      - { backend: one, resources: { deny: [\"note:x\"] } }\n      - two\n";
    pair.gateway.write(&config(&pair.one, &pair.two, members, ""));
    assert_eq!(pair.gateway.reload().await.0, 200);
    pair.gateway.settled().await;
    pair.one.forget();
    assert_eq!(client.tool("one__count", json!({})).await.text(), "1");
    assert_eq!(subscribed(&client).await, json!(["note:y"]));
}

/// Of calls that relied on what is lost, none runs without it, whoever notices first.
#[tokio::test]
async fn concurrent_calls_are_told_of_a_loss() {
    let mut lossy = remembering();
    lossy["delays"] = json!({"forgotten": 1000});
    let (mut one, two) = (Scripted::http(lossy).await, Scripted::http(tools(&["echo"])).await);
    let backends = [("one", one.backend("one", "    on_session_loss: fail\n")), ("two", two.backend("two", ""))];
    let gateway = Gateway::start(&federation(&backends, "", "")).await;
    gateway.settled().await;
    let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
    assert_eq!(client.tool("one__count", json!({})).await.text(), "1");
    one.forget();
    // All are sent in the session that is lost, before the first of them is refused.
    let (first, second, third) = tokio::join!(
        client.tool("one__count", json!({"token": "lost"})),
        client.tool("one__count", json!({"token": "lost"})),
        client.tool("one__count", json!({"token": "lost"})),
    );
    for answer in [first, second, third] {
        assert_eq!(answer.code(), (502, -31006), "{answer:?}");
    }
    assert!(one.outcomes("lost").is_empty(), "none ran");
    assert_eq!(client.tool("one__count", json!({})).await.text(), "1", "what is sent now begins anew");
}
