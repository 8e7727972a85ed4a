//! Cancelling: wherever the request is, whoever still waits for it, and nobody else's.

use super::{Pair, config, pair};
use lockgate_e2e::events::Events;
use lockgate_e2e::scripted::tools;
use lockgate_e2e::{Answer, Gateway, Mcp, Scripted, until};
use serde_json::{Value, json};

fn waiting() -> Value {
    let mut offer = tools(&["wait", "echo", "late"]);
    offer["eras"] = json!("legacy");
    offer["delays"] = json!({"tools/call late": 2000});
    offer
}

/// A call of `one__wait` with this id and token.
fn call(id: &str, milliseconds: u64) -> Value {
    let arguments = json!({"milliseconds": milliseconds, "token": id});
    let params = json!({"name": "one__wait", "arguments": arguments});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
}

async fn cancel(client: &Mcp, id: &str) {
    assert_eq!(client.notify("notifications/cancelled", json!({"requestId": id})).await.status, 202);
}

async fn outcomes(pair: &Pair, token: &str, expected: &[&str]) {
    until(&format!("{token}: {expected:?}"), async || (pair.one.outcomes(token) == expected).then_some(())).await;
}

/// Sends a call that nobody hears of before it is done, and leaves when it is at the backend.
async fn leave_behind(pair: &Pair, client: &Mcp, id: &str) {
    let params = json!({"name": "one__late", "arguments": {"token": id}});
    let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
    let request = tokio::spawn(client.post(&body).send());
    until("the call", async || pair.one.heard().iter().any(|heard| heard.raw.contains(id)).then_some(())).await;
    request.abort();
    until("the gauge", async || (pair.gateway.metric("lockgate_detached").await == Some(1.0)).then_some(())).await;
}

/// What a client tells its backends takes no place of what goes on without it.
#[tokio::test]
async fn a_notification_ends_nobodys_call() {
    let (one, two) = (Scripted::http(waiting()).await, Scripted::http(waiting()).await);
    let gateway = Gateway::start(&config(&one, &two, "", "limits:\n  detached: 1\n")).await;
    gateway.settled().await;
    let pair = Pair { one, two, gateway };
    let client = pair.legacy().await;
    for name in ["one__echo", "two__echo"] {
        assert_eq!(client.tool(name, json!({})).await.status, 200);
    }
    leave_behind(&pair, &client, "left").await;
    let method = "notifications/roots/list_changed";
    assert_eq!(client.notify(method, json!({})).await.status, 202);
    for backend in [&pair.one, &pair.two] {
        until("the notification", async || (backend.heard_of(method).len() == 1).then_some(())).await;
    }
    outcomes(&pair, "left", &["answered"]).await;
    assert_eq!(pair.gateway.metric("lockgate_detached_given_up_total").await, Some(0.0));
}

/// A disconnect cancels nothing in the legacy era, so saying so is all that a client can do.
#[tokio::test]
async fn what_was_left_behind_can_be_cancelled() {
    let pair = pair(waiting(), waiting(), "").await;
    let client = pair.legacy().await;
    leave_behind(&pair, &client, "whole").await;
    cancel(&client, "whole").await;
    let heard = async || pair.one.heard_of("notifications/cancelled").len();
    until("the word", async || (heard().await == 1).then_some(())).await;
    outcomes(&pair, "whole", &["answered"]).await;
    // An answer that had begun as a stream.
    let response = client.post(&call("stream", 60_000)).send().await.expect("an answer");
    outcomes(&pair, "stream", &["begun"]).await;
    drop(response);
    until("the gauge", async || (pair.gateway.metric("lockgate_detached").await == Some(1.0)).then_some(())).await;
    cancel(&client, "stream").await;
    outcomes(&pair, "stream", &["begun", "cancelled"]).await;
    assert_eq!(heard().await, 2);
}

/// Both when it is opened first and when it is opened again.
#[tokio::test]
async fn what_waits_for_a_session_is_not_sent_once_it_is_cancelled() {
    let mut pair = pair(waiting(), waiting(), "").await;
    let client = pair.legacy().await;
    for id in ["first", "again"] {
        pair.one.delay("initialize", 1500);
        let opened = pair.one.heard_of("initialize").len();
        let request = tokio::spawn(client.post(&call(id, 1)).send());
        until("the new session", async || (pair.one.heard_of("initialize").len() > opened).then_some(())).await;
        cancel(&client, id).await;
        let answer = Answer::read(request.await.expect("an answer").expect("an answer")).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        pair.one.delay("initialize", 0);
        assert_eq!(client.tool("one__echo", json!({"token": format!("after-{id}")})).await.status, 200);
        assert!(pair.one.outcomes(id).is_empty());
        pair.one.forget();
    }
    assert!(pair.one.heard_of("notifications/cancelled").is_empty(), "the backend never had it");
}

/// An answer whose stream the backend closes before it, so that it is asked for again (2025-11-25): it is found, and reported
/// on, while nobody reads it and while somebody does.
#[tokio::test]
async fn an_answer_that_is_polled_can_be_cancelled() {
    let mut offer = waiting();
    offer["polled"] = json!(["tools/call wait"]);
    let pair = pair(offer, waiting(), "").await;
    let client = pair.legacy().await;
    assert_eq!(client.tool("two__echo", json!({})).await.status, 200);
    for reads in [false, true] {
        let id = format!("polled-{reads}");
        let mut polled = Events::new(client.post(&call(&id, 60_000)).send().await.expect("an answer"));
        while polled.next().await.is_some() {}
        let last = polled.last_id.clone().expect("an id to go on behind");
        outcomes(&pair, &id, &["begun"]).await;
        let gets = || pair.one.heard().iter().filter(|heard| heard.header("last-event-id").is_some()).count();
        let before = gets();
        let reading = tokio::spawn({
            let client = client.clone();
            async move { if reads { Some(client.listen(Some(&last)).await.answer().await.1) } else { None } }
        });
        if reads {
            until("who reads on", async || (gets() > before).then_some(())).await;
        }
        cancel(&client, &id).await;
        outcomes(&pair, &id, &["begun", "cancelled"]).await;
        let answer = reading.await.expect("an answer");
        assert_eq!(answer.map(|answer| answer["id"] == id.as_str()), reads.then_some(true));
    }
    assert!(pair.two.heard_of("notifications/cancelled").is_empty(), "it was nobody else's");
    // What has its answer is nobody's to cancel.
    let cancelled = pair.one.heard_of("notifications/cancelled").len();
    let mut polled = Events::new(client.post(&call("over", 1)).send().await.expect("an answer"));
    while polled.next().await.is_some() {}
    let answer = client.listen(polled.last_id.as_deref()).await.answer().await.1;
    assert_eq!(answer["id"], "over", "{answer}");
    cancel(&client, "over").await;
    assert_eq!(client.tool("one__echo", json!({})).await.status, 200);
    assert_eq!(pair.one.heard_of("notifications/cancelled").len(), cancelled);
}

/// On whatever stream it comes: it is reported on under the token of the request.
#[tokio::test]
async fn progress_of_what_is_polled_passes() {
    let mut offer = tools(&["progress", "forge", "echo"]);
    offer["eras"] = json!("legacy");
    offer["capabilities"] = json!({"logging": {}});
    offer["polled"] = json!(["tools/call progress"]);
    let pair = pair(offer, tools(&["echo"]), "").await;
    let client = pair.legacy().await;
    assert_eq!(client.tool("one__echo", json!({})).await.status, 200);
    let mut news = client.listen(None).await;
    let listening = || pair.one.heard().iter().any(|heard| heard.method == "GET" && heard.session.is_some());
    until("the backend's stream", async || listening().then_some(())).await;
    let params = json!({"name": "one__progress", "arguments": {}, "_meta": {"progressToken": "own"}});
    let mut polled = client.stream("tools/call", params).await;
    while polled.next().await.is_some() {}
    // Aside, on the stream of the session.
    let report = |token: &str| {
        let params = json!({"progressToken": token, "progress": 7});
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
    };
    let arguments = json!({"messages": [report("foreign"), report("own")], "aside": true});
    assert_eq!(client.tool("one__forge", arguments).await.text(), "forged");
    let heard = news.notification("notifications/progress").await;
    assert_eq!(heard["params"]["progressToken"], "own");
    let (before, answer) = client.listen(polled.last_id.as_deref()).await.answer().await;
    assert_eq!(before.len(), 3, "{before:?}");
    assert_eq!(answer["result"]["content"][0]["text"], "\"own\"", "{answer}");
}
