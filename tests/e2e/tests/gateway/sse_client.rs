//! HTTP+SSE, the transport of 2024-11-05: clients that still speak it see what others see.

use crate::backends::{KEY, cluster};
use lockgate_e2e::clients::sse;
use lockgate_e2e::events::Events;
use lockgate_e2e::gateway::{config, config_with, federation};
use lockgate_e2e::mcp::client;
use lockgate_e2e::scripted::tools;
use lockgate_e2e::wait::free_port;
use lockgate_e2e::{Client, Fixture, Gateway, Scripted, Transport, for_each_client, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::time::Duration;

async fn start(backend: &str) -> Gateway {
    Gateway::start(&config_with(backend, "", "    sse: true\n")).await
}

async fn exercise(client: Client) {
    let fixture = Fixture::start("conformant");
    let gateway = start(fixture.url()).await;
    // Below the endpoint's own path as well as below that of the virtual server.
    let path = match client {
        Client::TypescriptV2Legacy | Client::Python2Legacy => "/servers/default/sse",
        _ => "/mcp/sse",
    };
    client.exercise_at(sse(&gateway.url(path))).await.check("sse", || gateway.log());
}

for_each_client! {
    exercise: typescript_v1 TypescriptV1, typescript_v2_legacy TypescriptV2Legacy, python_1 Python1,
    python_2_legacy Python2Legacy,
}

/// A client that speaks the transport by hand.
struct Hand {
    http: reqwest::Client,
    events: Events,
    /// Where messages go.
    place: String,
    token: Option<&'static str>,
}

impl Hand {
    async fn connect(gateway: &Gateway, path: &str, token: Option<&'static str>) -> Self {
        let http = client();
        let mut request = http.get(gateway.url(path)).header("accept", "text/event-stream");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let mut events = Events::new(request.send().await.expect("an answer"));
        assert_eq!(events.status, 200);
        assert_eq!(events.headers["content-type"], "text/event-stream");
        let place = events.next().await.expect("the endpoint").data;
        Self { http, events, place: gateway.url(&place), token }
    }

    fn post(&self, body: impl ToString) -> reqwest::RequestBuilder {
        self.http.post(&self.place).header("content-type", "application/json").body(body.to_string())
    }

    async fn say(&self, body: impl ToString) -> u16 {
        let request = self.post(body);
        let request = match self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.expect("an answer").status().as_u16()
    }

    async fn hear(&mut self) -> Value {
        self.events.next().await.expect("an event").json()
    }

    async fn open(&mut self) -> Value {
        let params =
            json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "e", "version": "1"}});
        assert_eq!(self.say(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})).await, 202);
        let answer = self.hear().await;
        assert_eq!(self.say(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await, 202);
        answer
    }
}

fn call(tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}}})
}

#[tokio::test]
async fn a_session_is_its_stream() {
    let fixture = Fixture::start("lax");
    let gateway = start(fixture.url()).await;
    let mut hand = Hand::connect(&gateway, "/mcp/sse", None).await;
    assert!(hand.place.contains("/mcp/message?session="), "{}", hand.place);
    assert_eq!(hand.open().await["result"]["protocolVersion"], "2024-11-05");
    assert_eq!(hand.say(call("x")).await, 202);
    assert_eq!(hand.hear().await["id"], 1);
    // What the client leaves is ended at the backend, and nobody can speak in it.
    let Hand { http, events, place, .. } = hand;
    drop(events);
    until("the end of the session", async || {
        fixture.journal().await.iter().any(|request| request.method == "DELETE").then_some(())
    })
    .await;
    let late = http.post(place).header("content-type", "application/json").body(call("x").to_string());
    assert_eq!(late.send().await.unwrap().status(), 404);
}

/// Several backends as one: everything comes on the one stream, answers, questions of backends, and news.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_several_backends_is_served_too() {
    let mut one = Scripted::http(tools(&["ask", "echo"])).await;
    let two = Scripted::start(Transport::Stdio, tools(&["ask"])).await;
    let backends = [("one", one.backend("one", "")), ("two", two.backend("two", ""))];
    let gateway = Gateway::start(&federation(&backends, "    sse: true\n", "")).await;
    gateway.settled().await;
    for path in ["/servers/default/sse", "/mcp/sse"] {
        let mut hand = Hand::connect(&gateway, path, None).await;
        let params = json!({
            "protocolVersion": "2024-11-05",
            "capabilities": {"elicitation": {}},
            "clientInfo": {"name": "e", "version": "1"},
        });
        let open = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        assert_eq!(hand.say(open).await, 202);
        assert_eq!(hand.hear().await["result"]["protocolVersion"], "2024-11-05", "{path}");
        assert_eq!(hand.say(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await, 202);
        let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
        assert_eq!(hand.say(&list).await, 202);
        let answer = hand.hear().await;
        let listed: Vec<_> = answer["result"]["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
        assert_eq!(listed, ["one__ask", "one__echo", "two__ask"], "{path}");
        for (name, backend) in [("one__ask", &one), ("two__ask", &two)] {
            let mark = format!("{path} {name}");
            let mut asking = call(name);
            asking["params"]["arguments"] = json!({"message": mark});
            assert_eq!(hand.say(asking).await, 202);
            let asked = hand.events.notification("elicitation/create").await;
            assert_eq!(asked["params"]["message"], mark);
            let result = json!({"action": "accept", "content": {"name": mark}});
            assert_eq!(hand.say(json!({"jsonrpc": "2.0", "id": asked["id"], "result": result})).await, 202);
            let (_, answer) = hand.events.answer().await;
            assert_eq!((&answer["id"], &answer["result"]["content"][0]["text"]), (&json!(1), &json!(mark)), "{path}");
            let heard = backend.heard_of("tools/call").pop().expect("the call").json();
            assert_eq!(heard["params"]["name"], "ask", "{path}");
        }
        one.offer_tools(&["ask", "new"]);
        hand.events.notification("notifications/tools/list_changed").await;
        assert_eq!(hand.say(&list).await, 202);
        let (_, answer) = hand.events.answer().await;
        assert_eq!(answer["result"]["tools"][1]["name"], "one__new", "{path}");
        one.offer_tools(&["ask", "echo"]);
        hand.events.notification("notifications/tools/list_changed").await;
    }
}

#[tokio::test]
async fn only_who_opened_the_stream_speaks_in_it() {
    let fixture = Fixture::start("lax");
    let forward = "    forward_headers: [authorization, x-tenant]\n";
    let gateway = Gateway::start(&config_with(fixture.url(), forward, "    sse: true\n")).await;
    let mut hand = Hand::connect(&gateway, "/mcp/sse", Some("mine")).await;
    let ping = json!({"jsonrpc": "2.0", "id": 9, "method": "ping"});
    for (request, status) in [
        (hand.post(&ping), 404),
        (hand.post(&ping).bearer_auth("another"), 404),
        (hand.http.post(gateway.url("/mcp/message?session=x")).json(&ping), 404),
        (hand.http.post(gateway.url("/mcp/message")).json(&ping), 404),
        (hand.post("nonsense").bearer_auth("mine"), 400),
        (hand.http.post(&hand.place).bearer_auth("mine").body(ping.to_string()), 415),
        (hand.post(&ping).bearer_auth("mine").header("origin", "https://evil.example"), 403),
        (hand.post(&ping).bearer_auth("mine").header("host", "evil.example"), 403),
        (hand.post("x".repeat(5 << 20)).bearer_auth("mine"), 413),
        (hand.http.get(&hand.place), 405),
        (hand.http.post(gateway.url("/mcp/sse")).json(&ping), 405),
        (hand.http.get(gateway.url("/mcp/sse")).header("origin", "https://evil.example"), 403),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{answer:?}");
    }
    // The credentials of the request that brings a message go with it, and so does what else it carries.
    hand.open().await;
    let sent = hand.post(call("x")).bearer_auth("mine").header("x-tenant", "a").send().await.unwrap();
    assert_eq!(sent.status(), 202);
    assert_eq!(hand.hear().await["id"], 1);
    let journal = fixture.journal().await;
    let brought = journal.iter().find(|request| request.contains("tools/call")).expect("the message");
    assert_eq!((brought.header("authorization"), brought.header("x-tenant")), (Some("Bearer mine"), Some("a")));
}

/// What the virtual server's filters say of any request, they say of this door's; and what it brings counts once.
#[tokio::test]
async fn its_requests_are_looked_at_like_others_and_counted_once() {
    let fixture = Fixture::start("lax");
    let gateway = start(fixture.url()).await;
    for revision in ["2026-07-28", "1999-01-01"] {
        let status = |door: &str| {
            let request = client().get(gateway.url(door)).header("accept", "text/event-stream");
            let request = request.header("mcp-protocol-version", revision);
            async move { request.send().await.expect("an answer").status().as_u16() }
        };
        let (own, other) = (status("/mcp").await, status("/mcp/sse").await);
        assert!(own == other && own >= 400, "{revision}: {own} {other}");
    }
    let mut hand = Hand::connect(&gateway, "/mcp/sse", None).await;
    hand.open().await;
    assert_eq!(hand.say(call("x")).await, 202);
    assert_eq!(hand.hear().await["id"], 1);
    assert_eq!(hand.post("nonsense").send().await.unwrap().status(), 400);
    let counted = async |method: &str, outcome: &str| {
        let lines = gateway.metrics().await;
        let fits = |line: &&str| {
            let label = |name: &str, value: &str| line.contains(&format!("{name}=\"{value}\""));
            line.starts_with("lockgate_requests_total{") && label("method", method) && label("outcome", outcome)
        };
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0);
        lines.lines().filter(fits).map(value).sum::<f64>()
    };
    until("the call", async || (counted("tools/call", "ok").await == 1.0).then_some(())).await;
    assert_eq!(counted("none", "ok").await, 0.0, "{}", gateway.metrics().await);
}

#[tokio::test]
async fn it_is_served_only_on_request_and_only_to_so_many() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    assert_eq!(client().get(gateway.url("/mcp/sse")).send().await.unwrap().status(), 404);
    let top = "    sse: true\nlimits: { sse_sessions: 1 }\nstreams: { keep_alive: 100ms }\n";
    let gateway = Gateway::start(&config_with(fixture.url(), "", top)).await;
    let mut first = Hand::connect(&gateway, "/mcp/sse", None).await;
    let held = r#"lockgate_streams{kind="sse",virtual_server="default"}"#;
    gateway.counts(held, 1.0).await;
    let second = client().get(gateway.url("/mcp/sse")).send().await.unwrap();
    assert_eq!(second.status(), 503);
    let refused: Value = second.json().await.unwrap();
    assert_eq!(refused["error"]["code"], -31003);
    first.open().await;
    // Kept alive all the time, the stream still is where messages come.
    while first.events.comments == 0 {
        let nothing = first.events.next_within(Duration::from_millis(100)).await;
        assert!(nothing.is_none(), "{nothing:?}");
    }
    assert_eq!(first.say(call("x")).await, 202);
    assert_eq!(first.hear().await["id"], 1);
    drop(first);
    until("a free place", async || {
        let answer = client().get(gateway.url("/mcp/sse")).send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
}

/// A stop takes no message any more, and ends the stream when what is being answered has been.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_stream_when_the_answers_are_there() {
    let fixture = Fixture::start("stateful");
    let mut gateway = start(fixture.url()).await;
    let mut hand = Hand::connect(&gateway, "/mcp/sse", None).await;
    hand.open().await;
    let mut wait = call("wait");
    wait["params"]["arguments"] = json!({"milliseconds": 1000, "token": "t"});
    assert_eq!(hand.say(wait).await, 202);
    until("the call", async || {
        fixture.journal().await.iter().any(|request| request.contains("tools/call")).then_some(())
    })
    .await;
    gateway.signal(Signal::SIGTERM);
    assert_eq!(hand.hear().await["id"], 1);
    assert!(hand.events.next().await.is_none());
    assert!(!hand.events.broken, "the stream ends, it does not break off");
    assert!(gateway.stop().success());
}

#[tokio::test]
async fn http_2_will_do() {
    let fixture = Fixture::start("lax");
    let gateway = start(fixture.url()).await;
    let http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let answer = http.get(gateway.url("/mcp/sse")).header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_2);
    let mut events = Events::new(answer);
    let place = gateway.url(&events.next().await.expect("the endpoint").data);
    let mut hand = Hand { http, events, place, token: None };
    assert_eq!(hand.open().await["id"], 0);
}

/// A message finds its client's stream through another node of a cluster, and is told where there is no way to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_finds_its_stream_through_another_node() {
    let (fixture, ports) = (Fixture::start("lax"), [free_port(), free_port()]);
    let config =
        |node: usize| config_with(fixture.url(), "", &format!("    sse: true\n{}", cluster(ports, node, &[KEY])));
    let (config_one, config_other) = (config(0), config(1));
    let (mut one, other) = tokio::join!(Gateway::start(&config_one), Gateway::start(&config_other));
    other.counts("lockgate_nodes", 1.0).await;
    let mut hand = Hand::connect(&one, "/mcp/sse", Some("mine")).await;
    let here = one.url("");
    hand.place = hand.place.replacen(&here, &other.url(""), 1);
    assert_eq!(hand.open().await["result"]["protocolVersion"], "2024-11-05");
    assert_eq!(hand.say(call("across")).await, 202);
    assert_eq!(hand.hear().await["id"], 1);
    let ping = json!({"jsonrpc": "2.0", "id": 9, "method": "ping"});
    assert_eq!(hand.post(&ping).send().await.unwrap().status(), 404, "only its client speaks in it");
    one.kill();
    let lost = hand.post(&ping).bearer_auth("mine").send().await.unwrap().status().as_u16();
    assert!([404, 502].contains(&lost), "as it was known before it was gone, or not yet: {lost}");
}
