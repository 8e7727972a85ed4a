//! Reloading under load: nothing fails, nothing is cut; and a bad file changes nothing.

use lockgate_e2e::gateway::{config, config_with};
use lockgate_e2e::tls::Certificates;
use lockgate_e2e::{Fixture, Gateway, Mcp, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
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
        let told = &gateway.detail().await["last_reload"];
        assert_eq!(told["outcome"], "rejected", "{what}: {told}");
        assert_eq!(told["diagnostics"], answer["diagnostics"], "{what}");
    }
    let rejected = gateway.metric(r#"lockgate_config_reloads_total{outcome="rejected"}"#).await;
    assert!(rejected >= Some(bad.len() as f64), "{rejected:?}");
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
    assert_eq!(answer["needs_restart"][0], "listeners.main.address: the address is bound at start", "{answer}");
    assert_eq!(Mcp::modern(&gateway.mcp()).tool("echo", json!({})).await.status, 200);
}

/// A TLS listener is taken out, TLS is taken off another, and their certificates are deleted: both wait for a restart,
/// and nothing else does.
#[tokio::test]
async fn certificates_may_go_with_their_listeners() {
    let fixture = Fixture::start("lax");
    let listeners = |names: &[(&str, u16, Option<&Certificates>)]| {
        let mut text = String::from("    address: 127.0.0.1:@PORT@\n");
        for (name, port, tls) in names {
            text += &format!("  {name}:\n    address: 127.0.0.1:{port}\n");
            if let Some(tls) = tls {
                let (certificate, key) = (tls.certificate.display(), tls.key.display());
                text += &format!("    tls: {{ certificate: {certificate}, key: {key} }}\n");
            }
        }
        config(fixture.url()).replacen("    address: 127.0.0.1:@PORT@\n", &text, 1)
    };
    let (one, two) = (Certificates::new(), Certificates::new());
    let [first, second] = [(); 2].map(|()| lockgate_e2e::wait::free_port());
    let both = listeners(&[("goes", first, Some(&one)), ("bares", second, Some(&two))]);
    let gateway = Gateway::start(&both).await;
    drop((one, two));
    for generation in 2..4 {
        let change = format!("streams: {{ keep_alive: 1{generation}s }}\n");
        gateway.write(&(listeners(&[("bares", second, None)]) + &change));
        let (status, answer) = gateway.reload().await;
        assert_eq!((status, &answer["generation"]), (200, &json!(generation)), "{answer}");
        let told = answer["needs_restart"].to_string();
        assert!(told.contains("listeners.goes: ") && told.contains("listeners.bares.tls: "), "{answer}");
    }
}

/// A Kubernetes ConfigMap: the file is a link through a folder that is a link, and that one is swapped.
#[tokio::test]
async fn a_config_map_is_reloaded_when_its_link_is_swapped() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let folder = gateway.folder();
    let text = std::fs::read_to_string(gateway.file()).unwrap();
    let version = |number: u64| {
        let name = format!("..2026_11_{number:02}");
        std::fs::create_dir(folder.join(&name)).unwrap();
        let text = format!("{text}streams: {{ keep_alive: {number}s }}\n");
        std::fs::write(folder.join(&name).join("lockgate.yaml"), text).unwrap();
        symlink(&name, folder.join("..data_tmp")).unwrap();
        std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    let arrives = async |generation| {
        until("the reload", async || (gateway.generation().await == generation).then_some(())).await;
    };
    version(11);
    symlink("..data/lockgate.yaml", folder.join("link")).unwrap();
    std::fs::rename(folder.join("link"), gateway.file()).unwrap();
    arrives(2).await;
    version(12);
    arrives(3).await;
    std::fs::remove_dir_all(folder.join("..2026_11_11")).unwrap();
    version(13);
    arrives(4).await;
}

/// A configuration that names a file which is not there yet is used as soon as it is.
#[tokio::test]
async fn a_refused_configuration_is_mended_by_a_file_that_it_names() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    gateway.write(&config_with(fixture.url(), "    headers: { x-key: \"${file:@FOLDER@/key}\" }\n", ""));
    let rejected = r#"lockgate_config_reloads_total{outcome="rejected"}"#;
    until("the refusal", async || (gateway.metric(rejected).await? > 0.0).then_some(())).await;
    std::fs::write(gateway.folder().join("key"), "opens").unwrap();
    until("the reload", async || (gateway.generation().await == 2).then_some(())).await;
    let client = Mcp::modern(&gateway.mcp());
    assert_eq!(client.tool("echo", json!({"mark": "with-key"})).await.status, 200);
    let journal = fixture.journal().await;
    let call = journal.iter().find(|request| request.contains("with-key")).expect("the call");
    assert_eq!(call.header("x-key"), Some("opens"));
}

/// Whoever asks, and however many at once: reloads run one after the other, and each change counts once.
#[tokio::test(flavor = "multi_thread")]
async fn reloads_asked_for_at_once_run_one_after_the_other() {
    let fixture = Fixture::start("lax");
    let gateway = Gateway::start(&config(fixture.url())).await;
    for generation in 2..12 {
        gateway.write(&(config(fixture.url()) + &format!("streams: {{ keep_alive: {generation}s }}\n")));
        gateway.signal(Signal::SIGHUP);
        let (one, two) = tokio::join!(gateway.reload(), gateway.reload());
        for (status, answer) in [one, two] {
            assert_eq!((status, &answer["generation"]), (200, &json!(generation)), "{answer}");
        }
    }
    assert_eq!(gateway.metric(r#"lockgate_config_reloads_total{outcome="rejected"}"#).await, Some(0.0));
    assert_eq!(gateway.metric(r#"lockgate_config_reloads_total{outcome="applied"}"#).await, Some(10.0));
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
