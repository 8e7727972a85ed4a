//! Broken backends: each fault has one clear outcome for the client, names the backend and never its address, and
//! leaves the gateway well.

use lockgate_e2e::gateway::config_with;
use lockgate_e2e::mcp::MODERN;
use lockgate_e2e::{Answer, Fixture, Gateway, Mcp, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// A JSON-RPC error with this status and code.
    Error(u16, i64),
    /// The backend's good answer.
    Good,
    /// Either of the two above, or an answer that visibly broke off: but never a result that was not sent.
    NoFalseResult,
}
use Outcome::{Error, Good, NoFalseResult};

const UNREACHABLE: Outcome = Error(502, -31001);
const TIMEOUT: Outcome = Error(504, -31002);
const OVERLOADED: Outcome = Error(503, -31003);

/// What has to come of each fault.
fn expected(fault: &str) -> Outcome {
    match fault {
        "never" | "slow-headers" => TIMEOUT,
        "close" | "reset" | "half-close" => UNREACHABLE,
        "redirect-307-other" | "redirect-302" | "redirect-loop" => UNREACHABLE,
        "endless-header" | "many-headers" | "html" | "switching" | "gzip-broken" | "gzip-bomb" => UNREACHABLE,
        "status-401" | "status-404" | "status-500" | "accepted" | "no-content" => UNREACHABLE,
        "status-503" => OVERLOADED,
        "redirect-307-same" | "redirect-308-same" | "early-hints" | "two-answers" | "slow-body" => Good,
        // Decoded or refused; cut bodies may have been passed on already; bytes that nobody has to read pass.
        _ => NoFalseResult,
    }
}

/// Answers that are odd but whole: a gateway that has no need to read them passes them on.
fn passes(fault: &str) -> bool {
    fault.starts_with("giant") || fault == "bad-utf8"
}

/// Deadlines so short that the walk through all faults is quick, and so long that a busy machine keeps them where
/// nothing is at fault.
const TIMEOUTS: &str =
    "    timeouts: { connect: 5s, first_byte: 6s, idle_stream: 6s, total: 25s }\n    protocol: modern\n";
const LEGACY_TIMEOUTS: &str =
    "    timeouts: { connect: 5s, first_byte: 6s, idle_stream: 6s, total: 25s }\n    protocol: legacy\n";
/// No fault may hold a request longer than this.
const OUTCOME_PATIENCE: Duration = Duration::from_secs(60);

/// What happened to one call.
async fn play(client: Mcp, fault: String) -> (String, Result<Answer, String>, Value) {
    let body = client.body("tools/call", json!({"name": format!("fault-{fault}"), "arguments": {}}));
    let start = Instant::now();
    let call = async {
        let response = client.post(&body).send().await.map_err(|error| format!("no answer: {error:?}"))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.map_err(|error| format!("broken off: {error:?}"))?;
        Ok(Answer { status, headers, body })
    };
    let answer = tokio::time::timeout(OUTCOME_PATIENCE, call).await;
    let answer = answer.unwrap_or_else(|_| panic!("{fault} holds the client for {:?}", start.elapsed()));
    (fault, answer, body["id"].clone())
}

fn judge(fault: &str, outcome: &Result<Answer, String>, id: &Value, backend: &str) -> Result<(), String> {
    let expected = expected(fault);
    let answer = match outcome {
        Ok(answer) => answer,
        Err(_) if expected == NoFalseResult => return Ok(()),
        Err(error) => return Err(format!("{fault}: {error}, expected {expected:?}")),
    };
    let text = String::from_utf8_lossy(&answer.body);
    if text.contains(backend) || text.contains("127.0.0.2") || text.contains("poison") {
        return Err(format!("{fault}: the answer says too much: {text}"));
    }
    let message = answer.json();
    let good = message["result"]["content"][0]["text"] == "good" || message["result"]["content"][0]["text"] == "{}";
    let well_formed_error = || {
        let error = &message["error"];
        let named = error["message"].as_str().is_some_and(|text| text.contains("backend"));
        message["id"] == *id && named && error["data"]["correlationId"].is_string()
    };
    let fits = match expected {
        Good => answer.status == 200 && good,
        Error(status, code) => answer.code() == (status, code) && well_formed_error(),
        NoFalseResult => match message.get("error") {
            Some(_) => well_formed_error(),
            None => good || message["result"].is_null() || passes(fault) || message["id"] != *id,
        },
    };
    let shown: String = text.chars().take(400).collect();
    fits.then_some(()).ok_or_else(|| format!("{fault}: {} {shown}, expected {expected:?}", answer.status))
}

async fn walk(fixture: &Fixture, gateway: &Gateway, client: &Mcp) {
    let faults = fixture.faults();
    // A redirect that is followed is remembered, and where it leads nothing is broken: those come last.
    let followed = |fault: &String| fault.starts_with("redirect") && fault.ends_with("same");
    let (redirects, others): (Vec<_>, Vec<_>) = faults.iter().cloned().partition(followed);
    let mut wrong = Vec::new();
    for group in [others, redirects] {
        let mut plays = JoinSet::new();
        for fault in group {
            plays.spawn(play(client.clone(), fault));
        }
        while let Some(played) = plays.join_next().await {
            let (fault, outcome, id) = played.expect("a play");
            wrong.extend(judge(&fault, &outcome, &id, fixture.address()).err());
        }
    }
    // No fault is tried a second time: the tool may have run.
    for fault in faults.iter().filter(|fault| !fault.starts_with("redirect")) {
        let name = format!("fault-{fault}");
        let tries =
            fixture.journal().await.iter().filter(|seen| seen.json()["params"]["name"] == name.as_str()).count();
        if tries != 1 {
            wrong.push(format!("{fault}: sent {tries} times"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} faults:\n{}", wrong.len(), faults.len(), wrong.join("\n"));
    for index in 0..20 {
        let answer = client.tool("echo", json!({"index": index})).await;
        assert_eq!(answer.text(), format!("{{\"index\":{index}}}"), "after all faults");
    }
    assert_eq!(gateway.reload().await.0, 200, "the gateway is not well");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_in_the_modern_era() {
    let fixture = Fixture::start("fault");
    let gateway = Gateway::start(&config_with(fixture.url(), TIMEOUTS, "")).await;
    let client = Mcp::modern(&gateway.mcp());
    assert_eq!(client.revision, MODERN);
    walk(&fixture, &gateway, &client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_in_the_legacy_era() {
    let fixture = Fixture::start("fault");
    let gateway = Gateway::start(&config_with(fixture.url(), LEGACY_TIMEOUTS, "")).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    walk(&fixture, &gateway, &client).await;
}

#[tokio::test]
async fn a_stream_that_is_cut_shows_what_came_before_and_no_more() {
    let fixture = Fixture::start("fault");
    let gateway = Gateway::start(&config_with(fixture.url(), TIMEOUTS, "")).await;
    let client = Mcp::modern(&gateway.mcp());
    let mut stream = client.stream("tools/call", json!({"name": "fault-cut-sse"})).await;
    let first = stream.next().await.expect("the event before the cut").json();
    assert_eq!(first["params"]["data"], "before", "{first}");
    while let Some(event) = stream.next().await {
        let message = event.json();
        assert!(message.get("result").is_none(), "{message}");
        assert!(!message.to_string().contains(fixture.address()), "{message}");
    }
}

/// The modern era has no requests of servers: the client gets none, and learns whose fault it is.
#[tokio::test]
async fn a_request_on_a_modern_stream_ends_it() {
    let fixture = Fixture::start("fault");
    let gateway = Gateway::start(&config_with(fixture.url(), TIMEOUTS, "")).await;
    let client = Mcp::modern(&gateway.mcp());
    let body = client.body("tools/call", json!({"name": "fault-asks", "arguments": {}}));
    let answer = Answer::read(client.post(&body).send().await.unwrap()).await;
    let messages = lockgate_e2e::events::messages(&String::from_utf8_lossy(&answer.body));
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert_eq!(messages[0]["params"]["data"], "before");
    assert_eq!((&messages[1]["id"], &messages[1]["error"]["code"]), (&body["id"], &json!(-31001)), "{messages:?}");
    let text = messages[1]["error"]["message"].as_str().unwrap_or_default();
    assert!(text.contains("backend \"backend\"") && text.contains("request"), "{text}");
    assert!(messages[1]["error"]["data"]["correlationId"].is_string());
    // One of which a part is out already is never completed.
    let mut stream = client.stream("tools/call", json!({"name": "fault-asks-in-pieces", "arguments": {}})).await;
    assert_eq!(stream.next().await.expect("the event before").json()["params"]["data"], "before");
    assert_eq!(stream.next().await, None);
    assert!(stream.broken);
    gateway.counts("lockgate_refusals_total{reason=\"backend_protocol\",virtual_server=\"default\"}", 2.0).await;
    until("the log names the rule", async || {
        let log = gateway.log();
        (log.matches("rule=\"stream\"").count() + log.matches("\"rule\":\"stream\"").count() == 2).then_some(())
    })
    .await;
}

/// Requests of the server belong to the legacy era.
#[tokio::test]
async fn a_request_on_a_legacy_stream_passes() {
    let fixture = Fixture::start("fault");
    let gateway = Gateway::start(&config_with(fixture.url(), LEGACY_TIMEOUTS, "")).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    for fault in ["fault-asks", "fault-asks-in-pieces"] {
        let answer = client.tool(fault, json!({})).await;
        let messages = lockgate_e2e::events::messages(&String::from_utf8_lossy(&answer.body));
        assert_eq!((messages.len(), &messages[1]["method"]), (3, &json!("roots/list")), "{messages:?}");
        assert_eq!(answer.text(), "good");
    }
}

/// A byte order mark that comes behind the gateway's comments would spoil the first event.
#[tokio::test]
async fn a_byte_order_mark_behind_a_comment_is_left_out() {
    let fixture = Fixture::start("fault");
    let often = "streams:\n  keep_alive: 200ms\n";
    for (timeouts, legacy) in [(TIMEOUTS, false), (LEGACY_TIMEOUTS, true)] {
        let gateway = Gateway::start(&config_with(fixture.url(), timeouts, often)).await;
        let client = match legacy {
            true => Mcp::legacy(&gateway.mcp(), "2025-11-25").await,
            false => Mcp::modern(&gateway.mcp()),
        };
        let answer = client.tool("fault-late-mark", json!({})).await;
        assert!(answer.body.starts_with(b":"), "{answer:?}");
        assert!(!answer.body.contains(&0xEF), "{answer:?}");
        assert_eq!(answer.text(), "good");
    }
    // Without a comment it passes as it came.
    let gateway = Gateway::start(&config_with(fixture.url(), TIMEOUTS, "")).await;
    let answer = Mcp::modern(&gateway.mcp()).tool("fault-late-mark", json!({})).await;
    assert!(answer.body.starts_with(b"\xEF\xBB\xBFdata: "), "{answer:?}");
}

#[tokio::test]
async fn a_backend_that_is_not_there() {
    let mut fixture = Fixture::start("fault");
    let gateway = Gateway::start(&config_with(fixture.url(), TIMEOUTS, "")).await;
    let client = Mcp::modern(&gateway.mcp());
    let call = async || client.send("tools/call", json!({"name": "echo", "arguments": {}})).await;
    assert_eq!(call().await.status, 200);
    fixture.closing(true).await;
    // The first of these may still find the pooled connection that was opened before.
    call().await;
    for _ in 0..3 {
        let answer = call().await;
        assert!(matches!(answer.code(), (502, -31001) | (200, 0)), "{answer:?}");
    }
    fixture.closing(false).await;
    assert_eq!(call().await.status, 200, "the backend is back");
    let address = fixture.address().to_owned();
    fixture.kill();
    let answer = call().await;
    assert_eq!(answer.code(), (502, -31001), "{answer:?}");
    let message = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("backend") && !message.contains(&address), "{message}");
    assert!(answer.header("retry-after").is_none_or(|seconds| seconds.parse::<u32>().is_ok()));
}

/// A gateway starts and serves although its backend is down; as soon as the backend is there, it is used.
#[tokio::test]
async fn a_gateway_starts_before_its_backend() {
    let port = lockgate_e2e::wait::free_port();
    let gateway = Gateway::start(&config_with(&format!("http://127.0.0.1:{port}/mcp"), TIMEOUTS, "")).await;
    let client = Mcp::modern(&gateway.mcp());
    let answer = client.tool("echo", json!({})).await;
    assert_eq!(answer.code(), (502, -31001), "{answer:?}");
    let _fixture = Fixture::start_with("lax", &["--port", &port.to_string()]);
    until("the backend's first answer", async || (client.tool("echo", json!({})).await.status == 200).then_some(()))
        .await;
}
