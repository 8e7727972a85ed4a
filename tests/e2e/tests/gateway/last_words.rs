//! The drain time is over: what has not been answered is told so.

use lockgate_e2e::adapter::{Adapter, Speak};
use lockgate_e2e::gateway::config_with;
use lockgate_e2e::{Answer, Fixture, Gateway, Mcp, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const FAULTS: &str = "    forward_headers: [x-fault]\n";
const SHORT: &str = "drain:\n  time: 1s\n";

async fn faulty() -> (Fixture, Gateway) {
    let fixture = Fixture::start("fault");
    let gateway = Gateway::start(&config_with(fixture.url(), FAULTS, SHORT)).await;
    (fixture, gateway)
}

/// Sends a request that the backend holds, stops the gateway, and returns the answer.
async fn stopped(fixture: &Fixture, gateway: &Gateway, request: reqwest::RequestBuilder) -> Answer {
    let held = fixture.held().await;
    let waiting = tokio::spawn(request.send());
    until("the request at the backend", async || (fixture.held().await > held).then_some(())).await;
    gateway.signal(Signal::SIGTERM);
    Answer::read(waiting.await.expect("a task").expect("an answer")).await
}

#[tokio::test]
async fn a_request_that_waits_for_its_answer() {
    for revision in ["2026-07-28", "2025-11-25"] {
        let (fixture, gateway) = faulty().await;
        let client = match revision {
            "2026-07-28" => Mcp::modern(&gateway.mcp()),
            legacy => Mcp::legacy(&gateway.mcp(), legacy).await,
        };
        let body = client.body("tools/call", json!({"name": "fault-never"}));
        let answer = stopped(&fixture, &gateway, client.post(&body)).await;
        assert_eq!(answer.code(), (503, -31003), "{revision}: {answer:?}");
        assert_eq!(answer.json()["id"], body["id"], "{answer:?}");
    }
}

#[tokio::test]
async fn a_request_by_http_2() {
    let (fixture, gateway) = faulty().await;
    let adapter = Adapter::start(&gateway.address(), Speak::H2c).await;
    let client = Mcp::modern(&adapter.url("/mcp"));
    let body = client.body("tools/call", json!({"name": "fault-never"}));
    let answer = stopped(&fixture, &gateway, client.post(&body)).await;
    assert_eq!(answer.code(), (503, -31003), "{answer:?}");
}

#[tokio::test]
async fn an_answer_that_stopped_arriving_while_it_was_gathered() {
    let (fixture, gateway) = faulty().await;
    let client = Mcp::modern(&gateway.mcp());
    let body = client.body("tools/call", json!({"name": "fault-stall-body"}));
    let answer = stopped(&fixture, &gateway, client.post(&body)).await;
    assert_eq!(answer.code(), (503, -31003), "{answer:?}");
}

#[tokio::test]
async fn an_open_session_that_never_was() {
    let (fixture, gateway) = faulty().await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "e", "version": "1"}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
    let fresh = Mcp { session: None, ..client };
    let answer = stopped(&fixture, &gateway, fresh.post(&body).header("x-fault", "never")).await;
    assert_eq!(answer.code(), (503, -31003), "{answer:?}");
}

#[tokio::test]
async fn a_batch_of_which_a_part_was_answered() {
    let (fixture, gateway) = faulty().await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-03-26").await;
    let batch = json!([
        client.body("tools/call", json!({"name": "echo", "arguments": {}})),
        client.body("tools/call", json!({"name": "fault-never"})),
    ]);
    let answer = stopped(&fixture, &gateway, client.post(&batch)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answers = answer.json();
    let of = |request: &Value| {
        let mut answers = answers.as_array().into_iter().flatten();
        answers.find(|answer| answer["id"] == request["id"]).unwrap_or_else(|| panic!("{answers:?}"))
    };
    assert!(of(&batch[0])["result"].is_object(), "{answers}");
    assert_eq!(of(&batch[1])["error"]["code"], -31003, "{answers}");
}

/// `subscriptions/listen` ends as the specification has it, at once and not only when the time is over.
#[tokio::test]
async fn a_listen_stream_says_goodbye() {
    let fixture = Fixture::start("conformant");
    let mut gateway = Gateway::start(&config_with(fixture.url(), "", "")).await;
    let client = Mcp::modern(&gateway.mcp());
    let body = client.body("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}}));
    let mut stream = lockgate_e2e::events::Events::new(client.post(&body).send().await.unwrap());
    stream.next().await.expect("an acknowledgement");
    let started = std::time::Instant::now();
    gateway.signal(Signal::SIGTERM);
    let (_, end) = stream.answer().await;
    assert_eq!(end["id"], body["id"], "{end}");
    assert_eq!(end["result"]["resultType"], "complete", "{end}");
    assert_eq!(end["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"], body["id"], "{end}");
    assert!(stream.next().await.is_none() && !stream.broken);
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(gateway.stop().success());
}
