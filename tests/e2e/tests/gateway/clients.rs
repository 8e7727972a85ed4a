//! Every official client sees through the gateway what it sees without it.

use lockgate_e2e::gateway::config;
use lockgate_e2e::{Client, Everything, Fixture, Gateway, sdk};
use serde_json::Value;

async fn exercise(client: Client) {
    let fixture = Fixture::start("conformant");
    let gateway = Gateway::start(&config(fixture.url())).await;
    let url = gateway.mcp();
    let outcome = tokio::task::spawn_blocking(move || client.exercise(&url)).await.unwrap();
    println!("gateway {}", outcome.summary);
    assert!(outcome.passed, "{:#}\n{}", outcome.summary["failed"], gateway.log());
    let era = if client.is_legacy() { "legacy" } else { "modern" };
    assert_eq!(outcome.summary["seen"]["connect"]["era"], era);
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_v1() {
    exercise(Client::TypescriptV1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_v2_legacy() {
    exercise(Client::TypescriptV2Legacy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_v2_auto() {
    exercise(Client::TypescriptV2Auto).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_1() {
    exercise(Client::Python1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_2_legacy() {
    exercise(Client::Python2Legacy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_2_auto() {
    exercise(Client::Python2Auto).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_sdk_at_every_revision() {
    let fixture = Fixture::start("conformant");
    let gateway = Gateway::start(&config(fixture.url())).await;
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"] {
        sdk::exercise(&gateway.mcp(), revision).await;
    }
}

/// A dual-era client falls back to the handshake in front of a legacy-only backend, and goes modern in front of a
/// modern-only one.
#[tokio::test(flavor = "multi_thread")]
async fn dual_era_clients_settle_on_what_the_backend_speaks() {
    for (mode, era) in [("legacy", "legacy"), ("modern", "modern")] {
        let fixture = Fixture::start(mode);
        let gateway = Gateway::start(&config(fixture.url())).await;
        for client in [Client::TypescriptV2Auto, Client::Python2Auto] {
            let url = gateway.mcp();
            let outcome = tokio::task::spawn_blocking(move || client.exercise(&url)).await.unwrap();
            assert_eq!(outcome.summary["seen"]["connect"]["era"], era, "{client:?} {:#}", outcome.summary);
            assert!(outcome.passed, "{client:?} {:#}\n{}", outcome.summary["failed"], gateway.log());
        }
    }
}

/// What `server-everything` says is the same with and without the gateway, for every client.
#[tokio::test(flavor = "multi_thread")]
async fn server_everything_says_the_same_through_the_gateway() {
    let server = Everything::start().await;
    let gateway = Gateway::start(&config(server.url())).await;
    for client in Client::ALL {
        let (direct, through) = (server.url().to_owned(), gateway.mcp());
        let (direct, through) =
            tokio::task::spawn_blocking(move || (client.everything(&direct), client.everything(&through)))
                .await
                .unwrap();
        assert!(through.passed, "{client:?} {:#}\n{}", through.summary, gateway.log());
        assert_same(&direct.summary["seen"], &through.summary["seen"], &format!("{client:?}"));
    }
}

/// Compares step by step, so that a difference is readable.
fn assert_same(direct: &Value, through: &Value, client: &str) {
    let (direct, through) = (direct.as_object().expect("steps"), through.as_object().expect("steps"));
    assert_eq!(direct.keys().collect::<Vec<_>>(), through.keys().collect::<Vec<_>>(), "{client}");
    for (step, expected) in direct {
        assert_eq!(expected, &through[step], "{client}, {step}");
    }
}
