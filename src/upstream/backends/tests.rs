//! The registry against scripted backends on real sockets.

use super::*;
use crate::upstream::settings::{EndpointSettings, Protocol};
use crate::upstream::testing::{
    PATIENT, Received, answer, at, backend_at, error, live, post, receive, registry as started, result, say, serve,
    serve_mcp, set,
};
use lockgate_filters::backend::Speaks;
use lockgate_filters::fault::Fault;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

fn settings(name: &str, address: SocketAddr) -> BackendSettings {
    backend_at(name, format!("http://{address}/mcp"))
}

fn described(ttl: u64) -> Vec<u8> {
    result(&format!(r#"{{"supportedVersions":["2026-07-28"],"capabilities":{{}},"ttlMs":{ttl}}}"#))
}

fn modern_only(request: &Received) -> Vec<u8> {
    match request.method().as_str() {
        "server/discover" => described(60_000),
        _ => error("400 Bad Request", -32020),
    }
}

#[tokio::test]
async fn a_backend_at_another_url_is_another_place() {
    let place = |name: &str, url: &str, change: fn(&mut EndpointSettings)| {
        let mut settings = settings(name, ([127, 0, 0, 1], 1).into());
        settings.endpoints[0].url = url.parse().expect("a URL");
        change(&mut settings.endpoints[0]);
        let generation = Registry::new().prepare(&[settings]).expect("usable settings");
        generation.get(name).expect("a backend").place.clone()
    };
    let same = |_: &mut EndpointSettings| {};
    let token = |settings: &mut EndpointSettings| {
        settings.headers.push((http::header::AUTHORIZATION, "Bearer new".parse().expect("a value")));
    };
    let here = place("demo", "http://a.example/mcp?key=secret", same);
    assert_eq!(here, place("demo", "http://a.example/mcp?key=secret", token), "new credentials, the same server");
    assert_ne!(here, place("demo", "http://b.example/mcp?key=secret", same));
    assert_ne!(here, place("other", "http://a.example/mcp?key=secret", same));
    assert!(here.starts_with("demo@") && !here.contains("secret"));
}

#[tokio::test]
async fn many_requests_wait_for_one_probe() {
    let probes = Arc::new(AtomicUsize::new(0));
    let counted = probes.clone();
    let address = serve_mcp(move |request| {
        if request.method() == "server/discover" {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        modern_only(request)
    })
    .await;
    let registry = started(&[settings("demo", address)]);
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let live = live(&registry, "demo");
            tokio::spawn(async move { live.ensure_eras(PATIENT).await.is_ok() })
        })
        .collect();
    for waiter in waiting {
        assert!(waiter.await.expect("no panic"));
    }
    let live = live(&registry, "demo");
    let facts = live.backend.facts();
    assert_eq!((facts.modern, facts.legacy), (Speaks::Yes, Speaks::No));
    assert!(facts.discover.is_some());
    assert_eq!(probes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_backend_that_is_down_is_asked_again() {
    let up = Arc::new(AtomicBool::new(false));
    let serving = up.clone();
    let address = serve_mcp(move |request| match serving.load(Ordering::SeqCst) {
        true => modern_only(request),
        false => answer("503 Service Unavailable", "", ""),
    })
    .await;
    let registry = started(&[settings("demo", address)]);
    let live = live(&registry, "demo");
    let refusal = live.ensure_eras(PATIENT).await.expect_err("down");
    assert_eq!(refusal.fault, Fault::BackendProtocol);
    assert_eq!(refusal.message, "backend \"demo\": it answers with a server error");
    up.store(true, Ordering::SeqCst);
    // Nobody has to ask: the next probe comes by itself; but who asks in vain asks again.
    while live.ensure_eras(PATIENT).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(live.backend.facts().modern, Speaks::Yes);
}

#[tokio::test]
async fn an_outage_takes_nothing_back() {
    let down = Arc::new(AtomicBool::new(false));
    let failing = down.clone();
    let address = serve_mcp(move |request| match (failing.load(Ordering::SeqCst), request.method().as_str()) {
        (true, _) => answer("500 Internal Server Error", "", ""),
        // May not be kept: each request for it asks anew.
        (false, "server/discover") => described(0),
        (false, _) => error("400 Bad Request", -32020),
    })
    .await;
    let registry = started(&[settings("demo", address)]);
    let live = live(&registry, "demo");
    live.ensure_eras(PATIENT).await.expect("known");
    down.store(true, Ordering::SeqCst);
    let refused = loop {
        // The answer of the probe that has just ended may still be fresh.
        if let Err(refusal) = live.ensure_eras(PATIENT).await {
            break refusal;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(refused.fault, Fault::BackendProtocol);
    let facts = live.backend.facts();
    assert_eq!((facts.modern, facts.legacy), (Speaks::Yes, Speaks::No));
    assert!(facts.discover.is_some());
}

#[tokio::test]
async fn what_is_not_auto_is_known_at_once() {
    let address = serve_mcp(|_| answer("500 Internal Server Error", "", "")).await;
    for (protocol, expected) in
        [(Protocol::Legacy, (Speaks::No, Speaks::Yes)), (Protocol::Modern, (Speaks::Yes, Speaks::No))]
    {
        let registry = started(&[BackendSettings { protocol, ..settings("demo", address) }]);
        let facts = live(&registry, "demo").backend.facts();
        assert_eq!((facts.modern, facts.legacy), expected);
    }
}

#[tokio::test]
async fn a_reload_keeps_what_stayed_the_same() {
    let address = serve_mcp(modern_only).await;
    let other = serve_mcp(modern_only).await;
    let registry = started(&[settings("stays", address), settings("moves", address), settings("goes", address)]);
    let before = registry.generation();
    for live in before.iter() {
        live.ensure_eras(PATIENT).await.expect("known");
    }
    let mut stays = settings("stays", address);
    stays.timeouts.total = Duration::from_secs(7);
    stays.pool.idle_connections = 3;
    let after = registry.prepare(&[stays, settings("moves", other), settings("comes", other)]).expect("usable");
    assert!(registry.generation().get("comes").is_none(), "preparing changes nothing");
    registry.commit(&after);

    let (old, new) = (before.get("stays").expect("there"), after.get("stays").expect("there"));
    assert!(Arc::ptr_eq(&old.backend, &new.backend) && Arc::ptr_eq(old.endpoint(), new.endpoint()));
    assert_eq!(
        (new.timeouts.total, new.watched.fetcher.load().timeouts.total),
        (Duration::from_secs(7), Duration::from_secs(7))
    );
    assert_eq!(new.endpoint().pool().idle_connections, 3, "how connections are kept is the new generation's");
    assert_eq!(new.backend.facts().modern, Speaks::Yes);
    let moved = after.get("moves").expect("there");
    assert!(!Arc::ptr_eq(&before.get("moves").expect("there").backend, &moved.backend));
    assert_eq!(moved.backend.facts().modern, Speaks::Unknown);
    for live in after.iter() {
        live.ensure_eras(PATIENT).await.expect("known");
        assert_eq!(live.send(&post("{}")).await.expect("an answer").status, 400);
    }
    let mut working: Vec<_> = registry.state.lock().working.keys().cloned().collect();
    working.sort();
    assert_eq!(working, ["comes".into(), "moves".into(), Arc::from("stays")]);
    registry.stop();
    assert!(registry.state.lock().working.is_empty());
}

#[tokio::test]
async fn a_backend_that_leaves_keeps_no_connection() {
    let address = serve_mcp(modern_only).await;
    let registry = started(&[settings("goes", address)]);
    let live = live(&registry, "goes");
    live.ensure_eras(PATIENT).await.expect("known");
    let ask = async || {
        let mut response = live.send(&post("{}")).await.expect("an answer");
        response.collect(1 << 20).await.expect("all of it");
    };
    ask().await;
    let control = live.watched.fetcher.load().reach.endpoint().expect("a URL").clone();
    assert_eq!(live.endpoint().idle.len(), 1);
    set(&registry, &[]);
    assert_eq!((live.endpoint().idle.len(), control.idle.len()), (0, 0));
    // A request that began before the reload still gets there.
    ask().await;
    assert_eq!(live.endpoint().idle.len(), 0);
}

#[tokio::test]
async fn a_probe_that_requests_wait_for_survives_a_reload() {
    let (asked, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (seen, opened) = (asked.clone(), gate.clone());
    let address = serve(move |_, mut stream| {
        let (seen, opened) = (seen.clone(), opened.clone());
        async move {
            while let Some(request) = receive(&mut stream).await {
                if request.method() == "server/discover" {
                    seen.notify_one();
                    opened.notified().await;
                }
                say(&mut stream, modern_only(&request)).await;
            }
        }
    })
    .await;
    let registry = started(&[settings("moves", address)]);
    let before = live(&registry, "moves");
    let waiting = tokio::spawn(async move { before.ensure_eras(PATIENT).await });
    asked.notified().await;
    let other = serve_mcp(modern_only).await;
    set(&registry, &[settings("moves", other)]);
    gate.notify_one();
    waiting.await.expect("no panic").expect("an answer of the backend that was asked");
}

#[tokio::test]
async fn who_waits_when_the_work_ends_is_told() {
    let address = serve(|_, mut stream| async move { while receive(&mut stream).await.is_some() {} }).await;
    let registry = started(&[settings("silent", address)]);
    let live = live(&registry, "silent");
    let asked = live.clone();
    let waiting = tokio::spawn(async move { asked.ensure_eras(PATIENT).await });
    tokio::task::yield_now().await;
    registry.stop();
    let began = tokio::time::Instant::now();
    for refused in [waiting.await.expect("no panic"), live.ensure_eras(PATIENT).await] {
        let refusal = refused.expect_err("nobody asks");
        assert_eq!(refusal.fault, Fault::BackendUnreachable);
        assert!(refusal.message.contains("its configuration has changed meanwhile"), "{}", refusal.message);
    }
    assert!(began.elapsed() < PATIENT / 2);
}

#[tokio::test]
async fn whether_a_backend_answers_is_known_from_the_last_attempt() {
    let status = Arc::new(Mutex::new("400 Bad Request"));
    let now = status.clone();
    let address = serve_mcp(move |_| answer(*now.lock(), "", "")).await;
    let registry = Registry::new();
    set(&registry, &[settings("demo", address)]);
    let live = live(&registry, "demo");
    assert_eq!(live.is_up(), None, "nobody has asked");
    for (said, up) in
        [("400 Bad Request", true), ("503 Service Unavailable", false), ("500 Internal Server Error", true)]
    {
        *status.lock() = said;
        live.send(&post("{}")).await.expect("an answer");
        assert_eq!(live.is_up(), Some(up), "{said}");
    }
    let down = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = down.local_addr().expect("an address");
    drop(down);
    let registry = started(&[settings("down", address)]);
    let live = self::live(&registry, "down");
    live.ensure_eras(PATIENT).await.expect_err("down");
    assert_eq!(live.is_up(), Some(false), "the gateway's own attempts count as well");
}

#[tokio::test]
async fn all_unusable_backends_are_named() {
    let address = SocketAddr::from(([127, 0, 0, 1], 9));
    let mut ftp = settings("ftp", address);
    ftp.endpoints[0].url = "ftp://a/".parse().expect("a URL");
    let mut two = settings("two", address);
    two.endpoints.push(at("http://a/"));
    let none = BackendSettings { endpoints: Vec::new(), ..settings("none", address) };
    let registry = Registry::new();
    let unusable = registry.prepare(&[ftp, settings("fine", address), two, none]).expect_err("unusable");
    let named: Vec<_> = unusable.iter().map(|unusable| &*unusable.name).collect();
    assert_eq!(named, ["ftp", "two", "none"]);
    assert!(unusable[1].to_string().contains("load balancing"));
}
