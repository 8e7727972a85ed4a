//! Against scripted backends on real sockets.

use super::*;
use crate::upstream::settings::{BackendSettings, Protocol};
use crate::upstream::testing::{
    self, EVENTS, PATIENT, Received, answer, backend_at, error, fetcher, receive, result, say, serve, serve_mcp,
};
use crate::upstream::{LiveBackend, Registry};
use lockgate_filters::fault::Fault;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Mutex, mpsc};

fn described(tools: &str) -> Vec<u8> {
    result(&format!(r#"{{"supportedVersions":["2026-07-28"],"capabilities":{{{tools}}},"ttlMs":60000}}"#))
}

fn started(address: SocketAddr) -> (Registry, Arc<LiveBackend>) {
    let url = format!("http://{address}/mcp");
    testing::started(BackendSettings { protocol: Protocol::Modern, ..backend_at("demo", url) })
}

#[tokio::test]
async fn all_pages_are_read() {
    let address = serve_mcp(|request| {
        match request.message()["params"]["cursor"].as_str() {
            None => result(r#"{"tools":[{"name":"a"}],"nextCursor":"","ttlMs":90000}"#),
            // The empty string is a cursor like any other.
            Some("") => result(r#"{"tools":[{"name":"b"}],"nextCursor":"a\"b","ttlMs":70000}"#),
            Some("a\"b") => result(r#"{"tools":[{"name":"c"}],"nextCursor":null,"ttlMs":80000}"#),
            Some(_) => error("200 OK", -32602),
        }
    })
    .await;
    let (tools, trust) = list(&fetcher(address)).await.expect("a list");
    assert_eq!((tools.len(), trust), (3, Duration::from_millis(70_000)));
}

#[tokio::test]
async fn endless_lists_are_refused() {
    let endless = |_: &Received| result(r#"{"tools":[],"nextCursor":"x","ttlMs":1}"#);
    let fault = list(&fetcher(serve_mcp(endless).await)).await.expect_err("endless");
    assert_eq!(fault.to_string(), "its tool list has too many pages");

    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let counting = move |received: &Received| {
        counted.fetch_add(1, Ordering::SeqCst);
        endless(received)
    };
    let mut brief = fetcher(serve_mcp(counting).await);
    brief.tools.pages = 2;
    assert!(list(&brief).await.is_err());
    assert_eq!(count.load(Ordering::SeqCst), 2);

    let filler = "x".repeat(600_000);
    let long = move |_: &Received| {
        result(&format!(r#"{{"tools":[{{"name":"a","description":"{filler}"}}],"nextCursor":"x","ttlMs":1}}"#))
    };
    let fault = list(&fetcher(serve_mcp(long).await)).await.expect_err("long");
    assert_eq!(fault.kind, FaultKind::TooLong);
}

#[tokio::test]
async fn tools_are_listed_once_for_all_who_ask() {
    let lists = Arc::new(AtomicUsize::new(0));
    let counted = lists.clone();
    let address = serve_mcp(move |request| match request.method().as_str() {
        "server/discover" => described(r#""tools":{}"#),
        "tools/list" => {
            counted.fetch_add(1, Ordering::SeqCst);
            result(r#"{"tools":[],"ttlMs":60000}"#)
        }
        other => panic!("asked {other}"),
    })
    .await;
    let (_registry, live) = started(address);
    for _ in 0..5 {
        live.refresh_tools(PATIENT).await.expect("listed");
    }
    assert!(live.backend.facts().tools.is_some());
    assert_eq!(lists.load(Ordering::SeqCst), 1, "at most one list a second");
}

#[tokio::test]
async fn a_backend_without_tools_is_not_asked_for_them() {
    let address = serve_mcp(|request| match request.method().as_str() {
        "server/discover" => described(""),
        other => panic!("asked {other}"),
    })
    .await;
    let (_registry, live) = started(address);
    live.refresh_tools(PATIENT).await.expect("nothing to do");
    assert!(live.backend.facts().tools.is_none());
}

#[tokio::test]
async fn a_list_that_fails_is_a_refusal_that_names_the_backend() {
    let address = serve_mcp(|request| match request.method().as_str() {
        "server/discover" => described(r#""tools":{}"#),
        _ => answer("500 Internal Server Error", "", ""),
    })
    .await;
    let (_registry, live) = started(address);
    let refusal = live.refresh_tools(PATIENT).await.expect_err("refused");
    assert_eq!(refusal.fault, Fault::BackendProtocol);
    assert!(refusal.message.contains("\"demo\""));
}

#[tokio::test]
async fn a_change_that_the_backend_tells_of_is_followed() {
    let (listed, mut lists) = mpsc::unbounded_channel();
    let (change, changes) = mpsc::channel::<()>(1);
    let changes = Arc::new(Mutex::new(changes));
    let address = serve(move |_, mut stream| {
        let (listed, changes) = (listed.clone(), changes.clone());
        async move {
            while let Some(request) = receive(&mut stream).await {
                match request.method().as_str() {
                    "server/discover" => say(&mut stream, described(r#""tools":{"listChanged":true}"#)).await,
                    "tools/list" => {
                        say(&mut stream, result(r#"{"tools":[],"ttlMs":60000}"#)).await;
                        let _ = listed.send(());
                    }
                    "subscriptions/listen" => {
                        assert_eq!(request.message()["params"]["notifications"]["toolsListChanged"], true);
                        let acknowledged =
                            r#"data: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged"}"#;
                        say(&mut stream, format!("{EVENTS}: hello\n\n{acknowledged}\n\n")).await;
                        while changes.lock().await.recv().await.is_some() {
                            let changed = r#"data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
                            say(&mut stream, format!("{changed}\n\n")).await;
                        }
                    }
                    other => panic!("asked {other}"),
                }
            }
        }
    })
    .await;
    let (_registry, _live) = started(address);
    lists.recv().await.expect("listed at first");
    change.send(()).await.expect("listening");
    lists.recv().await.expect("listed again");
}
