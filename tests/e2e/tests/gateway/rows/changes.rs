//! `list_changed`: who is told, of what, and of what not.

use super::{Pair, config, listed, pair};
use lockgate_e2e::events::Events;
use lockgate_e2e::gateway::federation;
use lockgate_e2e::scripted::tools;
use lockgate_e2e::wait::PATIENCE;
use lockgate_e2e::{Gateway, Mcp, Scripted, Transport, until};
use serde_json::json;
use std::time::{Duration, Instant};

const TOOLS_CHANGED: &str = "notifications/tools/list_changed";
const PROMPTS_CHANGED: &str = "notifications/prompts/list_changed";
/// Long enough for something wrong to be said.
const SILENCE: Duration = Duration::from_millis(700);

async fn listen(client: &Mcp) -> (Events, serde_json::Value) {
    let wanted = json!({"notifications": {"toolsListChanged": true}});
    let body = client.body("subscriptions/listen", wanted);
    let mut stream = Events::new(client.post(&body).send().await.expect("an answer"));
    let first = stream.next().await.expect("an event").json();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
    assert_eq!(first["params"]["notifications"], json!({"toolsListChanged": true}), "{first}");
    (stream, body["id"].clone())
}

async fn silent(stream: &mut Events) {
    if let Some(event) = stream.next_within(SILENCE).await {
        panic!("told of nothing: {event:?}");
    }
}

#[tokio::test]
async fn a_backends_change_refreshes_the_lists_and_is_told_once() {
    let mut pair = pair(tools(&["a"]), tools(&["b"]), "").await;
    let (legacy, modern) = (pair.legacy().await, pair.modern());
    let mut stream = legacy.listen(None).await;
    let (mut listening, id) = listen(&modern).await;
    pair.two.offer_tools(&["b", "c"]);
    let heard = stream.notification(TOOLS_CHANGED).await;
    assert!(heard.get("id").is_none(), "{heard}");
    let heard = listening.notification(TOOLS_CHANGED).await;
    assert_eq!(heard["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], id);
    for client in [&legacy, &modern] {
        assert_eq!(listed(client, "tools").await, ["one__a", "two__b", "two__c"]);
    }
    silent(&mut stream).await;
    silent(&mut listening).await;
    // The backend says so, but nothing is different.
    pair.two.offer_tools(&["b", "c"]);
    silent(&mut listening).await;
    silent(&mut stream).await;
}

#[tokio::test]
async fn only_those_are_told_whose_list_changed() {
    let (one, mut two) = (Scripted::http(tools(&["a"])).await, Scripted::http(tools(&["b"])).await);
    let narrow = "  narrow:\n    path: /narrow\n    backends:\n      - one\n      - { backend: two, tools: { deny: [\"secret*\"] } }\n";
    let gateway = Gateway::start(&config(&one, &two, "", narrow)).await;
    gateway.settled().await;
    let mut told = Vec::new();
    for path in ["/mcp", "/narrow"] {
        let (legacy, modern) = (Mcp::legacy(&gateway.url(path), "2025-11-25").await, Mcp::modern(&gateway.url(path)));
        told.push((legacy.listen(None).await, listen(&modern).await.0, modern));
    }
    two.offer_tools(&["b", "secret_x"]);
    told[0].0.notification(TOOLS_CHANGED).await;
    told[0].1.notification(TOOLS_CHANGED).await;
    silent(&mut told[1].0).await;
    silent(&mut told[1].1).await;
    assert_eq!(listed(&told[1].2, "tools").await, ["one__a", "two__b"]);
    let answer = told[1].2.tool("two__secret_x", json!({})).await;
    assert_eq!(answer.json()["error"]["code"], -32602, "{answer:?}");
}

/// A reload tells whose list it changed.
#[tokio::test]
async fn a_reload_is_a_change() {
    let pair = pair(tools(&["a"]), tools(&["b"]), "").await;
    let (legacy, modern) = (pair.legacy().await, pair.modern());
    let mut stream = legacy.listen(None).await;
    let (mut listening, _) = listen(&modern).await;
    let both = config(&pair.one, &pair.two, "", "");
    let alone = federation(&[("one", pair.one.backend("one", ""))], "    prefix: always\n", "");
    // Nothing that a client sees.
    pair.gateway.write(&(both.clone() + "streams: { keep_alive: 14s }\n"));
    assert_eq!(pair.gateway.reload().await.0, 200);
    silent(&mut stream).await;
    for (text, names) in [(&alone, vec!["one__a"]), (&both, vec!["one__a", "two__b"])] {
        pair.gateway.write(text);
        assert_eq!(pair.gateway.reload().await.0, 200);
        stream.notification(TOOLS_CHANGED).await;
        listening.notification(TOOLS_CHANGED).await;
        until("the other list", async || (listed(&modern, "tools").await == names).then_some(())).await;
        assert_eq!(listed(&legacy, "tools").await, names);
        assert_eq!(legacy.tool("one__a", json!({})).await.status, 200, "the session goes on");
    }
}

/// However many changes a backend announces in a short time, few looks at its lists come of it, and no more is told than
/// was seen.
#[tokio::test]
async fn a_burst_of_changes_is_few_looks_and_less_news() {
    let mut two = tools(&["b"]);
    two["prompts"] = json!([{"name": "p"}]);
    let mut pair = pair(tools(&["a"]), two, "").await;
    let (legacy, modern) = (pair.legacy().await, pair.modern());
    let wanted = json!({"notifications": {"toolsListChanged": true, "promptsListChanged": true}});
    let mut streams = [legacy.listen(None).await, modern.stream("subscriptions/listen", wanted).await];
    streams[1].notification("notifications/subscriptions/acknowledged").await;
    let looks = |pair: &Pair| pair.two.heard_of("tools/list").len();
    let (before, start) = (looks(&pair), Instant::now());
    for number in 0..20 {
        pair.two.change(|offer| {
            offer["tools"] = tools(&["b", &format!("c{number}")])["tools"].clone();
            let said = offer["say"].as_array().cloned().unwrap_or_default();
            let more = vec![json!({"jsonrpc": "2.0", "method": TOOLS_CHANGED}); 10];
            offer["say"] = json!([said, more].concat());
        });
    }
    until("the last of the lists", async || {
        (listed(&modern, "tools").await == ["one__a", "two__b", "two__c19"]).then_some(())
    })
    .await;
    pair.two.change(|offer| offer["prompts"] = json!([{"name": "p"}, {"name": "q"}]));
    pair.two.say(PROMPTS_CHANGED, json!({}));
    for stream in &mut streams {
        let mut told = 0;
        loop {
            let message = stream.next().await.expect("an event").json();
            if message["method"] == PROMPTS_CHANGED {
                break;
            }
            assert_eq!(message["method"], TOOLS_CHANGED);
            told += 1;
        }
        let looked = looks(&pair) - before;
        assert!((1..=looked).contains(&told), "{told} told of {looked} looks");
    }
    // Between two of them lies half a second; one may have been under way before, and one is the last.
    let (looked, most) = (looks(&pair) - before, start.elapsed().as_millis() / 500 + 2);
    assert!(looked as u128 <= most, "{looked} looks in {:?}", start.elapsed());
}

/// Told on the next stream, where there was none.
#[tokio::test]
async fn a_session_hears_later_what_changed_while_it_did_not_listen() {
    let mut pair = pair(tools(&["a"]), tools(&["b"]), "").await;
    let client = pair.legacy().await;
    assert_eq!(listed(&client, "tools").await.len(), 2);
    pair.one.offer_tools(&["a", "c"]);
    until("the refresh", async || (listed(&client, "tools").await.len() == 3).then_some(())).await;
    let mut stream = client.listen(None).await;
    stream.notification(TOOLS_CHANGED).await;
}

/// A backend that goes, and comes back, changes the lists of those who see it.
#[tokio::test]
async fn loss_and_return_are_changes() {
    let mut pair = pair(tools(&["a"]), tools(&["b"]), "    grace: 0s\n").await;
    let client = pair.modern();
    let (mut listening, _) = listen(&client).await;
    pair.two.kill();
    // Traffic shows that it is gone.
    assert_eq!(client.tool("two__b", json!({})).await.code(), (502, -31001));
    listening.notification(TOOLS_CHANGED).await;
    assert_eq!(listed(&client, "tools").await, ["one__a"]);
    pair.two.run().await;
    listening.notification(TOOLS_CHANGED).await;
    until("its return", async || (listed(&client, "tools").await == ["one__a", "two__b"]).then_some(())).await;
}

/// What a command says while nobody listens, it says to the gateway.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_heard_though_no_client_listens() {
    let mut offer = tools(&["a"]);
    offer["eras"] = json!("legacy");
    let mut backend = Scripted::start(Transport::Stdio, offer).await;
    let gateway = Gateway::start(&federation(&[("one", backend.backend("one", ""))], "    prefix: always\n", "")).await;
    gateway.settled().await;
    let client = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
    assert_eq!(client.tool("one__a", json!({})).await.text(), "{}");
    backend.offer_tools(&["a", "b"]);
    until("the change", async || (listed(&client, "tools").await == ["one__a", "one__b"]).then_some(())).await;
}

/// Whatever the transport, and whichever era it speaks.
#[tokio::test(flavor = "multi_thread")]
async fn changes_are_heard_by_every_transport() {
    for (transport, eras) in [
        (Transport::Http, "legacy"),
        (Transport::Http, "modern"),
        (Transport::Sse, "legacy"),
        (Transport::Stdio, "legacy"),
        (Transport::Stdio, "modern"),
    ] {
        let mut offer = tools(&["a"]);
        offer["eras"] = json!(eras);
        let mut backend = Scripted::start(transport, offer).await;
        let server = "    prefix: always\n";
        let gateway = Gateway::start(&federation(&[("one", backend.backend("one", ""))], server, "")).await;
        gateway.settled().await;
        let client = match eras {
            "legacy" => Mcp::legacy(&gateway.mcp(), "2025-11-25").await,
            _ => Mcp::modern(&gateway.mcp()),
        };
        let mut stream = if client.is_modern() { listen(&client).await.0 } else { client.listen(None).await };
        // A command speaks when it runs, which it does for somebody.
        assert_eq!(client.tool("one__a", json!({})).await.text(), "{}");
        backend.offer_tools(&["a", "b"]);
        let told = stream.next_within(PATIENCE).await;
        let told = told.unwrap_or_else(|| panic!("{transport:?}, {eras}: not told"));
        assert_eq!(told.expect("an event").json()["method"], TOOLS_CHANGED, "{transport:?}, {eras}");
        assert_eq!(listed(&client, "tools").await, ["one__a", "one__b"], "{transport:?}, {eras}");
    }
}
