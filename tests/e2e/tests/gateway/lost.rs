//! What becomes of a legacy session when something behind the gateway is lost or moved: clients never open their sessions
//! again, so the gateway does, and says what it cannot bring back.

use lockgate_e2e::events::Events;
use lockgate_e2e::gateway::{TOKEN, config, config_with};
use lockgate_e2e::mcp::NEWEST_LEGACY;
use lockgate_e2e::{Answer, Fixture, Gateway, Mcp, until};
use serde_json::{Value, json};
use tokio::task::JoinSet;

async fn stateful() -> (Fixture, Gateway, Mcp) {
    let fixture = Fixture::start("stateful");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
    (fixture, gateway, client)
}

async fn open_sessions(fixture: &Fixture) -> Vec<Value> {
    fixture.state().await["sessions"].as_array().expect("sessions").clone()
}

async fn listening(fixture: &Fixture) {
    until("the GET stream at the backend", async || {
        open_sessions(fixture).await.iter().any(|session| session["listening"] == true).then_some(())
    })
    .await;
}

/// An `initialize` whose answer may be a refusal.
async fn initialize(gateway: &Gateway) -> Answer {
    let mut client = Mcp::modern(&gateway.mcp());
    client.revision = NEWEST_LEGACY.to_owned();
    let params =
        json!({"protocolVersion": NEWEST_LEGACY, "capabilities": {}, "clientInfo": {"name": "e2e", "version": "1"}});
    let body = json!({"jsonrpc": "2.0", "id": "open", "method": "initialize", "params": params});
    Answer::read(client.post(&body).send().await.expect("an answer")).await
}

/// A client's stream of what it has subscribed to, on which the backend has told it something.
async fn subscribed(fixture: &Fixture, client: &Mcp) -> Events {
    client.send("resources/subscribe", json!({"uri": "state:watched"})).await;
    let mut stream = client.listen(None).await;
    listening(fixture).await;
    fixture.poke("state:watched").await;
    stream.notification("notifications/resources/updated").await;
    stream
}

/// The first thing that a listening client does after a backend restart is to come back with its last event.
#[tokio::test]
async fn a_listener_goes_on_after_the_backend_restarted() {
    let (fixture, _gateway, client) = stateful().await;
    let mut stream = subscribed(&fixture, &client).await;
    fixture.forget().await;
    while stream.next().await.is_some() {}
    let last = stream.last_id.clone().expect("an event id");

    let mut stream = client.listen(Some(&last)).await;
    assert_eq!(stream.status, 200);
    // What was announced meanwhile is lost, so the lists are to be asked for again.
    stream.notification("notifications/tools/list_changed").await;
    stream.notification("notifications/resources/list_changed").await;
    listening(&fixture).await;
    assert_eq!(fixture.poke("state:watched").await, 1);
    stream.notification("notifications/resources/updated").await;
    let journal = fixture.journal().await;
    let newest = journal.iter().rfind(|request| request.method == "GET").expect("a GET");
    assert_eq!(newest.header("last-event-id"), None, "the new session knows nothing of the old one's events");
}

/// The same when a call was faster than the listener: its stream ends, and the next one comes from the new session.
#[tokio::test]
async fn a_listener_follows_its_session_when_a_call_opened_it_again() {
    let (fixture, _gateway, client) = stateful().await;
    let mut stream = subscribed(&fixture, &client).await;
    fixture.forget().await;
    while stream.next().await.is_some() {}
    assert_eq!(client.tool("count", json!({})).await.text(), "1");
    for last in [stream.last_id.as_deref(), Some("never-seen-here")] {
        let mut stream = client.listen(last).await;
        assert_eq!(stream.status, 200, "{last:?}");
        listening(&fixture).await;
        fixture.poke("state:watched").await;
        stream.notification("notifications/resources/updated").await;
        drop(stream);
        fixture.forget().await;
        assert_eq!(client.tool("count", json!({})).await.text(), "1");
    }
}

/// An answer that was on its way when the backend lost the session never comes: who asks for it is told so, once.
#[tokio::test]
async fn an_answer_lost_with_its_session_is_said_to_be_lost() {
    let (fixture, _gateway, client) = stateful().await;
    let body = client.body("tools/call", json!({"name": "slow", "arguments": {"milliseconds": 60_000}}));
    let mut stream = Events::new(client.post(&body).send().await.unwrap());
    stream.next().await.expect("a priming event");
    fixture.forget().await;
    while stream.next().await.is_some() {}
    for _ in 0..2 {
        let mut resumed = client.listen(stream.last_id.as_deref()).await;
        let (_, answer) = resumed.answer().await;
        assert_eq!((answer["id"].clone(), answer["error"]["code"].clone()), (body["id"].clone(), json!(-31001)));
        assert!(answer["error"]["message"].as_str().unwrap().contains("backend"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_open_a_lost_session_once() {
    let (fixture, _gateway, client) = stateful().await;
    for _ in 0..3 {
        fixture.forget().await;
        let mut calls = JoinSet::new();
        for _ in 0..16 {
            let client = client.clone();
            calls.spawn(async move { client.tool("count", json!({})).await.text().parse::<u64>().expect("a number") });
        }
        let mut counts = calls.join_all().await;
        counts.sort_unstable();
        assert_eq!(counts, (1..=16).collect::<Vec<_>>());
        assert_eq!(open_sessions(&fixture).await.len(), 1);
    }
}

/// A request that opens a session again while its client ends it: whoever wins, nothing stays open at the backend.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_ended_while_it_is_opened_again_leaves_nothing_behind() {
    let (fixture, gateway, _) = stateful().await;
    for round in 0..8 {
        let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
        fixture.forget().await;
        let mut calls = JoinSet::new();
        for _ in 0..4 {
            let client = client.clone();
            calls.spawn(async move { client.tool("count", json!({})).await.status });
        }
        tokio::time::sleep(std::time::Duration::from_millis(round)).await;
        assert_eq!(client.delete().await.status, 200);
        for status in calls.join_all().await {
            assert!(matches!(status, 200 | 404), "{status}");
        }
        assert_eq!(client.tool("count", json!({})).await.status, 404);
        until("the end at the backend", async || open_sessions(&fixture).await.is_empty().then_some(())).await;
    }
}

/// A call that is waited for ends with its session, whichever form its answer was to have.
#[tokio::test]
async fn delete_ends_calls_in_flight() {
    let (fixture, _gateway, client) = stateful().await;
    let slow = json!({"name": "slow", "arguments": {"milliseconds": 60_000}});
    let mut stream = client.stream("tools/call", slow).await;
    stream.next().await.expect("a priming event");
    assert_eq!(client.delete().await.status, 200);
    while stream.next().await.is_some() {}
    until("the end at the backend", async || open_sessions(&fixture).await.is_empty().then_some(())).await;

    let fixture = Fixture::start("fault");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
    let pending = {
        let client = client.clone();
        tokio::spawn(async move { client.tool("fault-never", json!({})).await })
    };
    until("the call at the backend", async || {
        fixture.journal().await.iter().any(|request| request.contains("fault-never")).then_some(())
    })
    .await;
    assert_eq!(client.delete().await.status, 200);
    let answer = tokio::time::timeout(lockgate_e2e::wait::PATIENCE, pending).await.expect("an answer").unwrap();
    assert_eq!(answer.code(), (404, -32600), "{answer:?}");

    let client = Mcp::legacy(&gateway.mcp(), "2025-03-26").await;
    let batch = {
        let client = client.clone();
        let member = json!({"jsonrpc": "2.0", "id": "m", "method": "tools/call", "params": {"name": "fault-never"}});
        tokio::spawn(async move { Answer::read(client.post(&json!([member])).send().await.unwrap()).await })
    };
    until("the batch at the backend", async || {
        fixture.journal().await.iter().any(|request| request.json()["id"] == "m").then_some(())
    })
    .await;
    assert_eq!(client.delete().await.status, 200);
    let answer = tokio::time::timeout(lockgate_e2e::wait::PATIENCE, batch).await.expect("an answer").unwrap();
    assert_eq!(answer.json()[0]["error"]["code"], -32600, "{answer:?}");
}

/// A session that this node gave up for want of use comes back when its client does.
#[tokio::test]
async fn an_idle_session_makes_room_and_comes_back() {
    let fixture = Fixture::start("stateful");
    let limits = "limits: { sessions: 1, session_idle: 1s }\n";
    let gateway = Gateway::start(&config_with(fixture.url(), "", limits)).await;
    let first = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
    assert_eq!(first.tool("count", json!({})).await.text(), "1");
    let refused = initialize(&gateway).await;
    assert_eq!(refused.code(), (503, -31003), "{refused:?}");
    assert_eq!(refused.json()["id"], "open");
    assert_eq!(open_sessions(&fixture).await.len(), 1, "a refused client opens nothing at the backend");

    let second = until("room", async || Some(initialize(&gateway).await).filter(|answer| answer.status == 200)).await;
    assert!(second.header("mcp-session-id").is_some());
    until("the end of the idle session", async || (open_sessions(&fixture).await.len() == 1).then_some(())).await;
    let count = until("the idle session's return", async || {
        let answer = first.tool("count", json!({})).await;
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        (answer.status == 200).then(|| (answer.text(), answer.is_healed()))
    })
    .await;
    assert_eq!(count, ("1".to_owned(), true), "what the backend held for it is gone, and its client is told so");
    until("one session in all", async || (open_sessions(&fixture).await.len() == 1).then_some(())).await;
}

/// A backend of the same name at another URL is another server: it never sees the first one's session ids.
#[tokio::test]
async fn a_session_moves_when_its_backend_moves() {
    let (first, second) = (Fixture::start("stateful"), Fixture::start("stateful"));
    // Nothing is probed, so that the fixtures number their sessions alike.
    let at = |fixture: &Fixture| config_with(fixture.url(), "    protocol: legacy\n", "");
    let gateway = Gateway::start(&at(&first)).await;
    let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
    // A session with the id that our client's has at the first.
    let stranger = Mcp::legacy(second.url(), NEWEST_LEGACY).await;
    client.send("logging/setLevel", json!({"level": "error"})).await;
    client.send("resources/subscribe", json!({"uri": "state:watched"})).await;
    assert_eq!(client.tool("count", json!({})).await.text(), "1");
    assert_eq!(stranger.tool("count", json!({})).await.text(), "1");
    let mut stream = client.listen(None).await;
    listening(&first).await;

    gateway.write(&at(&second));
    assert_eq!(gateway.reload().await.0, 200);
    assert_eq!(client.tool("count", json!({})).await.text(), "1", "a session of its own");
    assert_eq!(stranger.tool("count", json!({})).await.text(), "2");
    assert_eq!(client.tool("level", json!({})).await.text(), "error");
    while stream.next().await.is_some() {}
    let mut stream = client.listen(None).await;
    stream.notification("notifications/tools/list_changed").await;
    listening(&second).await;
    assert_eq!(second.poke("state:watched").await, 1);
    stream.notification("notifications/resources/updated").await;
}

/// DELETE ends the session wherever a reload has left it.
#[tokio::test]
async fn delete_reaches_every_backend_that_the_session_was_at() {
    let (first, second) = (Fixture::start("stateful"), Fixture::start("stateful"));
    let both = |used: &str| {
        let backends = format!(
            "backends:\n  one:\n    endpoints:\n      - url: {}\n  two:\n    endpoints:\n      - url: {}\n",
            first.url(),
            second.url()
        );
        format!(
            "listeners:\n  main:\n    address: 127.0.0.1:@PORT@\n\
             admin:\n  address: 127.0.0.1:@ADMIN@\n  token: {TOKEN}\n\
             state_dir: @FOLDER@/state\n{backends}\
             virtual_servers:\n  default:\n    path: /mcp\n    backends: [{used}]\n"
        )
    };
    let gateway = Gateway::start(&both("one")).await;
    let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
    assert_eq!(client.tool("count", json!({})).await.text(), "1");
    gateway.write(&both("two"));
    assert_eq!(gateway.reload().await.0, 200);
    assert_eq!(client.tool("count", json!({})).await.text(), "1");
    assert_eq!((open_sessions(&first).await.len(), open_sessions(&second).await.len()), (1, 1));
    assert_eq!(client.delete().await.status, 200);
    assert_eq!((open_sessions(&first).await.len(), open_sessions(&second).await.len()), (0, 0));
}

/// A backend that wants the client's own credentials wants them in what the gateway says for the client too.
#[tokio::test]
async fn forwarded_credentials_go_with_everything_a_session_needs() {
    let fixture = Fixture::start("stateful");
    // Given, so that nothing is probed: a probe has no client whose credentials it could carry.
    let backend = "    protocol: legacy\n    forward_headers: [authorization]\n";
    let gateway = Gateway::start(&config_with(fixture.url(), backend, "")).await;
    let mut client = Mcp::modern(&gateway.mcp());
    let mut headers = http::HeaderMap::new();
    headers.insert("authorization", "Bearer the-client's".parse().unwrap());
    client.http = reqwest_with(headers);
    client.revision = NEWEST_LEGACY.to_owned();
    let params =
        json!({"protocolVersion": NEWEST_LEGACY, "capabilities": {}, "clientInfo": {"name": "e2e", "version": "1"}});
    let opened = client.send("initialize", params).await;
    client.session = opened.header("mcp-session-id").map(str::to_owned);
    client.notify("notifications/initialized", json!({})).await;
    client.send("logging/setLevel", json!({"level": "error"})).await;
    client.send("resources/subscribe", json!({"uri": "state:watched"})).await;
    fixture.forget().await;
    assert_eq!(client.tool("count", json!({})).await.text(), "1");
    assert_eq!(client.delete().await.status, 200);
    let journal = fixture.journal().await;
    assert!(journal.iter().any(|request| request.method == "DELETE"), "{journal:?}");
    for request in &journal {
        assert_eq!(request.header("authorization"), Some("Bearer the-client's"), "{request:?}");
    }
}

fn reqwest_with(headers: http::HeaderMap) -> reqwest::Client {
    lockgate_e2e::mcp::install_crypto();
    reqwest::Client::builder().no_proxy().default_headers(headers).build().expect("an HTTP client")
}
