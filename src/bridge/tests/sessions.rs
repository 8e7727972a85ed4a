//! Legacy sessions: kept, listened to, lost and opened again, ended.

use super::*;
use std::sync::atomic::AtomicBool;

#[tokio::test]
async fn a_legacy_session_is_kept_listened_to_and_ended() {
    let ping = json!({ "jsonrpc": "2.0", "id": "s", "method": "ping" });
    let asked = ping.clone();
    let (address, mut journal) = scripted(move |name, request| match name {
        "initialize" => Act::Say(opened(request)),
        "GET" => Act::Hold(events(&event(&asked))),
        "tools/list" => Act::Say(result(request, json!({ "tools": [] }))),
        _ => accepted(),
    })
    .await;
    let mut client = Client::of(address);
    client.say(initialize()).await;
    assert_eq!(client.hear().await["result"]["protocolVersion"], "2025-06-18");
    client.say(initialized()).await;
    assert_eq!(client.hear().await, ping);
    client.say(json!({ "jsonrpc": "2.0", "id": "s", "result": {} })).await;
    client.say(legacy(1, "tools/list", json!({}))).await;
    assert_eq!(client.hear().await["id"], 1);

    let (name, first) = next(&mut journal).await;
    assert_eq!((name.as_str(), first.field("mcp-session-id")), ("initialize", None));
    let (name, second) = next(&mut journal).await;
    assert_eq!(name, "notifications/initialized");
    assert_eq!(second.field("mcp-session-id"), Some("s1"));
    assert_eq!(second.field("mcp-protocol-version"), Some("2025-06-18"));
    let stream = until(&mut journal, "GET").await;
    assert_eq!((stream.field("mcp-session-id"), stream.field("last-event-id")), (Some("s1"), None));
    assert_eq!(client.end().await, Vec::<Value>::new());
    let end = until(&mut journal, "DELETE").await;
    assert_eq!(end.field("mcp-session-id"), Some("s1"));
}

#[tokio::test]
async fn a_cut_stream_is_taken_up_where_it_ended() {
    let (address, mut journal) = scripted(|name, request| match (name, request.field("last-event-id")) {
        ("initialize", _) => Act::Say(opened(request)),
        ("tools/call", _) => {
            let note = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": {} });
            Act::Last(events(&format!("id: e1\nretry: 5\ndata:\n\nid: e2\n{}data: noise\n\n", event(&note))))
        }
        ("GET", Some("e2")) => Act::Say(answer("503 Service Unavailable", "", "")),
        ("lost", _) => Act::Last(events("data: {}\n\n")),
        _ => accepted(),
    })
    .await;
    let mut client = Client::of(address).opened().await;
    client.say(legacy(3, "tools/call", json!({ "name": "x" }))).await;
    let note = client.hear().await;
    assert_eq!(note["method"], "notifications/message", "{note}");
    let again = until(&mut journal, "GET").await;
    assert_eq!((again.field("last-event-id"), again.field("mcp-session-id")), (Some("e2"), Some("s1")));
    // A server that does not go on is asked a few times, then the client is told.
    assert_eq!(client.hear().await["error"]["code"], -31001);
    client.say(legacy(4, "lost", json!({}))).await;
    assert_eq!(client.hear().await["id"], 4);
    client.end().await;
}

#[tokio::test]
async fn the_rest_of_a_cut_stream_is_brought() {
    let (address, _journal) = scripted(|name, request| match (name, request.field("last-event-id")) {
        ("initialize", _) => Act::Say(opened(request)),
        ("tools/call", _) => Act::Last(events("id: 1\nretry: 1\ndata:\n\n")),
        ("GET", Some("1")) => Act::Last(events("id: 2\ndata:\n\n")),
        ("GET", Some("2")) => {
            let answer = json!({ "jsonrpc": "2.0", "id": 3, "result": { "x": 1 } });
            Act::Last(events(&event(&answer)))
        }
        _ => accepted(),
    })
    .await;
    let mut client = Client::of(address).opened().await;
    client.say(legacy(3, "tools/call", json!({ "name": "x" }))).await;
    assert_eq!(client.hear().await["result"]["x"], 1);
    client.end().await;
}

/// What is the matter with a server that numbers its sessions from 1, and knows the last of them only as long as it likes.
#[derive(Default)]
struct Matter {
    opens: AtomicUsize,
    /// It knows the sessions up to this number no more.
    forgets: AtomicUsize,
    /// How often it refuses to open another.
    refuses: AtomicUsize,
    /// The session whose stream it does not know.
    deaf: AtomicUsize,
    /// It ends a stream.
    cut: Arc<Notify>,
    /// What becomes of an `initialize` but for the first, and of the notification that follows.
    reopens: Option<fn(&Received, &Matter) -> Option<Act>>,
    /// It goes on with what it holds back.
    go: Arc<Notify>,
    /// The next `initialize` is held back.
    holds: AtomicBool,
}

impl Matter {
    fn act(&self, name: &str, request: &Received) -> Act {
        let number = |id: &str| id.strip_prefix('s').and_then(|number| number.parse::<usize>().ok());
        let session = request.field("mcp-session-id").and_then(number);
        let answers =
            |error: Value| Act::Say(answer("404 Not Found", "content-type: application/json\r\n", &error.to_string()));
        let lost = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32001, "message": "Session not found" } });
        if session.is_some_and(|session| session <= self.forgets.load(Relaxed)) {
            return answers(lost);
        }
        let takes_part = name == "initialize" && self.opens.load(Relaxed) > 0 || session == Some(2);
        if let Some(act) = self.reopens.filter(|_| takes_part).and_then(|act| act(request, self)) {
            return act;
        }
        match name {
            "initialize" if self.opens.load(Relaxed) > 0 && count_down(&self.refuses) => {
                Act::Say(answer("503 Service Unavailable", "", ""))
            }
            "initialize" => {
                let opened = self.opened(request);
                if self.holds.swap(false, Relaxed) {
                    Act::Parts(Vec::new(), Arc::clone(&self.go), opened)
                } else {
                    Act::Say(opened)
                }
            }
            "GET" if session == Some(self.deaf.load(Relaxed)) => answers(lost),
            "GET" if request.field("last-event-id").is_none() => {
                Act::Parts(events(""), Arc::clone(&self.cut), Vec::new())
            }
            "tools/call" => Act::Say(result(request, json!({ "session": session }))),
            "unknown" | "missing" => {
                let code = if name == "unknown" { -32601 } else { -32002 };
                answers(json!({ "jsonrpc": "2.0", "id": 9, "error": { "code": code, "message": "m" } }))
            }
            "cut" => {
                self.forgets.store(1, Relaxed);
                Act::Last(events("id: e1\nretry: 1\ndata:\n\n"))
            }
            // A batch.
            "response" if request.body.starts_with(b"[") => {
                let asked: Value = serde_json::from_slice(&request.body).unwrap();
                Act::Say(json(&json!([{ "jsonrpc": "2.0", "id": asked[0]["id"], "result": {} }]).to_string()))
            }
            "resources/subscribe" if String::from_utf8_lossy(&request.body).contains("refused") => {
                let error = json!({ "jsonrpc": "2.0", "id": 0, "error": { "code": -32002, "message": "m" } });
                Act::Say(json(&error.to_string()))
            }
            "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
                Act::Say(result(request, json!({})))
            }
            _ => accepted(),
        }
    }

    /// The answer to an `initialize`, which opens the next session.
    fn opened(&self, request: &Received) -> Vec<u8> {
        let id = format!("mcp-session-id: s{}", self.opens.fetch_add(1, Relaxed) + 1);
        let opened = String::from_utf8(opened(request)).unwrap();
        opened.replacen("mcp-session-id: s1", &id, 1).into_bytes()
    }

    async fn serve(self) -> (SocketAddr, Journal, Arc<Matter>) {
        let matter = Arc::new(self);
        let own = Arc::clone(&matter);
        let (address, journal) = scripted(move |name, request| own.act(name, request)).await;
        (address, journal, matter)
    }
}

/// Takes one off, if there is any left.
fn count_down(left: &AtomicUsize) -> bool {
    left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// Opens a session, and waits until its stream is open.
async fn open(client: &mut Client, journal: &mut Journal) {
    client.say(initialize()).await;
    client.hear().await;
    client.say(initialized()).await;
    assert_eq!(until(journal, "GET").await.field("mcp-session-id"), Some("s1"));
}

fn call(id: u64) -> Value {
    legacy(id, "tools/call", json!({ "name": "x" }))
}

/// The requests that came until now: their names and sessions.
fn seen(journal: &mut Journal) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    while let Ok((name, request)) = journal.try_recv() {
        seen.push((name, request.field("mcp-session-id").unwrap_or_default().to_owned()));
    }
    seen
}

fn count(seen: &[(String, String)], name: &str) -> usize {
    seen.iter().filter(|(seen, _)| seen == name).count()
}

/// What the server did not run is sent again in a session that is opened as the client once did, whoever notices.
#[tokio::test]
async fn a_session_that_the_server_has_lost_is_opened_again() {
    let (address, mut journal, matter) = Matter::default().serve().await;
    let mut client = Client::of(address);
    open(&mut client, &mut journal).await;
    for (method, code) in [("unknown", -32601), ("missing", -32002)] {
        client.say(legacy(9, method, json!({}))).await;
        assert_eq!(client.hear().await["error"]["code"], code, "that is no lost session");
    }
    matter.forgets.store(1, Relaxed);
    for id in [1, 2] {
        client.say(call(id)).await;
    }
    for _ in [1, 2] {
        let answer = client.hear().await;
        assert_eq!(answer["result"]["session"], 2, "{answer}");
    }
    let mut seen = Vec::new();
    while !seen.iter().any(|(name, session)| name == "GET" && session == "s2") {
        let (name, request) = next(&mut journal).await;
        assert!(name != "initialize" || request.body == initialize().to_string().as_bytes());
        seen.push((name, request.field("mcp-session-id").unwrap_or_default().to_owned()));
    }
    assert_eq!((count(&seen, "initialize"), count(&seen, "notifications/initialized")), (1, 1), "{seen:?}");
    // And again.
    matter.forgets.store(2, Relaxed);
    client.say(call(3)).await;
    assert_eq!(client.hear().await["result"]["session"], 3);
    client.end().await;
    assert_eq!(until(&mut journal, "DELETE").await.field("mcp-session-id"), Some("s3"));
}

/// What may have run is not sent again, and a server that opens no other session is not asked for ever.
#[tokio::test]
async fn a_loss_that_cannot_be_mended_is_told() {
    let (address, mut journal, matter) = Matter::default().serve().await;
    let mut client = Client::of(address);
    open(&mut client, &mut journal).await;
    client.say(legacy(4, "cut", json!({}))).await;
    until(&mut journal, "cut").await;
    let told = client.hear().await;
    assert_eq!((&told["id"], &told["error"]["code"]), (&json!(4), &json!(-31006)), "{told}");
    matter.forgets.store(usize::MAX, Relaxed);
    client.say(call(5)).await;
    let told = client.hear().await;
    assert_eq!((&told["id"], &told["error"]["data"]["httpStatus"]), (&json!(5), &json!(404)), "{told}");
    client.end().await;
    assert_eq!(count(&seen(&mut journal), "cut"), 0, "it was sent again");
}

/// However many wait, the server is asked once, and nobody waits longer than one does.
#[tokio::test]
async fn a_renewal_that_fails_fails_for_all_who_waited_for_it() {
    let second = Duration::from_secs(1);
    let refused: fn(&Received, &Matter) -> Option<Act> =
        |_, _| Some(Act::Late(Duration::from_secs(1), answer("503 Service Unavailable", "", "")));
    let silent: fn(&Received, &Matter) -> Option<Act> = |_, _| Some(Act::Hold(Vec::new()));
    for (reopens, renewal, code) in [(refused, LONG, -31003), (silent, second, -31002)] {
        let matter = Matter { reopens: Some(reopens), ..Matter::default() };
        let (address, mut journal, matter) = matter.serve().await;
        let patience = Patience { renewal, ..patience() };
        let mut client = Client::with(address, Limits::default(), patience).opened().await;
        matter.forgets.store(1, Relaxed);
        client.say((1..=5).map(|id| call(id).to_string()).collect::<Vec<_>>().join("\n")).await;
        for _ in 1..=5 {
            let told = client.hear().await;
            assert_eq!(told["error"]["code"], code, "{told}");
        }
        assert_eq!(count(&seen(&mut journal), "initialize"), 2, "the client's own, and one more");
        // What comes later tries for itself.
        client.say(call(6)).await;
        until(&mut journal, "initialize").await;
        client.end().await;
    }
}

/// A server that is not back at once is listened to when it is, though the client says nothing.
#[tokio::test]
async fn a_server_that_opens_a_session_only_later_is_listened_to_then() {
    let (address, mut journal, matter) = Matter::default().serve().await;
    let mut client = Client::of(address);
    open(&mut client, &mut journal).await;
    matter.forgets.store(1, Relaxed);
    matter.refuses.store(2, Relaxed);
    matter.cut.notify_one();
    while until(&mut journal, "GET").await.field("mcp-session-id") != Some("s2") {}
    // And where the next is lost before there was a stream in it.
    matter.deaf.store(3, Relaxed);
    matter.forgets.store(2, Relaxed);
    matter.cut.notify_one();
    while until(&mut journal, "GET").await.field("mcp-session-id") != Some("s4") {}
    client.say(call(1)).await;
    assert_eq!(client.hear().await["result"]["session"], 4);
    client.end().await;
}

/// A server without a stream may have one when it has been restarted.
#[tokio::test]
async fn a_session_that_others_open_again_is_listened_to() {
    let (address, mut journal, matter) = Matter { deaf: AtomicUsize::new(1), ..Matter::default() }.serve().await;
    let mut client = Client::of(address);
    open(&mut client, &mut journal).await;
    matter.forgets.store(1, Relaxed);
    client.say(call(1)).await;
    assert_eq!(client.hear().await["result"]["session"], 2);
    assert_eq!(until(&mut journal, "GET").await.field("mcp-session-id"), Some("s2"));
    client.end().await;
}

/// A client that says twice that it is ready does not have everything twice.
#[tokio::test]
async fn a_session_is_listened_to_once() {
    let (address, mut journal, _matter) = Matter::default().serve().await;
    let mut client = Client::of(address);
    open(&mut client, &mut journal).await;
    client.say(initialized()).await;
    for id in 1..=5 {
        client.say(call(id)).await;
        client.hear().await;
    }
    client.end().await;
    assert_eq!(count(&seen(&mut journal), "GET"), 0, "the second stream");
}

#[tokio::test]
async fn what_the_client_has_set_is_set_again() {
    let (address, mut journal, matter) = Matter::default().serve().await;
    let mut client = Client::of(address).opened().await;
    let uri = |uri: &str| json!({ "uri": uri });
    for (id, method, params) in [
        (1, "logging/setLevel", json!({ "level": "info" })),
        (2, "resources/subscribe", uri("file:///a")),
        (3, "resources/subscribe", uri("file:///b")),
        (4, "resources/unsubscribe", uri("file:///a")),
        (0, "resources/subscribe", uri("file:///refused")),
    ] {
        client.say(legacy(id, method, params)).await;
        assert_eq!(client.hear().await["id"], id);
    }
    // In a batch as well.
    client.say(json!([legacy(5, "logging/setLevel", json!({ "level": "debug" }))])).await;
    assert_eq!(client.hear().await["id"], 5);
    seen(&mut journal);
    for number in [2, 3] {
        matter.forgets.store(number - 1, Relaxed);
        client.say(call(6)).await;
        assert_eq!(client.hear().await["result"]["session"], number);
        let mut told = Vec::new();
        loop {
            let (name, request) = next(&mut journal).await;
            let is_in_it = request.field("mcp-session-id") == Some(&format!("s{number}"));
            match name.as_str() {
                "tools/call" if is_in_it => break,
                "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
                    assert!(is_in_it);
                    let said = serde_json::from_slice::<Value>(&request.body).unwrap();
                    told.push((name, said["params"].clone()));
                }
                _ => {}
            }
        }
        told.sort_by(|one, other| one.0.cmp(&other.0));
        let expected = [("logging/setLevel", json!({ "level": "debug" })), ("resources/subscribe", uri("file:///b"))];
        assert_eq!(told, expected.map(|(name, params)| (name.to_owned(), params)), "before what waits for it");
    }
    client.end().await;
}

/// A server that does not answer what is set again keeps nobody from the session.
#[tokio::test]
async fn what_cannot_be_set_again_costs_nobody_the_session() {
    let hangs: fn(&Received, &Matter) -> Option<Act> =
        |request, _| (request.method() == "logging/setLevel").then(|| Act::Hold(Vec::new()));
    let (address, mut journal, matter) = Matter { reopens: Some(hangs), ..Matter::default() }.serve().await;
    let patience = Patience { renewal: Duration::from_secs(1), ..patience() };
    let mut client = Client::with(address, Limits::default(), patience).opened().await;
    client.say(legacy(1, "logging/setLevel", json!({ "level": "info" }))).await;
    client.hear().await;
    matter.forgets.store(1, Relaxed);
    client.say(call(2)).await;
    assert_eq!(client.hear().await["result"]["session"], 2);
    assert_eq!(until(&mut journal, "gone").await.head, "logging/setLevel");
    client.end().await;
}

#[tokio::test]
async fn a_session_that_was_opened_in_vain_is_ended() {
    type Reopens = fn(&Received, &Matter) -> Option<Act>;
    let refuses: Reopens = |request, _| {
        (request.method() == "notifications/initialized").then(|| Act::Say(answer("400 Bad Request", "", "")))
    };
    let hangs: Reopens = |request, _| (request.method() == "notifications/initialized").then(|| Act::Hold(Vec::new()));
    let speaks_otherwise: Reopens = |request, matter| {
        let otherwise = || String::from_utf8(matter.opened(request)).unwrap().replace("2025-06-18", "2025-03-26");
        (request.method() == "initialize").then(|| Act::Say(otherwise().into_bytes()))
    };
    let says_no_more: Reopens = |request, matter| {
        let begun = || String::from_utf8(matter.opened(request)).unwrap().split_inclusive("\r\n\r\n").take(1).collect();
        (request.method() == "initialize").then(|| Act::Hold(String::into_bytes(begun())))
    };
    for (what, reopens, code) in [
        ("refuses", refuses, -31001),
        ("hangs", hangs, -31002),
        ("speaks otherwise", speaks_otherwise, -31006),
        ("says no more", says_no_more, -31002),
    ] {
        let (address, mut journal, matter) = Matter { reopens: Some(reopens), ..Matter::default() }.serve().await;
        let patience = Patience { renewal: Duration::from_secs(1), ..patience() };
        let mut client = Client::with(address, Limits::default(), patience).opened().await;
        matter.forgets.store(1, Relaxed);
        client.say(call(1)).await;
        let told = client.hear().await;
        assert_eq!(told["error"]["code"], code, "{what}: {told}");
        assert_eq!(until(&mut journal, "DELETE").await.field("mcp-session-id"), Some("s2"), "{what}");
        client.end().await;
    }
}

/// What its client has cancelled meanwhile is not sent again: nobody would tell the server.
#[tokio::test]
async fn what_is_cancelled_while_a_session_is_opened_again_does_not_run() {
    let (address, mut journal, matter) = Matter::default().serve().await;
    let mut client = Client::of(address).opened().await;
    matter.forgets.store(1, Relaxed);
    matter.holds.store(true, Relaxed);
    client.say(call(1)).await;
    until(&mut journal, "tools/call").await;
    until(&mut journal, "initialize").await;
    client.say(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } })).await;
    until(&mut journal, "notifications/cancelled").await;
    client.say(call(2)).await;
    until(&mut journal, "tools/call").await;
    matter.go.notify_one();
    assert_eq!(client.hear().await["id"], 2);
    assert_eq!(client.end().await, Vec::<Value>::new());
    assert_eq!(count(&seen(&mut journal), "tools/call"), 1, "the second, again");
}

/// One that was about to be opened when the client left is ended as well.
#[tokio::test]
async fn a_session_that_nobody_waits_for_any_more_is_ended() {
    let hangs: fn(&Received, &Matter) -> Option<Act> =
        |request, _| (request.method() == "notifications/initialized").then(|| Act::Hold(Vec::new()));
    let (address, mut journal, matter) = Matter { reopens: Some(hangs), ..Matter::default() }.serve().await;
    let patience = Patience { answers: Duration::ZERO, ..patience() };
    let mut client = Client::with(address, Limits::default(), patience).opened().await;
    matter.forgets.store(1, Relaxed);
    client.say(call(1)).await;
    until(&mut journal, "notifications/initialized").await;
    client.end().await;
    let deleted = [until(&mut journal, "DELETE").await, until(&mut journal, "DELETE").await];
    assert_eq!(deleted.each_ref().map(|one| one.field("mcp-session-id").unwrap()), ["s1", "s2"]);
}

/// A client that opens another session itself, while the lost one is opened again, has the one that it has opened.
#[tokio::test]
async fn the_clients_own_session_goes_before_one_that_is_opened_for_it() {
    let (address, mut journal, matter) = Matter::default().serve().await;
    let mut client = Client::of(address).opened().await;
    matter.forgets.store(1, Relaxed);
    matter.holds.store(true, Relaxed);
    client.say(call(1)).await;
    until(&mut journal, "tools/call").await;
    until(&mut journal, "initialize").await;
    client.say(initialize()).await;
    assert_eq!(client.hear().await["id"], 0);
    assert_eq!(until(&mut journal, "DELETE").await.field("mcp-session-id"), Some("s1"), "it is in that no more");
    matter.go.notify_one();
    let answer = client.hear().await;
    assert_eq!((&answer["id"], &answer["result"]["session"]), (&json!(1), &json!(3)), "{answer}");
    assert_eq!(until(&mut journal, "DELETE").await.field("mcp-session-id"), Some("s2"), "opened in vain");
    client.say(call(2)).await;
    assert_eq!(client.hear().await["result"]["session"], 3);
    client.end().await;
    assert_eq!(until(&mut journal, "DELETE").await.field("mcp-session-id"), Some("s3"));
}
