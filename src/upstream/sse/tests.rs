//! Sessions of 2024-11-05 against a scripted server.

use super::*;
use crate::upstream::caller::Caller;
use crate::upstream::response::Form;
use crate::upstream::testing::{
    EVENTS, PATIENT, Received, answer, backend_at, initialize, receive, say as write, serve, set, started, tool_call,
    until,
};
use crate::upstream::{BackendSettings, LiveBackend, Protocol, Registry};
use bytes::Bytes;
use lockgate_filters::backend::Speaks;
use lockgate_filters::splice::Replay;
use serde_json::{Value as Json, json};
use std::net::SocketAddr;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A server of 2024-11-05, and what it got.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    streams: HashMap<usize, mpsc::UnboundedSender<String>>,
    got: Vec<Json>,
    heads: Vec<String>,
    /// What the `endpoint` event says; `{}` is the number of the session.
    endpoint: Option<&'static str>,
    /// The status of messages.
    refuses: Option<&'static str>,
    /// How many streams are open.
    open: usize,
}

impl Server {
    async fn start(&self) -> SocketAddr {
        let server = self.clone();
        serve(move |number, mut stream| {
            let server = server.clone();
            async move {
                while let Some(request) = receive(&mut stream).await {
                    if !request.line().starts_with("GET ") {
                        let said = server.post(&request);
                        write(&mut stream, said).await;
                        continue;
                    }
                    if !request.line().starts_with("GET /sse ") {
                        write(&mut stream, answer("404 Not Found", "", "")).await;
                        continue;
                    }
                    let (sender, mut says) = mpsc::unbounded_channel::<String>();
                    let endpoint = {
                        let mut inner = server.0.lock();
                        inner.heads.push(request.head.clone());
                        inner.streams.insert(number, sender);
                        inner.open += 1;
                        inner.endpoint.unwrap_or("/messages?session={}").replace("{}", &number.to_string())
                    };
                    write(&mut stream, EVENTS).await;
                    write(&mut stream, format!(": hello\n\nevent: endpoint\ndata: {endpoint}\n\n")).await;
                    let mut nothing = [0; 1];
                    loop {
                        tokio::select! {
                            said = says.recv() => match said {
                                Some(said) => write(&mut stream, said).await,
                                None => break,
                            },
                            _ = tokio::io::AsyncReadExt::read(&mut stream, &mut nothing) => break,
                        }
                    }
                    server.0.lock().open -= 1;
                    return;
                }
            }
        })
        .await
    }

    fn post(&self, request: &Received) -> Vec<u8> {
        let line = request.line().to_owned();
        if !line.starts_with("POST /messages?session=") {
            return answer("405 Method Not Allowed", "", "");
        }
        let message = request.message();
        let mut inner = self.0.lock();
        inner.heads.push(request.head.clone());
        inner.got.push(message.clone());
        if let Some(status) = inner.refuses {
            return answer(status, "", "");
        }
        let number: usize = line.split(['=', ' ']).nth(2).and_then(|text| text.parse().ok()).expect("a session");
        let result = match message["method"].as_str() {
            Some("initialize") => json!({"protocolVersion": "2024-11-05", "capabilities": {}}),
            Some("tools/call") if message["params"]["name"] == "hang" => Json::Null,
            Some("tools/call") => json!({"session": number}),
            _ => Json::Null,
        };
        if !result.is_null() {
            let said = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
            let _ = inner.streams[&number].send(format!("event: message\r\ndata: {said}\r\n\r\n"));
        }
        answer("202 Accepted", "", "Accepted")
    }

    fn say(&self, text: &str) {
        for stream in self.0.lock().streams.values() {
            let _ = stream.send(text.to_owned());
        }
    }

    /// Ends all streams.
    fn cut(&self) {
        self.0.lock().streams.clear();
    }

    async fn until(&self, what: &str, holds: impl Fn(&Inner) -> bool) {
        until(what, || holds(&self.0.lock())).await;
    }
}

fn settings(address: SocketAddr, protocol: Protocol) -> BackendSettings {
    BackendSettings { protocol, ..backend_at("old", format!("http://{address}/sse")) }
}

async fn backend(server: &Server, protocol: Protocol) -> (Registry, Arc<LiveBackend>) {
    started(settings(server.start().await, protocol))
}

fn request(verb: Verb, body: Json, session: Option<&str>) -> UpstreamRequest {
    let mut fields = Outbound::new();
    fields.set(http::header::AUTHORIZATION, HeaderValue::from_static("Bearer own"));
    if let Some(session) = session {
        fields.set(SESSION_ID, HeaderValue::from_str(session).expect("a value"));
    }
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    UpstreamRequest { verb, fields, body, replay: Replay::IfNotRun, caller: Caller::default() }
}

async fn send(live: &LiveBackend, request: UpstreamRequest) -> Result<UpstreamResponse, AttemptFault> {
    timeout(PATIENT, live.send(&request)).await.expect("in time")
}

async fn open(live: &LiveBackend) -> String {
    let response = send(live, request(Verb::Post, initialize(json!({})), None)).await.expect("an answer");
    assert_eq!((response.status.as_u16(), response.form()), (200, Form::Json));
    response.headers.get(SESSION_ID).expect("a session").to_str().expect("text").to_owned()
}

async fn call(live: &LiveBackend, session: &str) -> Json {
    let mut response = send(live, request(Verb::Post, tool_call("x"), Some(session))).await.expect("an answer");
    serde_json::from_slice(&response.collect(1 << 20).await.expect("a body")).expect("JSON")
}

#[tokio::test]
async fn each_session_is_a_connection() {
    let server = Server::default();
    let (_registry, live) = backend(&server, Protocol::Sse).await;
    let [one, two] = [open(&live).await, open(&live).await];
    let (first, second) = (call(&live, &one).await, call(&live, &two).await);
    assert_eq!(first["id"], "call");
    assert_ne!(first["result"]["session"], second["result"]["session"]);
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(send(&live, request(Verb::Post, ready.clone(), Some(&one))).await.expect("taken").status, 202);
    {
        let inner = server.0.lock();
        assert_eq!(inner.got.last(), Some(&ready));
        assert!(inner.heads.iter().all(|head| head.contains("authorization: Bearer own")));
        assert!(inner.heads.iter().all(|head| !head.contains("mcp-session-id")));
    }
    assert_eq!(send(&live, request(Verb::Delete, Json::Null, Some(&one))).await.expect("ended").status, 200);
    server.until("a connection is left", |inner| inner.open == 1).await;
    assert_eq!(send(&live, request(Verb::Post, tool_call("x"), Some(&one))).await.expect("an answer").status, 404);
    assert_eq!(call(&live, &two).await["result"], second["result"]);
    assert_eq!(live.is_up(), Some(true));
}

#[tokio::test]
async fn news_come_on_the_sessions_stream() {
    let server = Server::default();
    let (_registry, live) = backend(&server, Protocol::Sse).await;
    let session = open(&live).await;
    let mut stream = send(&live, request(Verb::Get, Json::Null, Some(&session))).await.expect("a stream");
    server.say("event: other\ndata: {}\n\ndata: {\"jsonrpc\":\"2.0\",\ndata: \"method\":\"notifications/tools/list_changed\"}\n\n");
    let event = stream.chunk().await.expect("no fault").expect("an event");
    assert!(String::from_utf8_lossy(&event).contains("list_changed"));
    server.cut();
    assert!(stream.chunk().await.expect("no fault").is_none());
    assert_eq!(send(&live, request(Verb::Get, Json::Null, Some(&session))).await.expect("an answer").status, 404);
}

#[tokio::test]
async fn a_cut_stream_ends_the_session_and_what_it_waits_for() {
    let server = Server::default();
    let (_registry, live) = backend(&server, Protocol::Sse).await;
    let session = open(&live).await;
    let hanging = tokio::spawn({
        let (live, hang) = (live.clone(), request(Verb::Post, tool_call("hang"), Some(&session)));
        async move { live.send(&hang).await }
    });
    server.until("nothing hangs", |inner| inner.got.len() == 2).await;
    server.cut();
    let fault = hanging.await.expect("no panic").expect_err("cut");
    assert_eq!((fault.kind, fault.provably_not_run), (FaultKind::Cut, false));
    assert_eq!(send(&live, request(Verb::Post, tool_call("x"), Some(&session))).await.expect("an answer").status, 404);
    let again = open(&live).await;
    call(&live, &again).await;
}

#[tokio::test]
async fn messages_that_are_refused_did_not_run() {
    let server = Server::default();
    let (_registry, live) = backend(&server, Protocol::Sse).await;
    let session = open(&live).await;
    for (status, kind) in [("503 Service Unavailable", FaultKind::Busy), ("400 Bad Request", FaultKind::Protocol)] {
        server.0.lock().refuses = Some(status);
        let fault = send(&live, request(Verb::Post, tool_call("x"), Some(&session))).await.expect_err("refused");
        assert_eq!(fault.kind, kind);
    }
    server.0.lock().refuses = Some("404 Not Found");
    assert_eq!(send(&live, request(Verb::Post, tool_call("x"), Some(&session))).await.expect("an answer").status, 404);
    server.until("a forgotten connection is left", |inner| inner.open == 0).await;
}

#[tokio::test]
async fn messages_stay_within_the_origin() {
    for foreign in
        ["http://example.com/messages?session={}", "//example.com/", "https://127.0.0.1/", "http://[", "\u{1}"]
    {
        let server = Server::default();
        server.0.lock().endpoint = Some(foreign);
        let (_registry, live) = backend(&server, Protocol::Sse).await;
        let outcome = send(&live, request(Verb::Post, initialize(json!({})), None)).await;
        assert!(outcome.is_err() || outcome.is_ok_and(|response| !response.status.is_success()), "{foreign}");
        assert!(server.0.lock().got.is_empty());
        server.until("the connection is left", |inner| inner.open == 0).await;
    }
    let server = Server::default();
    let address = server.start().await;
    let named: &'static str = format!("http://{address}/messages?session={{}}").leak();
    server.0.lock().endpoint = Some(named);
    let (_registry, live) = started(settings(address, Protocol::Sse));
    open(&live).await;
}

#[tokio::test]
async fn it_is_found_out_where_nothing_newer_is_spoken() {
    let server = Server::default();
    let (registry, live) = backend(&server, Protocol::Auto).await;
    live.ensure_eras(PATIENT).await.expect("known");
    let facts = live.backend.facts();
    assert_eq!((facts.modern, facts.legacy), (Speaks::No, Speaks::Yes));
    drop(facts);
    server.until("the probe's connection is left", |inner| inner.open == 0).await;
    let session = open(&live).await;
    assert_eq!(call(&live, &session).await["id"], "call");
    // Another URL: what is held open ends.
    let mut stream = send(&live, request(Verb::Get, Json::Null, Some(&session))).await.expect("a stream");
    set(&registry, &[]);
    assert!(stream.chunk().await.expect("no fault").is_none());
    drop(stream);
    server.until("a retired connection is left", |inner| inner.open == 0).await;
}

#[tokio::test]
async fn a_url_that_speaks_nothing_speaks_not_this_either() {
    let server = Server::default();
    let address = server.start().await;
    let (_registry, live) = started(backend_at("old", format!("http://{address}/nothing")));
    live.ensure_eras(PATIENT).await.expect("known");
    let facts = live.backend.facts();
    assert_eq!((facts.modern, facts.legacy), (Speaks::No, Speaks::No));
}
