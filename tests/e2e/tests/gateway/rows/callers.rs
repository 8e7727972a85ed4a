//! Backends that tell callers apart by fields of their requests: each is shown its own lists, and reaches what it is shown.

use lockgate_e2e::events::Events;
use lockgate_e2e::gateway::federation;
use lockgate_e2e::mcp::{Answer, NEWEST_LEGACY};
use lockgate_e2e::scripted::tools;
use lockgate_e2e::{Gateway, Mcp, Scripted, until};
use serde_json::{Value, json};

/// A backend that shows everybody another tool, and one that does not ask who calls.
async fn start(eras: &str) -> (Scripted, Scripted, Gateway) {
    let mut offer = tools(&["common"]);
    offer["eras"] = json!(eras);
    offer["cacheScope"] = json!("private");
    offer["callers"] = json!({"alice": tools(&["hers", "more"]), "bob": tools(&["his"])});
    let mut other = tools(&["b"]);
    other["eras"] = json!(eras);
    let (one, two) = (Scripted::http(offer).await, Scripted::http(other).await);
    let backends = [("one", one.backend("one", "    forward_headers: [x-token]\n")), ("two", two.backend("two", ""))];
    let gateway = Gateway::start(&federation(&backends, "    page_size: 2\n", "")).await;
    gateway.settled().await;
    (one, two, gateway)
}

async fn ask(client: &Mcp, token: Option<&str>, method: &str, params: Value) -> Answer {
    let mut request = client.post(&client.body(method, params));
    if let Some(token) = token {
        request = request.header("x-token", token);
    }
    Answer::read(request.send().await.expect("an answer")).await
}

async fn listed(client: &Mcp, token: Option<&str>) -> Vec<String> {
    let answer = ask(client, token, "tools/list", json!({})).await.json();
    let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
    tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn each_caller_is_shown_its_own_and_calls_what_it_is_shown() {
    for eras in ["modern", "legacy"] {
        let (mut one, _two, gateway) = start(eras).await;
        let client = match eras {
            "modern" => Mcp::modern(&gateway.mcp()),
            _ => Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await,
        };
        let (alice, bob) = (Some("alice"), Some("bob"));
        assert_eq!(listed(&client, None).await, ["one__common", "two__b"], "{eras}");
        assert_eq!(listed(&client, bob).await, ["one__his", "two__b"], "{eras}");
        assert_eq!(listed(&client, alice).await, ["one__hers", "one__more"], "{eras}");
        let call =
            async |token, name: &str| ask(&client, token, "tools/call", json!({"name": name, "arguments": {}})).await;
        assert_eq!(call(alice, "one__hers").await.text(), "{}", "{eras}");
        assert_eq!(call(alice, "two__b").await.text(), "{}", "{eras}");
        for (token, name) in [(alice, "one__his"), (bob, "one__hers"), (None, "one__hers"), (alice, "one__common")] {
            assert_eq!(call(token, name).await.code().1, -32602, "{eras}: {token:?} {name}");
        }
        // A place in one list is none in another.
        let page = ask(&client, alice, "tools/list", json!({})).await.json();
        let cursor = json!({"cursor": page["result"]["nextCursor"]});
        assert_eq!(
            ask(&client, alice, "tools/list", cursor.clone()).await.json()["result"]["tools"][0]["name"],
            "two__b"
        );
        assert_eq!(ask(&client, bob, "tools/list", cursor).await.code().1, -32602, "{eras}");
        // What the backend says has changed is read again for each of them.
        one.change(|offer| offer["callers"]["alice"] = tools(&["new"]));
        one.say("notifications/tools/list_changed", json!({}));
        until("her new list", async || (listed(&client, alice).await == ["one__new", "two__b"]).then_some(())).await;
        assert_eq!(listed(&client, bob).await, ["one__his", "two__b"], "{eras}");
        assert_eq!(listed(&client, None).await, ["one__common", "two__b"], "{eras}");
    }
}

/// What the server says of itself is no more for everybody than its lists are.
#[tokio::test]
async fn discover_is_for_one_caller_where_callers_are_told_apart() {
    let (_one, _two, gateway) = start("modern").await;
    let client = Mcp::modern(&gateway.mcp());
    for token in [None, Some("alice"), Some("bob")] {
        for method in ["server/discover", "tools/list"] {
            let answer = ask(&client, token, method, json!({})).await;
            assert_eq!(answer.json()["result"]["cacheScope"], "private", "{token:?}: {answer:?}");
        }
    }
}

const UPDATED: &str = "notifications/resources/updated";

/// Two backends with resources, of which the first shows one to alice alone; URIs have prefixes only where they must.
async fn with_resources(eras: &str, top: &str) -> (Scripted, Scripted, Gateway) {
    let offer = |uri: &str| {
        json!({
            "eras": eras,
            "tools": [lockgate_e2e::scripted::tool("t")],
            "resources": [{"uri": uri, "name": "n"}],
            "capabilities": {"resources": {"subscribe": true}},
        })
    };
    let mut private = offer("note:everybodys");
    private["cacheScope"] = json!("private");
    private["callers"] = json!({"alice": offer("note:hers")});
    // Where it was not heard for a while, it says nothing twice.
    private["eventIds"] = json!(false);
    let (one, two) = (Scripted::http(private).await, Scripted::http(offer("note:other")).await);
    let backends = [("one", one.backend("one", "    forward_headers: [x-token]\n")), ("two", two.backend("two", ""))];
    let gateway = Gateway::start(&federation(&backends, "    prefix: on-conflict\n", top)).await;
    gateway.settled().await;
    (one, two, gateway)
}

async fn listen(client: &Mcp) -> Events {
    let mut request = client.http.get(&client.url).header("accept", "text/event-stream").header("x-token", "alice");
    request = request.header("mcp-protocol-version", &client.revision);
    request = request.header("mcp-session-id", client.session.as_deref().expect("a session"));
    Events::new(request.send().await.expect("an answer"))
}

/// How often the backend was asked for news in a session of this client's.
fn streams(backend: &Scripted) -> usize {
    backend.heard().iter().filter(|heard| heard.method == "GET" && heard.header("x-token").is_some()).count()
}

#[tokio::test]
async fn what_a_caller_is_subscribed_to_keeps_the_name_that_it_was_shown() {
    let (mut one, _two, mut gateway) = with_resources("legacy", "").await;
    let client = Mcp::legacy(&gateway.mcp(), NEWEST_LEGACY).await;
    let alice = Some("alice");
    let listed = ask(&client, alice, "resources/list", json!({})).await.json();
    assert_eq!(listed["result"]["resources"][0]["uri"], "note:hers", "{listed}");
    let mut stream = listen(&client).await;
    let subscribed = ask(&client, alice, "resources/subscribe", json!({"uri": "note:hers"})).await;
    assert_eq!(subscribed.code(), (200, 0), "{subscribed:?}");
    until("the stream at the backend", async || (streams(&one) > 0).then_some(())).await;
    one.say(UPDATED, json!({"uri": "note:hers"}));
    assert_eq!(stream.notification(UPDATED).await["params"]["uri"], "note:hers");
    // What may have been missed is said of it as well.
    one.hang_up();
    assert_eq!(stream.notification(UPDATED).await["params"]["uri"], "note:hers");
    // A session that is opened again there is subscribed again.
    one.forget();
    let called = ask(&client, alice, "tools/call", json!({"name": "one__t", "arguments": {}})).await;
    assert_eq!(called.code(), (200, 0), "{called:?}");
    until("the subscription", async || (one.heard_of("resources/subscribe").len() == 2).then_some(())).await;
    assert_eq!(one.heard_of("resources/subscribe")[1].json()["params"]["uri"], "note:hers");
    // Another process has to find out whose it is.
    drop(stream);
    gateway.restart().await;
    gateway.settled().await;
    let before = streams(&one);
    let mut stream = listen(&client).await;
    until("the stream at the backend", async || (streams(&one) > before).then_some(())).await;
    one.say(UPDATED, json!({"uri": "note:hers"}));
    assert_eq!(stream.notification(UPDATED).await["params"]["uri"], "note:hers");
    one.forget();
    let called = ask(&client, alice, "tools/call", json!({"name": "one__t", "arguments": {}})).await;
    assert_eq!(called.code(), (200, 0), "{called:?}");
    until("the subscription", async || (one.heard_of("resources/subscribe").len() == 3).then_some(())).await;
}

#[tokio::test]
async fn a_caller_listens_under_the_names_that_it_was_shown() {
    let (mut one, _two, gateway) = with_resources("modern", "").await;
    let client = Mcp::modern(&gateway.mcp());
    let body = client.body("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": ["note:hers"]}}));
    let mut stream = Events::new(client.post(&body).header("x-token", "alice").send().await.expect("an answer"));
    let acknowledged = stream.notification("notifications/subscriptions/acknowledged").await;
    assert_eq!(acknowledged["params"]["notifications"]["resourceSubscriptions"], json!(["note:hers"]));
    until("the stream at the backend", async || {
        one.heard_of("subscriptions/listen").iter().any(|heard| heard.raw.contains("note:hers")).then_some(())
    })
    .await;
    one.say(UPDATED, json!({"uri": "note:hers"}));
    assert_eq!(stream.notification(UPDATED).await["params"]["uri"], "note:hers");
}

/// More callers at once than a backend is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_asked_for_too_many_is_left_out_unless_all_is_wanted() {
    for failure in ["partial", "stale", "strict"] {
        let mut offer = tools(&["common"]);
        (offer["eras"], offer["cacheScope"]) = (json!("modern"), json!("private"));
        let (mut one, two) = (Scripted::http(offer).await, Scripted::http(tools(&["b"])).await);
        let backends =
            [("one", one.backend("one", "    forward_headers: [x-token]\n")), ("two", two.backend("two", ""))];
        let gateway = Gateway::start(&federation(&backends, &format!("    failure: {failure}\n"), "")).await;
        gateway.settled().await;
        one.delay("tools/list", 60_000);
        let client = Mcp::modern(&gateway.mcp());
        let asking: Vec<_> = (0..48)
            .map(|number| {
                let client = client.clone();
                tokio::spawn(async move { ask(&client, Some(&format!("t{number}")), "tools/list", json!({})).await })
            })
            .collect();
        let mut crowded = 0;
        let mut shown = 0;
        for asked in asking {
            let answer = asked.await.expect("an answer");
            match answer.status {
                200 => {
                    let tools = &answer.json()["result"]["tools"];
                    assert_eq!((tools[0]["name"].as_str(), tools[1].is_null()), (Some("two__b"), true), "{tools}");
                    shown += 1;
                }
                503 => crowded += 1,
                _ => assert_eq!(failure, "strict", "{answer:?}"),
            }
        }
        match failure {
            "strict" => assert!(crowded >= 8 && shown == 0, "{crowded}"),
            _ => assert_eq!((crowded, shown), (0, 48), "{failure}"),
        }
        let refused = gateway.metric("lockgate_caller_lists_refused_total{backend=\"one\"}").await;
        assert!(refused >= Some(8.0), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_a_backend_that_tells_nobody_apart_waits_for_no_other() {
    let (mut one, _two, gateway) = start("modern").await;
    one.delay("tools/list", 60_000);
    let client = Mcp::modern(&gateway.mcp());
    let since = std::time::Instant::now();
    let called = ask(&client, Some("carol"), "tools/call", json!({"name": "two__b", "arguments": {}})).await;
    assert_eq!(called.text(), "{}");
    assert!(since.elapsed().as_secs() < 4, "{:?}", since.elapsed());
}
