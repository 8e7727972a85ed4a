//! The conformant fixture keeps its full score behind the gateway, by every transport on both sides.

use lockgate_e2e::adapter::{Adapter, Speak, trusting};
use lockgate_e2e::gateway::{config, config_with, federation};
use lockgate_e2e::tls::Certificates;
use lockgate_e2e::{Fixture, Gateway, conformant, conformant_at, conformant_but_tasks};

#[tokio::test(flavor = "multi_thread")]
async fn by_http_1() {
    let fixture = Fixture::start("conformant");
    let gateway = Gateway::start(&config(fixture.url())).await;
    conformant("gateway, HTTP/1.1", &gateway.mcp()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_h2c() {
    let fixture = Fixture::start("conformant");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let adapter = Adapter::start(&gateway.address(), Speak::H2c).await;
    conformant("gateway, h2c", &adapter.url("/mcp")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_tls_and_http_2() {
    let fixture = Fixture::start("conformant");
    let certificates = Certificates::new();
    let gateway = Gateway::start(&tls_config(fixture.url(), &certificates)).await;
    let adapter = Adapter::start(&gateway.address(), Speak::H2(trusting(&certificates.authority, b"h2"))).await;
    conformant("gateway, TLS and HTTP/2", &adapter.url("/mcp")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_tls_and_http_1() {
    let fixture = Fixture::start("conformant");
    let certificates = Certificates::new();
    let gateway = Gateway::start(&tls_config(fixture.url(), &certificates)).await;
    let adapter =
        Adapter::start(&gateway.address(), Speak::Https(trusting(&certificates.authority, b"http/1.1"))).await;
    conformant("gateway, TLS and HTTP/1.1", &adapter.url("/mcp")).await;
}

/// A listener under TLS in front of `backend_url`.
pub fn tls_config(backend_url: &str, certificates: &Certificates) -> String {
    let (certificate, key) = (certificates.certificate.display(), certificates.key.display());
    let tls = format!("@PORT@\n    tls: {{ certificate: {certificate}, key: {key} }}\n");
    config(backend_url).replacen("@PORT@\n", &tls, 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_backend_by_h2c() {
    let fixture = Fixture::start_with("conformant", &["--h2c"]);
    let gateway = Gateway::start(&config_with(fixture.url(), "    http2: always\n", "")).await;
    conformant("gateway, h2c to the backend", &gateway.mcp()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_backend_by_tls() {
    let certificates = Certificates::new();
    let (certificate, key) = (certificates.certificate.to_str().unwrap(), certificates.key.to_str().unwrap());
    let fixture = Fixture::start_with("conformant", &["--tls", certificate, key]);
    let tls = format!("    tls: {{ ca: {}, server_name: localhost }}\n", certificates.authority.display());
    let gateway = Gateway::start(&config_with(fixture.url(), &tls, "")).await;
    conformant("gateway, TLS to the backend", &gateway.mcp()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_backend_on_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("mcp.sock");
    let _fixture = Fixture::start_with("conformant", &["--unix", socket.to_str().unwrap()]);
    let gateway = Gateway::start(&config(&format!("unix://{}:/mcp", socket.display()))).await;
    conformant("gateway, a unix socket to the backend", &gateway.mcp()).await;
}

/// In front of a single-era backend the gateway offers that era, in full.
#[tokio::test(flavor = "multi_thread")]
async fn in_front_of_single_era_backends() {
    let (legacy, modern) = (Fixture::start("legacy"), Fixture::start("modern"));
    let (old, new) = (Gateway::start(&config(legacy.url())).await, Gateway::start(&config(modern.url())).await);
    let (old_url, new_url) = (old.mcp(), new.mcp());
    tokio::join!(
        conformant_at("gateway, legacy backend", &old_url, "2025-11-25"),
        conformant_at("gateway, modern backend", &new_url, "2026-07-28"),
    );
}

/// Two servers that share the items between them are one conformant server.
#[tokio::test(flavor = "multi_thread")]
async fn over_two_backends() {
    const MEMBERS: &str = r#"    prefix: never
    backends:
      - backend: first
        tools: { allow: ["test_*"], deny: ["test_trigger_*", "test_input_required_*", "test_elicit*", "test_tool_with_task"] }
        prompts: { allow: ["test_simple_prompt", "test_prompt_with_*"] }
        resources: { allow: ["test://static-*"] }
      - backend: second
        tools: { allow: ["test_trigger_*", "test_input_required_*", "test_elicit*", "json_schema_*", "test_tool_with_task"] }
        prompts: { deny: ["test_simple_prompt", "test_prompt_with_*"] }
        resources: { deny: ["test://static-*"] }
"#;
    let (first, second) = (Fixture::start("conformant"), Fixture::start("conformant"));
    let entry =
        |name: &str, fixture: &Fixture| format!("  {name}:\n    endpoints: [{{ url: \"{}\" }}]\n", fixture.url());
    let backends = [("first", entry("first", &first)), ("second", entry("second", &second))];
    let gateway = Gateway::start(&federation(&backends, MEMBERS, "")).await;
    gateway.settled().await;
    conformant_but_tasks("gateway, two backends", &gateway.mcp()).await;
    for backend in ["first", "second"] {
        let series = format!("lockgate_upstream_requests_total{{backend=\"{backend}\",outcome=\"ok\"}}");
        let asked = gateway.metric(&series).await;
        assert!(asked > Some(20.0), "{backend} did a part of the work: {asked:?}");
    }
}
