//! Two nodes that know each other: what one process holds, its clients reach through the other.

use crate::backends::{Backends, KEY, OTHER_KEY, UPDATED, URI, cluster, moved, settled};
use lockgate_e2e::events::Events;
use lockgate_e2e::gateway::config_with;
use lockgate_e2e::mcp::NEWEST_LEGACY;
use lockgate_e2e::scripted::{Heard, tools};
use lockgate_e2e::wait::free_port;
use lockgate_e2e::{Answer, Fixture, Gateway, Mcp, until};
use serde_json::{Value, json};

async fn start() -> Backends {
    Backends::start(&["count", "ask", "sample", "wait", "progress", "level"]).await
}

fn config(backends: &Backends, node: usize, keys: &[&str]) -> String {
    backends.config("", &cluster(backends.ports, node, keys))
}

async fn node(backends: &Backends, node: usize, key: &str) -> Gateway {
    settled(&config(backends, node, &[key])).await
}

/// Two nodes; a client that has opened its session at the first, and the same client at the other.
async fn nodes(backends: &Backends) -> (Gateway, Gateway, Mcp, Mcp) {
    let (one, other) = tokio::join!(node(backends, 0, KEY), node(backends, 1, KEY));
    let client = Mcp::legacy(&one.mcp(), NEWEST_LEGACY).await;
    let moved = moved(&client, &other);
    (one, other, client, moved)
}

async fn reply(client: &Mcp, asked: &Value, name: &str) -> Answer {
    let result = json!({"action": "accept", "content": {"name": name}});
    let body = json!({"jsonrpc": "2.0", "id": asked["id"], "result": result});
    Answer::read(client.post(&body).send().await.expect("an answer")).await
}

fn requests(kind: &str, outcome: &str) -> String {
    format!("lockgate_node_requests_total{{kind=\"{kind}\",outcome=\"{outcome}\"}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_through_another_node() {
    let backends = start().await;
    let (one, other, client, moved) = nodes(&backends).await;
    for name in ["web", "child"] {
        let mut stream = client.stream("tools/call", json!({"name": format!("{name}__ask"), "arguments": {}})).await;
        let asked = stream.notification("elicitation/create").await;
        let answer = reply(&moved, &asked, "Ada").await;
        assert_eq!((answer.status, answer.body.len()), (202, 0), "{answer:?}");
        assert_eq!(stream.answer().await.1["result"]["content"][0]["text"], "Ada", "{name}");
    }
    other.counts(&requests("answer", "ok"), 2.0).await;
    other.counts("lockgate_nodes", 1.0).await;
    // The session was opened by the first node alone, and it is one request in both logs.
    let opened = backends.web.heard_of("initialize");
    let ours = opened.iter().filter(|heard| heard.json()["params"]["clientInfo"]["name"] == "e2e").count();
    assert_eq!(ours, 1);
    // What is no answer to anything is refused as ever, without asking anybody.
    let wrong = reply(&moved, &json!({"id": "nonsense"}), "Mallory").await;
    assert!((400..500).contains(&wrong.status), "{wrong:?}");
    drop(one);
}

/// The client loses its stream, goes on with it through the other node, and answers there what it is asked on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_through_another_node() {
    let mut backends = start().await;
    let (one, other, client, moved) = nodes(&backends).await;
    let mut stream = client.listen(None).await;
    assert_eq!(client.send("resources/subscribe", json!({"uri": URI})).await.code(), (200, 0));
    backends.listening().await;
    backends.web.say(UPDATED, json!({"uri": "note:x", "number": 1}));
    assert_eq!(stream.notification(UPDATED).await["params"]["number"], 1);
    let last = stream.last_id.clone().expect("an event id");
    drop(stream);
    backends.web.say(UPDATED, json!({"uri": "note:x", "number": 2}));
    let mut stream = moved.listen(Some(&last)).await;
    assert_eq!(stream.status, 200);
    let second = stream.next().await.expect("an event");
    assert_eq!(second.json()["params"]["number"], 2, "nothing is lost, nothing is said of what might be: {second:?}");
    let mut call = client.stream("tools/call", json!({"name": "web__ask", "arguments": {"aside": true}})).await;
    let asked = stream.notification("elicitation/create").await;
    assert_eq!(reply(&moved, &asked, "Grace").await.status, 202);
    assert_eq!(call.answer().await.1["result"]["content"][0]["text"], "Grace");
    other.counts(&requests("stream", "ok"), 1.0).await;
    // A client that leaves the one leaves the other.
    let open = "lockgate_in_flight{virtual_server=\"default\"}";
    let both = async || (one.metric(open).await, other.metric(open).await);
    until("only the stream", async || (both().await == (Some(1.0), Some(1.0))).then_some(())).await;
    drop(stream);
    until("the end of both", async || (both().await == (Some(0.0), Some(0.0))).then_some(())).await;
}

/// Whatever comes for a session goes to the node that has it, so that all of it is one, wherever requests are sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_one_through_every_node() {
    let mut backends = start().await;
    let (one, other, client, moved) = nodes(&backends).await;
    for name in ["web__count", "child__count"] {
        assert_eq!(client.tool(name, json!({})).await.text(), "1");
        let answer = moved.tool(name, json!({})).await;
        assert!(answer.text() == "2" && !answer.is_healed(), "{answer:?}");
    }
    assert_eq!(moved.send("logging/setLevel", json!({"level": "error"})).await.code(), (200, 0));
    assert_eq!(client.tool("web__level", json!({})).await.text(), "error");
    // Answers that are streams, and what is asked on them.
    let slow = json!({"name": "stateful__slow", "arguments": {"milliseconds": 10}});
    assert_eq!(moved.stream("tools/call", slow).await.answer().await.1["result"]["content"][0]["text"], "took 10 ms");
    let mut call = moved.stream("tools/call", json!({"name": "web__ask", "arguments": {}})).await;
    let asked = call.notification("elicitation/create").await;
    assert_eq!(reply(&client, &asked, "Ada").await.status, 202);
    assert_eq!(call.answer().await.1["result"]["content"][0]["text"], "Ada");
    // What is subscribed to at the one is heard through the other.
    let mut stream = client.listen(None).await;
    assert_eq!(moved.send("resources/subscribe", json!({"uri": URI})).await.code(), (200, 0));
    backends.listening().await;
    backends.web.say(UPDATED, json!({"uri": "note:x", "number": 1}));
    assert_eq!(stream.notification(UPDATED).await["params"]["number"], 1);
    let mut through = moved.listen(None).await;
    while stream.next().await.is_some() {}
    // Nobody heard the backend for a moment, which was not asked to say it again.
    assert_eq!(through.notification(UPDATED).await["params"], json!({"uri": URI}));
    backends.web.say(UPDATED, json!({"uri": "note:x", "number": 2}));
    assert_eq!(through.notification(UPDATED).await["params"]["number"], 2);
    let opened = backends.web.heard_of("initialize");
    let ours = opened.iter().filter(|heard| heard.json()["params"]["clientInfo"]["name"] == "e2e").count();
    assert_eq!(ours, 1, "and one session at the backend");
    assert!(other.metric(&requests("session", "ok")).await >= Some(6.0));
    assert_eq!(one.metric(&requests("session", "ok")).await, Some(0.0), "it has it");
}

/// A client of several nodes that leaves one of them has cancelled nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_through_another_node_goes_on_without_its_client() {
    let backends = start().await;
    let (_one, _other, client, moved) = nodes(&backends).await;
    let batch = Mcp { url: moved.url.clone(), ..Mcp::legacy(&client.url, "2025-03-26").await };
    let members = ["a", "b"].map(|id| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "web__count", "arguments": {}}})
    });
    let answer = Answer::read(batch.post(&json!(members)).send().await.unwrap()).await;
    assert_eq!(answer.json().as_array().map(Vec::len), Some(2), "{answer:?}");
    let arguments = json!({"milliseconds": 500, "token": "left"});
    let body = moved.body("tools/call", json!({"name": "web__wait", "arguments": arguments}));
    let call = tokio::spawn(moved.post(&body).send());
    until("the call", async || backends.web.outcomes("left").contains(&"begun".to_owned()).then_some(())).await;
    call.abort();
    until("its end", async || backends.web.outcomes("left").contains(&"answered".to_owned()).then_some(())).await;
}

/// While its node is away, another one goes on with a session; what is back has what it had.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_back_to_its_node() {
    let backends = start().await;
    let (mut one, other, client, moved) = nodes(&backends).await;
    for count in 1..=5 {
        assert_eq!(client.tool("web__count", json!({})).await.text(), count.to_string());
    }
    one.kill();
    let answer = moved.tool("web__count", json!({})).await;
    assert!(answer.text() == "1" && answer.is_healed(), "{answer:?}");
    one.restart().await;
    one.settled().await;
    other.counts("lockgate_nodes", 1.0).await;
    let answer = moved.tool("web__count", json!({})).await;
    assert!(answer.text() == "6" && answer.is_healed(), "what was done at the other one is not there: {answer:?}");
    let answer = moved.tool("web__count", json!({})).await;
    assert!(answer.text() == "7" && !answer.is_healed(), "{answer:?}");
    until("the end of the other node's own", async || {
        backends.web.heard().iter().any(|heard| heard.method == "DELETE" && heard.session.is_some()).then_some(())
    })
    .await;
}

/// The ids of a virtual server with one backend are the backend's, which say nothing of a node. Its sessions do.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_with_the_only_backend_is_one_through_every_node() {
    let (fixture, ports) = (Fixture::start("stateful"), [free_port(), free_port()]);
    let config = |node: usize| config_with(fixture.url(), "", &cluster(ports, node, &[KEY]));
    let (config_one, config_other) = (config(0), config(1));
    let (one, other) = tokio::join!(Gateway::start(&config_one), Gateway::start(&config_other));
    let client = Mcp::legacy(&one.mcp(), NEWEST_LEGACY).await;
    let moved = moved(&client, &other);
    assert_eq!(client.tool("count", json!({})).await.text(), "1");
    assert_eq!(moved.tool("count", json!({})).await.text(), "2");
    let mut call = client.stream("tools/call", json!({"name": "ask", "arguments": {}})).await;
    let asked = call.notification("elicitation/create").await;
    assert_eq!(reply(&moved, &asked, "Ada").await.status, 202);
    assert_eq!(call.answer().await.1["result"]["content"][0]["text"], "Ada");
    let body = client.body("tools/call", json!({"name": "slow", "arguments": {"milliseconds": 1500, "token": "x"}}));
    let mut stream = Events::new(client.post(&body).send().await.expect("an answer"));
    stream.next().await.expect("a priming event");
    let last = stream.last_id.clone().expect("an event id");
    drop(stream);
    let (_, answer) = moved.listen(Some(&last)).await.answer().await;
    assert_eq!((&answer["id"], &answer["result"]["content"][0]["text"]), (&body["id"], &json!("took 1500 ms")));
    assert!(matches!(moved.delete().await.status, 200 | 204));
    assert_eq!(client.tool("count", json!({})).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_fetched_through_another_node() {
    let backends = start().await;
    let (_one, _other, client, moved) = nodes(&backends).await;
    let arguments = json!({"milliseconds": 1500, "token": "fetched"});
    let body = client.body("tools/call", json!({"name": "stateful__slow", "arguments": arguments}));
    let mut stream = Events::new(client.post(&body).send().await.expect("an answer"));
    stream.next().await.expect("a priming event");
    let last = stream.last_id.clone().expect("an event id");
    drop(stream);
    let (_, answer) = moved.listen(Some(&last)).await.answer().await;
    assert_eq!((&answer["id"], &answer["result"]["content"][0]["text"]), (&body["id"], &json!("took 1500 ms")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_held_that_is_gone_is_said_to_be_lost_at_once() {
    let mut backends = start().await;
    let (mut one, other, client, moved) = nodes(&backends).await;
    let mut listening = client.listen(None).await;
    assert_eq!(client.send("resources/subscribe", json!({"uri": URI})).await.code(), (200, 0));
    backends.listening().await;
    backends.web.say(UPDATED, json!({"uri": "note:x"}));
    listening.notification(UPDATED).await;
    let last = listening.last_id.clone().expect("an event id");
    let mut stream = client.stream("tools/call", json!({"name": "web__ask", "arguments": {}})).await;
    let asked = stream.notification("elicitation/create").await;
    one.kill();
    let since = std::time::Instant::now();
    let answer = reply(&moved, &asked, "Ada").await;
    assert!(since.elapsed().as_secs() < 10, "{:?}", since.elapsed());
    assert_eq!(answer.code(), (502, -31007), "{answer:?}");
    let text = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(text.contains("gateway node that asked this") && text.contains("cannot be reached"), "{text}");
    let correlation = answer.header("x-request-id").expect("a correlation id").to_owned();
    // It is written when the answer is out.
    until("the log", async || Some(other.log()).filter(|log| log.contains(&correlation))).await;
    // As it was known before it was gone, or not yet.
    let failed =
        [other.metric(&requests("answer", "unreachable")).await, other.metric(&requests("answer", "unknown")).await];
    assert_eq!(failed.iter().flatten().sum::<f64>(), 1.0);
    // A stream goes on all the same, as without a cluster: it begins with what may have been missed.
    let mut stream = moved.listen(Some(&last)).await;
    assert_eq!(stream.status, 200);
    stream.notification("notifications/tools/list_changed").await;
    // And what has come back is found.
    one.restart().await;
    one.settled().await;
    let mut stream = client.stream("tools/call", json!({"name": "web__ask", "arguments": {}})).await;
    let asked = stream.notification("elicitation/create").await;
    assert_eq!(reply(&moved, &asked, "Ada").await.status, 202);
    assert_eq!(stream.answer().await.1["result"]["content"][0]["text"], "Ada");
}

/// Nodes know each other by their keys, and by nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_key_is_nobody_until_it_has_the_same() {
    let mut backends = start().await;
    let (one, stranger) = tokio::join!(node(&backends, 0, KEY), node(&backends, 1, OTHER_KEY));
    let client = Mcp::legacy(&one.mcp(), NEWEST_LEGACY).await;
    let mut stream = client.stream("tools/call", json!({"name": "web__ask", "arguments": {}})).await;
    let asked = stream.notification("elicitation/create").await;
    let moved = moved(&client, &stranger);
    assert_eq!(reply(&moved, &asked, "Ada").await.status, 404, "its session is unknown there");
    // It may open what the other one has sealed, but shows a key that the other one does not know.
    stranger.write(&config(&backends, 1, &[OTHER_KEY, KEY]));
    until("the keys in use", async || {
        (stranger.reload().await.0 == 200 && stranger.generation().await > 1).then_some(())
    })
    .await;
    let answer = reply(&moved, &asked, "Ada").await;
    assert_eq!(answer.code(), (502, -31007), "{answer:?}");
    let refused = one.metric("lockgate_node_connections_refused_total").await;
    assert!(refused > Some(0.0), "{refused:?}");
    // A rotation goes on to its end.
    one.write(&config(&backends, 0, &[KEY, OTHER_KEY]));
    until("the keys in use", async || (one.reload().await.0 == 200 && one.generation().await > 1).then_some(())).await;
    assert_eq!(reply(&moved, &asked, "Ada").await.status, 202);
    assert_eq!(stream.answer().await.1["result"]["content"][0]["text"], "Ada");
    // What a key has opened ends with it, for whoever waits.
    let last = {
        let mut own = client.listen(None).await;
        client.send("resources/subscribe", json!({"uri": URI})).await;
        backends.listening().await;
        backends.web.say(UPDATED, json!({"uri": "note:x"}));
        own.notification(UPDATED).await;
        own.last_id.clone().expect("an event id")
    };
    let mut through = moved.listen(Some(&last)).await;
    until("the stream through the other node", async || {
        (stranger.metric(&requests("stream", "ok")).await == Some(1.0)).then_some(())
    })
    .await;
    one.write(&config(&backends, 0, &[KEY]));
    assert_eq!(one.reload().await.0, 200);
    while through.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_reaches_a_call_at_another_node() {
    let backends = start().await;
    let (one, other, client, moved) = nodes(&backends).await;
    let arguments = json!({"milliseconds": 60_000, "token": "cancelled"});
    let body = client.body("tools/call", json!({"name": "web__wait", "arguments": arguments}));
    let call = tokio::spawn(client.post(&body).send());
    until("the call", async || backends.web.outcomes("cancelled").contains(&"begun".to_owned()).then_some(())).await;
    let cancelled = moved.notify("notifications/cancelled", json!({"requestId": body["id"], "reason": "x"})).await;
    assert_eq!(cancelled.status, 202);
    until("its end", async || backends.web.outcomes("cancelled").contains(&"cancelled".to_owned()).then_some(())).await;
    assert!(backends.web.heard_of("notifications/cancelled").len() == 1);
    until("the count", async || (other.metric(&requests("cancel", "ok")).await == Some(1.0)).then_some(())).await;
    assert_eq!(one.metric(&requests("cancel", "ok")).await, Some(0.0), "it is handed on once");
    drop(call);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_at_one_node_ends_at_all() {
    let backends = start().await;
    let (mut one, other, client, moved) = nodes(&backends).await;
    assert_eq!(client.tool("web__count", json!({})).await.text(), "1");
    assert_eq!(moved.tool("web__count", json!({})).await.text(), "2", "it is the same session");
    let mut listening = client.listen(None).await;
    assert!(matches!(moved.delete().await.status, 200 | 204));
    for client in [&client, &moved] {
        assert_eq!(client.tool("web__count", json!({})).await.status, 404);
    }
    while listening.next().await.is_some() {}
    let used = backends.web.heard_of("tools/call")[0].session.clone();
    let ends = |heard: &Heard| heard.method == "DELETE" && heard.session == used;
    assert_eq!(backends.web.heard().iter().filter(|heard| ends(heard)).count(), 1, "who has opened it has ended it");
    other.counts(&requests("end", "ok"), 1.0).await;
    // One that does not hear it is counted, and keeps nobody waiting for long.
    let client = Mcp::legacy(&other.mcp(), NEWEST_LEGACY).await;
    one.kill();
    assert!(matches!(client.delete().await.status, 200 | 204));
    other.counts(&requests("end", "unreachable"), 1.0).await;
}

/// A request that has been handed over is handed on no further, even where each takes the other for who should have it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_in_circles() {
    let backends = start().await;
    let (mut one, other, client, moved) = nodes(&backends).await;
    let mut stream = client.stream("tools/call", json!({"name": "web__ask", "arguments": {}})).await;
    let asked = stream.notification("elicitation/create").await;
    // The node comes back as another process of itself, which has the session but not the question any more. It is asked,
    // and answers for itself.
    one.restart().await;
    one.settled().await;
    backends.web.heard();
    let answer = reply(&moved, &asked, "Ada").await;
    assert!(matches!(answer.status, 202 | 502), "{answer:?}");
    other.counts(&requests("answer", "ok"), 1.0).await;
    for kind in ["answer", "stream", "cancel", "end"] {
        for outcome in ["ok", "unknown", "unreachable", "refused", "full"] {
            assert_eq!(one.metric(&requests(kind, outcome)).await, Some(0.0), "{kind} {outcome}");
        }
    }
}

/// However many cancellations are in a batch, other nodes are told once.
#[tokio::test(flavor = "multi_thread")]
async fn cancellations_in_a_batch_are_told_together() {
    let backends = start().await;
    let (one, other) = tokio::join!(node(&backends, 0, KEY), node(&backends, 1, KEY));
    let client = Mcp::legacy(&one.mcp(), "2025-03-26").await;
    let moved = Mcp { url: other.mcp(), ..client.clone() };
    let bodies = ["first", "second"].map(|token| {
        let arguments = json!({"milliseconds": 60_000, "token": token});
        (token, client.body("tools/call", json!({"name": "web__wait", "arguments": arguments})))
    });
    let calls = bodies.clone().map(|(_, body)| tokio::spawn(client.post(&body).send()));
    let outcome = async |token: &'static str, what: &str| {
        until(what, async || backends.web.outcomes(token).contains(&what.to_owned()).then_some(())).await;
    };
    for (token, _) in &bodies {
        outcome(token, "begun").await;
    }
    let cancel =
        |id: &Value| json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
    let mut batch: Vec<Value> = bodies.iter().map(|(_, body)| cancel(&body["id"])).collect();
    batch.push(cancel(&json!("of nobody")));
    let answer = Answer::read(moved.post(&json!(batch)).send().await.unwrap()).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    for (token, _) in &bodies {
        outcome(token, "cancelled").await;
    }
    until("the count", async || (other.metric(&requests("cancel", "ok")).await >= Some(1.0)).then_some(())).await;
    other.counts(&requests("cancel", "ok"), 1.0).await;
    drop((calls, one));
}

/// A host is matched as the client says it, with the port that its scheme would have anyway.
#[tokio::test(flavor = "multi_thread")]
async fn the_host_that_a_client_asks_for_is_the_same_everywhere() {
    let backends = start().await;
    let config = |node| {
        let config = config(&backends, node, &[KEY]);
        config.replacen("  main:\n", "  main:\n    allowed_hosts: [127.0.0.1, \"gw.example:80\"]\n", 1)
    };
    let (one, other) =
        tokio::join!(async { Gateway::start(&config(0)).await }, async { Gateway::start(&config(1)).await });
    tokio::join!(one.settled(), other.settled());
    let client = Mcp::legacy(&one.mcp(), NEWEST_LEGACY).await;
    let moved = Mcp { url: other.mcp(), ..client.clone() };
    let mut stream = client.stream("tools/call", json!({"name": "web__ask", "arguments": {}})).await;
    let asked = stream.notification("elicitation/create").await;
    let result = json!({"action": "accept", "content": {"name": "Ada"}});
    let body = json!({"jsonrpc": "2.0", "id": asked["id"], "result": result});
    let answer = Answer::read(moved.post(&body).header("host", "gw.example:80").send().await.unwrap()).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// What a batch of 2025-03-26 answers goes to whoever has asked, each for itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_a_batch_finds_its_node() {
    let backends = start().await;
    let (one, other) = tokio::join!(node(&backends, 0, KEY), node(&backends, 1, KEY));
    let client = Mcp::legacy(&one.mcp(), "2025-03-26").await;
    let moved = Mcp { url: other.mcp(), ..client.clone() };
    let mut stream = client.stream("tools/call", json!({"name": "web__sample", "arguments": {}})).await;
    let asked = stream.notification("sampling/createMessage").await;
    let result = json!({"role": "assistant", "model": "none", "content": {"type": "text", "text": "sampled"}});
    let response = json!({"jsonrpc": "2.0", "id": asked["id"], "result": result});
    let batch = json!([response, {"jsonrpc": "2.0", "id": 7, "method": "ping"}]);
    let answer = Answer::read(moved.post(&batch).send().await.unwrap()).await;
    assert_eq!(answer.json(), json!([{"jsonrpc": "2.0", "id": 7, "result": {}}]), "{answer:?}");
    assert_eq!(stream.answer().await.1["result"]["content"][0]["text"], "sampled");
    drop((one, tools(&[])));
}
