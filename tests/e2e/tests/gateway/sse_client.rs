//! HTTP+SSE, the transport of 2024-11-05: clients that still speak it see what others see.

use lockgate_e2e::clients::sse;
use lockgate_e2e::events::Events;
use lockgate_e2e::gateway::{config, config_with};
use lockgate_e2e::mcp::client;
use lockgate_e2e::{Client, Fixture, Gateway, until};
use serde_json::{Value, json};

async fn start(backend: &str) -> Gateway {
    Gateway::start(&config_with(backend, "", "    sse: true\n")).await
}

async fn exercise(client: Client, path: &str) {
    let fixture = Fixture::start("conformant");
    let gateway = start(fixture.url()).await;
    let target = sse(&gateway.url(path));
    let outcome = tokio::task::spawn_blocking(move || client.exercise(&target)).await.unwrap();
    println!("sse {}", outcome.summary);
    assert!(outcome.passed, "{:#}\n{}", outcome.summary["failed"], gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_v1() {
    exercise(Client::TypescriptV1, "/mcp/sse").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_v2_legacy() {
    exercise(Client::TypescriptV2Legacy, "/servers/default/sse").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_1() {
    exercise(Client::Python1, "/mcp/sse").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_2_legacy() {
    exercise(Client::Python2Legacy, "/servers/default/sse").await;
}
