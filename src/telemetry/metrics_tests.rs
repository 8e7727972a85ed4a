use super::super::backend::AdapterCounts;
use super::super::definitions::ALL;
use super::super::labels::{BackendEra, ClientEra, ConnectionRefusal, Method, Outcome, StreamKind, UpstreamOutcome};
use super::*;
use lockgate_filters::fault::Fault;
use lockgate_filters::federate::{Catalog, Member, Policy};
use std::collections::BTreeSet;
use std::time::Duration;

fn metrics() -> Arc<Metrics> {
    Metrics::new(BuildInfo { version: "1.2.3", revision: "abc" }).unwrap()
}

/// The value of a series in the text format.
fn value(metrics: &Metrics, series: &str) -> Option<String> {
    metrics.render().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
}

/// A catalog of these backends, of which nothing is known.
fn catalog(backends: &[&str]) -> Catalog {
    let members = backends.iter().map(|backend| Member::new(*backend)).collect();
    Catalog::merge(&Policy { members, ..Policy::default() }, &[])
}

fn touch_everything(metrics: &Arc<Metrics>) -> (Arc<ServerMetrics>, Arc<BackendMetrics>, Arc<ListenerMetrics>) {
    let server = metrics.virtual_server("default");
    server.finished(Method::ToolsCall, ClientEra::Modern, Outcome::Ok, Duration::from_millis(30));
    server.refused(Fault::HeaderMismatch);
    server.request_bytes(100);
    server.response_bytes(200);
    server.set_catalog(Some(&catalog(&["demo", "gone"])), ["demo", "gone"].into_iter());
    server.set_catalog(Some(&catalog(&["demo"])), ["demo"].into_iter());
    let backend = metrics.backend("demo");
    backend.set_inventory(Some(300));
    backend.finished(UpstreamOutcome::Ok);
    backend.first_byte(Duration::from_millis(15));
    backend.set_up(true);
    backend.set_era(BackendEra::Legacy, true);
    backend.add_adapter(AdapterCounts {
        children: Some(2),
        questions: 3,
        starts: 3,
        failures: 1,
        refused: 4,
        dropped: 5,
    });
    backend.add_adapter(AdapterCounts { children: Some(1), starts: 1, ..AdapterCounts::default() });
    let listener = metrics.listener("main");
    listener.set_refused(ConnectionRefusal::Limit, 1);
    metrics.session_opened();
    metrics.set_journal_errors(1);
    metrics.log_line_dropped();
    metrics.node_request(NodeRequest::Answer, NodeOutcome::Ok);
    metrics.set_nodes(2, 3);
    backend.refused_answer();
    metrics.config_reloaded(Reload::Applied, 2, 1_700_000_000.5);
    (server, backend, listener)
}

#[test]
fn every_declared_metric_is_exported_under_its_name_and_no_other() {
    let metrics = metrics();
    let _held = touch_everything(&metrics);
    let text = metrics.render();
    let exported: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).map(|(name, _)| name).collect();
    let declared: BTreeSet<&str> = ALL.iter().map(|definition| definition.name).collect();
    assert_eq!(exported, declared);
    assert!(declared.iter().all(|name| name.starts_with("lockgate_")));
}

#[test]
fn observations_reach_their_series() {
    let metrics = metrics();
    let _held = touch_everything(&metrics);
    let read = |series: &str| value(&metrics, series).unwrap_or_else(|| panic!("no {series}"));
    let requests = r#"lockgate_requests_total{era="modern",method="tools/call",outcome="ok",virtual_server="default"}"#;
    assert_eq!(read(requests), "1");
    let bucket = |bound: &str| {
        read(&format!(
            r#"lockgate_request_duration_seconds_bucket{{method="tools/call",virtual_server="default",le="{bound}"}}"#
        ))
    };
    assert_eq!((bucket("0.02"), bucket("0.05"), bucket("300")), ("0".into(), "1".into(), "1".into()));
    assert_eq!(read(r#"lockgate_refusals_total{reason="header_mismatch",virtual_server="default"}"#), "1");
    assert_eq!(read(r#"lockgate_request_bytes_total{virtual_server="default"}"#), "100");
    assert_eq!(read(r#"lockgate_response_bytes_total{virtual_server="default"}"#), "200");
    assert_eq!(read(r#"lockgate_upstream_requests_total{backend="demo",outcome="ok"}"#), "1");
    assert_eq!(read(r#"lockgate_upstream_duration_seconds_count{backend="demo"}"#), "1");
    assert_eq!(read(r#"lockgate_backend_up{backend="demo"}"#), "1");
    assert_eq!(read(r#"lockgate_backend_era{backend="demo",era="legacy"}"#), "1");
    assert_eq!(read(r#"lockgate_child_processes{backend="demo"}"#), "1");
    assert_eq!(read(r#"lockgate_child_starts_total{backend="demo"}"#), "4");
    assert_eq!(read(r#"lockgate_child_failures_total{backend="demo"}"#), "1");
    assert_eq!(read(r#"lockgate_backend_questions_refused_total{backend="demo"}"#), "4");
    assert_eq!(read(r#"lockgate_backend_messages_dropped_total{backend="demo"}"#), "5");
    assert_eq!(read(r#"lockgate_backend_answers_refused_total{backend="demo"}"#), "1");
    assert_eq!(read(r#"lockgate_connections_refused_total{listener="main",reason="limit"}"#), "1");
    assert_eq!(read("lockgate_config_generation"), "2");
    assert_eq!(read("lockgate_config_last_reload_success_timestamp_seconds"), "1700000000.5");
    assert_eq!(read(r#"lockgate_build_info{revision="abc",version="1.2.3"}"#), "1");
}

#[test]
fn a_rejected_reload_leaves_the_generation_alone() {
    let metrics = metrics();
    metrics.config_in_use(1, 10.0);
    metrics.config_reloaded(Reload::Rejected, 1, 20.0);
    assert_eq!(value(&metrics, "lockgate_config_last_reload_success_timestamp_seconds").unwrap(), "10");
    assert_eq!(value(&metrics, r#"lockgate_config_reloads_total{outcome="rejected"}"#).unwrap(), "1");
}

#[test]
fn gauges_fall_however_their_holder_ends() {
    let metrics = metrics();
    let server = metrics.virtual_server("default");
    let in_flight = r#"lockgate_in_flight{virtual_server="default"}"#;
    let held = server.in_flight();
    let stream = server.stream(StreamKind::Listen);
    assert_eq!(value(&metrics, in_flight).unwrap(), "1");
    drop((held, stream));
    assert_eq!(value(&metrics, in_flight).unwrap(), "0");

    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _held = server.in_flight();
        panic!("a hook failed");
    }));
    assert!(panicked.is_err());
    assert_eq!(value(&metrics, in_flight).unwrap(), "0");
}

#[test]
fn what_is_held_within_bounds_is_seen_to_rise_and_fall() {
    let metrics = metrics();
    let backend = metrics.backend("demo");
    let gauges = [
        "lockgate_left_bytes",
        "lockgate_replay_bytes",
        "lockgate_listen_streams",
        "lockgate_notifications",
        "lockgate_notification_bytes",
        r#"lockgate_node_connections{direction="out"}"#,
        r#"lockgate_node_connections{direction="in"}"#,
        r#"lockgate_backend_questions{backend="demo"}"#,
    ];
    for expected in [["1", "2", "3", "4", "5", "6", "7", "8"], ["0"; 8]] {
        let [left, replay, listening, notices, bytes, out, within, questions] =
            expected.map(|value| value.parse::<usize>().unwrap());
        metrics.set_kept(left, replay);
        metrics.set_listen_streams(listening);
        metrics.set_notifications((notices, bytes), 0);
        metrics.set_node_connections((out, within));
        backend.add_adapter(AdapterCounts { questions: questions as u64, ..AdapterCounts::default() });
        assert_eq!(gauges.map(|gauge| value(&metrics, gauge).unwrap()), expected);
    }
}

#[test]
fn a_reload_keeps_the_series_of_a_name_that_stays() {
    let metrics = metrics();
    let old = metrics.virtual_server("default");
    old.request_bytes(1);
    let new = metrics.virtual_server("default");
    drop(old);
    new.request_bytes(1);
    assert_eq!(value(&metrics, r#"lockgate_request_bytes_total{virtual_server="default"}"#).unwrap(), "2");
}

#[test]
fn what_is_known_of_members_is_exported_while_they_are_members() {
    let metrics = metrics();
    let (server, backend, _) = touch_everything(&metrics);
    let standing = |backend: &str, standing: &str| {
        let labels = format!(r#"backend="{backend}",standing="{standing}",virtual_server="default""#);
        value(&metrics, &format!("lockgate_member_standing{{{labels}}}"))
    };
    assert_eq!(standing("demo", "missing").as_deref(), Some("1"));
    assert_eq!(standing("demo", "fresh").as_deref(), Some("0"));
    assert_eq!(standing("gone", "missing"), None);
    let items = r#"lockgate_catalog_items{kind="tools",virtual_server="default"}"#;
    assert_eq!(value(&metrics, items).as_deref(), Some("0"));
    assert_eq!(value(&metrics, r#"lockgate_inventory_bytes{backend="demo"}"#).as_deref(), Some("300"));
    // A reload has made it a direct one.
    server.set_catalog(None, ["demo"].into_iter());
    backend.set_inventory(None);
    assert_eq!((standing("demo", "missing"), value(&metrics, items)), (None, None));
    assert_eq!(value(&metrics, r#"lockgate_inventory_bytes{backend="demo"}"#), None);
}

#[test]
fn what_nobody_holds_any_more_is_not_exported() {
    let metrics = metrics();
    drop(touch_everything(&metrics));
    let text = metrics.render();
    for name in ["default", "demo", "main"] {
        assert!(!text.contains(&format!("\"{name}\"")), "{name} is still exported:\n{text}");
    }
    let again = metrics.virtual_server("default");
    again.finished(Method::Ping, ClientEra::Legacy, Outcome::Ok, Duration::ZERO);
    assert!(metrics.render().contains(r#"method="ping""#));
}

/// How long the observations of one ordinary request take. Run by hand, in release mode:
/// `cargo test --release -p lockgate observations_of_one_request -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn observations_of_one_request() {
    const ROUNDS: u32 = 5_000_000;
    let metrics = metrics();
    let server = metrics.virtual_server("default");
    let backend = metrics.backend("demo");
    let start = std::time::Instant::now();
    for round in 0..ROUNDS {
        let held = server.in_flight();
        server.request_bytes(300);
        backend.first_byte(Duration::from_micros(u64::from(round & 0xfff)));
        backend.finished(UpstreamOutcome::Ok);
        server.response_bytes(500);
        let elapsed = Duration::from_micros(u64::from(round & 0xfff));
        server.finished(Method::from_name("tools/call"), ClientEra::Modern, Outcome::Ok, elapsed);
        drop(std::hint::black_box(held));
    }
    println!("{:.1} ns a request", start.elapsed().as_nanos() as f64 / f64::from(ROUNDS));
}
