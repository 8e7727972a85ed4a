//! Backends that lose sessions, are killed and come back.

use super::{TIMEOUTS, TRANSPORTS, beside, names, unhurt};
use lockgate_e2e::scripted::{tool, tools};
use lockgate_e2e::{Scripted, Transport, until};
use serde_json::{Value, json};

fn stateful() -> Value {
    json!({
        "tools": [tool("count"), tool("level"), tool("subscribed"), tool("wait")],
        "resources": [{"uri": "note:x", "name": "x"}],
        "capabilities": {"logging": {}, "resources": {"subscribe": true}},
    })
}

/// Makes the backend lose its sessions; where a session is a process or a stream, that is ended.
async fn lose(backend: &mut Scripted, transport: Transport) {
    match transport {
        Transport::Http | Transport::Unix => backend.forget(),
        Transport::Sse => {
            backend.kill();
            backend.run().await;
        }
        Transport::Stdio => backend.kill(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_session_heals_and_says_so() {
    for transport in TRANSPORTS {
        let mut beside = beside(transport, stateful(), TIMEOUTS, "").await;
        beside.gateway.settled().await;
        let client = beside.client().await;
        assert_eq!(client.send("logging/setLevel", json!({"level": "error"})).await.status, 200);
        assert_eq!(client.send("resources/subscribe", json!({"uri": "bad+note:x"})).await.code(), (200, 0));
        let answer = client.tool("bad__count", json!({"token": "before"})).await;
        assert_eq!((answer.text().as_str(), answer.is_healed()), ("1", false), "{transport:?}: {answer:?}");
        let counted = beside.healed().await;
        lose(&mut beside.bad, transport).await;
        let answer = until("the healed session", async || {
            // A command is started again after a moment; until then it is said to be away.
            let answer = client.tool("bad__count", json!({"token": "after"})).await;
            (answer.status == 200).then_some(answer)
        })
        .await;
        assert_eq!(answer.text(), "1", "{transport:?}");
        assert!(answer.is_healed(), "{transport:?}: {answer:?}");
        assert_eq!(beside.bad.outcomes("after"), ["answered"], "{transport:?}: it ran once");
        assert_eq!(client.tool("bad__level", json!({})).await.text(), "error", "{transport:?}");
        assert_eq!(client.tool("bad__subscribed", json!({})).await.text(), "[\"note:x\"]", "{transport:?}");
        let answer = client.tool("bad__count", json!({})).await;
        assert_eq!(
            (answer.text().as_str(), answer.is_healed()),
            ("2", false),
            "{transport:?}: only the first is marked"
        );
        assert!(beside.healed().await > counted, "{transport:?}");
        unhurt(&client).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_session_is_told_once_where_nothing_may_heal() {
    for transport in TRANSPORTS {
        let backend = format!("{TIMEOUTS}    on_session_loss: fail\n");
        let mut beside = beside(transport, stateful(), &backend, "").await;
        beside.gateway.settled().await;
        let client = beside.client().await;
        assert_eq!(client.tool("bad__count", json!({})).await.text(), "1", "{transport:?}");
        lose(&mut beside.bad, transport).await;
        let answer = until("a word about the loss", async || {
            // A call on its way into a process that just ended fails like any other.
            let answer = client.tool("bad__count", json!({"token": "lost"})).await;
            (answer.code() != (502, -31001)).then_some(answer)
        })
        .await;
        assert_eq!(answer.code(), (502, -31006), "{transport:?}: {answer:?}");
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains("\"bad\""), "{answer:?}");
        assert!(beside.bad.outcomes("lost").is_empty(), "{transport:?}: it did not run");
        unhurt(&client).await;
        let answer = until("the new session", async || {
            let answer = client.tool("bad__count", json!({})).await;
            (answer.status == 200).then_some(answer)
        })
        .await;
        assert_eq!((answer.text().as_str(), answer.is_healed()), ("1", false), "{transport:?}: {answer:?}");
        assert_eq!(beside.healed().await, 0.0, "{transport:?}");
    }
}

/// Killed in the middle of a call, and started again.
async fn killed(transport: Transport, era: &str) {
    let mut offer = stateful();
    offer["eras"] = json!(era);
    let mut beside = beside(transport, offer, TIMEOUTS, "").await;
    beside.gateway.settled().await;
    let client = beside.client().await;
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { client.tool("bad__wait", json!({"milliseconds": 60_000, "token": "killed"})).await })
    };
    until("the call", async || (beside.bad.outcomes("killed") == ["begun"]).then_some(())).await;
    beside.bad.kill();
    let answer = waiting.await.expect("an answer");
    let code = answer.json()["error"]["code"].clone();
    assert_eq!(code, -31001, "{transport:?}, {era}: {answer:?}");
    assert_eq!(beside.bad.outcomes("killed"), ["begun"], "{transport:?}, {era}: it was not sent again");
    unhurt(&client).await;
    // Whoever is away is still listed for a while.
    assert!(names(&client).await.contains(&"bad__count".to_owned()), "{transport:?}, {era}");
    if transport != Transport::Stdio {
        let answer = client.tool("bad__count", json!({})).await;
        assert_eq!(answer.code(), (502, -31001), "{transport:?}, {era}: {answer:?}");
    }
    beside.bad.run().await;
    until(&format!("its return, {transport:?}, {era}"), async || {
        (client.tool("bad__count", json!({})).await.status == 200).then_some(())
    })
    .await;
    unhurt(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_killed_fails_its_calls_and_comes_back() {
    for transport in TRANSPORTS {
        killed(transport, "legacy").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_backend_that_is_killed_fails_its_calls_and_comes_back() {
    for transport in [Transport::Http, Transport::Stdio] {
        killed(transport, "modern").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_on_a_unix_socket_that_is_killed_fails_its_calls_and_comes_back() {
    for era in ["legacy", "modern"] {
        killed(Transport::Unix, era).await;
    }
}

/// A backend that does not open sessions holds those up who want something of it, and nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_hangs_at_initialize_delays_only_its_own_calls() {
    for transport in TRANSPORTS {
        let mut beside = beside(transport, tools(&["echo"]), TIMEOUTS, "").await;
        beside.gateway.settled().await;
        beside.bad.fault("initialize", Some("hang"));
        if transport == Transport::Stdio {
            beside.bad.kill();
        }
        let client = beside.client().await;
        let held = {
            let client = client.clone();
            tokio::spawn(async move { client.tool("bad__echo", json!({})).await })
        };
        until("the handshake", async || {
            let ours = |heard: &lockgate_e2e::scripted::Heard| heard.json()["params"]["clientInfo"]["name"] == "e2e";
            beside.bad.heard_of("initialize").iter().any(ours).then_some(())
        })
        .await;
        unhurt(&client).await;
        let answer = held.await.expect("an answer");
        assert!(matches!(answer.code(), (504, -31002) | (502, -31001)), "{transport:?}: {answer:?}");
        beside.bad.fault("initialize", None);
        until("its return", async || (client.tool("bad__echo", json!({})).await.status == 200).then_some(())).await;
    }
}
