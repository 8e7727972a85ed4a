//! Two gateways with the same keys and no shared store: what one has begun, the other goes on with.

use crate::backends::{Backends, KEY, OTHER_KEY, UPDATED, URI, moved, settled};
use lockgate_e2e::events::Events;
use lockgate_e2e::mcp::NEWEST_LEGACY;
use lockgate_e2e::scripted::tools;
use lockgate_e2e::{Answer, Gateway, Mcp, until};
use serde_json::json;

async fn start() -> Backends {
    Backends::start(&["count", "level", "ask"]).await
}

async fn node(backends: &Backends, key: &str) -> Gateway {
    let keys = format!("tickets:\n  keys: [{{ id: k1, secret: \"{key}\" }}]\n");
    settled(&backends.config("    page_size: 2\n", &keys)).await
}

/// Two nodes, and a client that has opened its session at the first.
async fn nodes(backends: &Backends) -> (Gateway, Gateway, Mcp) {
    let (one, other) = tokio::join!(node(backends, KEY), node(backends, KEY));
    let client = Mcp::legacy(&one.mcp(), NEWEST_LEGACY).await;
    (one, other, client)
}

fn gets(backends: &Backends) -> usize {
    backends.web.heard().iter().filter(|heard| heard.method == "GET").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_serves_the_session_of_one_that_was_killed() {
    let backends = start().await;
    let (mut one, other, client) = nodes(&backends).await;
    for name in ["web__count", "child__count"] {
        assert_eq!(client.tool(name, json!({})).await.text(), "1");
    }
    let cursor = client.send("tools/list", json!({})).await.json()["result"]["nextCursor"].clone();
    one.kill();
    let client = moved(&client, &other);
    let answer = client.send("tools/list", json!({"cursor": cursor})).await;
    assert_eq!(answer.json()["result"]["tools"][0]["name"], "web__ask", "its cursors, too: {answer:?}");
    for name in ["web__count", "child__count"] {
        // What the backend may have remembered is gone, and that is not hidden.
        let answer = client.tool(name, json!({})).await;
        assert!(answer.text() == "1" && answer.is_healed(), "a session of this node's own at the backend: {answer:?}");
        let answer = client.tool(name, json!({})).await;
        assert!(answer.text() == "2" && !answer.is_healed(), "and only one: {answer:?}");
    }
    other.counts("lockgate_sessions_healed_total{backend=\"web\"}", 1.0).await;
    // The backend is told who the client is.
    let opened = backends.web.heard_of("initialize");
    let ours = opened.iter().filter(|heard| heard.json()["params"]["clientInfo"]["name"] == "e2e").count();
    assert_eq!(ours, 2);
    assert_eq!(client.send("logging/setLevel", json!({"level": "error"})).await.code(), (200, 0));
    assert_eq!(client.tool("web__level", json!({})).await.text(), "error");
    assert!(matches!(client.delete().await.status, 200 | 204));
    assert_eq!(client.tool("web__count", json!({})).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_at_another_node_begins_with_what_may_have_been_missed() {
    let mut backends = start().await;
    let (mut one, other, client) = nodes(&backends).await;
    let mut stream = client.listen(None).await;
    assert_eq!(client.send("resources/subscribe", json!({"uri": URI})).await.code(), (200, 0));
    backends.listening().await;
    backends.web.say(UPDATED, json!({"uri": "note:x"}));
    assert_eq!(stream.notification(UPDATED).await["params"]["uri"], URI);
    let last = stream.last_id.clone().expect("an event id");
    one.kill();
    while stream.next().await.is_some() {}
    let client = moved(&client, &other);
    // The other node does not know the session at the backend, so whatever was said in it is lost; that is not hidden.
    let mut stream = client.listen(Some(&last)).await;
    assert_eq!(stream.status, 200);
    for list in ["tools", "resources"] {
        stream.notification(&format!("notifications/{list}/list_changed")).await;
    }
    // What is subscribed to again is heard again, and lists still change.
    let before = gets(&backends);
    assert_eq!(client.send("resources/subscribe", json!({"uri": URI})).await.code(), (200, 0));
    until("the other node's stream", async || (gets(&backends) > before).then_some(())).await;
    backends.web.say(UPDATED, json!({"uri": "note:x"}));
    assert_eq!(stream.notification(UPDATED).await["params"]["uri"], URI);
    backends.web.change(|offer| offer["tools"] = tools(&["count", "new"])["tools"].clone());
    backends.web.say("notifications/tools/list_changed", json!({}));
    stream.notification("notifications/tools/list_changed").await;
    assert_eq!(client.tool("web__new", json!({})).await.text(), "{}");
}

/// A node that comes back knows the sessions at the backends: they send what was missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_resumes_streams_at_the_backends() {
    let mut backends = start().await;
    let mut node = node(&backends, KEY).await;
    let client = Mcp::legacy(&node.mcp(), NEWEST_LEGACY).await;
    let mut stream = client.listen(None).await;
    assert_eq!(client.send("resources/subscribe", json!({"uri": URI})).await.code(), (200, 0));
    backends.listening().await;
    backends.web.say(UPDATED, json!({"uri": "note:x", "number": 1}));
    assert_eq!(stream.notification(UPDATED).await["params"]["number"], 1);
    let last = stream.last_id.clone().expect("an event id");
    node.kill();
    for number in [2, 3] {
        backends.web.say(UPDATED, json!({"uri": "note:x", "number": number}));
    }
    node.restart().await;
    let mut stream = client.listen(Some(&last)).await;
    for number in [2, 3] {
        let update = stream.notification(UPDATED).await;
        assert_eq!((&update["params"]["number"], &update["params"]["uri"]), (&json!(number), &json!(URI)));
    }
    let resumed = backends.web.heard().into_iter().rfind(|heard| heard.method == "GET").expect("a stream");
    assert_eq!(resumed.header("last-event-id"), Some("0"), "the backend's own id");
}

/// An answer that was on its way is fetched from the backend by a node that knows the session there; another one says that
/// it cannot be had.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_resumed_or_said_to_be_lost() {
    for returns in [true, false] {
        let backends = start().await;
        let (mut one, other, client) = nodes(&backends).await;
        let arguments = json!({"milliseconds": 1500, "token": "resumed"});
        let body = client.body("tools/call", json!({"name": "stateful__slow", "arguments": arguments}));
        let mut stream = Events::new(client.post(&body).send().await.expect("an answer"));
        stream.next().await.expect("a priming event");
        let last = stream.last_id.clone().expect("an event id");
        one.kill();
        while stream.next().await.is_some() {}
        if returns {
            one.restart().await;
            let (_, answer) = client.listen(Some(&last)).await.answer().await;
            assert_eq!(answer["result"]["content"][0]["text"], "took 1500 ms", "{answer}");
        } else {
            let client = moved(&client, &other);
            let mut resumed = client.listen(Some(&last)).await;
            assert_eq!(resumed.status, 200);
            let (_, answer) = resumed.answer().await;
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&body["id"], &json!(-31001)), "{answer}");
            assert!(answer["error"]["message"].as_str().unwrap().contains("\"stateful\""), "{answer}");
            assert_eq!(resumed.next().await, None, "that is all");
            assert_eq!(client.tool("stateful__count", json!({})).await.text(), "1", "and the session goes on");
        }
        until("its only run", async || {
            let state = backends.stateful.state().await;
            let runs = state["executions"].as_array()?.iter().filter(|run| run["token"] == "resumed").count();
            assert!(runs < 2, "{state}");
            (runs == 1).then_some(())
        })
        .await;
    }
}

/// Where a client must know that it begins anew, it hears so before anything runs, once of each backend.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_must_know_hears_that_it_begins_anew() {
    let backends = Backends::losing("fail", &["count"]).await;
    let (mut one, other, client) = nodes(&backends).await;
    assert_eq!(client.tool("web__count", json!({})).await.text(), "1");
    one.kill();
    let client = moved(&client, &other);
    let stream = client.listen(None).await;
    assert_eq!(stream.status, 200, "who only listens is told nothing");
    let refused = client.tool("web__count", json!({})).await;
    assert_eq!(refused.code(), (502, -31006), "{refused:?}");
    assert!(backends.web.heard_of("tools/call").len() == 1, "it did not run");
    assert_eq!(client.tool("web__count", json!({})).await.text(), "1");
    assert_eq!(client.tool("child__count", json!({})).await.text(), "1", "of the others it is told with the answer");
    drop(stream);
}

/// A question waits in one process. Its answer at another node finds nobody, and is told so at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_where_it_was_asked() {
    let backends = start().await;
    let (one, other, client) = nodes(&backends).await;
    let mut stream = client.stream("tools/call", json!({"name": "web__ask", "arguments": {}})).await;
    let asked = stream.notification("elicitation/create").await;
    let result = json!({"action": "accept", "content": {"name": "Ada"}});
    let reply = json!({"jsonrpc": "2.0", "id": asked["id"], "result": result});
    let answer = Answer::read(moved(&client, &other).post(&reply).send().await.unwrap()).await;
    let text = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert_eq!(answer.code(), (502, -31007), "{answer:?}");
    assert!(text.contains("cannot be reached"), "{text}");
    assert_eq!(client.post(&reply).send().await.unwrap().status(), 202);
    assert_eq!(stream.answer().await.1["result"]["content"][0]["text"], "Ada");
    drop(one);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_key_knows_nothing() {
    let backends = start().await;
    let (one, stranger) = tokio::join!(node(&backends, KEY), node(&backends, OTHER_KEY));
    let client = Mcp::legacy(&one.mcp(), NEWEST_LEGACY).await;
    let cursor = client.send("tools/list", json!({})).await.json()["result"]["nextCursor"].clone();
    assert!(cursor.is_string());
    assert_eq!(moved(&client, &stranger).tool("web__count", json!({})).await.status, 404);
    let own = Mcp::legacy(&stranger.mcp(), NEWEST_LEGACY).await;
    assert_eq!(own.send("tools/list", json!({"cursor": cursor})).await.json()["error"]["code"], -32602);
    assert_eq!(client.tool("web__count", json!({})).await.text(), "1");
}
