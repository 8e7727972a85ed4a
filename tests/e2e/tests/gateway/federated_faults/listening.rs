//! Clients that only listen, while their backends come and go.

use super::{Beside, TIMEOUTS, TRANSPORTS, beside};
use lockgate_e2e::events::Events;
use lockgate_e2e::gateway::federation;
use lockgate_e2e::mcp::NEWEST_LEGACY;
use lockgate_e2e::scripted::{Heard, tool, tools};
use lockgate_e2e::{Answer, Gateway, Mcp, Scripted, Transport, until};
use serde_json::{Value, json};

const UPDATED: &str = "notifications/resources/updated";
const NOTE: &str = "bad+note:x";

fn offer() -> Value {
    json!({
        "tools": [tool("ask"), tool("count"), tool("forge"), tool("subscribed")],
        "resources": [{"uri": "note:x", "name": "x"}],
        "capabilities": {"logging": {}, "resources": {"subscribe": true}},
    })
}

fn gets(backend: &Scripted) -> usize {
    backend.heard().iter().filter(|heard| heard.method == "GET" && heard.session.is_some()).count()
}

/// A client whose GET stream is open, and with it that of the bad backend, where the transport has one.
async fn listening(beside: &Beside, transport: Transport) -> (Mcp, Events) {
    beside.gateway.settled().await;
    let before = gets(&beside.bad);
    let client = beside.client().await;
    let stream = client.listen(None).await;
    assert_eq!(client.send("resources/subscribe", json!({"uri": NOTE})).await.code(), (200, 0));
    if transport == Transport::Http {
        until("the backend's stream", async || (gets(&beside.bad) > before).then_some(())).await;
    }
    (client, stream)
}

/// The next update that carries this number.
async fn update(stream: &mut Events, number: u64) -> Value {
    loop {
        let update = stream.notification(UPDATED).await;
        if update["params"]["number"] == number {
            return update;
        }
    }
}

/// Waits until these are said to have been updated, because nobody heard their backends for a moment: now they are heard.
async fn heard_again(stream: &mut Events, uris: &[&str]) {
    let mut missing = uris.to_vec();
    while !missing.is_empty() {
        let update = stream.notification(UPDATED).await;
        missing.retain(|uri| update["params"] != json!({"uri": uri}));
    }
}

async fn gaps(gateway: &Gateway) -> f64 {
    gateway.metric("lockgate_stream_gaps_total").await.unwrap_or(0.0)
}

/// No request tells the gateway of the loss: the stream itself must.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_opened_again_for_a_client_that_only_listens() {
    for transport in TRANSPORTS {
        let mut beside = beside(transport, offer(), TIMEOUTS, "").await;
        let (client, mut stream) = listening(&beside, transport).await;
        beside.bad.kill();
        beside.bad.run().await;
        // Said again and again, for it is not known here when the client is subscribed again.
        let (mut number, mut heard) = (0, false);
        until("the update", async || {
            number += 1;
            beside.bad.say(UPDATED, json!({"uri": "note:x", "number": number}));
            while let Some(event) = stream.next_within(std::time::Duration::from_millis(200)).await {
                let message = event.expect("the stream goes on").json();
                heard |= message["method"] == UPDATED && message["params"]["uri"] == NOTE;
            }
            heard.then_some(())
        })
        .await;
        assert!(beside.healed().await >= 1.0, "{transport:?}");
        let answer = client.tool("bad__subscribed", json!({})).await;
        assert_eq!(answer.text(), "[\"note:x\"]", "{transport:?}: {answer:?}");
    }
}

/// The stream finds the loss first, but it is the request that relied on what is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_loss_that_a_stream_found_is_told_to_the_next_request() {
    let backend = format!("{TIMEOUTS}    on_session_loss: fail\n");
    let mut beside = beside(Transport::Http, offer(), &backend, "").await;
    let (client, mut stream) = listening(&beside, Transport::Http).await;
    assert_eq!(client.tool("bad__count", json!({})).await.text(), "1");
    let open = gets(&beside.bad);
    beside.bad.kill();
    beside.bad.run().await;
    until("the stream's attempt", async || (gets(&beside.bad) > open).then_some(())).await;
    stream.notification("notifications/tools/list_changed").await;
    let answer = client.tool("bad__count", json!({"token": "lost"})).await;
    assert_eq!(answer.code(), (502, -31006), "{answer:?}");
    assert!(beside.bad.outcomes("lost").is_empty(), "it did not run");
    let answer = client.tool("bad__count", json!({})).await;
    assert_eq!((answer.text().as_str(), answer.is_healed()), ("1", false), "{answer:?}");
    assert_eq!(beside.healed().await, 0.0);
}

/// A result that is to be marked because a stream has found the loss is marked by the process that comes back, and once.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_is_due_survives_the_gateway() {
    let mut beside = beside(Transport::Http, offer(), TIMEOUTS, "").await;
    let (client, stream) = listening(&beside, Transport::Http).await;
    assert_eq!(client.tool("bad__count", json!({})).await.text(), "1");
    beside.bad.kill();
    beside.bad.run().await;
    until("the new session", async || (beside.healed().await >= 1.0).then_some(())).await;
    drop(stream);
    for (count, healed) in [("1", true), ("2", false)] {
        beside.gateway.kill();
        beside.gateway.restart().await;
        let answer = client.tool("bad__count", json!({})).await;
        assert_eq!((answer.text().as_str(), answer.is_healed()), (count, healed), "{answer:?}");
        // What was written before this is written with it.
        assert_eq!(client.send("logging/setLevel", json!({"level": "error"})).await.code(), (200, 0));
    }
}

/// A loss that only a stream has found, where clients must know of it, is told by the process that comes back, and once.
#[tokio::test(flavor = "multi_thread")]
async fn a_loss_that_is_to_be_told_survives_the_gateway() {
    let mut bad = Scripted::http(legacy(offer())).await;
    let backend = bad.backend("bad", &format!("{TIMEOUTS}    on_session_loss: fail\n"));
    let mut gateway = Gateway::start(&federation(&[("bad", backend)], "", "")).await;
    let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
    assert_eq!(client.tool("count", json!({})).await.text(), "1");
    bad.kill();
    bad.run().await;
    assert_eq!(client.listen(None).await.status, 502, "the stream finds it");
    gateway.kill();
    gateway.restart().await;
    let answer = client.tool("count", json!({"token": "after"})).await;
    assert_eq!(answer.code(), (502, -31006), "{answer:?}");
    assert!(bad.outcomes("after").is_empty(), "it did not run");
    gateway.kill();
    gateway.restart().await;
    let answer = client.tool("count", json!({})).await;
    assert_eq!((answer.text().as_str(), answer.is_healed()), ("1", false), "{answer:?}");
}

/// A backend that gives its events no ids cannot say again what it said while nobody listened.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_backend_may_have_said_unheard_is_said_to_have_happened() {
    let mut offer = offer();
    offer["eventIds"] = json!(false);
    let mut beside = beside(Transport::Http, offer, TIMEOUTS, "").await;
    let (_client, mut stream) = listening(&beside, Transport::Http).await;
    beside.bad.say(UPDATED, json!({"uri": "note:x", "number": 1}));
    update(&mut stream, 1).await;
    let (before, open) = (gaps(&beside.gateway).await, gets(&beside.bad));
    beside.bad.hang_up();
    until("the stream's return", async || (gets(&beside.bad) > open).then_some(())).await;
    assert_eq!(stream.notification(UPDATED).await["params"], json!({"uri": NOTE}));
    stream.notification("notifications/tools/list_changed").await;
    stream.notification("notifications/resources/list_changed").await;
    assert_eq!(gaps(&beside.gateway).await, before + 1.0);
    // The lists are the gateway's: of them it is not said again and again.
    let open = gets(&beside.bad);
    beside.bad.hang_up();
    until("the stream's return", async || (gets(&beside.bad) > open).then_some(())).await;
    assert_eq!(stream.next().await.map(|event| event.json()["method"].clone()), Some(json!(UPDATED)));
    beside.bad.say(UPDATED, json!({"uri": "note:x", "number": 2}));
    let next = stream.next().await.map(|event| event.json()["params"]["number"].clone());
    assert_eq!(next, Some(json!(2)), "and nothing in between");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_told_of_what_was_said_unheard() {
    let mut offer = offer();
    offer["eras"] = json!("modern");
    let mut beside = beside(Transport::Http, offer, TIMEOUTS, "").await;
    beside.gateway.settled().await;
    let client = Mcp::modern(&beside.gateway.mcp());
    let wanted = json!({"notifications": {"resourceSubscriptions": [NOTE]}});
    let mut stream = client.stream("subscriptions/listen", wanted).await;
    let acknowledged = stream.notification("notifications/subscriptions/acknowledged").await;
    assert_eq!(acknowledged["params"]["notifications"]["resourceSubscriptions"], json!([NOTE]));
    let own = |heard: &Heard| heard.is("subscriptions/listen") && heard.raw.contains("note:x");
    let listens = |bad: &Scripted| bad.heard().iter().filter(|heard| own(heard)).count();
    until("the subscription", async || (listens(&beside.bad) == 1).then_some(())).await;
    beside.bad.say(UPDATED, json!({"uri": "note:x", "number": 1}));
    update(&mut stream, 1).await;
    beside.bad.hang_up();
    let told = stream.notification(UPDATED).await;
    assert_eq!(told["params"]["uri"], NOTE);
    let meta = &told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
    assert_eq!(*meta, acknowledged["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"]);
    assert_eq!(listens(&beside.bad), 2);
}

/// What follows a stream that has ended is all backends again, not one of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_given_up_goes_on_merged() {
    let (mut one, mut two) = (Scripted::http(legacy(offer())).await, Scripted::http(legacy(offer())).await);
    let backends = [("one", one.backend("one", TIMEOUTS)), ("two", two.backend("two", TIMEOUTS))];
    let gateway = Gateway::start(&federation(&backends, "", "")).await;
    gateway.settled().await;
    let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
    let mut first = client.listen(None).await;
    for uri in ["one+note:x", "two+note:x"] {
        assert_eq!(client.send("resources/subscribe", json!({"uri": uri})).await.code(), (200, 0));
    }
    until("both streams", async || (gets(&one) > 0 && gets(&two) > 0).then_some(())).await;
    one.say(UPDATED, json!({"uri": "note:x", "number": 1}));
    update(&mut first, 1).await;
    let last = first.last_id.clone().expect("an id");
    // Another stream takes the news, and the first one ends.
    let mut second = client.listen(None).await;
    while first.next().await.is_some() {}
    heard_again(&mut second, &["one+note:x", "two+note:x"]).await;
    two.say(UPDATED, json!({"uri": "note:x", "number": 2}));
    update(&mut second, 2).await;
    let mut seen = vec![last.clone(), second.last_id.clone().expect("an id")];
    // Its client comes back for it: the second one ends in its turn.
    let mut third = client.listen(Some(&last)).await;
    assert_eq!(third.status, 200);
    // Behind its last event, `one` says what there is; where it stood with `two`, that event does not say.
    heard_again(&mut third, &["two+note:x"]).await;
    one.say(UPDATED, json!({"uri": "note:x", "number": 3}));
    assert_eq!(update(&mut third, 3).await["params"]["uri"], "one+note:x");
    two.say(UPDATED, json!({"uri": "note:x", "number": 4}));
    assert_eq!(update(&mut third, 4).await["params"]["uri"], "two+note:x");
    // The backends have one stream a session each, and said so to whoever was too early.
    let refused = gets(&one) + gets(&two) - 6;
    assert!(refused < 6, "not again and again: {refused}");
    seen.push(third.last_id.clone().expect("an id"));
    seen.dedup();
    assert_eq!(seen.len(), 3, "no id comes twice: {seen:?}");
}

fn legacy(mut offer: Value) -> Value {
    offer["eras"] = json!("legacy");
    offer
}

/// Whatever a backend claims to answer, on whatever stream: only its own request is.
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_answers_nobody_elses_request() {
    let beside = beside(Transport::Http, offer(), TIMEOUTS, "").await;
    let (client, mut stream) = listening(&beside, Transport::Http).await;
    let forged = |id: &Value| json!({"jsonrpc": "2.0", "id": id, "result": {"content": [], "forged": true}});
    let other = json!(4711);
    let params = json!({"progressToken": other, "progress": 1});
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
    for aside in [false, true] {
        let arguments = json!({"messages": [forged(&other), progress, forged(&Value::Null)], "aside": aside});
        let mut own = client.stream("tools/call", json!({"name": "bad__forge", "arguments": arguments})).await;
        let (before, answer) = own.answer().await;
        assert_eq!(before, Vec::<Value>::new());
        assert_eq!(answer["result"]["content"][0]["text"], "forged", "{answer}");
    }
    // Had the forged responses passed, they would have come before this.
    let say = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "error", "data": "end"}});
    let arguments = json!({"messages": [say], "aside": true});
    assert_eq!(client.tool("bad__forge", arguments).await.text(), "forged");
    loop {
        let event = stream.next().await.expect("the stream goes on").json();
        assert!(event["result"].is_null() && event["method"] != "notifications/progress", "{event}");
        if event["method"] == "notifications/message" {
            break;
        }
    }
}

/// A question ends with the session that it was asked in, though another one has the same number.
#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_lost_question_is_not_that_to_another() {
    let mut beside = beside(Transport::Http, offer(), TIMEOUTS, "").await;
    beside.gateway.settled().await;
    let client = beside.client().await;
    let ask = json!({"name": "bad__ask", "arguments": {"id": 0}});
    let mut first = client.stream("tools/call", ask.clone()).await;
    let lost = first.notification("elicitation/create").await;
    beside.bad.forget();
    assert_eq!(client.tool("bad__count", json!({})).await.text(), "1", "in a new session");
    let mut second = client.stream("tools/call", ask).await;
    let asked = second.notification("elicitation/create").await;
    assert_ne!(asked["id"], lost["id"]);
    let answer = async |id: &Value, name: &str| {
        let result = json!({"action": "accept", "content": {"name": name}});
        let body = json!({"jsonrpc": "2.0", "id": id, "result": result});
        Answer::read(client.post(&body).send().await.expect("an answer")).await.status
    };
    assert!(answer(&lost["id"], "Mallory").await >= 400);
    assert_eq!(answer(&asked["id"], "Ada").await, 202);
    assert_eq!(second.answer().await.1["result"]["content"][0]["text"], "Ada");
}

/// Held streams are of the configuration that is in use, not of that in which they were opened.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_who_is_listened_to() {
    let (one, mut two) = (Scripted::http(legacy(offer())).await, Scripted::http(legacy(offer())).await);
    let well = Scripted::http(legacy(tools(&["echo"]))).await;
    let written = |with: (&str, &Scripted)| {
        let backends = [(with.0, with.1.backend(with.0, TIMEOUTS)), ("well", well.backend("well", TIMEOUTS))];
        federation(&backends, "", "")
    };
    let gateway = Gateway::start(&written(("one", &one))).await;
    gateway.settled().await;
    let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
    let mut stream = client.listen(None).await;
    assert_eq!(client.send("resources/subscribe", json!({"uri": "one+note:x"})).await.code(), (200, 0));
    until("its stream", async || (gets(&one) > 0).then_some(())).await;
    gateway.write(&written(("two", &two)));
    assert_eq!(gateway.reload().await.0, 200);
    gateway.settled().await;
    stream.notification("notifications/tools/list_changed").await;
    assert_eq!(client.send("resources/subscribe", json!({"uri": "two+note:x"})).await.code(), (200, 0));
    until("the other's stream", async || (gets(&two) > 0).then_some(())).await;
    two.say(UPDATED, json!({"uri": "note:x", "number": 2}));
    assert_eq!(update(&mut stream, 2).await["params"]["uri"], "two+note:x");
}

/// What a held stream does about a loss is what the configuration in use says.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_outlives_a_reload_heals_as_is_said_now() {
    let (mut one, two) = (Scripted::http(legacy(offer())).await, Scripted::http(legacy(tools(&["echo"]))).await);
    let written = |one: &Scripted, loss: &str| {
        let more = format!("{TIMEOUTS}    on_session_loss: {loss}\n");
        federation(&[("one", one.backend("one", &more)), ("two", two.backend("two", TIMEOUTS))], "", "")
    };
    let gateway = Gateway::start(&written(&one, "heal")).await;
    gateway.settled().await;
    let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
    let mut stream = client.listen(None).await;
    assert_eq!(client.tool("one__count", json!({})).await.text(), "1");
    until("its stream", async || (gets(&one) > 0).then_some(())).await;
    gateway.write(&written(&one, "fail"));
    assert_eq!(gateway.reload().await.0, 200);
    gateway.settled().await;
    let (open, opened) = (gets(&one), one.heard_of("initialize").len());
    one.kill();
    one.run().await;
    until("the stream's attempt", async || (gets(&one) > open).then_some(())).await;
    stream.notification("notifications/tools/list_changed").await;
    let own = |heard: &Heard| heard.is("initialize") && heard.raw.contains("e2e");
    let again = one.heard().iter().filter(|heard| own(heard)).count();
    assert_eq!(again, 1, "{opened}: no session was opened for a stream alone");
    assert_eq!(client.tool("one__count", json!({})).await.code(), (502, -31006));
}

/// Only the client can say who it is now: its stream ends, so that it comes again and says so.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_have_expired_end_the_stream_once() {
    let (mut one, two) = (Scripted::http(legacy(offer())).await, Scripted::http(legacy(tools(&["echo"]))).await);
    let more = format!("{TIMEOUTS}    forward_headers: [x-token]\n");
    let backends = [("one", one.backend("one", &more)), ("two", two.backend("two", TIMEOUTS))];
    let gateway = Gateway::start(&federation(&backends, "", "")).await;
    gateway.settled().await;
    let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
    let listen = async |token: &str, last: Option<&str>| {
        let request = client.http.get(&client.url).header("accept", "text/event-stream").header("x-token", token);
        let mut request = request.header("mcp-session-id", client.session.as_deref().expect("a session"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        Events::new(request.send().await.expect("an answer"))
    };
    let subscribe = client.body("resources/subscribe", json!({"uri": "one+note:x"}));
    let subscribed = client.post(&subscribe).header("x-token", "old").send().await.expect("an answer");
    assert_eq!(subscribed.status(), 200);
    let mut stream = listen("old", None).await;
    until("its stream", async || (gets(&one) > 0).then_some(())).await;
    one.say(UPDATED, json!({"uri": "note:x", "number": 1}));
    update(&mut stream, 1).await;
    one.change(|offer| offer["refuses"] = json!(["old"]));
    one.hang_up();
    while stream.next().await.is_some() {}
    assert!(!stream.broken, "it ends, it does not break off");
    let refused = async || gateway.metric(r#"lockgate_backend_streams_refused_total{backend="one"}"#).await;
    assert_eq!(refused().await, Some(1.0));
    // Who comes with the same again is not sent away again and again.
    let last = stream.last_id.clone();
    let mut same = listen("old", last.as_deref()).await;
    until("another refusal", async || (refused().await >= Some(3.0)).then_some(())).await;
    assert!(same.next_within(std::time::Duration::from_millis(100)).await.is_none_or(|event| event.is_some()));
    let mut fresh = listen("new", last.as_deref()).await;
    one.say(UPDATED, json!({"uri": "note:x", "number": 2}));
    update(&mut fresh, 2).await;
}

/// A backend that answers what is asked of another one, while that is still at it: on the stream of its own call, aside, as
/// the whole answer, on a stream that is taken up again.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_elsewhere_is_answered_by_whom_it_was_put_to() {
    let mut bad = legacy(offer());
    bad["faults"] = json!({"tools/call lie": "wrong-id"});
    bad["tools"].as_array_mut().expect("tools").push(tool("lie"));
    let (mut bad, well) = (Scripted::http(bad).await, Scripted::http(legacy(tools(&["wait"]))).await);
    let backends = [("bad", bad.backend("bad", TIMEOUTS)), ("well", well.backend("well", ""))];
    let gateway = Gateway::start(&federation(&backends, "", "")).await;
    gateway.settled().await;
    let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
    let mut news = client.listen(None).await;
    assert_eq!(client.tool("bad__count", json!({})).await.text(), "1");
    until("its stream", async || (gets(&bad) > 0).then_some(())).await;
    // The id that the bad one answers as a whole, too.
    let id = json!("someone-else");
    let arguments = json!({"milliseconds": 8000, "token": "live"});
    let params = json!({"name": "well__wait", "arguments": arguments, "_meta": {"progressToken": id}});
    let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
    let live = client.post(&call).send();
    let live = tokio::spawn(async move { Events::new(live.await.expect("an answer")).answer().await });
    until("the call", async || (well.outcomes("live") == ["begun"]).then_some(())).await;
    let forged = json!({"jsonrpc": "2.0", "id": id, "result": {"content": [], "forged": true}});
    let report =
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": id, "progress": 1}});
    for aside in [false, true] {
        let arguments = json!({"messages": [forged, report], "aside": aside});
        let mut own = client.stream("tools/call", json!({"name": "bad__forge", "arguments": arguments})).await;
        let (before, answer) = own.answer().await;
        assert!(before.is_empty() && answer["id"] != id, "{before:?} {answer}");
    }
    bad.change(|offer| offer["polled"] = json!(["tools/call forge"]));
    let arguments = json!({"messages": [forged, report]});
    let mut polled = client.stream("tools/call", json!({"name": "bad__forge", "arguments": arguments})).await;
    while polled.next().await.is_some() {}
    let (before, answer) = client.listen(polled.last_id.as_deref()).await.answer().await;
    assert!(before.is_empty() && answer["result"]["content"][0]["text"] == "forged", "{before:?} {answer}");
    bad.change(|offer| offer["polled"] = json!([]));
    let lie = client.tool("bad__lie", json!({})).await;
    assert_eq!(lie.code(), (502, -31001), "{lie:?}");
    assert_eq!(well.outcomes("live"), ["begun"], "it is still at it");
    let (before, answer) = live.await.expect("an answer");
    assert!(before.is_empty(), "{before:?}");
    assert_eq!(answer["result"]["content"][0]["text"], "waited", "{answer}");
    let say = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "error", "data": "end"}});
    client.tool("bad__forge", json!({"messages": [say], "aside": true})).await;
    loop {
        let event = news.next().await.expect("the stream goes on").json();
        assert!(event["result"].is_null() && event["method"] != "notifications/progress", "{event}");
        if event["method"] == "notifications/message" {
            break;
        }
    }
}

/// A backend has one stream a session, and says 409 to a second: the client's second stream has it once the first one ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_stream_takes_over_from_the_first() {
    let mut one = Scripted::http(legacy(offer())).await;
    let two = Scripted::http(legacy(tools(&["echo"]))).await;
    let backends = [("one", one.backend("one", TIMEOUTS)), ("two", two.backend("two", TIMEOUTS))];
    let gateway = Gateway::start(&federation(&backends, "", "")).await;
    gateway.settled().await;
    let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
    assert_eq!(client.send("resources/subscribe", json!({"uri": "one+note:x"})).await.code(), (200, 0));
    let mut first = client.listen(None).await;
    until("its stream", async || (gets(&one) > 0).then_some(())).await;
    let mut second = client.listen(None).await;
    assert_eq!(second.status, 200);
    while first.next().await.is_some() {}
    assert!(!first.broken);
    heard_again(&mut second, &["one+note:x"]).await;
    one.say(UPDATED, json!({"uri": "note:x", "number": 1}));
    assert_eq!(update(&mut second, 1).await["params"]["uri"], "one+note:x");
}

/// What a backend says at once after it was subscribed to must find a stream to be said on.
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_is_heard_before_it_is_subscribed_to() {
    let mut one = Scripted::http(legacy(offer())).await;
    let two = Scripted::http(legacy(tools(&["echo"]))).await;
    let backends = [("one", one.backend("one", TIMEOUTS)), ("two", two.backend("two", TIMEOUTS))];
    let gateway = Gateway::start(&federation(&backends, "", "")).await;
    gateway.settled().await;
    let subscribe = "resources/subscribe";
    for number in 1..=5 {
        let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
        let mut stream = client.listen(None).await;
        assert_eq!(client.send(subscribe, json!({"uri": "one+note:x"})).await.code(), (200, 0));
        let heard = one.heard();
        let asked = heard.iter().rfind(|heard| heard.is(subscribe)).expect("the subscription").session.clone();
        let of_the_session = heard.iter().filter(|heard| heard.session == asked);
        let order: Vec<_> = of_the_session.filter(|heard| heard.method == "GET" || heard.is(subscribe)).collect();
        assert_eq!(order[0].method, "GET", "session {number}");
        one.say(UPDATED, json!({"uri": "note:x", "number": number}));
        let update = stream.notification(UPDATED).await;
        assert_eq!(update["params"], json!({"uri": "one+note:x", "number": number}));
    }
}
