//! The conformant fixture scores everything that the official suite has for servers.

use lockgate_e2e::adapter::{Adapter, Speak, trusting};
use lockgate_e2e::tls::Certificates;
use lockgate_e2e::{Fixture, conformance};
use std::time::Instant;
use tokio::task::JoinSet;

/// Further scenarios of 2025-11-25 that nobody requires.
pub const FURTHER_LEGACY: [&str; 3] = ["server-session-lifecycle", "json-schema-2020-12", "server-sse-polling"];

/// Further scenarios of 2026-07-28. `tasks-status-notifications` is left out: the suite itself always skips it.
pub const FURTHER_MODERN: [&str; 12] = [
    "http-header-validation",
    "http-custom-header-server-validation",
    "json-schema-2020-12",
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
];

#[test]
fn the_fixture_meets_2025_11_25() {
    let fixture = Fixture::start("conformant");
    let report = conformance(fixture.url(), "2025-11-25");
    println!("direct {report}");
    report.assert_met(30, &FURTHER_LEGACY);
}

#[test]
fn the_fixture_meets_2026_07_28() {
    let fixture = Fixture::start("conformant");
    let report = conformance(fixture.url(), "2026-07-28");
    println!("direct {report}");
    report.assert_met(37, &FURTHER_MODERN);
}

#[test]
fn the_single_era_fixtures_meet_their_own_revision() {
    let (legacy, modern) = (Fixture::start("legacy"), Fixture::start("modern"));
    conformance(legacy.url(), "2025-11-25").assert_met(30, &FURTHER_LEGACY);
    conformance(modern.url(), "2026-07-28").assert_met(37, &FURTHER_MODERN);
}

/// So that a failure through the gateway by HTTP/2 or TLS is not the adapter's.
#[tokio::test(flavor = "multi_thread")]
async fn the_adapters_change_nothing() {
    let certificates = Certificates::new();
    let (certificate, key) = (certificates.certificate.to_str().unwrap(), certificates.key.to_str().unwrap());
    let plain = Fixture::start_with("conformant", &["--h2c"]);
    let tls = Fixture::start_with("conformant", &["--tls", certificate, key]);
    let adapters = [
        ("h2c", Adapter::start(plain.address(), Speak::H2c).await),
        ("TLS h2", Adapter::start(tls.address(), Speak::H2(trusting(&certificates.authority, b"h2"))).await),
        (
            "TLS http/1.1",
            Adapter::start(tls.address(), Speak::Https(trusting(&certificates.authority, b"http/1.1"))).await,
        ),
    ];
    let mut runs = JoinSet::new();
    for (name, adapter) in &adapters {
        for (revision, required, further) in
            [("2025-11-25", 30, FURTHER_LEGACY.as_slice()), ("2026-07-28", 37, FURTHER_MODERN.as_slice())]
        {
            let (name, url) = (*name, adapter.url("/mcp"));
            runs.spawn_blocking(move || {
                let start = Instant::now();
                let report = conformance(&url, revision);
                println!("direct by {name}, {:.1} s: {report}", start.elapsed().as_secs_f32());
                report.assert_met(required, further);
            });
        }
    }
    while let Some(run) = runs.join_next().await {
        run.expect("a conformant run");
    }
}
