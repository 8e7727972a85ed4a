//! A bridge between a client in memory and a scripted server on a real socket.

mod sessions;

use super::hear::Said;
use super::settings::{Limits, Patience, Server};
use super::{Bridge, stdio};
use crate::upstream::testing::{Received, answer, at, json, receive, say, serve};
use bytes::Bytes;
use lockgate_filters::splice::Outbound;
use serde_json::{Value, json};
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Far more than any test takes, so that only a hang reaches it.
const LONG: Duration = Duration::from_secs(20);

/// What the scripted server does with a request.
enum Act {
    /// Answers, and takes the next request on the same connection.
    Say(Vec<u8>),
    /// Answers and closes.
    Last(Vec<u8>),
    /// Says this much, then nothing until the client goes away, which is journalled as `gone`.
    Hold(Vec<u8>),
    /// Waits before it answers.
    Late(Duration, Vec<u8>),
    /// Says the first, the rest when it is told to, and closes.
    Parts(Vec<u8>, Arc<Notify>, Vec<u8>),
}

type Journal = mpsc::UnboundedReceiver<(String, Received)>;

/// Serves MCP by a script; every request is journalled as soon as it is there, under its JSON-RPC or HTTP method.
async fn scripted(script: impl Fn(&str, &Received) -> Act + Send + Sync + 'static) -> (SocketAddr, Journal) {
    let (journal, read) = mpsc::unbounded_channel();
    let script = Arc::new(script);
    let address = serve(move |_, mut stream| {
        let (script, journal) = (script.clone(), journal.clone());
        async move {
            while let Some(request) = receive(&mut stream).await {
                let verb = request.verb().to_owned();
                let name = if verb == "POST" { request.method() } else { verb };
                let name = if name.is_empty() { "response".to_owned() } else { name };
                let act = script(&name, &request);
                journal.send((name.clone(), request)).unwrap();
                match act {
                    Act::Say(bytes) => say(&mut stream, bytes).await,
                    Act::Last(bytes) => return say(&mut stream, bytes).await,
                    Act::Hold(bytes) => {
                        say(&mut stream, bytes).await;
                        let mut ignored = Vec::new();
                        let _ = stream.read_to_end(&mut ignored).await;
                        let _ = journal.send(("gone".to_owned(), Received { head: name, body: Vec::new() }));
                        return;
                    }
                    Act::Late(time, bytes) => {
                        tokio::time::sleep(time).await;
                        say(&mut stream, bytes).await;
                    }
                    Act::Parts(first, go, rest) => {
                        say(&mut stream, first).await;
                        go.notified().await;
                        return say(&mut stream, rest).await;
                    }
                }
            }
        }
    })
    .await;
    (address, read)
}

/// A client on a channel of lines.
struct Client {
    to: Option<WriteHalf<DuplexStream>>,
    from: Lines<BufReader<ReadHalf<DuplexStream>>>,
    bridge: JoinHandle<()>,
}

fn patience() -> Patience {
    Patience { order: LONG, again: Duration::from_millis(10), ..Patience::default() }
}

impl Client {
    fn of(address: SocketAddr) -> Client {
        Client::with(address, Limits::default(), patience())
    }

    fn with(address: SocketAddr, limits: Limits, patience: Patience) -> Client {
        let server = Server::at(&at(format!("http://{address}/mcp"))).unwrap();
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (from, to) = tokio::io::split(ours);
        let (input, output) = tokio::io::split(theirs);
        let bridge = tokio::spawn(async move {
            stdio::serve(input, output, server, limits, patience, pending::<()>()).await;
        });
        Client { to: Some(to), from: BufReader::new(from).lines(), bridge }
    }

    /// Once it has opened a session.
    async fn opened(mut self) -> Client {
        self.say(initialize()).await;
        self.hear().await;
        self
    }

    async fn say(&mut self, message: impl ToString) {
        let line = format!("{}\n", message.to_string());
        self.to.as_mut().unwrap().write_all(line.as_bytes()).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        let line = timeout(LONG, self.from.next_line()).await.expect("nothing is said").unwrap().expect("the end");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"))
    }

    /// Says the last word and waits for the end; gives what was said until then.
    async fn end(mut self) -> Vec<Value> {
        self.to.take().unwrap().shutdown().await.unwrap();
        let mut rest = Vec::new();
        while let Some(line) = timeout(LONG, self.from.next_line()).await.expect("no end").unwrap() {
            rest.push(serde_json::from_str(&line).unwrap());
        }
        timeout(LONG, self.bridge).await.expect("no end").unwrap();
        rest
    }
}

async fn next(journal: &mut Journal) -> (String, Received) {
    timeout(LONG, journal.recv()).await.expect("nothing comes").expect("the server")
}

/// The next request of this name; whatever comes before is passed over.
async fn until(journal: &mut Journal, name: &str) -> Received {
    loop {
        let (found, received) = next(journal).await;
        if found == name {
            return received;
        }
    }
}

fn legacy(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn modern(id: u64, method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": { "roots": {} },
        "progressToken": 1,
    });
    legacy(id, method, params)
}

fn initialize() -> Value {
    legacy(0, "initialize", json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {} }))
}

fn initialized() -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })
}

fn accepted() -> Act {
    Act::Say(answer("202 Accepted", "", ""))
}

fn result(request: &Received, result: Value) -> Vec<u8> {
    request.result(result)
}

fn opened(request: &Received) -> Vec<u8> {
    request.result_with("mcp-session-id: s1\r\n", json!({ "protocolVersion": "2025-06-18" }))
}

/// The begin of an event stream that ends with its connection.
fn events(events: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{events}").into_bytes()
}

fn event(message: &Value) -> String {
    format!("data: {message}\n\n")
}

/// What the client sends at once after a notification does not overtake it, however long the server takes.
#[tokio::test]
async fn order_is_kept() {
    let (address, mut journal) = scripted(|name, request| match name {
        "initialize" => Act::Late(Duration::from_millis(50), opened(request)),
        "notifications/initialized" => Act::Late(Duration::from_millis(50), answer("202 Accepted", "", "")),
        "GET" => Act::Say(answer("405 Method Not Allowed", "", "")),
        _ => Act::Say(result(request, json!({}))),
    })
    .await;
    let mut client = Client::of(address);
    let (accepted, asked) = (std::time::Instant::now(), [initialize(), initialized(), legacy(1, "ping", json!({}))]);
    client.say(asked.map(|message| message.to_string()).join("\n")).await;
    assert_eq!(client.hear().await["id"], 0);
    assert_eq!(client.hear().await["id"], 1);
    assert!(accepted.elapsed() >= Duration::from_millis(100), "something was overtaken");
    for expected in ["initialize", "notifications/initialized"] {
        assert_eq!(next(&mut journal).await.0, expected);
    }
    until(&mut journal, "ping").await;
    client.end().await;
}

#[tokio::test]
async fn a_modern_call_is_mirrored_by_what_its_tool_says() {
    let schema = json!({ "type": "object", "properties": { "where": { "type": "string", "x-mcp-header": "Where" } } });
    let wrong = json!({ "properties": { "n": { "type": "number", "x-mcp-header": "N" } } });
    let (address, mut journal) = scripted(move |name, request| match name {
        "tools/list" if !String::from_utf8_lossy(&request.body).contains("cursor") => {
            let tools = json!([{ "name": "bad", "inputSchema": wrong }, { "name": "other" }]);
            Act::Say(result(request, json!({ "tools": tools, "nextCursor": "two" })))
        }
        "tools/list" => Act::Say(result(request, json!({ "tools": [{ "name": "go", "inputSchema": schema }] }))),
        _ => Act::Say(result(request, json!({ "content": [] }))),
    })
    .await;
    let mut client = Client::of(address);
    client.say(modern(1, "tools/call", json!({ "name": "go", "arguments": { "where": " ü" } }))).await;
    assert_eq!(client.hear().await["id"], 1);
    // The list is asked for as the client would ask: with its own capabilities, page by page.
    let (name, list) = next(&mut journal).await;
    assert_eq!(name, "tools/list");
    let meta = serde_json::from_slice::<Value>(&list.body).unwrap()["params"]["_meta"].clone();
    assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({ "roots": {} }));
    assert!(meta.get("progressToken").is_none());
    assert_eq!(next(&mut journal).await.0, "tools/list");
    let (_, call) = next(&mut journal).await;
    for (field, value) in [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "go"),
        ("mcp-param-where", "=?base64?IMO8?="),
    ] {
        assert_eq!(call.field(field), Some(value), "{field}");
    }
    assert_eq!(call.field("mcp-session-id"), None);

    // What the client lists itself is learnt, and it does not see the tool that no client of HTTP may see.
    client.say(modern(2, "tools/list", json!({}))).await;
    assert_eq!(client.hear().await["result"]["tools"], json!([{ "name": "other" }]));
    client.say(modern(3, "tools/list", json!({ "cursor": "two" }))).await;
    assert_eq!(client.hear().await["result"]["tools"][0]["name"], "go");
    client.say(modern(4, "tools/call", json!({ "name": "go", "arguments": { "where": "x" } }))).await;
    client.hear().await;
    for expected in ["tools/list", "tools/list", "tools/call"] {
        assert_eq!(next(&mut journal).await.0, expected, "nothing was asked for again");
    }
    client.end().await;
}

#[tokio::test]
async fn a_call_is_mirrored_anew_where_its_tool_has_changed() {
    let lists = AtomicUsize::new(0);
    let (address, mut journal) = scripted(move |name, request| match (name, request.field("mcp-param-b")) {
        ("tools/list", _) => {
            let annotated = json!({ "properties": { "b": { "type": "integer", "x-mcp-header": "B" } } });
            let schema = if lists.fetch_add(1, Relaxed) == 0 { json!({}) } else { annotated };
            Act::Say(result(request, json!({ "tools": [{ "name": "go", "inputSchema": schema }] })))
        }
        ("tools/call", None) => {
            let error = json!({ "jsonrpc": "2.0", "id": 2, "error": { "code": -32020, "message": "no" } }).to_string();
            Act::Say(answer("400 Bad Request", "content-type: application/json\r\n", &error))
        }
        _ => Act::Say(result(request, json!({ "content": [] }))),
    })
    .await;
    let mut client = Client::of(address);
    client.say(modern(1, "tools/list", json!({}))).await;
    client.hear().await;
    client.say(modern(2, "tools/call", json!({ "name": "go", "arguments": { "b": 7 } }))).await;
    assert!(client.hear().await.get("result").is_some(), "the first try did not run");
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let (name, request) = next(&mut journal).await;
        seen.push((name, request.field("mcp-param-b").map(str::to_owned)));
    }
    let expected = [("tools/list", None), ("tools/call", None), ("tools/list", None), ("tools/call", Some("7"))];
    assert_eq!(seen, expected.map(|(name, field): (&str, Option<&str>)| (name.to_owned(), field.map(str::to_owned))));
    client.end().await;
}

#[tokio::test]
async fn a_modern_cancellation_drops_the_request_and_goes_no_further() {
    let (address, mut journal) = scripted(|name, request| match name {
        "tools/list" => Act::Say(result(request, json!({ "tools": [{ "name": "wait" }] }))),
        "tools/call" => Act::Hold(Vec::new()),
        _ => Act::Say(result(request, json!({}))),
    })
    .await;
    let mut client = Client::of(address);
    client.say(modern(1, "tools/call", json!({ "name": "wait" }))).await;
    until(&mut journal, "tools/call").await;
    client.say(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1.0 } })).await;
    assert_eq!(until(&mut journal, "gone").await.head, "tools/call");
    client.say(modern(2, "server/discover", json!({}))).await;
    assert_eq!(client.hear().await["id"], 2, "what was cancelled is not answered");
    assert_eq!(next(&mut journal).await.0, "server/discover", "the cancellation is no message of HTTP");
    client.end().await;
}

#[tokio::test]
async fn a_legacy_cancellation_is_told_at_once() {
    let (address, mut journal) = scripted(|name, request| match name {
        "initialize" => Act::Say(opened(request)),
        "tools/call" => Act::Hold(Vec::new()),
        _ => accepted(),
    })
    .await;
    let mut client = Client::of(address).opened().await;
    client.say(legacy(1, "tools/call", json!({ "name": "wait" }))).await;
    until(&mut journal, "tools/call").await;
    client.say(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } })).await;
    let told = until(&mut journal, "notifications/cancelled").await;
    assert_eq!(told.field("mcp-session-id"), Some("s1"));
    // Nobody waits for it any more, so the end does not either.
    assert_eq!(client.end().await, Vec::<Value>::new());
    until(&mut journal, "DELETE").await;
}

#[tokio::test]
async fn a_listening_that_is_torn_down_is_told() {
    let acknowledged = json!({ "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged" });
    let first = acknowledged.clone();
    let (address, _journal) = scripted(move |name, request| match name {
        "subscriptions/listen" => Act::Last(events(&event(&first))),
        _ => Act::Say(result(request, json!({}))),
    })
    .await;
    let mut client = Client::of(address);
    client.say(modern(7, "subscriptions/listen", json!({ "notifications": {} }))).await;
    assert_eq!(client.hear().await, acknowledged);
    let told = client.hear().await;
    assert_eq!((&told["method"], &told["params"]["requestId"]), (&json!("notifications/cancelled"), &json!(7)));
    assert_eq!(client.end().await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_http_says_becomes_an_error_of_the_request() {
    let error = |id: Value, code: i32| json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": "m" } });
    let (address, _journal) = scripted(move |name, _| {
        let json = "content-type: application/json\r\n";
        Act::Say(match name {
            "a/401" => answer("401 Unauthorized", "www-authenticate: Bearer\r\n", ""),
            "a/502" => answer("502 Bad Gateway", "content-type: text/html\r\n", "<html>"),
            "a/404" => answer("404 Not Found", json, r#"{"message":"Not Found"}"#),
            "a/202" => answer("202 Accepted", "", ""),
            "a/own" => answer("400 Bad Request", json, &error(json!(1), -32602).to_string()),
            "a/none" => answer("400 Bad Request", json, &error(json!(null), -32000).to_string()),
            _ => answer("200 OK", json, &error(json!(99), 1).to_string()),
        })
    })
    .await;
    let mut client = Client::of(address);
    for (method, code, status) in [
        ("a/401", -31005, Some(401)),
        ("a/502", -31001, Some(502)),
        ("a/404", -31001, Some(404)),
        ("a/202", -31001, Some(202)),
        ("a/own", -32602, None),
        ("a/none", -32000, None),
        ("a/foreign", -31001, Some(200)),
    ] {
        client.say(legacy(1, method, json!({}))).await;
        let told = client.hear().await;
        let found = (&told["id"], &told["error"]["code"], told["error"]["data"]["httpStatus"].as_u64());
        assert_eq!(found, (&json!(1), &json!(code), status), "{method}");
    }
    client.end().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut client = Client::of(address);
    client.say(initialize()).await;
    let told = client.hear().await;
    assert_eq!((&told["id"], &told["error"]["code"]), (&json!(0), &json!(-31001)));
    assert!(!told.to_string().contains(&address.to_string()));
    client.end().await;
}

#[tokio::test]
async fn the_last_answers_are_waited_for() {
    let (address, mut journal) = scripted(|name, request| match name {
        "initialize" => Act::Say(opened(request)),
        "slow" => Act::Late(Duration::from_millis(100), result(request, json!({}))),
        _ => accepted(),
    })
    .await;
    let mut client = Client::of(address).opened().await;
    client.say(legacy(1, "slow", json!({}))).await;
    let rest = client.end().await;
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0]["id"], 1);
    until(&mut journal, "DELETE").await;
}

#[tokio::test]
async fn an_answer_that_never_comes_does_not_keep_the_end() {
    let (address, mut journal) = scripted(|name, request| match name {
        "initialize" => Act::Say(opened(request)),
        "never" => Act::Hold(Vec::new()),
        _ => accepted(),
    })
    .await;
    let patience = Patience { answers: Duration::from_millis(50), ..patience() };
    let mut client = Client::with(address, Limits::default(), patience).opened().await;
    client.say(legacy(1, "never", json!({}))).await;
    until(&mut journal, "never").await;
    assert_eq!(client.end().await, Vec::<Value>::new());
    until(&mut journal, "DELETE").await;
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_goes_no_further() {
    let (address, mut journal) = scripted(|_, request| Act::Say(result(request, json!({})))).await;
    let limits = Limits { message_bytes: 200, ..Limits::default() };
    let mut client = Client::with(address, limits, patience());
    for (line, id, code) in [
        ("nonsense".to_owned(), None, -32700),
        (r#"{"jsonrpc":"2.0","id":5,"method":"a","id":5}"#.to_owned(), None, -32600),
        (r#"{"jsonrpc":"2.0","id":6,"method":"a","params":[]}"#.to_owned(), Some(6), -32600),
        (format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{}"}}"#, "x".repeat(300)), None, -32600),
    ] {
        client.say(&line).await;
        let told = client.hear().await;
        let found = (told["id"].as_i64(), told["error"]["code"].as_i64());
        assert_eq!(found, (id, Some(code)), "{line}");
    }
    client.say(legacy(8, "ping", json!({}))).await;
    assert_eq!(client.hear().await["id"], 8);
    assert_eq!(next(&mut journal).await.0, "ping");
    client.end().await;
}

#[tokio::test]
async fn there_are_only_so_many_requests_at_a_time() {
    let (address, _journal) = scripted(|_, _| Act::Hold(Vec::new())).await;
    let limits = Limits { requests: 2, ..Limits::default() };
    let mut client = Client::with(address, limits, Patience { answers: Duration::ZERO, ..patience() });
    for id in 1..=3 {
        client.say(legacy(id, "wait", json!({}))).await;
    }
    let told = client.hear().await;
    assert_eq!((&told["id"], &told["error"]["code"]), (&json!(3), &json!(-31003)));
    client.end().await;
}

#[tokio::test]
async fn a_batch_is_sent_as_it_is_and_answered_one_by_one() {
    let (address, mut journal) = scripted(|_, _| {
        let answers =
            json!([{ "jsonrpc": "2.0", "id": 2, "result": {} }, { "jsonrpc": "2.0", "id": "a", "result": {} }]);
        Act::Say(json(&answers.to_string()))
    })
    .await;
    let mut client = Client::of(address);
    let batch = r#"[{"jsonrpc":"2.0","id":"a","method":"x"}, {"jsonrpc":"2.0","id":2,"method":"y"},{"jsonrpc":"2.0","method":"z"},{"jsonrpc":"2.0","id":3,"method":"y"}]"#;
    client.say(batch).await;
    let told = [client.hear().await, client.hear().await, client.hear().await];
    assert_eq!(told.clone().map(|one| one["id"].clone()), [json!(2), json!("a"), json!(3)]);
    assert_eq!(told[2]["error"]["data"]["httpStatus"], 200, "what is missing is told");
    assert_eq!(next(&mut journal).await.1.body, batch.as_bytes());
    client.end().await;
}

/// A client that takes nothing holds up its own streams only, and letting go of the bridge ends everything.
#[tokio::test]
async fn a_bridge_that_is_dropped_drops_what_is_on_its_way() {
    let (address, mut journal) = scripted(|_, _| Act::Hold(Vec::new())).await;
    let server = Server::at(&at(format!("http://{address}/mcp"))).unwrap();
    let (mut bridge, _messages) = Bridge::new(server, Limits::default(), patience());
    let message = Bytes::from(legacy(1, "wait", json!({})).to_string());
    bridge.hear(Said::Message(message, Outbound::new())).await;
    until(&mut journal, "wait").await;
    drop(bridge);
    assert_eq!(until(&mut journal, "gone").await.head, "wait");
}
