//! `kill -9`: the gateway comes back with the same state directory, and its sessions go on as if nothing had been.

use lockgate_e2e::gateway::config;
use lockgate_e2e::{Fixture, Gateway, Mcp, until};
use serde_json::json;

#[tokio::test]
async fn a_session_survives_kill_9() {
    let fixture = Fixture::start("stateful");
    let mut gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    let mut stream = client.listen(None).await;
    assert_eq!(client.send("logging/setLevel", json!({"level": "error"})).await.status, 200);
    assert_eq!(client.send("resources/subscribe", json!({"uri": "state:watched"})).await.status, 200);
    assert_eq!(client.tool("count", json!({})).await.text(), "1");
    assert_eq!(client.tool("count", json!({})).await.text(), "2");
    until("the GET stream", async || (fixture.state().await["sessions"][0]["listening"] == true).then_some(())).await;
    fixture.poke("state:watched").await;
    stream.notification("notifications/resources/updated").await;
    let last = stream.last_id.clone();
    let before = fixture.state().await["sessions"][0]["id"].clone();

    gateway.kill();
    while stream.next().await.is_some() {}
    gateway.restart().await;

    assert_eq!(client.tool("count", json!({})).await.text(), "3", "the counter belongs to the old upstream session");
    assert_eq!(client.tool("level", json!({})).await.text(), "error");
    let mut stream = client.listen(last.as_deref()).await;
    assert_eq!(stream.status, 200);
    until("the GET stream", async || (fixture.state().await["sessions"][0]["listening"] == true).then_some(())).await;
    assert_eq!(fixture.poke("state:watched").await, 1);
    stream.notification("notifications/resources/updated").await;
    let state = fixture.state().await;
    assert_eq!(state["sessions"].as_array().map(Vec::len), Some(1), "{state}");
    assert_eq!(state["sessions"][0]["id"], before, "{state}");
    assert_eq!(state["sessions"][0]["counter"], 3, "{state}");
}

/// What was ended stays ended.
#[tokio::test]
async fn a_deleted_session_stays_deleted() {
    let fixture = Fixture::start("stateful");
    let mut gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    assert!(matches!(client.delete().await.status, 200 | 204));
    gateway.kill();
    gateway.restart().await;
    assert_eq!(client.tool("count", json!({})).await.status, 404);
}

/// Both restarted: the upstream session is gone too, so it is opened again with what is known of it.
#[tokio::test]
async fn a_session_survives_a_restart_of_both() {
    let fixture = Fixture::start("stateful");
    let mut gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-06-18").await;
    client.send("logging/setLevel", json!({"level": "alert"})).await;
    client.send("resources/subscribe", json!({"uri": "state:watched"})).await;
    gateway.kill();
    fixture.forget().await;
    gateway.restart().await;
    assert_eq!(client.tool("count", json!({})).await.text(), "1");
    assert_eq!(client.tool("level", json!({})).await.text(), "alert");
    let state = fixture.state().await;
    assert_eq!(state["sessions"][0]["subscriptions"], json!(["state:watched"]), "{state}");
    assert_eq!(state["sessions"][0]["revision"], "2025-06-18", "{state}");
}

/// A ticket sealed with keys of another gateway means nothing here.
#[tokio::test]
async fn a_session_of_another_gateway_is_unknown() {
    let fixture = Fixture::start("stateful");
    let (one, two) = (Gateway::start(&config(fixture.url())).await, Gateway::start(&config(fixture.url())).await);
    let mut client = Mcp::legacy(&one.mcp(), "2025-11-25").await;
    client.url = two.mcp();
    assert_eq!(client.tool("count", json!({})).await.status, 404);
}

/// A sealing key of the configuration, different for each odd `step`.
fn key(id: &str, step: u8) -> String {
    let secret: String = (0..32_u8).map(|byte| format!("{:02x}", byte.wrapping_mul(step))).collect();
    format!("{{ id: {id}, secret: \"{secret}\" }}")
}

/// Keys rotate: a ticket sealed with the old key opens as long as the old key is listed.
#[tokio::test]
async fn keys_rotate() {
    let fixture = Fixture::start("stateful");
    let with = |keys: &str| format!("{}tickets:\n  keys: [{keys}]\n", config(fixture.url()));
    let (old, new) = (key("k1", 37), key("k2", 91));
    let mut gateway = Gateway::start(&with(&old)).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    gateway.write(&with(&format!("{new}, {old}")));
    gateway.restart().await;
    assert_eq!(client.tool("count", json!({})).await.text(), "1");
    let younger = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    gateway.write(&with(&new));
    gateway.restart().await;
    assert_eq!(client.tool("count", json!({})).await.status, 404, "its key is gone");
    assert_eq!(younger.tool("count", json!({})).await.text(), "1");
}

/// Keys rotate without a restart, also away from the node's own and back to it.
#[tokio::test]
async fn keys_rotate_on_reload() {
    let fixture = Fixture::start("stateful");
    let with = |keys: &str| format!("{}tickets:\n  keys: [{keys}]\n", config(fixture.url()));
    let (old, new) = (key("k1", 37), key("k2", 91));
    let gateway = Gateway::start(&with(&old)).await;
    let reload = async |text: &str| {
        gateway.write(text);
        let (status, answer) = gateway.reload().await;
        assert_eq!((status, &answer["needs_restart"]), (200, &json!([])), "{answer}");
    };
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    assert_eq!(client.tool("count", json!({})).await.text(), "1");
    reload(&with(&format!("{new}, {old}"))).await;
    assert_eq!(client.tool("count", json!({})).await.text(), "2", "the session goes on");
    let younger = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    reload(&with(&new)).await;
    assert_eq!(client.tool("count", json!({})).await.status, 404, "its key is gone");
    assert_eq!(younger.tool("count", json!({})).await.text(), "1", "it was sealed with the new key");

    reload(&config(fixture.url())).await;
    assert_eq!(younger.tool("count", json!({})).await.status, 404);
    let youngest = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    assert_eq!(youngest.tool("count", json!({})).await.text(), "1");
}
