//! What belongs to one session: its own session at each backend, log level, progress, cancellation, notifications.

use super::pair;
use lockgate_e2e::events::Events;
use lockgate_e2e::gateway::federation;
use lockgate_e2e::mcp::NEWEST_LEGACY;
use lockgate_e2e::scripted::{tool, tools};
use lockgate_e2e::{Answer, Gateway, Mcp, Scripted, until};
use serde_json::{Value, json};

/// The sessions of clients at a backend; those in which the gateway looks around itself do not count.
fn sessions(backend: &Scripted) -> Vec<String> {
    let mut sessions: Vec<_> = backend.heard_of("tools/call").into_iter().filter_map(|heard| heard.session).collect();
    sessions.dedup();
    sessions
}

#[tokio::test]
async fn each_session_has_its_own_at_each_backend() {
    let pair = pair(tools(&["count"]), tools(&["count"]), "").await;
    let (first, second) = (pair.legacy().await, pair.legacy().await);
    assert_ne!(first.session, second.session);
    for (client, name, expected) in [
        (&first, "one__count", "1"),
        (&first, "one__count", "2"),
        (&second, "one__count", "1"),
        (&first, "two__count", "1"),
        (&first, "one__count", "3"),
        (&second, "one__count", "2"),
    ] {
        assert_eq!(client.tool(name, json!({})).await.text(), expected, "{name}");
    }
    let theirs = sessions(&pair.one);
    assert!(theirs.iter().all(|session| Some(session) != first.session.as_ref()), "{theirs:?}");
    // The client is introduced as what it is, and each session is told that it may begin.
    let opened = |backend: &Scripted| {
        let ours = |heard: &&lockgate_e2e::scripted::Heard| heard.json()["params"]["clientInfo"]["name"] == "e2e";
        backend.heard_of("initialize").iter().filter(ours).count()
    };
    assert_eq!((opened(&pair.one), opened(&pair.two)), (2, 1));
    for backend in [&pair.one, &pair.two] {
        let begun = backend.heard_of("notifications/initialized");
        for session in sessions(backend) {
            assert!(begun.iter().any(|heard| heard.session.as_ref() == Some(&session)), "{session}");
        }
    }
    assert!(matches!(first.delete().await.status, 200 | 204));
    until("the end of both sessions", async || {
        let ended = |backend: &Scripted| backend.heard().iter().any(|heard| heard.method == "DELETE");
        (ended(&pair.one) && ended(&pair.two)).then_some(())
    })
    .await;
    assert_eq!(first.tool("one__count", json!({})).await.status, 404);
    assert_eq!(second.tool("one__count", json!({})).await.text(), "3");
}

#[tokio::test]
async fn log_levels_go_to_all_backends_that_log_now_or_later() {
    let logs = json!({"tools": [tool("level"), tool("log")], "capabilities": {"logging": {}}});
    let mut grumbles = logs.clone();
    grumbles["faults"] = json!({"logging/setLevel": "error"});
    let pair = pair(logs, grumbles, "").await;
    let client = pair.legacy().await;
    assert_eq!(client.tool("one__level", json!({})).await.text(), "debug");
    assert_eq!(client.send("logging/setLevel", json!({"level": "warning"})).await.code(), (200, 0));
    assert_eq!(client.tool("one__level", json!({})).await.text(), "warning");
    // Opened later, and it does not even take levels: calls work all the same.
    assert_eq!(client.tool("two__level", json!({})).await.text(), "debug");
    assert_eq!(pair.two.heard_of("logging/setLevel")[0].json()["params"]["level"], "warning");
    let other = pair.legacy().await;
    assert_eq!(other.tool("one__level", json!({})).await.text(), "debug", "another session's level");
    assert_eq!(client.send("logging/setLevel", json!({"level": "loud"})).await.json()["error"]["code"], -32602);
    // In the modern era it is a matter of each request.
    let meta = json!({"io.modelcontextprotocol/logLevel": "info"});
    let answer = pair.modern().send("tools/call", json!({"name": "one__log", "_meta": meta})).await;
    let messages = lockgate_e2e::events::messages(&String::from_utf8_lossy(&answer.body));
    assert_eq!(messages[0]["params"]["data"], "a line", "{messages:?}");
    let heard = pair.one.heard_of("tools/call").pop().unwrap().json();
    assert_eq!(heard["params"]["_meta"]["io.modelcontextprotocol/logLevel"], "info");
}

/// A backend that declares logging, and yet knows no levels: where it is the only one, too.
#[tokio::test]
async fn a_backend_without_log_levels_keeps_nobody_from_setting_them() {
    let logs = json!({"tools": [tool("level"), tool("count")], "capabilities": {"logging": {}}});
    let mut lacks = logs.clone();
    lacks["faults"] = json!({"logging/setLevel": "no-method"});
    let pair = pair(lacks, logs, "").await;
    let server = "    prefix: always\n";
    let alone = Gateway::start(&federation(&[("one", pair.one.backend("one", ""))], server, "")).await;
    alone.settled().await;
    for gateway in [&pair.gateway, &alone] {
        let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
        assert_eq!(client.tool("one__count", json!({})).await.text(), "1");
        let told = pair.one.heard_of("logging/setLevel").len();
        assert_eq!(client.send("logging/setLevel", json!({"level": "warning"})).await.code(), (200, 0));
        assert_eq!(pair.one.heard_of("logging/setLevel").len(), told + 1, "it was asked");
        assert_eq!(client.tool("one__count", json!({})).await.text(), "2", "its session goes on");
        if std::ptr::eq(gateway, &pair.gateway) {
            assert_eq!(client.tool("two__level", json!({})).await.text(), "warning");
        }
    }
}

/// Two sessions at one process, with one token at the same time: each hears of its own call alone.
#[tokio::test(flavor = "multi_thread")]
async fn equal_progress_tokens_of_two_sessions_at_one_process_do_not_meet() {
    for era in ["legacy", "modern"] {
        let mut offer = tools(&["progress"]);
        offer["eras"] = json!(era);
        let one = Scripted::shared(offer).await;
        let server = "    prefix: always\n";
        let gateway = Gateway::start(&federation(&[("one", one.backend("one", ""))], server, "")).await;
        gateway.settled().await;
        let client = async || match era {
            "modern" => Mcp::modern(&gateway.mcp()),
            _ => Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await,
        };
        let (first, second) = (client().await, client().await);
        for token in [json!("p"), json!(0)] {
            let call = async |client: &Mcp, message: &str| {
                let arguments = json!({"paired": true, "message": message});
                let params =
                    json!({"name": "one__progress", "arguments": arguments, "_meta": {"progressToken": token}});
                client.stream("tools/call", params).await.answer().await
            };
            let (first, second) = tokio::join!(call(&first, "first"), call(&second, "second"));
            for (message, (before, answer)) in [("first", first), ("second", second)] {
                let told: Vec<_> = before
                    .iter()
                    .map(|report| (&report["params"]["progressToken"], &report["params"]["message"]))
                    .collect();
                assert_eq!(told, [(&token, &json!(message)); 3], "{era}");
                assert!(answer["result"].is_object(), "{era}: {answer}");
            }
            let mut calls = one.heard_of("tools/call");
            let (last, other) = (calls.pop().unwrap(), calls.pop().unwrap());
            assert_eq!(last.pid, other.pid, "{era}");
            let token = |call: &lockgate_e2e::scripted::Heard| call.json()["params"]["_meta"]["progressToken"].clone();
            assert_ne!(token(&last), token(&other), "{era}");
        }
    }
}

#[tokio::test]
async fn progress_comes_back_with_the_token_as_it_was() {
    let pair = pair(tools(&["progress"]), tools(&["progress"]), "").await;
    for client in pair.clients().await {
        for token in [json!(0), json!("p"), json!(-1), json!("")] {
            // Two calls at a time at two backends, with one token.
            let call = async |tool: &str| {
                let params = json!({"name": tool, "arguments": {}, "_meta": {"progressToken": token}});
                client.stream("tools/call", params).await.answer().await
            };
            let (one, two) = tokio::join!(call("one__progress"), call("two__progress"));
            for (before, answer) in [one, two] {
                assert_eq!(before.len(), 3, "{before:?}");
                assert!(before.iter().all(|report| report["params"]["progressToken"] == token), "{before:?}");
                assert!(!answer["result"].is_null(), "{answer}");
            }
        }
    }
}

#[tokio::test]
async fn cancellation_reaches_the_backend_that_works_and_no_other() {
    let pair = pair(tools(&["wait", "echo"]), tools(&["wait", "echo"]), "").await;
    let client = pair.legacy().await;
    assert_eq!(client.tool("two__echo", json!({})).await.status, 200);
    let mut body = client
        .body("tools/call", json!({"name": "one__wait", "arguments": {"milliseconds": 60_000, "token": "legacy"}}));
    body["id"] = json!("to-be-cancelled");
    let request = tokio::spawn(client.post(&body).send());
    until("the call at the backend", async || (pair.one.outcomes("legacy") == ["begun"]).then_some(())).await;
    assert_eq!(client.notify("notifications/cancelled", json!({"requestId": "to-be-cancelled"})).await.status, 202);
    until("its end", async || (pair.one.outcomes("legacy") == ["begun", "cancelled"]).then_some(())).await;
    assert!(pair.two.heard_of("notifications/cancelled").is_empty());
    drop(request);
    // Nobody is told of requests that are over, or that were somebody else's.
    let other = pair.legacy().await;
    assert_eq!(other.tool("one__echo", json!({})).await.status, 200);
    assert_eq!(other.notify("notifications/cancelled", json!({"requestId": "to-be-cancelled"})).await.status, 202);
    assert_eq!(pair.one.heard_of("notifications/cancelled").len(), 1);

    // In the modern era going away is cancelling.
    let client = pair.modern();
    let params = json!({"name": "two__wait", "arguments": {"milliseconds": 60_000, "token": "modern"}});
    let stream = client.stream("tools/call", params).await;
    until("the call at the backend", async || (pair.two.outcomes("modern") == ["begun"]).then_some(())).await;
    drop(stream);
    until("its end", async || (pair.two.outcomes("modern") == ["begun", "cancelled"]).then_some(())).await;
}

#[tokio::test]
async fn changed_roots_are_told_where_a_session_is_open() {
    let pair = pair(tools(&["echo"]), tools(&["echo"]), "").await;
    let (client, other) = (pair.legacy().await, pair.legacy().await);
    assert_eq!(client.tool("one__echo", json!({})).await.status, 200);
    assert_eq!(other.tool("two__echo", json!({})).await.status, 200);
    assert_eq!(client.notify("notifications/roots/list_changed", json!({})).await.status, 202);
    let method = "notifications/roots/list_changed";
    until("the notification", async || (!pair.one.heard_of(method).is_empty()).then_some(())).await;
    assert_eq!(pair.one.heard_of(method)[0].session, pair.one.heard_of("tools/call")[0].session);
    assert!(pair.two.heard_of(method).is_empty(), "this client has no session there");
}

#[tokio::test]
async fn roots_that_change_while_a_session_is_opened_are_told_there() {
    let mut pair = pair(tools(&["echo"]), tools(&["echo"]), "").await;
    let client = pair.legacy().await;
    let method = "notifications/roots/list_changed";
    // Said before there is a session, it concerns none.
    assert_eq!(client.notify(method, json!({})).await.status, 202);
    let opened = pair.one.heard_of("initialize").len();
    pair.one.delay("initialize", 1500);
    let call = {
        let client = client.clone();
        tokio::spawn(async move { client.tool("one__echo", json!({})).await })
    };
    until("the new session", async || (pair.one.heard_of("initialize").len() > opened).then_some(())).await;
    assert_eq!(client.notify(method, json!({})).await.status, 202);
    assert_eq!(call.await.expect("an answer").status, 200);
    assert_eq!(pair.one.heard_of(method).len(), 1);
    assert_eq!(pair.one.heard_of(method)[0].session, pair.one.heard_of("tools/call")[0].session);
}

/// What a client asks of a session at one backend does not wait for another backend.
#[tokio::test]
async fn a_batch_goes_to_several_backends() {
    let mut two = tools(&["echo"]);
    two["faults"] = json!({"tools/call echo": "slow"});
    let pair = pair(tools(&["echo"]), two, "").await;
    let client = Mcp::legacy(&pair.gateway.mcp(), "2025-03-26").await;
    let call =
        |id: Value, name: &str| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": name}});
    let batch = json!([
        call(json!("a"), "two__echo"),
        call(json!(0), "one__echo"),
        call(json!(-1), "one__nothing"),
        {"jsonrpc": "2.0", "id": "l", "method": "tools/list"},
        {"jsonrpc": "2.0", "id": "p", "method": "ping"},
    ]);
    let response = client.post(&batch).send().await.unwrap();
    let is_stream = response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream");
    let answers: Vec<Value> = if is_stream {
        let mut events = Events::new(response);
        let mut answers = Vec::new();
        while let Some(event) = events.next().await {
            match event.json() {
                Value::Array(several) => answers.extend(several),
                one => answers.push(one),
            }
        }
        answers
    } else {
        response.json().await.unwrap()
    };
    let of =
        |id: Value| answers.iter().find(|answer| answer["id"] == id).unwrap_or_else(|| panic!("{id}: {answers:?}"));
    assert_eq!(of(json!("a"))["result"]["content"][0]["text"], "good");
    assert_eq!(of(json!(0))["result"]["content"][0]["text"], "absent");
    assert_eq!(of(json!(-1))["error"]["code"], -32602);
    assert_eq!(of(json!("l"))["result"]["tools"].as_array().map(Vec::len), Some(2));
    assert_eq!(of(json!("p"))["result"], json!({}));
    assert_eq!(answers.len(), 5, "{answers:?}");
}

/// Some backends report on the stream on which they speak of their own accord; that is listened to, though a client that
/// cannot be asked anything would otherwise hear nothing there.
#[tokio::test]
async fn progress_that_is_told_aside_reaches_a_client_that_cannot_be_asked() {
    let mut offer = tools(&["forge", "echo", "wait"]);
    offer["eras"] = json!("legacy");
    let pair = pair(offer, tools(&["echo"]), "").await;
    let mut client = Mcp { session: None, ..pair.legacy().await };
    let params =
        json!({"protocolVersion": client.revision, "capabilities": {}, "clientInfo": {"name": "e", "version": "1"}});
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    let opened = Answer::read(client.post(&body).send().await.expect("an answer")).await;
    client.session = opened.header("mcp-session-id").map(str::to_owned);
    assert_eq!(client.notify("notifications/initialized", json!({})).await.status, 202);
    let mut news = client.listen(None).await;
    assert_eq!(client.tool("one__echo", json!({})).await.status, 200);
    // The gateway listens for itself, too.
    let session = pair.one.heard_of("tools/call")[0].session.clone();
    let gets = || pair.one.heard().iter().filter(|heard| heard.method == "GET" && heard.session == session).count();
    let call = async |name: &str, arguments: Value| {
        let params = json!({"name": name, "arguments": arguments, "_meta": {"progressToken": "own"}});
        client.send("tools/call", params).await
    };
    assert_eq!(gets(), 0, "nothing could be heard");
    assert_eq!(call("one__echo", json!({})).await.status, 200);
    until("the backend's stream", async || (gets() == 1).then_some(())).await;
    let report = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "own", "progress": 1}});
    // It is still under way when it is reported on.
    let meta = json!({"progressToken": "own"});
    let held = json!({"name": "one__wait", "arguments": {"milliseconds": 120_000}, "_meta": meta});
    let _held = client.stream("tools/call", held).await;
    assert_eq!(call("one__forge", json!({"messages": [report], "aside": true})).await.text(), "forged");
    assert_eq!(news.notification("notifications/progress").await["params"]["progressToken"], "own");
}
