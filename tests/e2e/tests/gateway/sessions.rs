//! The legacy era: sessions, the GET stream, replay, questions to the client, batches, and what a lost backend session
//! means.

use lockgate_e2e::gateway::{config, config_with};
use lockgate_e2e::{Fixture, Gateway, Mcp, until};
use serde_json::{Value, json};

async fn stateful() -> (Fixture, Gateway) {
    let fixture = Fixture::start("stateful");
    let gateway = Gateway::start(&config(fixture.url())).await;
    (fixture, gateway)
}

/// Waits until the backend sees the session's GET stream.
async fn listening(fixture: &Fixture) {
    until("the GET stream at the backend", async || {
        let state = fixture.state().await;
        state["sessions"].as_array()?.iter().any(|session| session["listening"] == true).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_session_here_is_one_session_there() {
    let (fixture, gateway) = stateful().await;
    for revision in lockgate_e2e::mcp::LEGACY {
        let (one, two) = (Mcp::legacy(&gateway.mcp(), revision).await, Mcp::legacy(&gateway.mcp(), revision).await);
        assert_ne!(one.session, two.session);
        assert_eq!(one.tool("count", json!({})).await.text(), "1", "{revision}");
        assert_eq!(one.tool("count", json!({})).await.text(), "2", "{revision}");
        assert_eq!(two.tool("count", json!({})).await.text(), "1", "{revision}");
    }
    let state = fixture.state().await;
    let seen: Vec<_> =
        state["sessions"].as_array().unwrap().iter().map(|session| session["revision"].clone()).collect();
    assert!(seen.contains(&json!("2025-03-26")) && seen.contains(&json!("2025-11-25")), "{seen:?}");
    assert!(state["sessions"][0]["client"]["clientInfo"].is_object(), "{state}");
}

#[tokio::test]
async fn updates_arrive_on_the_get_stream() {
    let (fixture, gateway) = stateful().await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    let mut stream = client.listen(None).await;
    assert_eq!(stream.status, 200);
    client.send("resources/subscribe", json!({"uri": "state:watched"})).await;
    listening(&fixture).await;
    assert_eq!(fixture.poke("state:watched").await, 1);
    let update = stream.notification("notifications/resources/updated").await;
    assert_eq!(update["params"]["uri"], "state:watched");
    client.send("resources/unsubscribe", json!({"uri": "state:watched"})).await;
    assert_eq!(fixture.poke("state:watched").await, 0);
}

#[tokio::test]
async fn events_missed_are_replayed() {
    let (fixture, gateway) = stateful().await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    client.send("resources/subscribe", json!({"uri": "state:watched"})).await;
    let mut stream = client.listen(None).await;
    listening(&fixture).await;
    fixture.poke("state:watched").await;
    stream.notification("notifications/resources/updated").await;
    let last = stream.last_id.clone().expect("an event id");
    drop(stream);
    for _ in 0..3 {
        fixture.poke("state:watched").await;
    }
    let mut stream = client.listen(Some(&last)).await;
    for _ in 0..3 {
        stream.notification("notifications/resources/updated").await;
    }
}

/// A disconnect cancels nothing in this era: the call goes on, and its stream can be resumed.
#[tokio::test]
async fn a_call_outlives_its_connection() {
    let (fixture, gateway) = stateful().await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    let arguments = json!({"milliseconds": 1000, "token": "outlives"});
    let params = json!({"name": "slow", "arguments": arguments, "_meta": {"progressToken": "p"}});
    let mut stream = client.stream("tools/call", params).await;
    stream.next().await.expect("a first event");
    let last = stream.last_id.clone().expect("an event id");
    drop(stream);
    let mut resumed = client.listen(Some(&last)).await;
    let (before, answer) = resumed.answer().await;
    assert_eq!(answer["result"]["content"][0]["text"], "took 1000 ms");
    assert!(before.iter().all(|message| message["params"]["progressToken"] == "p"), "{before:?}");
    let executions = fixture.state().await["executions"].clone();
    let runs = executions.as_array().unwrap().iter().filter(|run| run["token"] == "outlives").count();
    assert_eq!(runs, 1, "{executions}");
}

/// The backend closes the stream on purpose; the client polls.
#[tokio::test]
async fn a_stream_that_the_backend_closes_can_be_resumed() {
    let (_fixture, gateway) = stateful().await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    let arguments = json!({"milliseconds": 500, "disconnect": true});
    let mut stream = client.stream("tools/call", json!({"name": "slow", "arguments": arguments})).await;
    let priming = stream.next().await.expect("a priming event");
    assert_eq!(priming.data, "");
    let mut answer = None;
    while let Some(event) = stream.next().await {
        answer = answer.or(event.json().get("result").cloned());
    }
    assert!(!stream.broken, "the stream broke off");
    if answer.is_none() {
        let mut resumed = client.listen(stream.last_id.as_deref()).await;
        answer = resumed.answer().await.1.get("result").cloned();
    }
    assert_eq!(answer.expect("an answer")["content"][0]["text"], "took 500 ms");
}

#[tokio::test]
async fn questions_reach_the_client_and_answers_the_backend() {
    let (_fixture, gateway) = stateful().await;
    let (one, two) = (Mcp::legacy(&gateway.mcp(), "2025-11-25").await, Mcp::legacy(&gateway.mcp(), "2025-11-25").await);
    let asked = json!({"name": "ask", "arguments": {}});
    let mut first = one.stream("tools/call", asked.clone()).await;
    let mut second = two.stream("tools/call", asked).await;
    let (question_one, question_two) =
        (first.notification("elicitation/create").await, second.notification("elicitation/create").await);
    assert_eq!(question_one["params"]["message"], "What is your name?");
    let reply = |question: &Value, name: &str| json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"name": name}}});
    // Answered crosswise in time: each answer belongs to its own session, even if the ids are the same.
    for (client, question, name) in [(&two, &question_two, "Two"), (&one, &question_one, "One")] {
        let status = client.post(&reply(question, name)).send().await.unwrap().status();
        assert_eq!(status, 202);
    }
    assert_eq!(first.answer().await.1["result"]["content"][0]["text"], "One");
    assert_eq!(second.answer().await.1["result"]["content"][0]["text"], "Two");
}

#[tokio::test]
async fn cancellation_reaches_the_backend() {
    let (fixture, gateway) = stateful().await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    let body =
        client.body("tools/call", json!({"name": "slow", "arguments": {"milliseconds": 60_000, "token": "cancelled"}}));
    let mut stream = lockgate_e2e::events::Events::new(client.post(&body).send().await.unwrap());
    stream.next().await.expect("a priming event");
    let answer = client.notify("notifications/cancelled", json!({"requestId": body["id"]})).await;
    assert_eq!(answer.status, 202);
    until("the cancellation", async || {
        let state = fixture.state().await;
        state["executions"].as_array()?.iter().any(|run| run["outcome"] == "cancelled").then_some(())
    })
    .await;
}

#[tokio::test]
async fn batches_of_2025_03_26_are_answered_together() {
    let (fixture, gateway) = stateful().await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-03-26").await;
    let call = |id: Value, token: &str| {
        let params = json!({"name": "count", "arguments": {"token": token}});
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
    };
    let batch = json!([
        call(json!("a"), "one"),
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}},
        call(json!(7), "two"),
        {"jsonrpc": "2.0", "id": "p", "method": "ping"},
    ]);
    let answer = lockgate_e2e::Answer::read(client.post(&batch).send().await.unwrap()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answers = answer.json();
    let mut ids: Vec<_> =
        answers.as_array().unwrap_or_else(|| panic!("{answer:?}")).iter().map(|each| each["id"].to_string()).collect();
    ids.sort();
    assert_eq!(ids, ["\"a\"", "\"p\"", "7"]);
    let state = fixture.state().await;
    assert_eq!(state["executions"].as_array().map(Vec::len), Some(2), "{state}");
    let only_notifications = json!([{"jsonrpc": "2.0", "method": "notifications/initialized"}]);
    assert_eq!(client.post(&only_notifications).send().await.unwrap().status(), 202);
}

#[tokio::test]
async fn delete_ends_the_session_on_both_sides() {
    let (fixture, gateway) = stateful().await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    let mut stream = client.listen(None).await;
    listening(&fixture).await;
    let answer = client.delete().await;
    // The Python SDK complains about any other success.
    assert!(matches!(answer.status, 200 | 204), "{answer:?}");
    until("the end at the backend", async || fixture.state().await["sessions"].as_array()?.is_empty().then_some(()))
        .await;
    while stream.next().await.is_some() {}
    assert_eq!(client.tool("count", json!({})).await.status, 404);
    assert_eq!(client.listen(None).await.status, 404);
    assert_eq!(client.delete().await.status, 404);
}

/// The backend has lost the session (it restarted). The client does not notice: a new upstream session gets the level
/// and the subscriptions of the old one, and the call runs once.
#[tokio::test]
async fn a_session_that_the_backend_lost_is_opened_again() {
    let (fixture, gateway) = stateful().await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    client.send("logging/setLevel", json!({"level": "error"})).await;
    client.send("resources/subscribe", json!({"uri": "state:watched"})).await;
    assert_eq!(client.tool("count", json!({})).await.text(), "1");
    fixture.forget().await;
    let answer = client.tool("count", json!({"token": "after"})).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "1"), "{answer:?}");
    assert_eq!(client.tool("level", json!({})).await.text(), "error");
    let state = fixture.state().await;
    assert_eq!(state["sessions"].as_array().map(Vec::len), Some(1), "{state}");
    assert_eq!(state["sessions"][0]["subscriptions"], json!(["state:watched"]), "{state}");
    let runs = state["executions"].as_array().unwrap().iter().filter(|run| run["token"] == "after").count();
    assert_eq!(runs, 1, "{state}");
}

/// A session leaves memory when nobody uses it and another needs the room. Its client does not notice: what it had set is
/// told to the new upstream session, also after a restart in between.
#[tokio::test]
async fn a_session_that_was_given_up_has_its_level_and_subscriptions_back() {
    let fixture = Fixture::start("stateful");
    let limits = "limits: { session_idle: 1s, sessions: 1 }\n";
    let mut gateway = Gateway::start(&config_with(fixture.url(), "", limits)).await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    client.send("logging/setLevel", json!({"level": "error"})).await;
    client.send("resources/subscribe", json!({"uri": "state:watched"})).await;
    for restart in [false, true] {
        let state = fixture.state().await;
        let ours = |session: &&Value| session["subscriptions"] == json!(["state:watched"]);
        let before = state["sessions"].as_array().unwrap().iter().find(ours).expect("its session")["id"].clone();
        // Another client takes the only place as soon as it is free.
        until("the session is given up", async || {
            let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "other", "version": "1"}});
            let mut other = client.clone();
            other.session = None;
            let answer = other.post(&other.body("initialize", params)).send().await.ok()?;
            (answer.status() == 200).then_some(())
        })
        .await;
        until("its end at the backend", async || {
            let state = fixture.state().await;
            state["sessions"].as_array()?.iter().all(|session| session["id"] != before).then_some(())
        })
        .await;
        if restart {
            gateway.restart().await;
        }
        let level = until("the client comes back", async || {
            let answer = client.tool("level", json!({})).await;
            (answer.status == 200).then(|| answer.text())
        })
        .await;
        assert_eq!(level, "error");
        let state = fixture.state().await;
        assert_eq!(state["sessions"].as_array().unwrap().iter().filter(ours).count(), 1, "{state}");
    }
    until("an end at the backend of every session that nobody has", async || {
        (fixture.state().await["sessions"].as_array()?.len() == 1).then_some(())
    })
    .await;
}

/// In front of a legacy-only backend a modern request is refused in a way that no client takes for a modern server's.
#[tokio::test]
async fn a_legacy_backend_is_not_shown_as_modern() {
    let (_fixture, gateway) = stateful().await;
    for (method, params) in [("server/discover", json!({})), ("tools/call", json!({"name": "count"}))] {
        let answer = Mcp::modern(&gateway.mcp()).send(method, params).await;
        let (status, code) = answer.code();
        assert_eq!(status, 400, "{answer:?}");
        assert!(!(-32099..=-32020).contains(&code), "{answer:?}");
    }
}

#[tokio::test]
async fn a_modern_backend_names_its_revision_to_an_old_client() {
    let fixture = Fixture::start("modern");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
    let mut client = Mcp::modern(&gateway.mcp());
    client.revision = "2025-11-25".to_owned();
    let answer = lockgate_e2e::Answer::read(client.post(&body).send().await.unwrap()).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(String::from_utf8_lossy(&answer.body).contains("2026-07-28"), "{answer:?}");
}
