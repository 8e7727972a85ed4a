//! The conformant fixture scores everything that the official suite has for servers.

use lockgate_e2e::adapter::{Adapter, Speak, trusting};
use lockgate_e2e::tls::Certificates;
use lockgate_e2e::{Fixture, conformant, conformant_at};

#[tokio::test(flavor = "multi_thread")]
async fn the_fixture_meets_both_revisions() {
    let fixture = Fixture::start("conformant");
    conformant("direct", fixture.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_single_era_fixtures_meet_their_own_revision() {
    let (legacy, modern) = (Fixture::start("legacy"), Fixture::start("modern"));
    tokio::join!(
        conformant_at("direct, legacy only", legacy.url(), "2025-11-25"),
        conformant_at("direct, modern only", modern.url(), "2026-07-28"),
    );
}

/// So that a failure through the gateway by HTTP/2 or TLS is not the adapter's.
#[tokio::test(flavor = "multi_thread")]
async fn the_adapters_change_nothing() {
    let certificates = Certificates::new();
    let (certificate, key) = (certificates.certificate.to_str().unwrap(), certificates.key.to_str().unwrap());
    let plain = Fixture::start_with("conformant", &["--h2c"]);
    let tls = Fixture::start_with("conformant", &["--tls", certificate, key]);
    let trust = |alpn| trusting(&certificates.authority, alpn);
    let h2c = Adapter::start(plain.address(), Speak::H2c).await;
    let h2 = Adapter::start(tls.address(), Speak::H2(trust(b"h2"))).await;
    let http1 = Adapter::start(tls.address(), Speak::Https(trust(b"http/1.1"))).await;
    let urls = [&h2c, &h2, &http1].map(|adapter| adapter.url("/mcp"));
    tokio::join!(
        conformant("direct by h2c", &urls[0]),
        conformant("direct by TLS h2", &urls[1]),
        conformant("direct by TLS http/1.1", &urls[2]),
    );
}
