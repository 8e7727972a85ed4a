use super::*;
use crate::upstream::EndpointSettings;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(20);

fn at(url: &str) -> Server {
    Server::at(&EndpointSettings::new(url.parse().unwrap())).unwrap()
}

fn call(name: &str, arguments: Value) -> Query {
    let Value::Object(arguments) = arguments else { panic!() };
    Query::Call { name: name.to_owned(), arguments }
}

#[tokio::test]
async fn a_stateless_server_is_asked_statelessly() {
    let demo = crate::demo::start_ephemeral().await.unwrap();
    let listed = answer(at(&demo.url), Query::Tools, PATIENCE).await.unwrap();
    assert!(listed["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == "calculate"), "{listed}");
    let called = answer(at(&demo.url), call("calculate", json!({ "expression": "6*7" })), PATIENCE).await.unwrap();
    assert_eq!(called["resultType"], "complete", "{called}");
    assert_eq!(called["structuredContent"]["value"], 42.0);
    let refused = answer(at(&demo.url), call("none", json!({})), PATIENCE).await.unwrap_err();
    assert!(matches!(refused, AskError::Refused { code: -32602, .. }), "{refused}");
    demo.stop().await;
}

/// Serves this for each message: a status and fields, a content type, a body.
async fn scripted(script: fn(&Value) -> (&'static str, &'static str, String)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, script));
        }
    });
    url
}

async fn serve(mut stream: TcpStream, script: fn(&Value) -> (&'static str, &'static str, String)) {
    let mut read = Vec::new();
    loop {
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
            if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
            continue;
        };
        let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let length: usize = length.unwrap_or(0);
        while read.len() < end + 4 + length {
            if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body: Vec<u8> = read.drain(..end + 4 + length).skip(end + 4).collect();
        let (status, kind, text) = match serde_json::from_slice(&body) {
            Ok(message) => script(&message),
            Err(_) => ("405 Method Not Allowed", "text/plain", String::new()),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", text.len());
        if stream.write_all(format!("{head}{text}").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A server of the session era, which answers in event streams and asks something itself.
fn legacy(message: &Value) -> (&'static str, &'static str, String) {
    let id = &message["id"];
    let event = |messages: &[Value]| messages.iter().map(|message| format!("data: {message}\n\n")).collect::<String>();
    let answer = |result: Value| json!({ "jsonrpc": "2.0", "id": id, "result": result });
    match message["method"].as_str() {
        Some("initialize") => {
            assert_eq!(message["params"]["capabilities"], json!({}));
            let result = json!({ "protocolVersion": "2025-06-18", "capabilities": { "tools": {} }, "serverInfo": { "name": "x", "version": "1" } });
            ("200 OK\r\nMcp-Session-Id: s1", "application/json", answer(result).to_string())
        }
        Some("tools/list") if message["params"]["cursor"] == "two" => {
            ("200 OK", "text/event-stream", event(&[answer(json!({ "tools": [{ "name": "b" }] }))]))
        }
        Some("tools/list") => {
            let note = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": "x" } });
            let question = json!({ "jsonrpc": "2.0", "id": 1, "method": "roots/list" });
            let page = answer(json!({ "tools": [{ "name": "a" }], "nextCursor": "two" }));
            ("200 OK", "text/event-stream", event(&[note, question, page]))
        }
        Some("tools/call") => {
            let error = json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32000, "message": "not today" } });
            ("200 OK", "application/json", error.to_string())
        }
        Some("server/discover") => ("400 Bad Request", "text/plain", "what?".to_owned()),
        _ => ("202 Accepted", "text/plain", String::new()),
    }
}

#[tokio::test]
async fn a_server_of_sessions_is_asked_in_one() {
    let url = scripted(legacy).await;
    let listed = answer(at(&url), Query::Tools, PATIENCE).await.unwrap();
    assert_eq!(listed, json!({ "tools": [{ "name": "a" }, { "name": "b" }] }), "all pages");
    let refused = answer(at(&url), call("a", json!({})), PATIENCE).await.unwrap_err();
    assert_eq!(refused.to_string(), "not today (-32000)");
}

#[tokio::test]
async fn what_is_no_server_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let late = answer(at(&url), Query::Tools, Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(late, AskError::Late), "{late}");
    drop(listener);
    let error = answer(at(&url), Query::Tools, PATIENCE).await.unwrap_err();
    assert!(error.to_string().contains("no connection could be made"), "{error}");
    let endless = scripted(|message| {
        let result = json!({ "tools": [], "nextCursor": "again", "supportedVersions": ["2026-07-28"] });
        ("200 OK", "application/json", json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string())
    });
    let error = answer(at(&endless.await), Query::Tools, PATIENCE).await.unwrap_err();
    assert!(matches!(error, AskError::Odd("its list has no end")), "{error}");
}
