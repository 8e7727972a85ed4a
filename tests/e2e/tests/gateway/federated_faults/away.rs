//! Backends that are gone, or hang, for longer than what they offer is kept: it leaves the lists, and comes back with them.

use super::{TIMEOUTS, beside, first, names, unhurt};
use lockgate_e2e::scripted::tools;
use lockgate_e2e::{Mcp, Transport, until};
use serde_json::json;
use std::time::{Duration, Instant};

/// Longer than any timeout of a call.
const CALL: Duration = Duration::from_secs(12);

/// A call says whose fault it is that nothing comes of it, and says so in time.
async fn refused(client: &Mcp, what: &str) {
    let start = Instant::now();
    let answer = client.tool("bad__echo", json!({})).await;
    let error = answer.json()["error"].clone();
    assert!(error["message"].as_str().is_some_and(|text| text.contains("bad")), "{what}: {answer:?}");
    assert!(start.elapsed() < CALL, "{what}: it took {:?}", start.elapsed());
}

async fn away(transport: Transport, era: &str) {
    let mut offer = tools(&["echo"]);
    offer["eras"] = json!(era);
    let mut beside = beside(transport, offer, TIMEOUTS, "    grace: 0s\n").await;
    beside.gateway.settled().await;
    let client = beside.client().await;
    assert_eq!(client.tool("bad__echo", json!({})).await.text(), "{}", "{transport:?}, {era}");
    assert_eq!(names(&client).await, ["bad__echo", "well__echo"], "{transport:?}, {era}");
    // A command is gone when it does not even start.
    let what = format!("{transport:?}, {era}, gone");
    beside.bad.change(|offer| offer["broken"] = json!(true));
    beside.bad.kill();
    refused(&client, &what).await;
    until(&what, async || (names(&client).await == ["well__echo"]).then_some(())).await;
    unhurt(&client).await;
    refused(&client, &what).await;
    let back = async |client: &Mcp, what: &str| {
        until(what, async || (names(client).await == ["bad__echo", "well__echo"]).then_some(())).await;
        assert_eq!(client.tool("bad__echo", json!({})).await.text(), "{}", "{what}");
    };
    beside.bad.change(|offer| offer["broken"] = json!(false));
    beside.bad.run().await;
    back(&client, &format!("{transport:?}, {era}, back")).await;
    // There, but it does not say what it speaks, to a gateway that does not know.
    let what = format!("{transport:?}, {era}, hanging");
    beside.gateway.kill();
    beside.bad.fault(first(era), Some("hang"));
    let before = beside.bad.heard_of(first(era)).len();
    beside.gateway.restart().await;
    until(&what, async || (beside.bad.heard_of(first(era)).len() > before).then_some(())).await;
    assert_eq!(names(&client).await, ["well__echo"], "{what}");
    unhurt(&client).await;
    refused(&client, &what).await;
    unhurt(&client).await;
    beside.bad.fault(first(era), None);
    back(&client, &format!("{transport:?}, {era}, speaking")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_http_in_the_modern_era() {
    away(Transport::Http, "modern").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_stdio_in_the_modern_era() {
    away(Transport::Stdio, "modern").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_unix_socket() {
    for era in ["legacy", "modern"] {
        away(Transport::Unix, era).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_stdio() {
    away(Transport::Stdio, "legacy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_sse() {
    away(Transport::Sse, "legacy").await;
}
