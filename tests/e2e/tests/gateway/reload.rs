//! Reloading under load: nothing fails, nothing is cut; and a bad file changes nothing.

use lockgate_e2e::gateway::config;
use lockgate_e2e::{Fixture, Gateway, Mcp, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Reloads asked for by `POST /reload`, and by rewriting the file alone.
const POSTED: u64 = 200;
const WATCHED: u64 = 20;

/// Two virtual servers in front of two backends, with one number that changes from file to file.
fn template(conformant: &str, stateful: &str, generation: u64) -> String {
    let second = format!("  second:\n    endpoints:\n      - url: {stateful}\nvirtual_servers:\n");
    let body_bytes = (4 << 20) + generation;
    config(conformant).replacen("virtual_servers:\n", &second, 1)
        + &format!("  state:\n    path: /state\n    backends: [second]\nlimits: {{ body_bytes: {body_bytes} }}\n")
}

#[derive(Default)]
struct Counts {
    calls: AtomicU64,
    failed: AtomicU64,
    /// Streams that ended by themselves.
    cut: AtomicU64,
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_under_load_lose_nothing() {
    let (conformant, stateful) = (Fixture::start("conformant"), Fixture::start("stateful"));
    let file = |generation| template(conformant.url(), stateful.url(), generation);
    let gateway = Gateway::start(&file(0)).await;
    let counts = Arc::new(Counts::default());
    let stop = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();

    for worker in 0..4 {
        let modern = Mcp::modern(&gateway.mcp());
        let legacy = Mcp::legacy(&gateway.mcp(), "2025-11-25").await;
        for client in [modern, legacy] {
            let (counts, stop) = (counts.clone(), stop.clone());
            load.spawn(async move {
                let text = format!("worker {worker} {}", "x".repeat(1 << (worker * 4)));
                while !stop.load(Ordering::Relaxed) {
                    let body = client.body("tools/call", json!({"name": "test_echo", "arguments": {"text": text}}));
                    let good = match client.post(&body).send().await {
                        Ok(response) if response.status() == 200 => {
                            response.text().await.is_ok_and(|got| got.contains(&text))
                        }
                        other => {
                            eprintln!("a call failed: {other:?}");
                            false
                        }
                    };
                    counts.calls.fetch_add(1, Ordering::Relaxed);
                    counts.failed.fetch_add(u64::from(!good), Ordering::Relaxed);
                }
            });
        }
    }
    // Long calls, each longer than many reloads.
    for _ in 0..2 {
        let client = Mcp::legacy(&gateway.url("/state"), "2025-11-25").await;
        let (counts, stop) = (counts.clone(), stop.clone());
        load.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let params =
                    json!({"name": "slow", "arguments": {"milliseconds": 1500}, "_meta": {"progressToken": 1}});
                let mut stream = client.stream("tools/call", params).await;
                let mut answered = false;
                while let Some(event) = stream.next().await {
                    answered |= event.json().get("result").is_some();
                }
                counts.calls.fetch_add(1, Ordering::Relaxed);
                counts.failed.fetch_add(u64::from(!answered || stream.broken), Ordering::Relaxed);
            }
        });
    }
    // GET streams and listen streams that stay open all the while.
    let mut streams = JoinSet::new();
    let mut listeners = Vec::new();
    for _ in 0..4 {
        let client = Mcp::legacy(&gateway.url("/state"), "2025-11-25").await;
        client.send("resources/subscribe", json!({"uri": "state:watched"})).await;
        listeners.push(client.listen(None).await);
    }
    let modern = Mcp::modern(&gateway.mcp());
    let wanted = json!({"notifications": {"toolsListChanged": true}});
    for _ in 0..2 {
        listeners.push(modern.stream("subscriptions/listen", wanted.clone()).await);
    }
    until("the streams at the backend", async || {
        let sessions = stateful.state().await["sessions"].as_array()?.clone();
        (sessions.iter().filter(|session| session["listening"] == true).count() >= 4).then_some(())
    })
    .await;
    let heard: Vec<_> = listeners.iter().map(|_| Arc::new(AtomicU64::new(0))).collect();
    for (mut stream, heard) in listeners.into_iter().zip(heard.iter().cloned()) {
        let counts = counts.clone();
        streams.spawn(async move {
            // No patience of its own: how long a stream is silent depends on the reloads.
            while let Some(Some(event)) = stream.next_within(Duration::MAX).await {
                heard.fetch_add(u64::from(event.json()["method"].is_string()), Ordering::Relaxed);
            }
            counts.cut.fetch_add(1, Ordering::Relaxed);
        });
    }

    let start = Instant::now();
    let mut poked = 0;
    for generation in 1..=POSTED {
        gateway.write(&file(generation));
        let (status, answer) = gateway.reload().await;
        assert_eq!(status, 200, "{answer}");
        if generation % 10 == 0 {
            assert_eq!(stateful.poke("state:watched").await, 4);
            poked += 1;
            modern.tool("test_trigger_tool_change", json!({})).await;
        }
    }
    for generation in POSTED + 1..=POSTED + WATCHED {
        let before = gateway.generation().await;
        gateway.write(&file(generation));
        if generation % 2 == 0 {
            gateway.signal(Signal::SIGHUP);
        }
        until("the reload of a changed file", async || (gateway.generation().await > before).then_some(())).await;
    }
    let time = start.elapsed();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    until("every event on every stream, unless it was cut", async || {
        (count(&counts.cut) > 0 || heard.iter().all(|heard| count(heard) >= poked)).then_some(())
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    while load.join_next().await.is_some() {}
    streams.shutdown().await;
    println!(
        "{} reloads in {:.1} s: {} calls, {} failed; {} streams, {} cut, {} events",
        POSTED + WATCHED,
        time.as_secs_f32(),
        count(&counts.calls),
        count(&counts.failed),
        heard.len(),
        count(&counts.cut),
        heard.iter().map(|heard| count(heard)).sum::<u64>(),
    );
    assert_eq!((count(&counts.failed), count(&counts.cut)), (0, 0));
    assert!(count(&counts.calls) > POSTED, "there was no load to speak of");
}

/// A file that does not compile is reported with its position, and what served before serves on.
#[tokio::test]
async fn a_bad_file_changes_nothing() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let client = Mcp::modern(&gateway.mcp());
    let before = gateway.generation().await;
    let bad = [
        ("backends: [", "not YAML"),
        ("listeners:\n  main:\n    adress: 127.0.0.1:1\n", "an unknown key"),
        (&config("ftp://example.com/mcp"), "an unknown scheme"),
        (&config(fixture.url()).replace("backends: [backend]", "backends: [nobody]"), "an unknown backend"),
    ];
    for (text, what) in bad {
        gateway.write(text);
        let (status, answer) = gateway.reload().await;
        assert!((400..500).contains(&status), "{what}: {status} {answer}");
        assert!(
            answer.to_string().contains("line") || answer.to_string().contains(":"),
            "{what}: no position in {answer}"
        );
        assert_eq!(client.tool("echo", json!({})).await.status, 200, "{what}");
        assert_eq!(gateway.generation().await, before, "{what}");
    }
    gateway.write(&(config(fixture.url()) + "streams: { keep_alive: 14s }\n"));
    assert_eq!(gateway.reload().await.0, 200);
    assert!(gateway.generation().await > before);
}

/// What cannot change at run time is named, and nothing else of that file is taken.
#[tokio::test]
async fn a_new_address_is_refused_by_name() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let port = lockgate_e2e::wait::free_port();
    gateway.write(&config(fixture.url()).replacen("@PORT@", &port.to_string(), 1));
    let (_, answer): (u16, Value) = gateway.reload().await;
    assert!(answer.to_string().contains("main"), "the listener is not named in {answer}");
    assert_eq!(Mcp::modern(&gateway.mcp()).tool("echo", json!({})).await.status, 200);
}

/// A reload that moves a virtual server to another backend takes effect for the next request.
#[tokio::test]
async fn a_reload_takes_effect() {
    let (first, second) = (Fixture::start("lax"), Fixture::start("lax"));
    let gateway = Gateway::start(&config(first.url())).await;
    let client = Mcp::modern(&gateway.mcp());
    client.tool("echo", json!({"mark": "to-the-first"})).await;
    gateway.write(&config(second.url()));
    assert_eq!(gateway.reload().await.0, 200);
    client.tool("echo", json!({"mark": "to-the-second"})).await;
    let went =
        async |fixture: &Fixture, mark: &str| fixture.journal().await.iter().any(|request| request.contains(mark));
    assert!(went(&first, "to-the-first").await && went(&second, "to-the-second").await);
    assert!(!went(&first, "to-the-second").await);
}
