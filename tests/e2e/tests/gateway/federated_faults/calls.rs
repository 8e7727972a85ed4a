//! What is wrong with calls.

use super::{Beside, TIMEOUTS, TRANSPORTS, beside, unhurt};
use lockgate_e2e::mcp::NEWEST_LEGACY;
use lockgate_e2e::scripted::tools;
use lockgate_e2e::{Mcp, Transport, until};
use serde_json::json;
use std::time::{Duration, Instant};

/// Longer than every timeout that a call has here.
const OUTCOME: Duration = Duration::from_secs(12);

/// What comes of a call: its HTTP status and JSON-RPC code; 0 where there is none, and both where the answer broke off.
async fn outcome(client: &Mcp, fault: &str) -> (u16, i64, String) {
    let token = format!("token-{fault}");
    let body = client.body("tools/call", json!({"name": format!("bad__{fault}"), "arguments": {"token": token}}));
    let start = Instant::now();
    let answer = async {
        let response = client.post(&body).send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Some(lockgate_e2e::Answer { status, headers, body: response.bytes().await.ok()? })
    };
    let answer = tokio::time::timeout(OUTCOME, answer).await;
    let answer = answer.unwrap_or_else(|_| panic!("{fault} holds the client for {:?}", start.elapsed()));
    let Some(answer) = answer else { return (0, 0, String::new()) };
    let (status, code) = answer.code();
    (status, code, String::from_utf8_lossy(&answer.body).into_owned())
}

const FAULTS: [&str; 9] =
    ["hang", "run-and-cut", "cut-half", "cut-stream", "exit", "wrong-id", "not-json", "bad-utf8", "error"];

/// Whether this is a fair outcome of the fault.
fn fits(transport: Transport, fault: &str, (status, code, text): &(u16, i64, String)) -> bool {
    let refused = matches!((status, code), (502, -31001) | (504, -31002) | (503, -31003));
    let named = text.contains("backend \\\"bad\\\"");
    match fault {
        "error" => (*status, *code) == (200, -32603) && text.contains("It is broken"),
        "hang" => (*status, *code) == (504, -31002) && named,
        // What came before the cut has been passed on, so all that is left is to say so behind it.
        "cut-stream" => !text.contains("\"result\"") && (named || *status == 0),
        // Bytes that nobody has to read pass over HTTP; where messages are told apart by their ids, they cannot.
        "bad-utf8" | "cut-half" | "wrong-id" | "not-json" if transport == Transport::Http => {
            (refused && named) || *status == 0 || !text.contains("\"result\"") || fault == "bad-utf8"
        }
        _ => refused && named,
    }
}

async fn every_fault(transport: Transport, era: &str) {
    let mut offer = tools(&[&FAULTS[..], &["echo"]].concat());
    offer["eras"] = json!(era);
    for fault in FAULTS {
        offer["faults"][format!("tools/call {fault}")] = json!(fault);
    }
    let Beside { mut bad, gateway, _well, .. } = beside(transport, offer, TIMEOUTS, "").await;
    gateway.settled().await;
    let client = match era {
        "modern" => Mcp::modern(&gateway.mcp()),
        _ => Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await,
    };
    for fault in FAULTS {
        // What a fault has ended is started again after a moment.
        until("the backend is there", async || {
            bad.run_if_dead().await;
            (client.tool("bad__echo", json!({})).await.status == 200).then_some(())
        })
        .await;
        let (outcome, ()) = tokio::join!(outcome(&client, fault), unhurt(&client));
        assert!(fits(transport, fault, &outcome), "{transport:?}, {fault}: {outcome:?}\n{}", gateway.log());
        if fault.contains("cut") {
            assert_eq!(bad.outcomes(&format!("token-{fault}")), ["cut"], "{transport:?}, {fault}: it ran once");
        }
        let sent = bad.heard_of("tools/call").into_iter().filter(|heard| heard.json()["params"]["name"] == fault);
        let mut sessions: Vec<_> = sent.map(|heard| heard.session).collect();
        let sent = sessions.len();
        sessions.dedup();
        // That it did not run is not provable, so it is not sent again; but for one that a lost session refused.
        assert!(sent == sessions.len() || era == "modern", "{transport:?}, {fault}");
        assert!(sent == 1 || (sent == 2 && transport == Transport::Http), "{transport:?}, {fault}: {sent} times");
        unhurt(&client).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_by_http() {
    every_fault(Transport::Http, "legacy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_by_http_in_the_modern_era() {
    every_fault(Transport::Http, "modern").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_by_stdio() {
    every_fault(Transport::Stdio, "legacy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_by_stdio_in_the_modern_era() {
    every_fault(Transport::Stdio, "modern").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_by_sse() {
    every_fault(Transport::Sse, "legacy").await;
}

/// An answer that is given twice is taken once.
#[tokio::test]
async fn a_second_answer_poisons_nothing() {
    for transport in TRANSPORTS {
        let mut offer = tools(&["twice", "echo"]);
        offer["faults"] = json!({"tools/call twice": "twice"});
        let beside = beside(transport, offer, TIMEOUTS, "").await;
        beside.gateway.settled().await;
        let client = beside.client().await;
        for _ in 0..3 {
            assert_eq!(client.tool("bad__twice", json!({})).await.text(), "good", "{transport:?}");
            assert_eq!(client.tool("bad__echo", json!({})).await.text(), "{}", "{transport:?}");
        }
    }
}

/// However long an answer is, and though nothing in it has to be changed: it must be that to this request.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_to_something_else_does_not_pass() {
    let mut offer = tools(&["lie"]);
    offer["faults"]["tools/call lie"] = json!("wrong-id-long");
    let beside = beside(Transport::Http, offer, TIMEOUTS, "    prefix: never\n").await;
    beside.gateway.settled().await;
    let client = beside.client().await;
    let answer = client.tool("lie", json!({})).await;
    assert_eq!(answer.code(), (502, -31001), "{} bytes", answer.body.len());
    assert_eq!(client.tool("echo", json!({})).await.text(), "{}");
}
