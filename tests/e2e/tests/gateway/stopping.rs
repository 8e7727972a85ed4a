//! SIGTERM while a legacy session's streams are open: GET streams end at once, answers are waited for.

use lockgate_e2e::gateway::config;
use lockgate_e2e::mcp::NEWEST_LEGACY;
use lockgate_e2e::{Fixture, Gateway, Mcp, until};
use nix::sys::signal::Signal;
use serde_json::json;

#[tokio::test]
async fn get_streams_end_and_resumed_answers_are_finished() {
    let fixture = Fixture::start("stateful");
    let mut gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
    let mut held = client.listen(None).await;
    until("the GET stream", async || (fixture.state().await["sessions"][0]["listening"] == true).then_some(())).await;
    let mut stream = client.stream("tools/call", json!({"name": "slow", "arguments": {"milliseconds": 2000}})).await;
    stream.next().await.expect("a priming event");
    let last = stream.last_id.clone();
    drop(stream);
    let mut resumed = client.listen(last.as_deref()).await;
    assert_eq!(resumed.status, 200);
    gateway.signal(Signal::SIGTERM);
    assert_eq!(held.next().await, None);
    assert!(!held.broken, "a GET stream ends in order");
    let (_, answer) = resumed.answer().await;
    assert_eq!(answer["result"]["content"][0]["text"], "took 2000 ms");
    gateway.stop();
}
