//! What becomes of the lists when a backend is away is policy.

use super::{Beside, TIMEOUTS, TRANSPORTS, beside, names};
use lockgate_e2e::scripted::tools;
use lockgate_e2e::{Transport, until};
use serde_json::json;
use std::time::{Duration, Instant};

async fn gone(transport: Transport, server: &str) -> Beside {
    let mut beside = beside(transport, tools(&["b"]), TIMEOUTS, server).await;
    beside.gateway.settled().await;
    // A command is gone when it does not even start.
    beside.bad.change(|offer| offer["broken"] = json!(true));
    beside.bad.kill();
    let client = beside.client().await;
    assert_eq!(client.tool("bad__b", json!({})).await.code(), (502, -31001));
    until("the loss", async || (beside.gateway.standing("bad").await? != "fresh").then_some(())).await;
    beside
}

#[tokio::test]
async fn partial_keeps_its_items_for_a_while() {
    let mut beside = gone(Transport::Http, "    grace: 2s\n").await;
    let client = beside.client().await;
    let start = Instant::now();
    assert_eq!(beside.gateway.standing("bad").await.as_deref(), Some("stale"));
    assert_eq!(names(&client).await, ["bad__b", "well__echo"]);
    until("the end of the grace", async || (names(&client).await == ["well__echo"]).then_some(())).await;
    assert!(start.elapsed() > Duration::from_millis(500), "it was kept for {:?}", start.elapsed());
    assert_eq!(beside.gateway.standing("bad").await.as_deref(), Some("missing"));
    // Who calls it by the name that it had is told why that does not work.
    let answer = client.tool("bad__b", json!({})).await;
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("bad"), "{answer:?}");
    let told = beside.gateway.backend("bad").await;
    assert!(told["last_error"].is_string() && told["up"] == false, "{told}");
    beside.bad.run().await;
    until("its return", async || (names(&client).await == ["bad__b", "well__echo"]).then_some(())).await;
    assert_eq!(client.tool("bad__b", json!({})).await.status, 200);
}

#[tokio::test]
async fn stale_keeps_them_for_good() {
    let beside = gone(Transport::Http, "    failure: stale\n    grace: 0s\n").await;
    let client = beside.client().await;
    assert_eq!(names(&client).await, ["bad__b", "well__echo"]);
    assert_eq!(beside.gateway.standing("bad").await.as_deref(), Some("stale"));
    assert_eq!(client.tool("well__echo", json!({})).await.text(), "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_lists_all_or_nothing() {
    for transport in TRANSPORTS {
        let mut beside = gone(transport, "    failure: strict\n").await;
        let client = beside.client().await;
        let answer = client.send("tools/list", json!({})).await;
        assert_eq!(answer.code(), (502, -31001), "{transport:?}: {answer:?}");
        let message = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains("\"bad\""), "{transport:?}: {answer:?}");
        assert_eq!(client.tool("well__echo", json!({})).await.text(), "{}", "{transport:?}: calls go on");
        beside.bad.change(|offer| offer["broken"] = json!(false));
        beside.bad.run().await;
        until("its return", async || (client.send("tools/list", json!({})).await.status == 200).then_some(())).await;
        assert_eq!(names(&client).await, ["bad__b", "well__echo"], "{transport:?}");
    }
}

/// A backend that never was there: what the others offer is served from the start.
#[tokio::test]
async fn a_backend_that_never_was_there_delays_nothing() {
    let mut beside = beside(Transport::Http, tools(&["b"]), TIMEOUTS, "").await;
    beside.bad.kill();
    beside.gateway.restart().await;
    let start = Instant::now();
    let client = beside.client().await;
    until("the list of the other", async || (names(&client).await == ["well__echo"]).then_some(())).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    beside.bad.run().await;
    until("its arrival", async || (names(&client).await == ["bad__b", "well__echo"]).then_some(())).await;
}
